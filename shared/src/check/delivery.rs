//! A delivery to the local mailbox, step by step up to its arrival.

use super::greylist::{ASK_AGAIN, is_greylisting};
use super::observe::{Asked, Class, Stopped, asked, same_mailbox};
use super::{Arrival, Context, Evidence, Facts, Finding, Leg, Outcome, Severity};
use crate::diagnosis::{Phase, advise};
use crate::recording::{Exchange, Said};
use crate::reply::Reply;

/// Which deliveries are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// From a sender.
    Sender,
    /// From the null sender.
    Null,
}

/// Judges the deliveries of a check; `refused` decides about a refusal.
pub(super) fn judge(
    (check, from): (&str, From),
    leg: &Leg<'_>,
    facts: &Facts,
    refused: &dyn Fn((usize, usize), Outcome) -> Outcome,
) -> Finding {
    let Some(local) = facts.local_mailbox() else {
        return Finding::skip("needs a local mailbox");
    };
    let asked: Vec<Asked<'_>> = asked(leg, check)
        .into_iter()
        .filter(|asked| same_mailbox(&asked.recipient(), &local))
        .filter(|asked| asked.sender().is_empty() == (from == From::Null))
        .collect();
    let mut outcomes: Vec<Outcome> = asked
        .iter()
        .map(|asked| {
            let outcome = delivery(check, leg, asked);
            if asked.class() == Class::Permanent {
                refused(asked.order, outcome)
            } else {
                outcome
            }
        })
        .collect();
    outcomes.extend(
        unreached(check, leg, &asked)
            .into_iter()
            .map(|(at, outcome)| refused((at, 0), outcome)),
    );
    Finding::worst(outcomes, "no delivery to the local mailbox on this leg")
}

/// What is left of a transaction after its RCPT: DATA, and the content.
pub(super) fn content<'a>(asked: &Asked<'a>) -> Option<&'a Exchange> {
    let transaction = asked
        .dialogue
        .transactions()
        .find(|transaction| std::ptr::eq(transaction.mail, asked.mail))?;
    let data = transaction.rest.iter().find(|exchange| {
        exchange.said.verb() == Some(&crate::command::Verb::Data)
            && exchange
                .reply()
                .is_none_or(|reply| reply.code().is_refusal())
    });
    transaction.content().or(data)
}

fn delivery(check: &str, leg: &Leg<'_>, asked: &Asked<'_>) -> Outcome {
    let class = asked.class();
    if class != Class::Accepted {
        return stopped(class, asked.reply(), ("RCPT", Phase::Rcpt)).seen(asked.evidence());
    }
    let Some(content) = content(asked) else {
        return Outcome::info("the recipient is accepted; no message was sent")
            .seen(asked.evidence());
    };
    let seen = Evidence::of(asked.dialogue, content);
    let class = Class::of(asked.dialogue, content);
    if class == Class::Accepted {
        return arrived(check, leg, asked.case()).seen(seen);
    }
    let at = match content.said {
        Said::Content { .. } => ("the end of the mail data", Phase::EndOfData),
        _ => ("DATA", Phase::Data),
    };
    let outcome = stopped(class, content.reply(), at).seen(seen);
    if class == Class::Permanent {
        Outcome {
            text: format!(
                "the recipient is accepted, but content or policy is refused at {}",
                at.0
            ),
            ..outcome
        }
    } else {
        outcome
    }
}

/// The outcome of a step that was not accepted.
fn stopped(class: Class, reply: Option<&Reply>, (step, phase): (&str, Phase)) -> Outcome {
    let outcome = match class {
        Class::Permanent => Outcome::fail(Severity::Critical, format!("refused at {step}")),
        Class::Transient if reply.is_some_and(is_greylisting) => {
            Outcome::inconclusive(format!("deferred at {step} by greylisting"), ASK_AGAIN)
        }
        Class::Transient => {
            Outcome::inconclusive(format!("refused at {step} as temporary"), "repeat later")
        }
        Class::Closing => Outcome::inconclusive(
            format!("the server closed the session at {step} with 421"),
            "repeat after a pause",
        ),
        Class::TimedOut => Outcome::inconclusive(
            format!("no reply to {step} within the time limit"),
            "look into the server's log",
        ),
        Class::Closed => Outcome::inconclusive(
            format!("the connection was closed at {step} without a reply"),
            "look into the server's log",
        ),
        Class::Accepted | Class::GoOn | Class::Garbled => Outcome::inconclusive(
            format!("the answer to {step} cannot be used"),
            "look at the answer",
        ),
    };
    match reply.and_then(|reply| advise(reply, phase)) {
        Some(advice) => outcome.advise(advice),
        None => outcome,
    }
}

/// The message was accepted: did it arrive, once, and as it was sent?
fn arrived(check: &str, leg: &Leg<'_>, case: &str) -> Outcome {
    let ours = |arrival: &&Arrival| {
        arrival.check.as_deref().is_none_or(|id| id == check)
            && arrival
                .case
                .as_deref()
                .is_none_or(|id| case.is_empty() || id == case)
    };
    let Some(arrival) = leg.arrivals.iter().find(ours) else {
        return Outcome::pass("accepted for delivery; nobody looked whether it arrived");
    };
    if !arrival.found {
        return Outcome::warn("accepted, not seen in the mailbox").advise(
            "look for a bounce at the sender, for the queue id in the server's log, and into the spam folder",
        );
    }
    if arrival.copies > 1 {
        return Outcome::fail(Severity::High, format!("arrived {} times", arrival.copies)).advise(
            "look for a client that gave up waiting for the reply to the final dot, and for a second route to the mailbox",
        );
    }
    if arrival.content_equal == Some(false) {
        return Outcome::warn("arrived, but not as it was sent").advise(
            "compare what was sent and what arrived: filters that rewrite content break signatures",
        );
    }
    match arrival.delay {
        Some(delay) => Outcome::pass(format!(
            "accepted, and arrived after {:.1} s",
            delay.as_secs_f64()
        )),
        None => Outcome::pass("accepted, and arrived"),
    }
}

/// Dialogues made for the check that never came to a RCPT.
fn unreached(check: &str, leg: &Leg<'_>, asked: &[Asked<'_>]) -> Vec<(usize, Outcome)> {
    let case = |dialogue: &crate::recording::Dialogue| dialogue.facts.get("case").cloned();
    let mut found: Vec<(usize, Option<String>, Outcome)> = Vec::new();
    for (index, dialogue) in leg.dialogues_for(check) {
        let labelled = dialogue.facts.contains_key("check");
        let repeated = asked
            .iter()
            .any(|asked| asked.order.0 > index && case(asked.dialogue) == case(dialogue));
        if !labelled || repeated || !Asked::all(index, dialogue).is_empty() {
            continue;
        }
        let Some(stop) = Stopped::of(dialogue) else {
            continue;
        };
        let phase = match stop {
            Stopped::Greeting => Phase::Greeting,
            Stopped::Hello(_) => Phase::Ehlo,
            Stopped::StartTls(_) => Phase::StartTls,
            Stopped::Mail(_) => Phase::Mail,
        };
        let reply = stop.reply(dialogue);
        let outcome = stopped(stop.class(dialogue), reply, (stop.at(), phase));
        found.retain(|(_, earlier, _)| *earlier != case(dialogue));
        found.push((index, case(dialogue), outcome.seen(stop.evidence(dialogue))));
    }
    found
        .into_iter()
        .map(|(index, _, outcome)| (index, outcome))
        .collect()
}

/// A refusal of the null sender is one only if others are accepted.
pub(super) fn unless_everyone<'a>(
    context: &'a Context<'_>,
) -> impl Fn((usize, usize), Outcome) -> Outcome + 'a {
    |order, outcome| context.unless_refusing_everyone(order, outcome)
}
