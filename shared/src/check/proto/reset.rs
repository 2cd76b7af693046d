//! RSET and EHLO end the transaction (RFC 5321 §4.1.1.5, §4.1.4).

use super::super::observe::{Class, argument};
use super::super::turn::{Turn, finding, turns};
use super::super::{Check, Context, Facts, Finding, Leg, On, Outcome, Script, Setting, Severity};
use super::{ROW, must_refuse};
use crate::command::Verb;

const ID: &str = "proto-reset";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Do RSET and EHLO end the transaction?",
    severity: Severity::Medium,
    needs: "a local mailbox",
    references: &["RFC 5321 §4.1.1.5", "RFC 5321 §4.1.4"],
    localhost: On::Judged("250 to both, and RCPT is refused afterwards"),
    remote: On::Judged("250 to both, and RCPT is refused afterwards"),
    scripts,
    judge,
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let Some(local) = facts.local_mailbox() else {
        return Vec::new();
    };
    let rcpt = format!("RCPT TO:<{local}>");
    let begun = |case| Some(setting.mail(ID, case, "")?.if_accepted(&rcpt));
    let argument = Script::new(ID, "argument").ehlo(facts.helo()).say("RSET x");
    let scripts = [
        begun("rset").map(|script| script.say("RSET").say(&rcpt)),
        begun("ehlo").map(|script| script.ehlo(facts.helo()).say(&rcpt)),
        Some(argument),
    ];
    scripts.into_iter().flatten().map(Script::quit).collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let outcomes = turns.iter().filter_map(outcome).collect();
    finding(leg, ID, outcomes)
}

fn outcome(turn: &Turn<'_>) -> Option<Outcome> {
    match turn.verb()? {
        Verb::Rset => Some(reset(turn)),
        Verb::Rcpt => {
            let ended_by = turn.before.ended_by?;
            let by = ended_by.said.verb()?.name();
            if turn.class == Class::Accepted && turn.before.mail {
                let text = format!("{by} is refused, and the transaction goes on");
                return Some(Outcome::warn(text).seen(turn.evidence()));
            }
            let what = format!("RCPT after {by}");
            Some(must_refuse(turn, &what, Severity::Medium))
        }
        // The ordinary recipient is not accepted: there is nothing to end.
        Verb::Ehlo if turn.before.mail && turn.before.recipients == 0 => turn.open(),
        _ => None,
    }
}

fn reset(turn: &Turn<'_>) -> Outcome {
    let bare = argument(&turn.exchange.said).is_empty();
    let outcome = match turn.class {
        Class::Accepted => Outcome::pass("RSET is accepted"),
        Class::Permanent if !bare => Outcome::pass("RSET with an argument is refused"),
        Class::Permanent => Outcome::fail(Severity::Low, "RSET is refused"),
        _ => {
            return turn
                .open()
                .unwrap_or_else(|| Outcome::warn("an odd answer to RSET").seen(turn.evidence()));
        }
    };
    outcome.seen(turn.evidence())
}
