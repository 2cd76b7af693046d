//! The server's own Received field tells the truth (RFC 5321 §4.4, RFC 3848).

use std::net::IpAddr;

use super::leg_masked::is_inside;
use super::received::Received;
use super::{
    Arrival, Check, Context, Evidence, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety,
    Setting, Severity, Stop,
};
use crate::recording::{Dialogue, Said};

const ID: &str = "trace-headers";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Trace,
    question: "Does the Received field say who sent the message, to whom, and how?",
    severity: Severity::Medium,
    safety: Safety::Harmless,
    stop: Stop::SelfMessage,
    needs: "access to the mailbox",
    references: &["RFC 5321 §4.4", "RFC 3848", "RFC 8601 §5"],
    localhost: On::Judged("the client's address, the server's name, the protocol used"),
    remote: On::Judged("the client's address, the server's name, the protocol used"),
    authenticated: On::Judged("the client's address, the server's name, the protocol used"),
    scripts: |_: &Setting<'_>| Vec::new(),
    judge,
    cures: &[
        (
            Mta::Postfix,
            "myhostname; smtpd_tls_received_header, smtpd_sasl_authenticated_header",
        ),
        (
            Mta::Exim,
            "received_header_text, return_path_add, primary_hostname",
        ),
        (
            Mta::OpenSmtpd,
            "listen … hostname; mask-src only for submission",
        ),
        (Mta::Sendmail, "confRECEIVED_HEADER, confDOMAIN_NAME"),
    ],
};

/// The messages of the deliveries that arrived are looked at; none is sent for this.
fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let outcomes = leg
        .arrivals
        .iter()
        .filter(|arrival| arrival.found)
        .filter_map(|arrival| Some((arrival, arrival.received.first()?)))
        .flat_map(|(arrival, field)| trace(leg, arrival, field))
        .collect();
    Finding::worst(outcomes, "no message was found in the mailbox")
}

fn trace(leg: &Leg<'_>, arrival: &Arrival, field: &str) -> Vec<Outcome> {
    let received = Received::parse(field);
    let delivery = leg
        .dialogues
        .iter()
        .copied()
        .find(|dialogue| carried(dialogue, arrival));
    let client = delivery
        .or_else(|| leg.dialogues.first().copied())
        .and_then(|dialogue| dialogue.client)
        .map(|client| client.ip().to_canonical());
    let mut outcomes = vec![
        client_outcome(received.client, client),
        name_outcome(received.by),
    ];
    outcomes.extend(delivery.and_then(|delivery| with_outcome(received.with?, delivery)));
    outcomes
        .into_iter()
        .map(|outcome| outcome.seen(Evidence::text("Received", field)))
        .collect()
}

/// The dialogue in which the message was sent.
fn carried(dialogue: &Dialogue, arrival: &Arrival) -> bool {
    let same = |fact: &str, value: &Option<String>| dialogue.facts.get(fact) == value.as_ref();
    same("check", &arrival.check)
        && same("case", &arrival.case)
        && content_in_tls(dialogue).is_some()
}

fn content_in_tls(dialogue: &Dialogue) -> Option<bool> {
    let content = dialogue.exchanges.iter().rev();
    content
        .into_iter()
        .find(|exchange| matches!(exchange.said, Said::Content { .. }))
        .map(|exchange| exchange.in_tls)
}

fn client_outcome(seen: Option<IpAddr>, client: Option<IpAddr>) -> Outcome {
    match (seen, client) {
        (None, _) => Outcome::fail(Severity::Medium, "the client's address is missing"),
        (Some(seen), Some(client)) if seen == client => Outcome::pass("the field tells the truth"),
        (Some(seen), Some(client)) if is_inside(seen) || !is_inside(client) => {
            Outcome::fail(Severity::Medium, format!("the client is said to be {seen}"))
                .advise("see leg-masked")
        }
        (Some(_), _) => Outcome::pass("the field tells the truth"),
    }
}

fn name_outcome(by: Option<&str>) -> Outcome {
    match by {
        None => Outcome::warn("the server does not name itself"),
        Some(by) if by.starts_with("localhost") || !by.contains('.') => {
            Outcome::warn(format!("the server calls itself {by}"))
        }
        Some(_) => Outcome::pass("the field tells the truth"),
    }
}

/// ESMTPS says TLS, ESMTP says none (RFC 3848).
fn with_outcome(with: &str, delivery: &Dialogue) -> Option<Outcome> {
    let with = with.to_ascii_uppercase();
    let kind = with.strip_prefix("UTF8").unwrap_or(&with);
    let says_tls = match kind {
        "SMTP" | "ESMTP" | "ESMTPA" => false,
        "SMTPS" | "ESMTPS" | "ESMTPSA" => true,
        _ => return None,
    };
    if says_tls == content_in_tls(delivery)? {
        Some(Outcome::pass("the field tells the truth"))
    } else {
        Some(Outcome::warn(format!("the protocol is said to be {with}")))
    }
}
