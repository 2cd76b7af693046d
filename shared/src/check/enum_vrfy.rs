//! VRFY does not tell users apart (RFC 5321 §3.5, §7.3).
//!
//! The code alone says nothing: 252 for a known user and 550 for an unknown
//! one is a leak, 252 for both is none. So the two answers are compared.

use super::enumeration::Question;
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};
use crate::command::Verb;

const ID: &str = "enum-vrfy";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Enum,
    question: "Does VRFY keep to itself who exists?",
    severity: Severity::Medium,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox and a local-part that cannot exist",
    references: &[
        "RFC 5321 §3.5",
        "RFC 5321 §4.1.1.6",
        "RFC 5321 §7.3",
        "RFC 2505 §2.11",
    ],
    localhost: On::NotJudged,
    remote: On::Judged("the same answer for known and unknown users"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (Mta::Postfix, "disable_vrfy_command = yes"),
        (Mta::Exim, "leave acl_smtp_vrfy unset"),
        (Mta::Sendmail, "confPRIVACY_FLAGS with novrfy or goaway"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(known), Some(unknown)) = (&facts.local_user, &facts.unknown_user) else {
        return Vec::new();
    };
    let Some(domain) = facts.local_domain() else {
        return Vec::new();
    };
    let script = Script::new(ID, "a")
        .ehlo(facts.helo())
        .say(format!("VRFY {known}"))
        .say(format!("VRFY {known}@{domain}"))
        .say(format!("VRFY {unknown}"))
        .say(format!("VRFY {unknown}@{domain}"));
    vec![script.quit()]
}

fn judge(leg: &Leg<'_>, facts: &Facts, _: &Context<'_>) -> Finding {
    let (Some(known), Some(unknown)) = (&facts.local_user, &facts.unknown_user) else {
        return Finding::skip("needs a local mailbox and a local-part that cannot exist");
    };
    let questions = Question::all(leg, ID, &Verb::Vrfy);
    let about = |user: &str, with_domain: bool| {
        questions.iter().find(|question| {
            let name = question.name.trim_matches(['<', '>']);
            let mut parts = name.split('@');
            parts.next() == Some(user) && parts.next().is_some() == with_domain
        })
    };
    let outcomes: Vec<Outcome> = [false, true]
        .into_iter()
        .filter_map(|form| Some(compare(about(known, form)?, about(unknown, form)?)))
        .collect();
    Finding::worst(
        outcomes,
        "VRFY was not asked for a known and an unknown user",
    )
}

fn compare(known: &Question<'_>, unknown: &Question<'_>) -> Outcome {
    let outcome = if known.class.is_open() || unknown.class.is_open() {
        Outcome::inconclusive("VRFY was not answered for both", "repeat after a pause")
    } else if known.codes() != unknown.codes() {
        Outcome::fail(
            Severity::Medium,
            "VRFY answers differ for known and unknown users",
        )
    } else if known.pattern() == unknown.pattern() {
        if known.is_empty_promise() {
            Outcome::warn("VRFY is announced, but not implemented")
        } else {
            Outcome::pass("the same answer for known and unknown users")
        }
    } else if known.names_mailboxes() {
        Outcome::fail(
            Severity::Medium,
            "VRFY names the mailbox of known users only",
        )
    } else {
        Outcome::warn("VRFY texts differ for known and unknown users")
    };
    outcome
        .seen(known.evidence.clone())
        .seen(unknown.evidence.clone())
}
