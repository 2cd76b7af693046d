//! A foreign recipient from a client that calls itself by the server's names.

use super::{RELAY_OPENSMTPD, RELAY_POSTFIX, rule, through};
use crate::check::{Check, Context, Facts, Finding, Leg, Mta, Script, Setting};

const ID: &str = "relay-helo-trust";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is relaying refused to a client that merely calls itself local?",
    scripts,
    judge,
    (&["RFC 5321 §4.1.4", "RFC 2505 §2.1"], CURES),
);

const CURES: &[(Mta, &str)] = &[
    (
        Mta::Postfix,
        "no check_helo_access map with OK before reject_unauth_destination",
    ),
    (Mta::Postfix, RELAY_POSTFIX),
    (
        Mta::Exim,
        "no accept rule with a condition on $sender_helo_name alone",
    ),
    (Mta::OpenSmtpd, RELAY_OPENSMTPD),
    (
        Mta::Sendmail,
        "addresses, not host names that a client can claim, in class R and in the access map",
    ),
];

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(foreign), Some(sender)) = (facts.foreign_mailbox(), facts.sender(setting.kind))
    else {
        return Vec::new();
    };
    let [address, name, domain] = through(setting);
    let cases = [
        ("a", name),
        ("b", domain),
        ("c", Some("localhost".to_owned())),
        ("d", Some("[127.0.0.1]".to_owned())),
        ("e", address),
    ];
    let script = |(case, name): (&'static str, Option<String>)| {
        let script = Script::new(ID, case)
            .ehlo(name?)
            .if_accepted(format!("MAIL FROM:<{sender}>"))
            .if_accepted(format!("RCPT TO:<{foreign}>"));
        Some(script.say("RSET").quit())
    };
    cases.into_iter().filter_map(script).collect()
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
