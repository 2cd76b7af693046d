//! The abuse mailbox, and other role names (RFC 2142).

use super::observe::Parts;
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "rcpt-abuse";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Does mail for abuse get in?",
    severity: Severity::Low,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local domain",
    references: &["RFC 2142 §2", "RFC 2142 §4"],
    localhost: On::Judged("accepted"),
    remote: On::Judged("accepted"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "an alias for abuse, per domain in virtual_alias_maps",
        ),
        (Mta::Exim, "a system alias for abuse"),
        (Mta::OpenSmtpd, "an entry for abuse in the aliases table"),
        (Mta::Sendmail, "an alias for abuse"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let (Some(domain), Some(sender)) = (
        setting.facts.local_domain(),
        setting.facts.sender(setting.kind),
    ) else {
        return Vec::new();
    };
    let script = Script::new(ID, "a")
        .ehlo(setting.facts.helo())
        .say(format!("MAIL FROM:<{sender}>"));
    let script = ["abuse"].iter().chain(OTHERS).fold(script, |script, role| {
        script.say(format!("RCPT TO:<{role}@{domain}>"))
    });
    vec![script.say("RSET").quit()]
}

const OTHERS: &[&str] = &["hostmaster", "security", "webmaster"];

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let outcomes = judge_each(
        ID,
        leg,
        context,
        |asked| {
            let path = asked.recipient();
            let parts = Parts::of(&path);
            let own = parts.domain.is_some_and(|domain| facts.is_own(domain));
            let role = parts.local.to_ascii_lowercase();
            let known = role == "abuse" || OTHERS.contains(&role.as_str());
            (own && known && !parts.routed).then_some(role)
        },
        |role, answer| match answer {
            Answer::Deferred(_) => None,
            Answer::Accepted if role == "abuse" => Some(Outcome::pass("accepted")),
            Answer::Refused(_) if role == "abuse" => Some(Outcome::warn("abuse is refused")),
            Answer::Accepted => Some(Outcome::info(format!("{role} is accepted"))),
            Answer::Refused(_) => Some(Outcome::info(format!("{role} is refused"))),
        },
    );
    Finding::worst(outcomes, "not asked on this leg")
}
