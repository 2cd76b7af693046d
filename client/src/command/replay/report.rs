//! What a replay prints: a step as it is done, with its differences.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use shared::command::Verb;
use shared::escape::{escape, excerpt};
use shared::recording::{Answer, Dialogue, Exchange, Said};
use shared::replay::{Difference, Level, groups, shown};
use shared::reply::Reply;
use shared::session::Heard;

use crate::screen;

/// One exchange as it went.
pub(super) struct Step<'a> {
    /// Its number.
    pub(super) number: usize,
    /// Its line in the recording; 0 for the greeting.
    pub(super) n: u64,
    /// What was said; nothing before the greeting.
    pub(super) said: Option<&'a Said>,
    /// What was answered when it was recorded.
    pub(super) want: Option<&'a Answer>,
    /// What was answered now, or why nothing was.
    pub(super) got: Result<&'a Heard, &'a str>,
    /// What of it is different.
    pub(super) differences: Vec<Difference>,
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
}

/// Prints the steps of one session.
pub(super) struct Reporter {
    pub(super) json: bool,
    pub(super) session: u64,
    /// The worst of all differences.
    pub(super) worst: Option<Level>,
}

impl Reporter {
    /// Prints a step.
    pub(super) fn step(&mut self, step: &Step<'_>) {
        let worst = step.differences.iter().map(|one| one.level).max();
        self.worst = self.worst.max(worst);
        if self.json {
            print_line(&Line {
                schema: 1,
                session: self.session,
                step: step.number,
                n: step.n,
                said: shown_said(step.said),
                want: wanted(step.want),
                got: step.got.ok().map(|heard| excerpt(&heard.wire, 200)),
                differences: &step.differences,
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
    let said = shown_said(step.said);
    writeln!(out, "step {:>3}  C  {said:<48} #{}", step.number, step.n)?;
    let (got, took) = match step.got {
        Ok(heard) => (excerpt(&heard.wire, 60), shown(heard.took)),
        Err(why) => (format!("({why})"), String::new()),
    };
    if step.differences.is_empty() {
        return writeln!(out, "          S  {got:<48} {took}");
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

/// Prints a session without saying it: its steps, to whom it sends, and how long
/// it took.
pub(super) fn say_what_would_be_said(dialogue: &Dialogue, json: bool) {
    let mut out = format!("session {}: {}\n", dialogue.session, summary(dialogue));
    for (index, group) in groups(dialogue).iter().enumerate() {
        for exchange in group.exchanges {
            let said = shown_said(Some(&exchange.said));
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

fn summary(dialogue: &Dialogue) -> String {
    let content = |exchange: &&Exchange| matches!(exchange.said, Said::Content { .. });
    let messages = dialogue.exchanges.iter().filter(content).count();
    let recipients: Vec<String> = dialogue
        .exchanges
        .iter()
        .filter(|exchange| exchange.said.verb() == Some(&Verb::Rcpt))
        .map(|exchange| recipient(&exchange.said))
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
    format!(
        "messages: {messages}, recipients: {to}; it took {:.3} s",
        took.as_secs_f64()
    )
}

/// What follows `RCPT TO:`.
fn recipient(said: &Said) -> String {
    let line = shown_said(Some(said));
    let path = line.split_once(':').map_or("", |(_, path)| path.trim());
    path.to_owned()
}

fn shown_said(said: Option<&Said>) -> String {
    match said {
        None => "(connects)".into(),
        Some(Said::Command { line, .. } | Said::Sasl { line, .. }) => excerpt(line, 60),
        Some(Said::Content { wire, .. }) => format!("({} octets of mail data)", wire.len()),
        Some(Said::Raw { octets, why }) => format!("({octets} raw octets: {why})"),
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
