//! A foreign recipient from the null sender, as a bounce would have.

use super::{CURES, rule};
use crate::check::{Check, Context, Facts, Finding, Leg, Script, Setting};

const ID: &str = "relay-null-sender";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is relaying refused to the null sender too?",
    scripts,
    judge,
    (&["RFC 5321 §4.5.5", "RFC 2505 §2.1"], CURES),
);

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some(foreign) = setting.facts.foreign_mailbox() else {
        return Vec::new();
    };
    let script = Script::new(ID, "a")
        .ehlo(setting.facts.helo())
        .say("MAIL FROM:<>")
        .if_accepted(format!("RCPT TO:<{foreign}>"));
    vec![script.say("RSET").quit()]
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
