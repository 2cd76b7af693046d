//! Line ends and NUL in commands (RFC 5321 §2.3.8).

use super::super::observe::Class;
use super::super::turn::{Turn, finding, turns};
use super::super::{
    Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity,
};
use super::ROW;
use crate::recording::{Answer, Said};

const ID: &str = "proto-octets";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are commands with NUL refused, and a bare CR not taken for a line end?",
    severity: Severity::Medium,
    references: &["RFC 5321 §2.3.8", "RFC 5321 §2.3.7", "RFC 5321 §4.1.1"],
    localhost: On::Judged("NUL refused, CR alone ends no command"),
    remote: On::Judged("NUL refused, CR alone ends no command"),
    scripts,
    judge,
    cures: &[(Mta::Sendmail, "confREJECT_NUL, where it is built in")],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let begin = |case| Script::new(ID, case).ehlo(facts.helo());
    let domain = facts.foreign_domain.as_deref().unwrap_or("example.com");
    // Whether the first line end counts shows in what QUIT is answered: nobody has to
    // wait for a reply that may not come.
    let ends = |case, octets: &'static str| begin(case).octets(octets, 1).quit().once();
    let nul = |case, octets: String| begin(case).octets(octets, 1).quit().once();
    vec![
        ends("lf", "RSET\nRSET\r\n"),
        ends("cr", "RSET\rRSET\r\n"),
        nul("nul-verb", "NO\0OP\r\n".into()),
        nul("nul-path", format!("MAIL FROM:<a\0b@{domain}>\r\n")),
    ]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let outcomes = turns.iter().filter_map(|turn| {
        let Said::Command { line, .. } = &turn.exchange.said else {
            return None;
        };
        if line.contains(&0) {
            return nul(turn);
        }
        let ours = turn.dialogue.facts.get("check").is_some_and(|id| id == ID);
        let first = ours && turn.order.1 == 1 && !line.is_empty();
        first.then(|| line_end(turn)).flatten()
    });
    finding(leg, ID, outcomes.collect())
}

fn nul(turn: &Turn<'_>) -> Option<Outcome> {
    let outcome = match turn.class {
        Class::Accepted => Outcome::warn("a command with NUL is accepted")
            .advise("what stands after it may be lost, and a filter may not see it"),
        class if class.is_refusal() || class.is_end() => {
            Outcome::pass("a command with NUL is refused")
        }
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}

/// RSET, an odd line end, RSET, CRLF: two commands or one?
fn line_end(turn: &Turn<'_>) -> Option<Outcome> {
    let said = String::from_utf8(
        turn.dialogue
            .exchanges
            .iter()
            .filter_map(|exchange| match &exchange.said {
                Said::Command { line, .. } => Some(line.clone()),
                _ => None,
            })
            .collect::<Vec<_>>()
            .concat(),
    )
    .ok()?;
    let alone = if said.contains("RSET\rRSET") {
        "CR"
    } else if said.contains("RSET\nRSET") {
        "LF"
    } else {
        return None;
    };
    if turn.class != Class::Accepted && !turn.class.is_refusal() {
        return turn.open();
    }
    let asked = turn.dialogue.exchanges.iter().skip(1);
    let mut answers: Vec<_> = asked
        .flat_map(|exchange| &exchange.answers)
        .chain(&turn.dialogue.unsolicited)
        .collect();
    answers.sort_by_key(|answer| answer.n);
    let code = |answer: &&Answer| answer.reply.as_ref().map(|reply| reply.code().number());
    let codes: Vec<u16> = answers.iter().filter_map(code).collect();
    let two = matches!(codes[..], [_, second, ..] if second != 221);
    let outcome = match (alone, two) {
        ("LF", true) => Outcome::info("LF alone ends a command, as with most servers"),
        ("CR", true) => Outcome::warn("CR alone ends a command"),
        _ => Outcome::pass(format!("{alone} alone does not end a command")),
    };
    Some(outcome.seen(turn.evidence()))
}
