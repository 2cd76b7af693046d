//! The address of another host as domain (RFC 5321 §4.1.3).

use super::{RELAY_OPENSMTPD, RELAY_SENDMAIL, rule};
use crate::check::{Check, Context, Facts, Finding, Leg, Mta, Script, Setting, Verdict};

const ID: &str = "relay-literal";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is a mailbox at another host's address refused?",
    scripts,
    judge,
    (&["RFC 5321 §4.1.3"], CURES),
);

const CURES: &[(Mta, &str)] = &[
    (
        Mta::Postfix,
        "resolve_numeric_domain = no; reject_unauth_destination before any OK rule",
    ),
    (
        Mta::Exim,
        "allow_domain_literals = false, and no `@[]` in relay_to_domains",
    ),
    (Mta::OpenSmtpd, RELAY_OPENSMTPD),
    (Mta::Sendmail, RELAY_SENDMAIL),
];

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(ip)) = (&facts.foreign_user, facts.witness_ip) else {
        return Vec::new();
    };
    let literal = crate::check::literal(ip);
    setting.ask_each(
        ID,
        [
            ("a", Some(format!("{user}@{literal}"))),
            ("b", Some(format!("{user}@{ip}"))),
        ],
    )
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let finding = rule::judge(ID, leg, facts, context);
    if finding.verdict == Verdict::Skip && facts.witness_ip.is_none() {
        return Finding::skip("needs the address of the witness's mail host");
    }
    finding
}
