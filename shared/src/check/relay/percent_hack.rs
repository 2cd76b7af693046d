//! The percent hack: `user%foreign@own` (RFC 1123 §5.2.16).

use super::{RELAY_EXIM, RELAY_OPENSMTPD, rule, through};
use crate::check::{Check, Context, Facts, Finding, Leg, Mta, Script, Setting};

const ID: &str = "relay-percent-hack";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is user%foreign@own refused?",
    scripts,
    judge,
    (&["RFC 1123 §5.2.16"], CURES),
);

const CURES: &[(Mta, &str)] = &[
    (
        Mta::Postfix,
        "keep allow_untrusted_routing = no and resolve_dequoted_address = yes; allow_percent_hack is safe with these",
    ),
    (
        Mta::Exim,
        "leave percent_hack_domains empty and keep the stock ACL rule about restricted characters in local parts",
    ),
    (Mta::Exim, RELAY_EXIM),
    (Mta::OpenSmtpd, RELAY_OPENSMTPD),
    (
        Mta::Sendmail,
        "remove FEATURE(loose_relay_check); add FEATURE(nopercenthack)",
    ),
];

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some(foreign) = setting.facts.foreign_mailbox() else {
        return Vec::new();
    };
    let local = foreign.replace('@', "%");
    let at = |domain: Option<String>| Some(format!("{local}@{}", domain?));
    let [address, name, domain] = through(setting);
    let cases = [
        ("a", at(address)),
        ("b", at(name)),
        ("c", at(domain)),
        ("d", Some(local.clone())),
        ("e", at(Some("localhost".into()))),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
