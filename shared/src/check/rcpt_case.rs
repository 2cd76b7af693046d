//! Capitals in the domain never matter, in the local-part hardly anywhere (RFC 5321 §2.4).

use super::observe::Parts;
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "rcpt-case";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Are capitals in an address accepted?",
    severity: Severity::Low,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox",
    references: &["RFC 5321 §2.4", "RFC 5321 §4.1.2"],
    localhost: On::Judged("accepted"),
    remote: On::Judged("accepted"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[(Mta::Exim, "leave caseful_local_part off")],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(domain)) = (&facts.local_user, facts.local_domain()) else {
        return Vec::new();
    };
    let loud = user.to_ascii_uppercase();
    let cases = [
        (
            "domain",
            Some(format!("{user}@{}", domain.to_ascii_uppercase())),
        ),
        ("local", (loud != *user).then(|| format!("{loud}@{domain}"))),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let Some(local) = facts.local_mailbox() else {
        return Finding::skip("needs a local mailbox");
    };
    let local = Parts::of(&local);
    let outcomes = judge_each(
        ID,
        leg,
        context,
        |asked| {
            let path = asked.recipient();
            let parts = Parts::of(&path);
            let alike = parts.local.eq_ignore_ascii_case(local.local)
                && parts.domain?.eq_ignore_ascii_case(local.domain?);
            let differs = parts.local != local.local || parts.domain != local.domain;
            (alike && differs && !parts.routed).then_some(parts.local != local.local)
        },
        |in_local_part, answer| match answer {
            Answer::Deferred(_) => None,
            Answer::Accepted => Some(Outcome::pass("accepted")),
            Answer::Refused(_) if in_local_part => Some(Outcome::warn(
                "capitals in the local-part are refused: allowed, but mail gets lost",
            )),
            Answer::Refused(_) => Some(Outcome::fail(
                Severity::Low,
                "capitals in the domain are refused",
            )),
        },
    );
    Finding::worst(outcomes, "not asked on this leg")
}
