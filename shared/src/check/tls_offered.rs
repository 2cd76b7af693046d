//! STARTTLS is offered, and the offer is honest (RFC 3207 §4).

use super::observe::{Class, argument};
use super::{
    Check, Context, Evidence, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script,
    Setting, Severity, Step, Stop,
};
use crate::command::Verb;
use crate::diagnosis::{Phase, advise};
use crate::recording::{Dialogue, Exchange};

const ID: &str = "tls-offered";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Tls,
    question: "Is STARTTLS offered, and does it work?",
    severity: Severity::High,
    safety: Safety::Passive,
    stop: Stop::PreData,
    needs: "",
    references: &["RFC 3207 §4", "RFC 3207 §4.1", "RFC 7435"],
    localhost: On::NotJudged,
    remote: On::Judged("offered, and the handshake succeeds"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_tls_security_level = may; smtpd_tls_chain_files, or smtpd_tls_cert_file and smtpd_tls_key_file",
        ),
        (
            Mta::Exim,
            "tls_advertise_hosts, tls_certificate, tls_privatekey (readable by Exim's user; Debian: MAIN_TLS_ENABLE)",
        ),
        (
            Mta::OpenSmtpd,
            "pki NAME cert and key, and listen … tls pki NAME",
        ),
        (
            Mta::Sendmail,
            "confSERVER_CERT, confSERVER_KEY (mode 0600), confCACERT",
        ),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let name = setting.facts.helo();
    let honest = Script::new(ID, "a").ehlo(name).step(Step::StartTls).quit();
    let argument = setting
        .offers("STARTTLS")
        .then(|| Script::new(ID, "b").ehlo(name).say("STARTTLS x").quit());
    [honest].into_iter().chain(argument).collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut outcomes = Vec::new();
    for (_, dialogue) in leg.dialogues_for(ID) {
        if dialogue.implicit_tls {
            outcomes.push(Outcome::info("this port speaks TLS from the first byte"));
            continue;
        }
        outcomes.extend(offer(dialogue));
        outcomes.extend(with_argument(dialogue));
    }
    Finding::worst(outcomes, "not asked on this leg")
}

/// The EHLO reply outside TLS that decides, with the line that offers STARTTLS.
pub(super) fn plain_hello(dialogue: &Dialogue) -> Option<(&Exchange, bool)> {
    let hello = dialogue.exchanges.iter().rev().find(|exchange| {
        exchange.said.verb() == Some(&Verb::Ehlo)
            && !exchange.in_tls
            && Class::of(dialogue, exchange) == Class::Accepted
    })?;
    let mut keywords = hello.reply()?.lines().skip(1);
    Some((
        hello,
        keywords.any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")),
    ))
}

fn offer(dialogue: &Dialogue) -> Option<Outcome> {
    let (hello, offered) = plain_hello(dialogue)?;
    let asked = dialogue.exchanges.iter().find(|exchange| {
        exchange.said.verb() == Some(&Verb::StartTls) && argument(&exchange.said).is_empty()
    });
    match asked {
        Some(asked) => Some(answer(dialogue, asked, offered)),
        None if offered => None,
        None => {
            let port = dialogue.server.map_or(25, |server| server.port());
            let severity = if port == 587 {
                Severity::High
            } else {
                Severity::Medium
            };
            Some(
                Outcome::fail(severity, "STARTTLS is not offered")
                    .seen(Evidence::of(dialogue, hello)),
            )
        }
    }
}

fn answer(dialogue: &Dialogue, asked: &Exchange, offered: bool) -> Outcome {
    let seen = Evidence::of(dialogue, asked);
    let outcome = match Class::of(dialogue, asked) {
        Class::Accepted if !offered => {
            Outcome::info("STARTTLS is not announced but works: see tls-strip")
        }
        Class::Accepted => match dialogue.handshakes.first() {
            Some(handshake) if handshake.ok => Outcome::pass("offered, and the handshake succeeds"),
            Some(_) => Outcome::fail(Severity::High, "offered, but the handshake fails"),
            None => Outcome::inconclusive("offered, but no handshake was made", "make one"),
        },
        Class::Transient | Class::Permanent if offered => {
            Outcome::fail(Severity::High, "STARTTLS is announced, but refused")
        }
        Class::Transient | Class::Permanent => Outcome::info("neither announced nor possible"),
        _ => Outcome::inconclusive("no usable answer to STARTTLS", "repeat after a pause"),
    };
    let advice = asked
        .reply()
        .filter(|reply| reply.code().is_refusal())
        .and_then(|reply| advise(reply, Phase::StartTls));
    match advice {
        Some(advice) => outcome.seen(seen).advise(advice),
        None => outcome.seen(seen),
    }
}

/// `STARTTLS x` must get 501 (RFC 3207 §4).
fn with_argument(dialogue: &Dialogue) -> Option<Outcome> {
    let asked = dialogue.exchanges.iter().find(|exchange| {
        exchange.said.verb() == Some(&Verb::StartTls) && !argument(&exchange.said).is_empty()
    })?;
    let seen = Evidence::of(dialogue, asked);
    match Class::of(dialogue, asked) {
        Class::Accepted => Some(Outcome::warn("STARTTLS with an argument is accepted").seen(seen)),
        Class::Permanent => Some(Outcome::pass("STARTTLS with an argument is refused").seen(seen)),
        _ => None,
    }
}
