//! Postmaster is reachable in every spelling (RFC 5321 §4.5.1).

use super::observe::{Asked, Parts};
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "rcpt-postmaster";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Does mail for postmaster get in?",
    severity: Severity::High,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local domain",
    references: &["RFC 5321 §4.5.1", "RFC 5321 §2.3.5", "RFC 2142"],
    localhost: On::Judged("accepted"),
    remote: On::Judged("accepted"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "an alias for postmaster, per domain in virtual_alias_maps; check_recipient_access with OK for postmaster before spam rules, after the relay rules",
        ),
        (
            Mta::Exim,
            "a system alias, and `accept local_parts = postmaster, domains = +local_domains` (stock ACL; Debian: CHECK_RCPT_POSTMASTER)",
        ),
        (Mta::OpenSmtpd, "an entry in the aliases table"),
        (
            Mta::Sendmail,
            "an alias; FEATURE(delay_checks, friend) with `Spam:postmaster` entries",
        ),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let Some(domain) = facts.local_domain() else {
        return Vec::new();
    };
    let name = facts.server_name.as_deref().filter(|name| *name != domain);
    let address = facts.server_literal();
    let cases = [
        ("a", Some("postmaster".to_owned())),
        ("b", Some(format!("postmaster@{domain}"))),
        ("c", Some(format!("POSTMASTER@{domain}"))),
        ("d", name.map(|name| format!("postmaster@{name}"))),
        ("f", address.map(|address| format!("postmaster@{address}"))),
    ];
    let mut scripts = setting.ask_each(ID, cases);
    scripts.push(
        Script::new(ID, "null")
            .ehlo(facts.helo())
            .say("MAIL FROM:<>")
            .if_accepted(format!("RCPT TO:<postmaster@{domain}>"))
            .say("RSET")
            .quit(),
    );
    scripts
}

/// Which postmaster is asked for.
enum Form {
    /// Of the domain, or of no domain.
    Required,
    /// Of the host name.
    OfHost,
    /// Of the address.
    OfAddress,
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let outcomes = judge_each(
        ID,
        leg,
        context,
        |asked| form(asked, facts),
        |form, answer| match (form, answer) {
            (_, Answer::Deferred(_)) => None,
            (Form::OfAddress, _) => Some(Outcome::info("the address literal is a matter of taste")),
            (_, Answer::Accepted) => Some(Outcome::pass("accepted")),
            (Form::Required, Answer::Refused(_)) => {
                Some(Outcome::fail(Severity::High, "postmaster is refused"))
            }
            (Form::OfHost, Answer::Refused(_)) => {
                Some(Outcome::warn("postmaster at the server's name is refused"))
            }
        },
    );
    Finding::worst(outcomes, "not asked on this leg")
}

fn form(asked: &Asked<'_>, facts: &Facts) -> Option<Form> {
    let path = asked.recipient();
    let parts = Parts::of(&path);
    if !parts.local.eq_ignore_ascii_case("postmaster") || parts.routed {
        return None;
    }
    let Some(domain) = parts.domain else {
        return Some(Form::Required);
    };
    let local = facts.local_domains.iter();
    if local
        .into_iter()
        .any(|own| own.eq_ignore_ascii_case(domain))
    {
        Some(Form::Required)
    } else if domain.starts_with('[') {
        Some(Form::OfAddress)
    } else {
        facts.is_own(domain).then_some(Form::OfHost)
    }
}
