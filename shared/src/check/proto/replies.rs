//! Every reply of a leg is well-formed (RFC 5321 §4.2, RFC 2034 §4).

use super::super::observe::words;
use super::super::{
    Check, Context, Evidence, Facts, Finding, Leg, Mta, On, Outcome, Safety, Severity,
};
use super::ROW;
use crate::command::Verb;
use crate::deviation::Deviation;
use crate::recording::{Answer, Dialogue, Exchange};
use crate::reply::Reply;

const ID: &str = "proto-replies";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Is every reply well-formed?",
    safety: Safety::Passive,
    references: &[
        "RFC 5321 §4.2",
        "RFC 5321 §4.2.1",
        "RFC 2034 §4",
        "RFC 3463 §2",
    ],
    localhost: On::Judged("well-formed, with enhanced status codes where they are offered"),
    remote: On::Judged("well-formed, with enhanced status codes where they are offered"),
    judge,
    cures: &[
        (
            Mta::Postfix,
            "begin the texts of your own access tables with an enhanced status code",
        ),
        (
            Mta::Exim,
            "begin the messages of your own ACLs with one, as in message = 550 5.7.1 …",
        ),
        (Mta::Sendmail, "give your own rules $#error $@ codes"),
    ],
    ..ROW
};

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut outcomes = Vec::new();
    let mut replies = 0_usize;
    for dialogue in &leg.dialogues {
        let greeting = dialogue.greeting.iter();
        for answer in greeting {
            replies += 1;
            let found = form(answer);
            outcomes.extend(found.map(|found| found.seen(Evidence::greeting(dialogue))));
        }
        for answer in &dialogue.unsolicited {
            replies += 1;
            outcomes
                .extend(form(answer).map(|found| found.seen(Evidence::alone(dialogue, answer))));
        }
        for (at, exchange) in dialogue.exchanges.iter().enumerate() {
            for answer in &exchange.answers {
                replies += 1;
                let found = form(answer)
                    .or_else(|| codes(answer, (dialogue, at, exchange)))
                    .or_else(|| answer.reply.as_ref().and_then(meaning));
                outcomes.extend(found.map(|found| found.seen(Evidence::of(dialogue, exchange))));
            }
        }
    }
    if replies == 0 {
        return Finding::skip("no replies on this leg");
    }
    if outcomes.is_empty() {
        outcomes.push(Outcome::pass(format!("{replies} replies are well-formed")));
    }
    let mut finding = Finding::worst(outcomes, "");
    // One is enough to see what is meant; a server says the same a hundred times.
    finding.evidence.truncate(5);
    finding
}

/// The octets of a reply.
fn form(answer: &Answer) -> Option<Outcome> {
    let lines: Vec<&[u8]> = answer
        .wire
        .split_inclusive(|&octet| octet == b'\n')
        .collect();
    let code = |line: &&[u8]| line.get(..3).map(<[u8]>::to_vec);
    let first = lines.first().and_then(code);
    let longest = lines
        .iter()
        .map(|line| line.len())
        .max()
        .unwrap_or_default();
    if answer.reply.is_none() || first.as_ref().is_none_or(|code| !is_code(code)) {
        return Some(Outcome::fail(Severity::Low, "an answer is no reply"));
    }
    let changed = answer.deviations.contains(&Deviation::CodeChanged);
    if changed || lines.iter().any(|line| code(line) != first) {
        return Some(Outcome::fail(
            Severity::Low,
            "the code changes within a reply",
        ));
    }
    if longest > 8192 {
        return Some(Outcome::fail(
            Severity::Low,
            "a line of a reply is longer than 8192 octets",
        ));
    }
    if lines.iter().any(|line| !line.ends_with(b"\r\n")) {
        return Some(Outcome::warn("a line of a reply does not end in CRLF"));
    }
    if longest > 512 {
        return Some(Outcome::warn("a line of a reply is longer than 512 octets"));
    }
    let control = |octet: &u8| octet.is_ascii_control() && !matches!(octet, b'\r' | b'\n' | b'\t');
    if answer.wire.iter().any(control) {
        return Some(Outcome::warn("a reply has control characters"));
    }
    None
}

fn is_code(code: &[u8]) -> bool {
    matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'])
}

/// The enhanced status codes, where they are offered: in all but 3yz, the greeting
/// and the answer to EHLO or HELO (RFC 2034 §4).
fn codes(
    answer: &Answer,
    (dialogue, at, exchange): (&Dialogue, usize, &Exchange),
) -> Option<Outcome> {
    let reply = answer.reply.as_ref()?;
    let number = reply.code().number();
    let class = |line: &str| {
        let word = line.split(' ').next().unwrap_or_default();
        let mut parts = word.split('.');
        let class: u16 = parts.next()?.parse().ok()?;
        let rest: Vec<Option<u16>> = parts.map(|part| part.parse().ok()).collect();
        (rest.len() == 2 && rest.iter().all(Option::is_some)).then_some(class)
    };
    let is_hello = matches!(
        exchange.said.verb(),
        Some(Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Xclient)
    );
    let text = String::from_utf8_lossy(&answer.wire);
    let classes: Vec<Option<u16>> = text
        .lines()
        .map(|line| class(line.get(4..).unwrap_or_default()))
        .collect();
    let wrong = classes
        .iter()
        .flatten()
        .any(|class| matches!(class, 2 | 4 | 5) && *class != number / 100);
    if wrong && !is_hello {
        return Some(Outcome::fail(
            Severity::Low,
            "the class of an enhanced status code is not that of the reply",
        ));
    }
    let lines = dialogue.extensions_before(at);
    let offered = lines
        .iter()
        .any(|line| line.eq_ignore_ascii_case("ENHANCEDSTATUSCODES"));
    let exempt = is_hello || number / 100 == 3;
    (offered && !exempt && classes.first().is_none_or(Option::is_none))
        .then(|| Outcome::warn("an enhanced status code is missing, though they are offered"))
}

/// A cause that will pass, said as for good, or the other way round.
fn meaning(reply: &Reply) -> Option<Outcome> {
    let words = words(reply);
    let says = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    match reply.code().number() / 100 {
        5 if says(&["try again later", "greylist", "graylist"]) => {
            Some(Outcome::warn("a temporary cause is said to be permanent"))
        }
        4 if says(&["relay access denied", "user unknown"]) => {
            Some(Outcome::warn("a permanent cause is said to be temporary"))
        }
        _ => None,
    }
}
