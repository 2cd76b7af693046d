//! The limit of SIZE is kept (RFC 1870).

use super::observe::{Class, argument};
use super::turn::{Turn, finding, turns};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};
use crate::command::Verb;

const ID: &str = "limit-size";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Limit,
    question: "Is a message refused that says it is larger than the server takes?",
    severity: Severity::Medium,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "SIZE",
    references: &["RFC 1870 §3", "RFC 1870 §6.1", "RFC 5321 §4.5.3.1.7"],
    localhost: On::Judged("552 over the limit"),
    remote: On::Judged("552 over the limit"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "message_size_limit; virtual_mailbox_limit and mailbox_size_limit not smaller",
        ),
        (Mta::Exim, "message_size_limit"),
        (Mta::OpenSmtpd, "smtp max-message-size"),
        (Mta::Sendmail, "confMAX_MESSAGE_SIZE"),
    ],
};

/// So much more than the limit is too much for sure.
const OVER: u64 = 1_000_000;

/// RFC 5321 §4.5.3.1.7: the least that a server must take.
const LEAST: u64 = 64 * 1024;

/// What people expect to be able to send.
const USUAL: u64 = 10_000_000;

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some(limit) = limit(setting.offered.iter().map(String::as_str)) else {
        return Vec::new();
    };
    let over = (limit > 0).then(|| {
        let size = format!(" SIZE={}", limit.saturating_add(OVER));
        setting.mail(ID, "over", &size)
    });
    let scripts = [over.flatten(), setting.mail(ID, "no-number", " SIZE=abc")];
    let scripts = scripts.into_iter().flatten();
    scripts.map(|script| script.say("RSET").quit()).collect()
}

/// The limit in the lines of an EHLO reply; 0 where there is no fixed one.
fn limit<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<u64> {
    lines.find_map(|line| {
        let mut words = line.split(' ');
        let is_size = words.next()?.eq_ignore_ascii_case("SIZE");
        is_size.then(|| words.next().and_then(|word| word.parse().ok()).unwrap_or(0))
    })
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let outcomes = turns.iter().filter_map(outcome).collect();
    finding(leg, ID, outcomes)
}

fn outcome(turn: &Turn<'_>) -> Option<Outcome> {
    if !turn.is(&Verb::Mail) {
        return None;
    }
    let lines = turn.dialogue.extensions_before(turn.order.1);
    let limit = limit(lines.into_iter())?;
    let argument = argument(&turn.exchange.said).to_uppercase();
    let size = argument
        .split(' ')
        .find_map(|word| word.strip_prefix("SIZE="))?;
    let outcome = match (size.parse::<u64>(), turn.class) {
        (Err(_), Class::Accepted) => {
            Outcome::info("a SIZE that is no number is accepted, as by many")
        }
        (Err(_), Class::Permanent) => Outcome::pass("a SIZE that is no number is refused"),
        (Ok(_), _) if limit == 0 => Outcome::info("there is no fixed limit"),
        (Ok(size), _) if size <= limit => return None,
        (Ok(_), Class::Accepted) => Outcome::warn("a message over the limit is refused only later"),
        (Ok(_), _) if limit < LEAST => Outcome::fail(
            Severity::Medium,
            "the limit is lower than a server may have",
        ),
        (Ok(_), class) if class.is_refusal() || turn.code() == Some(452) => {
            if limit < USUAL {
                Outcome::info(format!("refused; the limit of {limit} octets is a low one"))
            } else {
                Outcome::pass("a message over the limit is refused at once")
            }
        }
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}
