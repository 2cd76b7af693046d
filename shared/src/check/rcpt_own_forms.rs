//! Unusual spellings of an address of the server's own.

use super::observe::{Asked, Parts, argument};
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "rcpt-own-forms";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Are unusual spellings of an own address handled sanely?",
    severity: Severity::Low,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local mailbox",
    references: &["RFC 5321 §3.6.1", "RFC 5321 §4.1.3", "RFC 5321 Appendix C"],
    localhost: On::Judged("empty paths and domains refused"),
    remote: On::Judged("empty paths and domains refused"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "resolve_null_domain = no; proxy_interfaces for the address literal behind NAT; append_at_myorigin; remote_header_rewrite_domain",
        ),
        (
            Mta::Exim,
            "allow_domain_literals, recipient_unqualified_hosts, strip_trailing_dot",
        ),
        (Mta::Sendmail, "address literals in class w"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(local)) = (&facts.local_user, facts.local_mailbox()) else {
        return Vec::new();
    };
    let name = facts.server_name.as_ref();
    let foreign = facts.foreign_domain.as_ref();
    let address = facts.server_literal();
    let cases = [
        ("a", name.map(|name| format!("@{name}:{local}"))),
        ("b", foreign.map(|foreign| format!("@{foreign}:{local}"))),
        ("c", address.map(|address| format!("{user}@{address}"))),
        ("d", Some(user.clone())),
        ("e", Some(format!("{local}."))),
        ("f", Some(format!("{user}@localhost"))),
        ("g", Some(format!("{user}@"))),
        ("h", Some(String::new())),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let outcomes = judge_each(
        ID,
        leg,
        context,
        |asked| form(asked, facts),
        |form, answer| match (form, answer) {
            (_, Answer::Deferred(_)) => None,
            (EMPTY, Answer::Accepted) => Some(Outcome::fail(
                Severity::Low,
                "an empty forward-path is accepted",
            )),
            (NO_DOMAIN, Answer::Accepted) => {
                Some(Outcome::warn("an address with an empty domain is accepted"))
            }
            (EMPTY | NO_DOMAIN, Answer::Refused(_)) => Some(Outcome::pass("refused")),
            (form, Answer::Accepted) => Some(Outcome::info(format!("{form} is accepted"))),
            (form, Answer::Refused(_)) => Some(Outcome::info(format!("{form} is refused"))),
        },
    );
    Finding::worst(outcomes, "not asked on this leg")
}

/// What the form of a forward-path is called.
fn form(asked: &Asked<'_>, facts: &Facts) -> Option<&'static str> {
    let path = asked.recipient();
    if path.is_empty() {
        return argument(&asked.rcpt.said).ends_with("<>").then_some(EMPTY);
    }
    let parts = Parts::of(&path);
    if facts.local_user.as_deref() != Some(parts.local) {
        return None;
    }
    match parts.domain {
        None => Some("a local-part alone"),
        Some("") => Some(NO_DOMAIN),
        Some(domain) if !facts.is_own(domain) => None,
        Some(_) if parts.routed => Some("a source route to an own address"),
        Some(domain) if domain.starts_with('[') => Some("the address literal"),
        Some(domain) if domain.ends_with('.') => Some("a domain with a final dot"),
        Some(domain) => domain
            .eq_ignore_ascii_case("localhost")
            .then_some("the domain localhost"),
    }
}

const EMPTY: &str = "an empty path";
const NO_DOMAIN: &str = "an empty domain";
