//! Verbs in any case, unknown verbs, lines that are no commands (RFC 5321 §2.4,
//! §4.2.4).

use super::super::observe::{Class, argument, is_syntax_refusal};
use super::super::turn::{Turn, finding, turns};
use super::super::{
    Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity,
};
use super::ROW;
use crate::command::Verb;

const ID: &str = "proto-verbs";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are verbs known in any case, and unknown ones refused?",
    references: &["RFC 5321 §2.4", "RFC 5321 §4.1.1", "RFC 5321 §4.2.4"],
    localhost: On::Judged("any case accepted, unknown verbs refused with 500, the session goes on"),
    remote: On::Judged("any case accepted, unknown verbs refused with 500, the session goes on"),
    scripts,
    judge,
    cures: &[(
        Mta::Postfix,
        "look at smtpd_forbidden_commands, smtpd_noop_commands and smtpd_command_filter",
    )],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(sender), Some(local)) = (facts.sender(setting.kind), facts.local_mailbox()) else {
        return Vec::new();
    };
    let begin = |case| Script::new(ID, case).ehlo(facts.helo());
    vec![
        Script::new(ID, "case")
            .say(format!("eHlO {}", facts.helo()))
            .say(format!("mAiL fRoM:<{sender}>"))
            .if_accepted(format!("rCpT tO:<{local}>"))
            .say("rSeT")
            .say("nOoP")
            .quit(),
        begin("unknown")
            .say(format!("XHELO-{}", facts.token8()))
            .say("NOOP")
            .say("HELP")
            .quit()
            .once(),
        begin("empty").say("").say("NOOP").quit().once(),
        begin("brackets")
            .say(format!("MAIL FROM:{sender}"))
            .say("RSET")
            .say(format!("MAIL FROM: <{sender}>"))
            .quit(),
    ]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let mut outcomes = Vec::new();
    for (at, turn) in turns.iter().enumerate() {
        let next = turns
            .get(at + 1)
            .filter(|next| next.order.0 == turn.order.0);
        outcomes.extend(in_any_case(turn));
        outcomes.extend(unknown(turn, next));
        outcomes.extend(help(turn));
        outcomes.extend(brackets(turn));
    }
    finding(leg, ID, outcomes)
}

/// A known verb, written in a way that nobody writes it.
fn in_any_case(turn: &Turn<'_>) -> Option<Outcome> {
    let known = turn.verb().filter(|verb| !matches!(verb, Verb::Other(_)))?;
    let line = turn.line();
    let word = line.split([' ', ':']).next().unwrap_or_default();
    let mixed = word.contains(|c: char| c.is_ascii_lowercase())
        && word.contains(|c: char| c.is_ascii_uppercase());
    // Some write Helo and Mail: only what has both in its middle is meant.
    let odd = mixed
        && word
            .get(1..)
            .is_some_and(|rest| rest != rest.to_lowercase());
    if !odd {
        return None;
    }
    let unknown = turn.code().is_some_and(|code| matches!(code, 500 | 502))
        || turn.reply().is_some_and(is_syntax_refusal);
    let outcome = match turn.open() {
        _ if unknown => Outcome::fail(
            Severity::Low,
            format!("{} is not known in any case", known.name()),
        ),
        Some(open) => return Some(open),
        None => Outcome::pass("verbs are known in any case"),
    };
    Some(outcome.seen(turn.evidence()))
}

/// A verb that no server knows, or a line without one, and whether the session
/// goes on.
fn unknown(turn: &Turn<'_>, next: Option<&Turn<'_>>) -> Option<Outcome> {
    let Verb::Other(word) = turn.verb()? else {
        return None;
    };
    if !(word.is_empty() || word.starts_with("XHELO-")) {
        return None;
    }
    let what = if word.is_empty() {
        "an empty line"
    } else {
        "an unknown verb"
    };
    let goes_on = next.is_some_and(|next| next.class == Class::Accepted);
    let outcome = match turn.class {
        Class::Accepted | Class::GoOn if word.is_empty() => {
            Outcome::info("an empty line is accepted")
        }
        Class::Accepted | Class::GoOn => {
            Outcome::fail(Severity::Low, "an unknown verb is accepted")
        }
        // Postfix does so since 3.7, against other protocols.
        Class::Closed | Class::Closing if word.is_empty() => {
            Outcome::info("an empty line ends the session")
        }
        Class::Closed | Class::Closing => Outcome::warn("an unknown verb ends the session"),
        Class::Permanent if goes_on => {
            Outcome::pass(format!("{what} is refused, and the session goes on"))
        }
        Class::Permanent if next.is_none() && word.is_empty() => {
            Outcome::info("an empty line ends the session")
        }
        Class::Permanent => Outcome::warn(format!("after {what} the session does not go on")),
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}

fn help(turn: &Turn<'_>) -> Option<Outcome> {
    if !turn.is(&Verb::Help) {
        return None;
    }
    let outcome = match turn.code() {
        Some(211 | 214 | 500 | 502 | 504) => Outcome::pass("HELP is answered"),
        _ => {
            return turn
                .open()
                .or_else(|| Some(Outcome::warn("an odd answer to HELP").seen(turn.evidence())));
        }
    };
    Some(outcome.seen(turn.evidence()))
}

/// A path without brackets, or after a space: both are known to be accepted.
fn brackets(turn: &Turn<'_>) -> Option<Outcome> {
    if !turn.is(&Verb::Mail) {
        return None;
    }
    let argument = argument(&turn.exchange.said);
    let (_, path) = argument.split_once(':')?;
    let what = match path.trim_start().starts_with('<') {
        true if path.starts_with('<') => return None,
        true => "a space before the reverse-path",
        false => "a reverse-path without brackets",
    };
    let outcome = match turn.class {
        Class::Accepted => Outcome::info(format!("{what} is accepted")),
        Class::Permanent => Outcome::pass(format!("{what} is refused")),
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}
