//! A foreign recipient from a sender that claims to be the server's own.

use super::{RELAY_EXIM, RELAY_POSTFIX, rule, through};
use crate::check::{Check, Context, Facts, Finding, Leg, Mta, Script, Setting};

const ID: &str = "relay-own-sender";

pub(in crate::check) const CHECK: Check = super::check(
    ID,
    "Is relaying refused to a sender that merely claims to be local?",
    scripts,
    judge,
    (&["RFC 2505 §2.1", "RFC 5321 §7.1"], CURES),
);

const CURES: &[(Mta, &str)] = &[
    (
        Mta::Postfix,
        "no check_sender_access map with OK before reject_unauth_destination",
    ),
    (Mta::Postfix, RELAY_POSTFIX),
    (
        Mta::Exim,
        "no `accept senders = …` without a host or authentication condition",
    ),
    (Mta::Exim, RELAY_EXIM),
    (Mta::OpenSmtpd, "no `match from any mail-from … for any`"),
    (
        Mta::Sendmail,
        "remove FEATURE(relay_local_from) and FEATURE(relay_mail_from)",
    ),
];

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let Some(foreign) = facts.foreign_mailbox() else {
        return Vec::new();
    };
    let [address, name, domain] = through(setting);
    let probe = |domain: &Option<String>| Some(format!("probe@{}", domain.as_ref()?));
    let cases = [
        ("a", probe(&domain)),
        ("b", facts.local_mailbox()),
        ("c", probe(&name)),
        ("d", probe(&address)),
        ("e", Some("probe@localhost".into())),
        ("f", Some("probe".into())),
        ("g", domain.map(|domain| format!("postmaster@{domain}"))),
    ];
    let script = |(case, sender): (&'static str, Option<String>)| {
        let script = Script::new(ID, case)
            .ehlo(facts.helo())
            .say(format!("MAIL FROM:<{}>", sender?))
            .if_accepted(format!("RCPT TO:<{foreign}>"));
        Some(script.say("RSET").quit())
    };
    cases.into_iter().filter_map(script).collect()
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
