//! A stranger does not send as one of the server's own users.

use super::identity::{ROW, Welcome, judge as judge_each, up_to_rcpt};
use super::observe::{Parts, path_of};
use super::turn::Turn;
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Script, Setting, Severity,
};
use crate::command::Verb;

const ID: &str = "sender-own-domain";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Sender,
    question: "Is mail from strangers refused that names one of its own users as sender?",
    severity: Severity::Medium,
    references: &["RFC 7208", "RFC 9989", "RFC 5321 §7.1"],
    remote: On::Judged("refused"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "check_sender_access with the own domains, after permit_mynetworks and permit_sasl_authenticated; smtpd_reject_unlisted_sender = yes",
        ),
        (
            Mta::Exim,
            "deny sender_domains = +local_domains, with !hosts = +relay_from_hosts and !authenticated = *",
        ),
        (
            Mta::OpenSmtpd,
            "match !auth mail-from \"@example.net\" from any … reject",
        ),
        (
            Mta::Sendmail,
            "From: entries in the access map, with RELAY for trusted Connect:",
        ),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let unknown = facts.unknown_user.as_ref().zip(facts.local_domain());
    let senders = [
        ("known", facts.local_mailbox()),
        (
            "unknown",
            unknown.map(|(user, domain)| format!("{user}@{domain}")),
        ),
    ];
    let scripts = senders.into_iter().filter_map(|(case, sender)| {
        let script = Script::new(ID, case).ehlo(facts.helo());
        let script = script.say(format!("MAIL FROM:<{}>", sender?));
        Some(up_to_rcpt(script, facts)?.say("RSET").quit())
    });
    scripts.collect()
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let which = |session: &[Turn<'_>]| {
        let mail = session.iter().find(|turn| turn.is(&Verb::Mail))?;
        let sender = path_of(&mail.exchange.said);
        let parts = Parts::of(&sender);
        if !parts.domain.is_some_and(|domain| facts.is_own(domain)) {
            return None;
        }
        let known = facts.local_user.as_deref() == Some(parts.local);
        Some(if known {
            "one of its own users"
        } else {
            "a user that does not exist"
        })
    };
    let verdict = |who: &str, welcome| {
        match welcome {
        Welcome::Refused => Some(Outcome::pass(format!("{who} is refused as a stranger's sender"))),
        Welcome::Accepted => Some(
            Outcome::warn(format!("{who} is accepted as a stranger's sender")).advise(
                "where users send through others or mailing lists, that may be meant: then see that DMARC is judged",
            ),
        ),
        Welcome::Deferred => None,
    }
    };
    judge_each(leg, ID, context, (which, verdict))
}
