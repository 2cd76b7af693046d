//! Domains that only over-wide matching takes for the server's own.

use super::{RELAY_OPENSMTPD, rule};
use crate::check::{Check, Context, Facts, Finding, Leg, Mta, Script, Setting};

const ID: &str = "relay-domain-match";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Are domains that only resemble an own one refused?",
    scripts,
    judge,
    (&["RFC 5321 §3.6.2", "RFC 2505 §2.1"], CURES),
);

const CURES: &[(Mta, &str)] = &[
    (
        Mta::Postfix,
        "check parent_domain_matches_subdomains and relay_domains; write example.net, not .example.net, where sub-domains are not meant",
    ),
    (
        Mta::Exim,
        "no `*` or `^` items in domain lists unless anchored and meant",
    ),
    (
        Mta::OpenSmtpd,
        "no wildcards or regular expressions in the tables of `for domain`",
    ),
    (Mta::OpenSmtpd, RELAY_OPENSMTPD),
    (
        Mta::Sendmail,
        "remove FEATURE(relay_entire_domain), or narrow it with FEATURE(relay_hosts_only)",
    ),
];

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(foreign)) = (&facts.foreign_user, &facts.foreign_domain) else {
        return Vec::new();
    };
    let Some(own) = facts.local_domain() else {
        return Vec::new();
    };
    let cases = [
        ("a", Some(format!("{user}@sub.{own}"))),
        ("b", Some(format!("{user}@helo-not{own}"))),
        ("c", Some(format!("{user}@{foreign}."))),
        ("d", Some(format!("{user}@{own}.{foreign}"))),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
