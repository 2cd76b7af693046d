//! A foreign recipient in the company of a local one: state carried over.

use super::{CURES, rule};
use crate::check::{Check, Context, Facts, Finding, Leg, Script, Setting};

const ID: &str = "relay-mixed";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is a foreign recipient refused beside, after and before a local one?",
    scripts,
    judge,
    (&["RFC 5321 §4.1.4"], CURES),
);

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(foreign), Some(local)) = (facts.foreign_mailbox(), facts.local_mailbox()) else {
        return Vec::new();
    };
    let Some(sender) = facts.sender(setting.kind) else {
        return Vec::new();
    };
    let (mail, local, foreign) = (
        format!("MAIL FROM:<{sender}>"),
        format!("RCPT TO:<{local}>"),
        format!("RCPT TO:<{foreign}>"),
    );
    let begin = |case, lines: &[&String]| {
        let script = Script::new(ID, case).ehlo(facts.helo());
        lines.iter().fold(script, |script, line| script.say(*line))
    };
    let again = begin("b", &[&mail, &local])
        .say("RSET")
        .say(&mail)
        .say(&foreign);
    vec![
        begin("a", &[&mail, &local, &foreign]).say("RSET").quit(),
        again.say("RSET").quit(),
        begin("d", &[&mail, &foreign, &local]).say("RSET").quit(),
    ]
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
