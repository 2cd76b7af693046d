//! What a replay prints: a step as it is done, with its differences.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use shared::command::{Verb, auth_mechanism};
use shared::escape::{escape, excerpt};
use shared::recording::{Answer, Dialogue, Exchange, Said};
use shared::replay::{Bound, Difference, Level, groups, shown};
use shared::reply::Reply;
use shared::session::Heard;

use super::junit::Junit;
use super::rewrite::Rewritten;
use crate::cli::{FailOn, Refresh, Replay};
use crate::screen;

/// One exchange as it went.
pub(super) struct Step<'a> {
    /// Its number.
    pub(super) number: usize,
    /// Its line in the recording; 0 for the greeting.
    pub(super) n: u64,
    /// What was said; nothing before the greeting and at the end.
    pub(super) said: Option<&'a Said>,
    /// What was said in its place, if it was rewritten.
    pub(super) instead: Option<&'a [u8]>,
    /// What was answered when it was recorded.
    pub(super) want: Option<&'a Answer>,
    /// What was answered now, or why nothing was.
    pub(super) got: Result<&'a Heard, &'a str>,
    /// What of it is different.
    pub(super) differences: Vec<Difference>,
    /// What of it is the same under another name.
    pub(super) bound: Vec<Bound>,
}

/// One step, as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    session: u64,
    step: usize,
    n: u64,
    said: String,
    want: Option<String>,
    got: Option<String>,
    differences: &'a [Difference],
    #[serde(skip_serializing_if = "<[Bound]>::is_empty")]
    bound: &'a [Bound],
}

/// Prints the steps of the sessions.
pub(super) struct Reporter {
    json: bool,
    session: u64,
    /// From here on a difference fails.
    least: Level,
    /// The worst of all differences.
    worst: Option<Level>,
    junit: Junit,
}

impl Reporter {
    /// Nothing is different yet.
    pub(super) fn new(options: &Replay) -> Self {
        Self {
            json: options.json,
            session: 0,
            least: match options.fail_on {
                FailOn::Fail => Level::Fail,
                FailOn::Warn => Level::Warn,
            },
            worst: None,
            junit: Junit::default(),
        }
    }

    /// Another session begins.
    pub(super) fn session(&mut self, session: u64, address: SocketAddr) {
        self.session = session;
        self.junit.session(session);
        if !self.json {
            screen::print(&format!("session {session} against {address}\n"));
        }
    }

    /// No difference is as bad as to fail.
    pub(super) fn is_same(&self) -> bool {
        self.worst.is_none_or(|worst| worst < self.least)
    }

    /// All of it for a CI system.
    pub(super) fn junit(&self) -> String {
        self.junit.document()
    }

    /// Prints a step.
    pub(super) fn step(&mut self, step: &Step<'_>) {
        let worst = step.differences.iter().map(|one| one.level).max();
        self.worst = self.worst.max(worst);
        let took = step.got.ok().and_then(|heard| heard.took);
        let name = format!("step {} {}", step.number, shown_step(step));
        self.junit.step(name, took, &step.differences, self.least);
        if self.json {
            print_line(&Line {
                schema: 1,
                session: self.session,
                step: step.number,
                n: step.n,
                said: shown_step(step),
                want: wanted(step.want),
                got: step.got.ok().map(|heard| excerpt(&heard.wire, 200)),
                differences: &step.differences,
                bound: &step.bound,
            });
        } else {
            let mut out = String::new();
            write_step(step, &mut out).unwrap_or_default();
            screen::print(&out);
        }
    }

    /// Says something that is no difference, to a person.
    pub(super) fn note(&self, text: &str) {
        if !self.json {
            screen::print(&format!("          note: {text}\n"));
        }
    }
}

fn write_step(step: &Step<'_>, out: &mut String) -> std::fmt::Result {
    let said = shown_step(step);
    writeln!(out, "step {:>3}  C  {said:<48} #{}", step.number, step.n)?;
    let (got, took) = match step.got {
        Ok(heard) => (excerpt(&heard.wire, 60), shown(heard.took)),
        Err(why) => (format!("({why})"), String::new()),
    };
    if step.differences.is_empty() {
        let same = same_after_binding(&step.bound);
        return writeln!(out, "          S  {got:<48} {took}{same}");
    }
    let recorded = step.want.map(|answer| excerpt(&answer.wire, 60));
    let recorded = recorded.unwrap_or_else(|| "(none)".into());
    let before = shown(step.want.and_then(|answer| answer.took));
    writeln!(out, "          S- {recorded:<48} {before}")?;
    writeln!(out, "          S+ {got:<48} {took}")?;
    for one in &step.differences {
        let level = format!("{:?}", one.level).to_uppercase();
        let (want, got) = (escape(one.want.as_bytes()), escape(one.got.as_bytes()));
        writeln!(out, "             {level} {}: {want} > {got}", one.field)?;
    }
    Ok(())
}

/// `   same after binding qid=4F1bC2 / 7AA01c`
fn same_after_binding(bound: &[Bound]) -> String {
    let shown: Vec<String> = bound
        .iter()
        .map(|one| {
            let (want, got) = (escape(one.want.as_bytes()), escape(one.got.as_bytes()));
            format!("{}={want} / {got}", one.name)
        })
        .collect();
    if shown.is_empty() {
        return String::new();
    }
    format!("   same after binding {}", shown.join(", "))
}

/// Prints a session without saying it: its steps, to whom it sends, and how long
/// it took.
pub(super) fn say_what_would_be_said(dialogue: &Dialogue, rewritten: &Rewritten, options: &Replay) {
    let json = options.json;
    let summary = summary(dialogue, rewritten, options);
    let mut out = format!("session {}: {summary}\n", dialogue.session);
    for (index, group) in groups(dialogue).iter().enumerate() {
        for exchange in group.exchanges {
            let said = match rewritten.instead_of(exchange) {
                Some(octets) => shown_instead(&exchange.said, octets),
                None => shown_said(&exchange.said),
            };
            if json {
                print_line(&Line {
                    schema: 1,
                    session: dialogue.session,
                    step: index + 1,
                    n: exchange.n,
                    said,
                    want: wanted(exchange.answers.first()),
                    got: None,
                    differences: &[],
                    bound: &[],
                });
            } else {
                let (step, n) = (index + 1, exchange.n);
                writeln!(out, "step {step:>3}  C  {said:<48} #{n}").unwrap_or_default();
            }
        }
    }
    if !json {
        screen::print(&out);
    }
}

fn summary(dialogue: &Dialogue, rewritten: &Rewritten, options: &Replay) -> String {
    let content = |exchange: &&Exchange| matches!(exchange.said, Said::Content { .. });
    let messages = dialogue.exchanges.iter().filter(content).count();
    let recipients: Vec<String> = dialogue
        .exchanges
        .iter()
        .filter(|exchange| exchange.said.verb() == Some(&Verb::Rcpt))
        .map(|exchange| recipient(exchange, rewritten))
        .collect();
    let to = if recipients.is_empty() {
        "nobody".to_owned()
    } else {
        recipients.join(", ")
    };
    let ended = dialogue.close.as_ref().map(|close| close.at);
    let last = dialogue.exchanges.last().map(|exchange| exchange.at);
    let took = ended
        .or(last)
        .map_or(Duration::ZERO, |end| end - dialogue.at);
    let mut anew: Vec<&str> = Vec::new();
    for what in &options.refresh {
        anew.push(match what {
            Refresh::Date => "Date",
            Refresh::Msgid => "Message-ID",
        });
    }
    let anew = if anew.is_empty() {
        String::new()
    } else {
        format!("; made anew: {}", anew.join(", "))
    };
    format!(
        "messages: {messages}, recipients: {to}; it took {:.3} s{anew}",
        took.as_secs_f64()
    )
}

/// What follows `RCPT TO:`, and what it becomes.
fn recipient(exchange: &Exchange, rewritten: &Rewritten) -> String {
    let path = |line: &str| {
        let path = line.split_once(':').map_or("", |(_, path)| path.trim());
        path.to_owned()
    };
    let recorded = path(&shown_said(&exchange.said));
    match rewritten.instead_of(exchange) {
        Some(line) => format!("{} (not {recorded})", path(&excerpt(line, 60))),
        None => recorded,
    }
}

/// What is said in place of what was recorded.
fn shown_instead(said: &Said, octets: &[u8]) -> String {
    match said {
        Said::Content { .. } => format!("({} octets of mail data, rewritten)", octets.len()),
        _ => excerpt(octets, 60),
    }
}

fn shown_step(step: &Step<'_>) -> String {
    match step.said {
        Some(said) => step
            .instead
            .map_or_else(|| shown_said(said), |octets| shown_instead(said, octets)),
        None if step.number == 0 => "(connects)".into(),
        None => "(the connection)".into(),
    }
}

fn shown_said(said: &Said) -> String {
    match said {
        // Recorded or not, no secret is printed.
        Said::Command {
            verb: Verb::Auth,
            line,
            ..
        } => {
            let mechanism = auth_mechanism(line).unwrap_or_default();
            format!("AUTH {} (anew)", escape(mechanism.as_bytes()))
        }
        Said::Sasl { .. } => "(a line of AUTH)".into(),
        Said::Command { line, .. } => excerpt(line, 60),
        Said::Content { wire, .. } => format!("({} octets of mail data)", wire.len()),
        Said::Raw { octets, why } => format!("({octets} raw octets: {why})"),
    }
}

fn wanted(want: Option<&Answer>) -> Option<String> {
    want.and_then(|answer| answer.reply.as_ref())
        .map(Reply::to_string)
}

fn print_line(line: &Line<'_>) {
    if let Ok(text) = serde_json::to_string(line) {
        screen::print(&(text + "\n"));
    }
}
