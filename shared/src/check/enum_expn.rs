//! EXPN does not give lists and aliases away (RFC 5321 §3.5.2).

use super::enumeration::Question;
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};
use crate::command::Verb;

const ID: &str = "enum-expn";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Enum,
    question: "Does EXPN keep members and forwarding targets to itself?",
    severity: Severity::Medium,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox and a local-part that cannot exist",
    references: &["RFC 5321 §3.5.2", "RFC 5321 §4.1.1.7"],
    localhost: On::NotJudged,
    remote: On::Judged("refused, with the same answer for all names"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (Mta::Exim, "leave acl_smtp_expn unset"),
        (Mta::Sendmail, "confPRIVACY_FLAGS with noexpn or goaway"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(known), Some(unknown)) = (&facts.local_user, &facts.unknown_user) else {
        return Vec::new();
    };
    let script = Script::new(ID, "a")
        .ehlo(facts.helo())
        .say("EXPN postmaster")
        .say(format!("EXPN {unknown}"))
        .say(format!("EXPN {known}"));
    vec![script.quit()]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let questions = Question::all(leg, ID, &Verb::Expn);
    let Some(first) = questions.first() else {
        return Finding::skip("not asked on this leg");
    };
    if let Some(leak) = questions.iter().find(|question| question.names_mailboxes()) {
        let outcome = Outcome::fail(Severity::High, "EXPN names mailboxes");
        return Finding::worst(vec![outcome.seen(leak.evidence.clone())], "");
    }
    let different = questions
        .iter()
        .find(|question| question.codes() != first.codes());
    let outcome = if questions.iter().any(|question| question.class.is_open()) {
        Outcome::inconclusive(
            "EXPN was not answered for all names",
            "repeat after a pause",
        )
    } else if let Some(other) = different {
        Outcome::fail(Severity::Medium, "EXPN answers differ between names")
            .seen(other.evidence.clone())
    } else if first.is_empty_promise() {
        Outcome::warn("EXPN is announced, but not implemented")
    } else {
        Outcome::pass("the same answer for all names, without content")
    };
    Finding::worst(vec![outcome.seen(first.evidence.clone())], "")
}
