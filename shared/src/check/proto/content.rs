//! What arrives is what was sent: what the checks of content have in common.

use super::super::observe::Class;
use super::super::turn::Turn;
use super::super::{Facts, Leg, LegKind, Outcome, Script, Setting, Severity, Special, Step};
use crate::recording::Said;

/// A script that sends one message to the local mailbox.
pub(super) fn script(
    setting: &Setting<'_>,
    check: &'static str,
    (parameters, chunks, body): (&'static str, bool, String),
) -> Option<Script> {
    let facts: &Facts = setting.facts;
    let special = Special {
        from: facts.sender(setting.kind)?,
        to: facts.local_mailbox()?,
        parameters,
        chunks,
        body,
    };
    let script = Script::new(check, "message").ehlo(facts.helo());
    Some(script.step(Step::Special(special)).quit())
}

/// The end of a message: whether it was accepted, and arrived as it was sent.
/// `changed` says what it comes to if it did not.
pub(super) fn judge(
    leg: &Leg<'_>,
    (check, turn): (&str, &Turn<'_>),
    changed: impl Fn() -> Outcome,
) -> Option<Outcome> {
    if !matches!(turn.exchange.said, Said::Content { complete: true, .. }) {
        return None;
    }
    let outcome = match turn.class {
        Class::Accepted => arrived(leg, check, turn, changed),
        Class::Permanent => Outcome::fail(Severity::Low, "the message is refused"),
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}

fn arrived(leg: &Leg<'_>, check: &str, turn: &Turn<'_>, changed: impl Fn() -> Outcome) -> Outcome {
    let case = turn.dialogue.facts.get("case");
    let arrival = leg
        .arrivals
        .iter()
        .find(|arrival| arrival.check.as_deref() == Some(check) && arrival.case.as_ref() == case);
    match arrival.map(|arrival| (arrival.found, arrival.content_equal)) {
        None | Some((true, None)) => {
            Outcome::info("accepted; nobody looked whether it arrived as it was sent")
                .advise("look into the mailbox with --arrival")
        }
        Some((false, _)) => Outcome::warn("accepted, not seen in the mailbox"),
        Some((true, Some(false))) => changed(),
        Some((true, Some(true))) => Outcome::pass("it arrives as it was sent"),
    }
}

/// The leg takes anyone as a recipient, as servers do for their own machine.
pub(super) fn is_own(leg: &Leg<'_>) -> bool {
    leg.kind == LegKind::Localhost
}
