//! Lines that begin with a dot arrive as they were sent (RFC 5321 §4.5.2).

use super::super::turn::{finding, turns};
use super::super::{
    Check, Context, Facts, Finding, Leg, On, Outcome, Script, Setting, Severity, Stop,
};
use super::{ROW, content};
use crate::recording::Said;

const ID: &str = "proto-dot-transparency";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Do lines that begin with a dot arrive as they were sent?",
    severity: Severity::High,
    stop: Stop::SelfMessage,
    needs: "a local mailbox",
    references: &["RFC 5321 §4.5.2"],
    localhost: On::Judged("every line as it was sent"),
    remote: On::Judged("every line as it was sent"),
    scripts,
    judge,
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let body = [".one", "..two", ".", "...", "x.", ". ", "the end", ""].join("\r\n");
    let script = content::script(setting, ID, ("", false, body));
    script.into_iter().collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let ours = turns.iter().filter(|turn| {
        let dotted = match &turn.exchange.said {
            Said::Content { wire, .. } => wire.windows(4).any(|octets| octets == b"\r\n.."),
            _ => false,
        };
        dotted && turn.dialogue.facts.contains_key("check")
    });
    let outcomes = ours.filter_map(|turn| {
        // Nothing is said after the message but QUIT.
        if turn.exchange.answers.len() > 1 || !turn.dialogue.unsolicited.is_empty() {
            let text = "the message ends at a dot within it";
            return Some(Outcome::fail(Severity::High, text).seen(turn.evidence()));
        }
        content::judge(leg, (ID, turn), || {
            Outcome::fail(Severity::High, "lines that begin with a dot are changed")
        })
    });
    finding(leg, ID, outcomes.collect())
}
