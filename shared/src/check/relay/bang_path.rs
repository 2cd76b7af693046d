//! A UUCP path: `foreign!user`.

use super::{RELAY_OPENSMTPD, RELAY_POSTFIX, rule, through};
use crate::check::{Check, Context, Facts, Finding, Leg, Mta, Script, Setting};

const ID: &str = "relay-bang-path";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is foreign!user refused?",
    scripts,
    judge,
    (&["RFC 5321 §2.3.11", "RFC 976"], CURES),
);

const CURES: &[(Mta, &str)] = &[
    (Mta::Postfix, "swap_bangpath = no where there is no UUCP"),
    (Mta::Postfix, RELAY_POSTFIX),
    (
        Mta::Exim,
        "keep the stock ACL rule about restricted characters (`!`) in local parts",
    ),
    (Mta::OpenSmtpd, RELAY_OPENSMTPD),
    (Mta::Sendmail, "FEATURE(nouucp, reject)"),
];

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(foreign)) = (&facts.foreign_user, &facts.foreign_domain) else {
        return Vec::new();
    };
    let local = format!("{foreign}!{user}");
    let at = |domain: Option<String>| Some(format!("{local}@{}", domain?));
    let [address, name, domain] = through(setting);
    let percent = name.as_ref().map(|name| format!("{local}%{name}"));
    let cases = [
        ("a", Some(local.clone())),
        ("b", at(address)),
        ("c", at(name)),
        ("d", at(domain)),
        ("e", percent),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
