//! A quoted address as local-part: `"user@foreign"@own`.

use super::{RELAY_OPENSMTPD, RELAY_SENDMAIL, rule, through};
use crate::check::{Check, Context, Facts, Finding, Leg, Mta, Script, Setting};

const ID: &str = "relay-quoted-local";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is \"user@foreign\"@own refused?",
    scripts,
    judge,
    (&["RFC 5321 §4.1.2", "RFC 5321 §2.3.11"], CURES),
);

const CURES: &[(Mta, &str)] = &[
    (
        Mta::Postfix,
        "keep resolve_dequoted_address = yes and allow_untrusted_routing = no",
    ),
    (
        Mta::Exim,
        "keep the stock ACL rule about restricted characters (`@` in a local part)",
    ),
    (Mta::OpenSmtpd, RELAY_OPENSMTPD),
    (Mta::Sendmail, RELAY_SENDMAIL),
];

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some(foreign) = setting.facts.foreign_mailbox() else {
        return Vec::new();
    };
    let at = |domain: Option<String>| Some(format!("\"{foreign}\"@{}", domain?));
    let [address, name, domain] = through(setting);
    let cases = [
        ("a", Some(format!("\"{foreign}\""))),
        ("b", Some(format!("\"{}\"", foreign.replace('@', "%")))),
        ("c", at(address)),
        ("d", at(name)),
        ("e", at(domain)),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
