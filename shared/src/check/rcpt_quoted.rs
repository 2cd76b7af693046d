//! Quoting is only syntax (RFC 5321 §4.1.2), and local-parts have 64 octets (§4.5.3.1.1).

use super::observe::{Asked, Parts};
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};
use crate::reply::Reply;

const ID: &str = "rcpt-quoted";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Are quoted, odd and long local-parts understood?",
    severity: Severity::Low,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox",
    references: &["RFC 5321 §4.1.2", "RFC 5321 §4.5.3.1.1"],
    localhost: On::Judged("accepted, or refused as unknown"),
    remote: On::Judged("accepted, or refused as unknown"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[(
        Mta::Exim,
        "the stock ACL rule about restricted characters decides; the rest cannot be set",
    )],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(domain)) = (&facts.local_user, facts.local_domain()) else {
        return Vec::new();
    };
    let token = facts.token8();
    let at = |local: String| Some(format!("{local}@{domain}"));
    let long = |octets: usize| format!("helo-{:x<1$}", "", octets - 5);
    let pair = user.chars().next().map(|first| {
        let rest = user.get(first.len_utf8()..).unwrap_or_default();
        format!("\"{first}\\{rest}\"")
    });
    let pair = pair.filter(|pair| !pair.ends_with("\\\""));
    let cases = [
        ("a", at(format!("\"{user}\""))),
        ("b", pair.and_then(at)),
        ("c", at(format!("\"no such {token}\""))),
        ("d", at(format!("{user}..{token}"))),
        ("e", at(format!(".{user}"))),
        ("f64", at(long(64))),
        ("f65", at(long(65))),
    ];
    setting.ask_each(ID, cases)
}

/// The forms that are asked for.
enum Form {
    /// The mailbox in quotes.
    Quoted,
    /// With a quoted pair inside.
    Pair,
    /// With a space inside.
    Space,
    /// Dots where none may be.
    Dots,
    /// As long as it may be.
    Longest,
    /// Longer.
    TooLong,
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let outcomes = judge_each(ID, leg, context, |asked| form(asked, facts), verdict);
    Finding::worst(outcomes, "not asked on this leg")
}

fn form(asked: &Asked<'_>, facts: &Facts) -> Option<Form> {
    let path = asked.recipient();
    let parts = Parts::of(&path);
    let user = facts.local_user.as_deref()?;
    if parts.routed || !facts.is_own(parts.domain?) {
        return None;
    }
    let local = parts.local;
    if parts.is_quoted() {
        let inner = local.trim_matches('"');
        return if inner == user {
            Some(Form::Quoted)
        } else if inner.replace('\\', "") == user {
            Some(Form::Pair)
        } else {
            inner.contains(' ').then_some(Form::Space)
        };
    }
    match local.len() {
        64 => Some(Form::Longest),
        65 => Some(Form::TooLong),
        _ => {
            let dots = local.contains("..") && !local.contains('/') || local.starts_with('.');
            dots.then_some(Form::Dots)
        }
    }
}

fn verdict(form: Form, answer: Answer<'_>) -> Option<Outcome> {
    Some(match (form, answer) {
        (_, Answer::Deferred(_)) => return None,
        (Form::Quoted, Answer::Accepted) => Outcome::pass("the quoted mailbox is accepted"),
        (Form::Quoted, Answer::Refused(_)) => {
            Outcome::warn("the mailbox is refused when it is quoted")
        }
        (Form::Pair, Answer::Accepted) => Outcome::pass("a quoted pair is accepted"),
        (Form::Pair, Answer::Refused(_)) => Outcome::info("a quoted pair is refused"),
        (Form::Space | Form::Dots | Form::TooLong, Answer::Accepted) => {
            Outcome::info("an odd local-part is accepted")
        }
        (Form::Space, Answer::Refused(reply)) if reply.code().number() == 501 => {
            Outcome::info("a space in quotes is taken for a syntax error")
        }
        (Form::Longest, Answer::Refused(reply)) if is_about_syntax(reply) => {
            Outcome::warn("a local-part of 64 octets is refused as malformed")
        }
        (Form::Longest, Answer::Accepted) => Outcome::info("any long local-part is accepted"),
        (_, Answer::Refused(_)) => Outcome::pass("refused as unknown or malformed"),
    })
}

/// 501 or 553, and not because the mailbox is unknown.
fn is_about_syntax(reply: &Reply) -> bool {
    let unknown = reply
        .status()
        .is_some_and(|status| (status.subject(), status.detail()) == (1, 1));
    matches!(reply.code().number(), 501 | 553) && !unknown
}
