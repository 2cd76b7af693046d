//! Does the server speak the protocol?
//!
//! The answers are the same for friends and strangers, so both legs are judged by
//! the same rules.

pub(super) mod bdat;
mod content;
pub(super) mod dots;
pub(super) mod eight_bit;
pub(super) mod http;
pub(super) mod octets;
pub(super) mod params;
pub(super) mod pipelining;
pub(super) mod replies;
pub(super) mod reset;
pub(super) mod second_transaction;
pub(super) mod sequence;
pub(super) mod smtputf8;
pub(super) mod verbs;

use super::observe::is_syntax_refusal;
use super::turn::Turn;
use super::{Check, Finding, Group, On, Outcome, Safety, Severity, Stop};

/// What the rows of this group have in common.
const ROW: Check = Check {
    id: "",
    group: Group::Proto,
    question: "",
    severity: Severity::Low,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "",
    references: &[],
    localhost: On::Skip,
    remote: On::Skip,
    authenticated: On::Skip,
    scripts: |_| Vec::new(),
    judge: |_, _, _| Finding::skip("not asked on this leg"),
    cures: &[],
};

/// A command that is out of place, or wrong: it is to be refused.
fn must_refuse(turn: &Turn<'_>, what: &str, severity: Severity) -> Outcome {
    let outcome = match turn.open() {
        _ if turn.class.is_end() => {
            Outcome::warn(format!("{what} is answered by closing the session"))
        }
        Some(open) => return open,
        None if turn.class.is_refusal() => Outcome::pass(format!("{what} is refused")),
        None => Outcome::fail(severity, format!("{what} is accepted")),
    };
    outcome.seen(turn.evidence())
}

/// What is offered is refused: a fault, if that is why, and not who asks.
fn offered_and_refused(turn: &Turn<'_>, name: &str) -> Outcome {
    let about_it =
        matches!(turn.code(), Some(500..=504 | 555)) || turn.reply().is_some_and(is_syntax_refusal);
    if about_it {
        Outcome::fail(Severity::Low, format!("{name} is offered, and refused"))
    } else {
        Outcome::inconclusive(
            format!("refused, but not for {name}"),
            "repeat with a client address and sender that the server has nothing against",
        )
    }
}
