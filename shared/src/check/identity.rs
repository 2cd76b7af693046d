//! Clients and senders that a server may turn away: what the checks of the groups
//! helo and sender have in common.
//!
//! Servers put off such refusals to RCPT, so each question goes that far, and the
//! first refusal on the way is the answer. Policies differ: a control that is
//! missing is a warning.

use super::observe::Class;
use super::turn::{Turn, stopped, turns};
use super::{
    Check, Context, Facts, Finding, Group, Leg, On, Outcome, Safety, Script, Setting, Severity,
    Stop,
};
use crate::command::Verb;

/// What the rows of these groups have in common.
pub(super) const ROW: Check = Check {
    id: "",
    group: Group::Helo,
    question: "",
    severity: Severity::Low,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox",
    references: &[],
    localhost: On::NotJudged,
    remote: On::Skip,
    authenticated: On::Skip,
    scripts: |_| Vec::new(),
    judge: |_, _, _| Finding::skip("not asked on this leg"),
    cures: &[],
};

/// How a client got on that asked for the ordinary recipient.
#[derive(Debug)]
pub(super) enum Welcome {
    /// It was accepted.
    Accepted,
    /// It was refused for good.
    Refused,
    /// It was refused as temporary.
    Deferred,
}

/// EHLO with that name, then MAIL and RCPT.
pub(super) fn introduced(
    setting: &Setting<'_>,
    check: &'static str,
    (case, name): (&'static str, &str),
) -> Option<Script> {
    let sender = setting.facts.sender(setting.kind)?;
    let script = Script::new(check, case).ehlo(name);
    let script = script.say(format!("MAIL FROM:<{sender}>"));
    Some(up_to_rcpt(script, setting.facts)?.say("RSET").quit())
}

/// RCPT for the ordinary recipient, if what was said before is accepted.
pub(super) fn up_to_rcpt(script: Script, facts: &Facts) -> Option<Script> {
    Some(script.if_accepted(format!("RCPT TO:<{}>", facts.local_mailbox()?)))
}

/// Judges each session of the check that `which` takes for a case. A refusal stands
/// only if ordinary clients are not refused as well.
pub(super) fn judge<T>(
    leg: &Leg<'_>,
    check: &str,
    context: &Context<'_>,
    (which, verdict): (
        impl Fn(&[Turn<'_>]) -> Option<T>,
        impl Fn(T, Welcome) -> Option<Outcome>,
    ),
) -> Finding {
    let turns = turns(leg, check);
    let sessions = turns.chunk_by(|one, other| one.order.0 == other.order.0);
    let outcomes = sessions.filter_map(|session| {
        let labelled = |turn: &Turn<'_>| turn.dialogue.facts.contains_key("check");
        let first = session.first().filter(|turn| labelled(turn))?;
        let case = which(session)?;
        let Some((welcome, turn)) = welcome(session) else {
            return stopped(first.dialogue);
        };
        let refused = !matches!(welcome, Welcome::Accepted);
        let outcome = match verdict(case, welcome) {
            Some(outcome) => outcome.seen(turn.evidence()),
            None => return turn.open(),
        };
        Some(if refused {
            context.unless_refusing_everyone(turn.order, outcome)
        } else {
            outcome
        })
    });
    Finding::worst(outcomes.collect(), "not asked on this leg")
}

/// The first refusal on the way, else the answer to RCPT.
fn welcome<'a, 'b>(session: &'b [Turn<'a>]) -> Option<(Welcome, &'b Turn<'a>)> {
    let steps = || {
        session.iter().filter(|turn| {
            let verb = turn.verb();
            matches!(
                verb,
                Some(Verb::Ehlo | Verb::Helo | Verb::Mail | Verb::Rcpt)
            )
        })
    };
    let refused = steps().find(|turn| turn.class != Class::Accepted);
    if let Some(turn) = refused {
        let welcome = match turn.class {
            Class::Permanent if turn.open().is_none() => Welcome::Refused,
            _ => Welcome::Deferred,
        };
        return Some((welcome, turn));
    }
    let last = steps().next_back().filter(|turn| turn.is(&Verb::Rcpt))?;
    Some((Welcome::Accepted, last))
}
