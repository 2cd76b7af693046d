//! Two at signs: `user@foreign@own`, for parsers that drop the last part.

use super::{CURES, rule, through};
use crate::check::{Check, Context, Facts, Finding, Leg, Script, Setting};

const ID: &str = "relay-double-at";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is user@foreign@own refused?",
    scripts,
    judge,
    (&["RFC 5321 §4.1.2"], CURES),
);

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some(foreign) = setting.facts.foreign_mailbox() else {
        return Vec::new();
    };
    let at = |domain: Option<String>| Some(format!("{foreign}@{}", domain?));
    let [address, name, domain] = through(setting);
    let cases = [
        ("a", at(address)),
        ("b", at(name)),
        ("c", at(domain)),
        ("d", at(Some(String::new()))),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
