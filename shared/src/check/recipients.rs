//! What the checks that ask about single forward-paths have in common.

use super::greylist::{ASK_AGAIN, is_greylisting};
use super::observe::{Asked, Class, Stopped, asked, is_identity_refusal, wants_tls};
use super::{Context, Leg, Outcome};
use crate::reply::Reply;

/// A decision about a forward-path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer<'a> {
    /// 2yz.
    Accepted,
    /// 5yz.
    Refused(&'a Reply),
    /// 4yz.
    Deferred(&'a Reply),
}

/// Judges each RCPT that `which` takes for a case of the check.
///
/// `verdict` sees decisions only. A refusal stands if ordinary recipients are
/// not refused as well; of deferrals `verdict` may return `None`, which leaves
/// them undecided.
pub(super) fn judge<T>(
    check: &str,
    leg: &Leg<'_>,
    context: &Context<'_>,
    which: impl Fn(&Asked<'_>) -> Option<T>,
    verdict: impl Fn(T, Answer<'_>) -> Option<Outcome>,
) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = asked(leg, check)
        .iter()
        .filter_map(|asked| Some(outcome(asked, context, which(asked)?, &verdict)))
        .collect();
    outcomes.extend(unreached(check, leg));
    outcomes
}

fn outcome<T>(
    asked: &Asked<'_>,
    context: &Context<'_>,
    case: T,
    verdict: &impl Fn(T, Answer<'_>) -> Option<Outcome>,
) -> Outcome {
    let seen = asked.evidence();
    match (asked.class(), asked.reply()) {
        (_, Some(reply)) if wants_tls(reply) => {
            Outcome::inconclusive("the server asks for STARTTLS first", "ask again inside TLS")
                .seen(seen)
        }
        (Class::Accepted, _) => verdict(case, Answer::Accepted)
            .unwrap_or_else(|| Outcome::info("accepted"))
            .seen(seen),
        (Class::Permanent | Class::Transient, Some(reply)) if is_identity_refusal(reply) => {
            Outcome::inconclusive(
                "refused for who asks",
                "repeat with a client address, EHLO name and sender that the server has nothing against",
            )
            .seen(seen)
        }
        (Class::Permanent, Some(reply)) => {
            let outcome = verdict(case, Answer::Refused(reply));
            let outcome = outcome.unwrap_or_else(|| Outcome::info("refused"));
            context.unless_refusing_everyone(asked.order, outcome.seen(seen))
        }
        (Class::Transient, Some(reply)) => verdict(case, Answer::Deferred(reply))
            .unwrap_or_else(|| deferred(reply))
            .seen(seen),
        (class, _) => undecided(class).seen(seen),
    }
}

/// A 4yz that decides nothing.
pub(super) fn deferred(reply: &Reply) -> Outcome {
    if is_greylisting(reply) {
        Outcome::inconclusive("deferred by greylisting", ASK_AGAIN)
    } else {
        Outcome::inconclusive("refused as temporary", "repeat later")
    }
}

/// An answer that decides nothing.
pub(super) fn undecided(class: Class) -> Outcome {
    let text = match class {
        Class::Closing => "the server closed the session with 421",
        Class::Closed => "the connection was closed without a reply",
        Class::TimedOut => "no reply within the time limit",
        _ => "the answer is no SMTP reply",
    };
    Outcome::inconclusive(text, "repeat after a pause, and more slowly")
}

/// Dialogues made for the check that never came to a RCPT, unless the case was
/// asked again and did.
fn unreached(check: &str, leg: &Leg<'_>) -> Vec<Outcome> {
    let dialogues = leg.dialogues_for(check);
    let reached = |case: Option<&String>| {
        dialogues.iter().any(|(index, dialogue)| {
            dialogue.facts.get("case") == case && !Asked::all(*index, dialogue).is_empty()
        })
    };
    dialogues
        .iter()
        .filter(|(_, dialogue)| dialogue.facts.contains_key("check"))
        .filter(|(_, dialogue)| !reached(dialogue.facts.get("case")))
        .filter_map(|(_, dialogue)| {
            let stopped = Stopped::of(dialogue)?;
            let outcome = Outcome::inconclusive(
                format!("refused at {}, the recipient was not reached", stopped.at()),
                "find out why, and repeat",
            );
            Some(outcome.seen(stopped.evidence(dialogue)))
        })
        .collect()
}
