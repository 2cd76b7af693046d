//! How RCPT answers differ for known and unknown users.
//!
//! That they do is right: without it mail would be accepted and bounced later.

use std::fmt::Write as _;

use super::observe::{Asked, Class, asked, same_mailbox};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "enum-rcpt";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Enum,
    question: "How do answers to RCPT differ for known and unknown users?",
    severity: Severity::Low,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox and a local-part that cannot exist",
    references: &[
        "RFC 5321 §3.3",
        "RFC 5321 §4.2.2",
        "RFC 2505 §2.10",
        "RFC 2505 §2.11",
    ],
    localhost: On::NotJudged,
    remote: On::NotJudged,
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_soft_error_limit, smtpd_hard_error_limit and postscreen slow guessing down",
        ),
        (
            Mta::Exim,
            "smtp_ratelimit_rcpt, and ACL ratelimit on bad recipients",
        ),
        (Mta::Sendmail, "confBAD_RCPT_THROTTLE, FEATURE(ratecontrol)"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some((known, unknown)) = pair(setting.facts) else {
        return Vec::new();
    };
    let Some(sender) = setting.facts.sender(setting.kind) else {
        return Vec::new();
    };
    let script = Script::new(ID, "a")
        .ehlo(setting.facts.helo())
        .say(format!("MAIL FROM:<{sender}>"))
        .say(format!("RCPT TO:<{known}>"))
        .say(format!("RCPT TO:<{unknown}>"));
    vec![script.say("RSET").quit()]
}

fn pair(facts: &Facts) -> Option<(String, String)> {
    let unknown = format!("{}@{}", facts.unknown_user.as_ref()?, facts.local_domain()?);
    Some((facts.local_mailbox()?, unknown))
}

/// Info, whatever the answers are.
fn judge(leg: &Leg<'_>, facts: &Facts, _: &Context<'_>) -> Finding {
    let Some((known, unknown)) = pair(facts) else {
        return Finding::skip("needs a local mailbox and a local-part that cannot exist");
    };
    let asked = asked(leg, ID);
    let find = |mailbox: &str| {
        asked
            .iter()
            .find(|asked| same_mailbox(&asked.recipient(), mailbox))
    };
    let (Some(known), Some(unknown)) = (find(&known), find(&unknown)) else {
        return Finding::skip("not asked on this leg");
    };
    let text = match (known.class(), unknown.class()) {
        (Class::Accepted, Class::Permanent) => {
            "known users are accepted, unknown ones refused: as it should be"
        }
        (Class::Accepted, Class::Accepted) => "known and unknown users are accepted alike",
        (one, other) if one == other => "known and unknown users are answered alike",
        _ => "known and unknown users are answered differently",
    };
    let mut text = text.to_owned();
    if let Some(apart) = apart(known, unknown).filter(|&apart| apart > TELLING) {
        let _ = write!(text, "; the times differ by {} ms", apart / 1_000_000);
    }
    let outcome = Outcome::info(text)
        .seen(known.evidence())
        .seen(unknown.evidence());
    Finding::worst(vec![outcome], "")
}

/// Nanoseconds between the times the two answers took.
fn apart(one: &Asked<'_>, other: &Asked<'_>) -> Option<u64> {
    let took = |asked: &Asked<'_>| asked.rcpt.answers.last()?.took;
    Some(took(one)?.abs_diff(took(other)?))
}

/// A difference beyond this tells of a look-up in a directory or at another host.
const TELLING: u64 = 100_000_000;
