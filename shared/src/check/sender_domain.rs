//! Senders that nobody could answer (RFC 5321 §2.3.5, RFC 7505 §4.2).

use super::identity::{ROW, Welcome, judge as judge_each, up_to_rcpt};
use super::observe::path_of;
use super::turn::Turn;
use super::{Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Script, Setting};
use crate::command::Verb;

const ID: &str = "sender-domain";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Sender,
    question: "Are senders refused that nobody could answer?",
    references: &[
        "RFC 5321 §2.3.5",
        "RFC 5321 §4.1.2",
        "RFC 7505 §4.2",
        "RFC 2505 §2.9",
    ],
    remote: On::Judged("domains that do not exist and malformed senders refused"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "reject_unknown_sender_domain and reject_non_fqdn_sender in smtpd_sender_restrictions",
        ),
        (
            Mta::Exim,
            "require verify = sender (Debian: CHECK_RCPT_VERIFY_SENDER)",
        ),
        (
            Mta::Sendmail,
            "without FEATURE(accept_unresolvable_domains) and FEATURE(accept_unqualified_senders)",
        ),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let foreign = facts.foreign_domain.as_deref();
    let senders = [
        ("no-domain", Some("probe".to_owned())),
        ("localhost", Some("probe@localhost".to_owned())),
        ("syntax", foreign.map(|domain| format!("probe@{domain}.."))),
        (
            "unresolvable",
            Some(format!("probe@helo-nx-{}.invalid", facts.token8())),
        ),
    ];
    let scripts = senders.into_iter().filter_map(|(case, sender)| {
        let script = Script::new(ID, case).ehlo(facts.helo());
        let script = script.say(format!("MAIL FROM:<{}>", sender?));
        Some(up_to_rcpt(script, facts)?.say("RSET").quit())
    });
    scripts.collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, context: &Context<'_>) -> Finding {
    let verdict = |(what, strict): (&str, bool), welcome| match welcome {
        Welcome::Refused => Some(Outcome::pass(format!("{what} is refused"))),
        // Postfix says so for good: DNS may be at fault.
        Welcome::Deferred if what.ends_with("does not exist") => {
            Some(Outcome::pass(format!("{what} is refused as temporary")))
        }
        Welcome::Deferred => None,
        Welcome::Accepted if strict => Some(Outcome::warn(format!("{what} is accepted"))),
        Welcome::Accepted => Some(Outcome::info(format!("{what} is accepted"))),
    };
    judge_each(leg, ID, context, (which, verdict))
}

/// What is wrong with the sender, and whether accepting it is worth a warning.
fn which(session: &[Turn<'_>]) -> Option<(&'static str, bool)> {
    let mail = session.iter().find(|turn| turn.is(&Verb::Mail))?;
    let sender = path_of(&mail.exchange.said);
    Some(match sender.as_str() {
        "" => return None,
        sender if !sender.contains('@') => ("a sender without a domain", true),
        sender if sender.ends_with("..") => ("a sender whose domain is malformed", true),
        sender if sender.ends_with(".invalid") => ("a sender whose domain does not exist", true),
        sender if sender.ends_with("@localhost") => ("a sender at localhost", false),
        _ => return None,
    })
}
