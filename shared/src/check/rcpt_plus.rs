//! Sub-addressing: `user+detail` (RFC 5233).

use super::observe::Parts;
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "rcpt-plus";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Is user+detail delivered to user?",
    severity: Severity::Info,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox",
    references: &["RFC 5233", "RFC 5321 §2.3.11"],
    localhost: On::NotJudged,
    remote: On::NotJudged,
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (Mta::Postfix, "recipient_delimiter"),
        (
            Mta::Exim,
            "local_part_suffix (the pattern +*), local_part_suffix_optional",
        ),
        (Mta::OpenSmtpd, "smtp sub-addr-delim"),
        (
            Mta::Sendmail,
            "FEATURE(preserve_local_plus_detail) for aliases",
        ),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(domain)) = (&facts.local_user, facts.local_domain()) else {
        return Vec::new();
    };
    let detail = facts.token8();
    let cases = [
        ("plus", Some(format!("{user}+{detail}@{domain}"))),
        ("minus", Some(format!("{user}-{detail}@{domain}"))),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let Some(user) = &facts.local_user else {
        return Finding::skip("needs a local mailbox");
    };
    let outcomes = judge_each(
        ID,
        leg,
        context,
        |asked| {
            let path = asked.recipient();
            let parts = Parts::of(&path);
            let own = parts.domain.is_some_and(|domain| facts.is_own(domain));
            let rest = parts.local.strip_prefix(user.as_str())?;
            let mark = rest.chars().next()?;
            (own && matches!(mark, '+' | '-')).then_some(mark)
        },
        |mark, answer| match answer {
            Answer::Deferred(_) => None,
            Answer::Accepted => Some(Outcome::info(format!("sub-addressing with {mark} is on"))),
            Answer::Refused(_) => Some(Outcome::info(format!("sub-addressing with {mark} is off"))),
        },
    );
    Finding::worst(outcomes, "not asked on this leg")
}
