//! EHLO works, HELO works as a fallback, and nothing on the way rewrites them
//! (RFC 5321 §4.1.1.1, §4.1.4).

use super::observe::{Class, argument};
use super::{
    Check, Context, Evidence, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script,
    Setting, Severity, Stop,
};
use crate::command::Verb;
use crate::diagnosis::{Phase, advise};
use crate::reply::Reply;

const ID: &str = "conn-ehlo";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Conn,
    question: "Do EHLO and HELO work, with the extensions unaltered?",
    severity: Severity::Medium,
    safety: Safety::Passive,
    stop: Stop::PreData,
    needs: "",
    references: &["RFC 5321 §4.1.1.1", "RFC 5321 §4.1.4", "RFC 5321 §2.2"],
    localhost: On::Judged("EHLO and HELO accepted, EHLO without a name refused"),
    remote: On::Judged("EHLO and HELO accepted, EHLO without a name refused"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "look at smtpd_discard_ehlo_keywords and smtpd_discard_ehlo_keyword_address_maps; switch off SMTP inspection in the firewall",
        ),
        (
            Mta::Exim,
            "look at the *_advertise_hosts options; switch off SMTP inspection in the firewall",
        ),
        (
            Mta::Sendmail,
            "look at confPRIVACY_FLAGS and the srv_features ruleset; switch off SMTP inspection in the firewall",
        ),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let name = setting.facts.helo();
    vec![
        Script::new(ID, "ehlo").ehlo(name).quit(),
        Script::new(ID, "helo").say(format!("HELO {name}")).quit(),
        Script::new(ID, "bare").say("EHLO").ehlo(name).quit(),
    ]
}

/// The three ways to say hello, each with its first answer.
#[derive(Default)]
struct Heard {
    ehlo: Option<(Class, Option<Reply>, Evidence)>,
    helo: Option<(Class, Option<Reply>, Evidence)>,
    bare: Option<(Class, Option<Reply>, Evidence)>,
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut heard = Heard::default();
    for (_, dialogue) in leg.dialogues_for(ID) {
        for exchange in dialogue
            .exchanges
            .iter()
            .filter(|exchange| !exchange.in_tls)
        {
            let slot = match exchange.said.verb() {
                Some(Verb::Ehlo) if argument(&exchange.said).is_empty() => &mut heard.bare,
                Some(Verb::Ehlo) => &mut heard.ehlo,
                Some(Verb::Helo) => &mut heard.helo,
                _ => continue,
            };
            let class = Class::of(dialogue, exchange);
            if slot.as_ref().is_none_or(|(before, ..)| before.is_open()) {
                let seen = Evidence::of(dialogue, exchange);
                *slot = Some((class, exchange.reply().cloned(), seen));
            }
        }
    }
    let outcomes = [ehlo(&heard), helo(&heard), bare(&heard)];
    Finding::worst(
        outcomes.into_iter().flatten().collect(),
        "not asked on this leg",
    )
}

fn ehlo(heard: &Heard) -> Option<Outcome> {
    let (class, reply, seen) = heard.ehlo.as_ref()?;
    let helo_works = heard
        .helo
        .as_ref()
        .is_some_and(|(class, ..)| *class == Class::Accepted);
    let outcome = match class {
        Class::Accepted if reply.as_ref().is_some_and(is_masked) => {
            Outcome::warn("extensions are masked on the way").advise(MIDDLEBOX)
        }
        Class::Accepted => Outcome::pass("EHLO is accepted"),
        Class::Permanent if helo_works => {
            Outcome::warn("EHLO is refused, HELO is accepted").advise(MIDDLEBOX)
        }
        Class::Permanent => Outcome::fail(Severity::Medium, "EHLO is refused"),
        _ => Outcome::inconclusive("no usable answer to EHLO", "repeat after a pause"),
    };
    let outcome = outcome.seen(seen.clone());
    Some(match reply.as_ref().filter(|_| *class != Class::Accepted) {
        Some(reply) => match advise(reply, Phase::Ehlo) {
            Some(advice) => outcome.advise(advice),
            None => outcome,
        },
        None => outcome,
    })
}

fn helo(heard: &Heard) -> Option<Outcome> {
    let (class, _, seen) = heard.helo.as_ref()?;
    let outcome = match class {
        Class::Accepted => Outcome::pass("HELO is accepted"),
        Class::Permanent => Outcome::warn("HELO is refused"),
        _ => Outcome::inconclusive("no usable answer to HELO", "repeat after a pause"),
    };
    Some(outcome.seen(seen.clone()))
}

fn bare(heard: &Heard) -> Option<Outcome> {
    let (class, _, seen) = heard.bare.as_ref()?;
    let outcome = match class {
        Class::Permanent => Outcome::pass("EHLO without a name is refused"),
        Class::Accepted => Outcome::warn("EHLO without a name is accepted"),
        _ => Outcome::inconclusive(
            "no usable answer to EHLO without a name",
            "repeat after a pause",
        ),
    };
    Some(outcome.seen(seen.clone()))
}

/// Firewalls overwrite keywords with X: `XXXXXXXA` was STARTTLS.
pub(super) fn is_masked(reply: &Reply) -> bool {
    reply.lines().skip(1).any(|line| {
        let keyword = line.split([' ', '=']).next().unwrap_or_default();
        keyword.starts_with("XXXX") || keyword.eq_ignore_ascii_case("X-STARTTLS")
    })
}

const MIDDLEBOX: &str = "compare with what localhost hears: a firewall that inspects SMTP rewrites commands and replies";
