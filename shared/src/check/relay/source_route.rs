//! A source route: `@own:user@foreign` (RFC 5321 §3.6.1, Appendix C).

use super::{CURES, rule, through};
use crate::check::{Check, Context, Facts, Finding, Leg, Script, Setting};

const ID: &str = "relay-source-route";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is @own:user@foreign judged by its final address?",
    scripts,
    judge,
    (
        &[
            "RFC 5321 §3.6.1",
            "RFC 5321 §4.1.1.3",
            "RFC 5321 Appendix C",
        ],
        CURES,
    ),
);

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some(foreign) = setting.facts.foreign_mailbox() else {
        return Vec::new();
    };
    let by = |route: Option<String>| Some(format!("@{}:{foreign}", route?));
    let [address, name, domain] = through(setting);
    let both = name.clone().zip(domain.clone());
    let both = both.map(|(name, domain)| format!("{name},@{domain}"));
    setting.ask_each(
        ID,
        [
            ("a", by(address)),
            ("b", by(name)),
            ("c", by(domain)),
            ("d", by(both)),
        ],
    )
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
