//! The greeting: in time, well-formed, naming the server (RFC 5321 §3.1, §4.2).

use std::time::Duration;

use super::observe::Class;
use super::{
    Check, Context, Evidence, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Setting,
    Severity, Stop,
};
use crate::diagnosis::{Phase, advise};
use crate::recording::Dialogue;

pub(super) const CHECK: Check = Check {
    id: "conn-banner",
    group: Group::Conn,
    question: "Does the server greet in time, with 220 and its full name?",
    severity: Severity::Medium,
    safety: Safety::Passive,
    stop: Stop::PreData,
    needs: "",
    references: &[
        "RFC 5321 §3.1",
        "RFC 5321 §4.2",
        "RFC 5321 §4.3.1",
        "RFC 5321 §4.5.3.2.1",
        "RFC 7504",
    ],
    localhost: On::Judged("220 and a full name"),
    remote: On::Judged("220 and a full name"),
    authenticated: On::Judged("220 and a full name"),
    scripts: |_: &Setting<'_>| Vec::new(),
    judge,
    cures: &[
        (
            Mta::Postfix,
            "set myhostname; smtpd_banner must begin with it",
        ),
        (
            Mta::Exim,
            "set primary_hostname; smtp_active_hostname and smtp_banner must begin with it",
        ),
        (Mta::OpenSmtpd, "listen on … hostname mx.example.net"),
        (
            Mta::Sendmail,
            "set confDOMAIN_NAME; confSMTP_LOGIN_MSG must begin with $j",
        ),
    ],
};

/// Every dialogue of the leg has a greeting, so every one is looked at. Once
/// the server has greeted, a later refusal is its answer to many connections.
fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut greeted = false;
    let mut outcomes = Vec::new();
    for dialogue in &leg.dialogues {
        let Some(outcome) = greeting(dialogue, greeted) else {
            continue;
        };
        greeted |= dialogue_greets(dialogue);
        if !outcomes
            .iter()
            .any(|known: &Outcome| known.text == outcome.text)
        {
            outcomes.push(outcome);
        }
    }
    Finding::worst(outcomes, "no greeting in this recording")
}

fn dialogue_greets(dialogue: &Dialogue) -> bool {
    let reply = dialogue
        .greeting
        .as_ref()
        .and_then(|greeting| greeting.reply.as_ref());
    reply.is_some_and(|reply| reply.code().is_positive())
}

fn greeting(dialogue: &Dialogue, greeted: bool) -> Option<Outcome> {
    let Some(answer) = &dialogue.greeting else {
        // Nothing was heard: only where that is known for certain it says something.
        dialogue.close.as_ref()?;
        if !dialogue.exchanges.is_empty() {
            return None;
        }
        return Some(silent(dialogue, greeted));
    };
    let seen = Evidence::greeting(dialogue);
    let Some(reply) = &answer.reply else {
        let tls = matches!(answer.wire.first(), Some(0x15 | 0x16));
        return Some(if tls {
            Outcome::fail(Severity::Medium, "the port expects TLS from the first byte").seen(seen)
        } else {
            Outcome::fail(Severity::Medium, "the greeting is no SMTP reply").seen(seen)
        });
    };
    let outcome = match Class::of_reply(reply) {
        Class::Accepted => {
            let took = answer
                .took
                .map_or(answer.at - dialogue.at, Duration::from_nanos);
            positive(reply.first_line(), took)
        }
        Class::Permanent if !greeted => {
            Outcome::fail(Severity::Medium, "the greeting is a refusal")
        }
        _ => Outcome::inconclusive(
            "the server does not take the connection now",
            "repeat after a pause, and more slowly",
        ),
    };
    Some(
        Outcome {
            advice: outcome
                .advice
                .into_iter()
                .chain(advise(reply, Phase::Greeting))
                .collect(),
            ..outcome
        }
        .seen(seen),
    )
}

fn silent(dialogue: &Dialogue, greeted: bool) -> Outcome {
    let next = "look into the server's log: the listener is alive, the service behind it is not, or the port expects TLS at once";
    if greeted {
        Outcome::inconclusive("a later connection got no greeting", "repeat more slowly")
    } else {
        Outcome::fail(Severity::Medium, "connected, but no greeting").advise(next)
    }
    .seen(Evidence::greeting(dialogue))
}

fn positive(text: &str, took: Duration) -> Outcome {
    let name = text.split(' ').next().unwrap_or_default();
    let local = ["localhost", "localhost.localdomain"];
    if !name.contains('.') || local.iter().any(|local| local.eq_ignore_ascii_case(name)) {
        return Outcome::warn("the greeting does not begin with the server's full name");
    }
    if took > SLOW {
        return Outcome::warn(format!("the greeting took {} s", took.as_secs()))
            .advise("look for ident queries a firewall drops, a slow resolver, or a tarpit");
    }
    Outcome::pass("220 and a full name")
}

/// Beyond this, clients in a hurry have left.
const SLOW: Duration = Duration::from_secs(10);
