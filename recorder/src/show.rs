//! `show`: a recording, printed for a person.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, anyhow};
use capture::container::looks_like_a_capture;
use capture::import::recording_of;
use shared::escape::{escape, escape_line};
use shared::recording::{Record, Recording, Transcript};
use shared::time::Timestamp;

use crate::Stopped;
use crate::cli::{self, Form};
use crate::import::settings;

/// Lines of mail data that are shown of one message.
const LINES: usize = 12;

/// Reads a recording; status 4 if it cannot be used.
pub fn load(path: &Path) -> Result<Recording, Stopped> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Stopped::with(4))?;
    Recording::parse(&bytes)
        .with_context(|| format!("cannot use {}", path.display()))
        .map_err(Stopped::with(4))
}

/// Reads a recording, or makes one of a capture.
fn load_either(path: &Path) -> Result<Recording, Stopped> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path)
        .and_then(|file| file.take(16).read_to_end(&mut start))
        .and_then(|_| std::fs::File::open(path))
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Stopped::with(4))?;
    if !looks_like_a_capture(&start) {
        return load(path);
    }
    let name = path.display().to_string();
    let (lines, damage) = recording_of(&name, file, settings(false)?)
        .with_context(|| format!("cannot use {name}"))
        .map_err(Stopped::with(4))?;
    if let Some(damage) = damage {
        anstream::eprintln!("helo-recorder: warning: {name} is {damage}");
    }
    Recording::parse(&lines).map_err(Stopped::with(4))
}

/// Prints the sessions asked for.
pub fn run(options: &cli::Show) -> Result<(), Stopped> {
    let recording = load_either(&options.file)?;
    for damage in recording.damage() {
        anstream::eprintln!("helo-recorder: warning: {damage}");
    }
    let known = recording.sessions();
    if let Some(missing) = options
        .session
        .iter()
        .find(|session| !known.contains(session))
    {
        return Err(Stopped {
            error: anyhow!("there is no session {missing} (there are {})", known.len()),
            status: 2,
        });
    }
    let mut out = String::new();
    for session in known {
        if options.session.is_empty() || options.session.contains(&session) {
            match options.form {
                Form::Text => print(&recording, session, options.full, &mut out),
                Form::Transcript => transcript(&recording, session, &mut out),
            }
        }
    }
    match anstream::stdout().write_all(out.as_bytes()) {
        // A pager that was left, or `head`: nothing is wrong.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Stopped::with(6)),
    }
}

fn transcript(recording: &Recording, session: u64, out: &mut String) {
    let dialogue = recording
        .dialogues()
        .into_iter()
        .find(|dialogue| dialogue.session == session);
    if let Some(dialogue) = dialogue {
        let _ = writeln!(out, "{}", Transcript::of(&dialogue));
    }
}

const TIME: Style = Style::new().dimmed();
const CLIENT: Style = AnsiColor::Cyan.on_default();
const YES: Style = AnsiColor::Green.on_default();
const NO: Style = AnsiColor::Red.on_default();
const REMARK: Style = AnsiColor::Yellow.on_default();

/// Prints one session.
fn print(recording: &Recording, session: u64, full: bool, out: &mut String) {
    let records = recording
        .records()
        .iter()
        .filter(|record| record.session() == Some(session));
    let mut printer = Printer {
        out,
        started: Timestamp::default(),
        content: 0,
        hidden: (0, 0),
        most: if full { usize::MAX } else { LINES },
        closed: false,
    };
    for record in records {
        printer.record(record, session);
    }
    printer.end_of_content();
    if !printer.closed {
        printer.remark("crashed: the recording has no end of this session");
    }
    out.push('\n');
}

struct Printer<'a> {
    out: &'a mut String,
    started: Timestamp,
    /// Lines of this content printed so far.
    content: usize,
    /// Lines and octets of it that were not.
    hidden: (usize, usize),
    most: usize,
    closed: bool,
}

impl Printer<'_> {
    fn record(&mut self, record: &Record, session: u64) {
        if record.kind() != "data" {
            self.end_of_content();
        }
        let payload = record.payload().unwrap_or_default();
        match record.kind() {
            "open" => self.open(record, session),
            "cmd" | "sasl" => self.lines(record, "C:", CLIENT, &payload),
            "rep" => {
                let refused = record.number("code").is_some_and(|code| code >= 400);
                self.lines(record, "S:", if refused { NO } else { YES }, &payload);
            }
            "data" => self.data(record, &payload),
            "raw" => {
                let side = if record.text("d") == Some("c") {
                    "C"
                } else {
                    "S"
                };
                let why = record.text("why").unwrap_or("?");
                self.stamp(record.at());
                let (count, text) = (payload.len(), shared::escape::excerpt(&payload, 60));
                let _ = writeln!(
                    self.out,
                    "{REMARK}{side}~ {count} octets ({why}): {text}{REMARK:#}"
                );
            }
            "tls" => self.tls(record),
            "gap" => {
                let octets = record.number("len").unwrap_or_default();
                self.remark(&format!(
                    "{octets} octets are missing ({})",
                    record.text("why").unwrap_or("?")
                ));
            }
            "fault" => self.fault(record),
            "note" => self.note(record),
            "close" => {
                self.closed = true;
                self.stamp(record.at());
                let (by, how) = (
                    record.text("by").unwrap_or("?"),
                    record.text("how").unwrap_or("?"),
                );
                let _ = writeln!(self.out, "{TIME}-- closed by {by} ({how}){TIME:#}");
            }
            _ => {}
        }
        let odd: Vec<&str> = record.texts("dev").collect();
        if !odd.is_empty() {
            self.remark(&odd.join(", "));
        }
    }

    fn open(&mut self, record: &Record, session: u64) {
        self.started = record.at();
        let part = |name| record.text(name).map(escape_text);
        let mut way: Vec<String> = [part("c"), part("l"), part("u")]
            .into_iter()
            .flatten()
            .collect();
        if way.is_empty() {
            way.push("?".into());
        }
        let role = record.text("role").unwrap_or("?");
        let at = record.text("at").unwrap_or("?");
        let _ = writeln!(
            self.out,
            "session {session}  {at}  {}  ({role})",
            way.join(" → ")
        );
    }

    fn lines(&mut self, record: &Record, mark: &str, style: Style, payload: &[u8]) {
        let took = record.number("took").map(latency);
        let more = if record.flag("more") { "…" } else { "" };
        for (index, line) in payload.split_inclusive(|&octet| octet == b'\n').enumerate() {
            self.stamp(record.at());
            let text = escape_line(line);
            let _ = write!(self.out, "{style}{mark} {text}{more}{style:#}");
            if let Some(took) = took.as_ref().filter(|_| index == 0) {
                let _ = write!(self.out, "  {TIME}+{took}{TIME:#}");
            }
            self.out.push('\n');
        }
    }

    fn data(&mut self, record: &Record, payload: &[u8]) {
        for line in payload.split_inclusive(|&octet| octet == b'\n') {
            if self.content >= self.most && !record.flag("end") {
                self.hidden.0 += 1;
                self.hidden.1 += line.len();
                continue;
            }
            if record.flag("end") {
                self.end_of_content();
            }
            self.content += 1;
            self.stamp(record.at());
            let _ = writeln!(self.out, "{CLIENT}C|{CLIENT:#} {}", escape_line(line));
        }
    }

    fn end_of_content(&mut self) {
        let (lines, octets) = std::mem::take(&mut self.hidden);
        if lines > 0 {
            self.remark(&format!(
                "{lines} more lines, {octets} octets (--full shows them)"
            ));
        }
        self.content = 0;
    }

    fn tls(&mut self, record: &Record) {
        self.stamp(record.at());
        let text = |name| {
            record
                .text(name)
                .map_or_else(|| "?".to_owned(), escape_text)
        };
        let _ = if record.flag("ok") {
            writeln!(
                self.out,
                "{REMARK}-- TLS {} {} (certificate: {}){REMARK:#}",
                text("ver"),
                text("cipher"),
                text("verify")
            )
        } else {
            writeln!(
                self.out,
                "{REMARK}-- TLS failed: {}{REMARK:#}",
                text("alert")
            )
        };
    }

    /// What the server did on purpose, by which rule.
    fn fault(&mut self, record: &Record) {
        let act = record.text("act").map(escape_text).unwrap_or_default();
        let name = record.text("name").map(escape_text);
        let rule = record.number("rule").map(|rule| format!("rule {rule}"));
        match name.or(rule) {
            Some(name) => self.remark(&format!("on purpose ({name}): {act}")),
            None => self.remark(&format!("on purpose: {act}")),
        }
    }

    fn note(&mut self, record: &Record) {
        let bound: Vec<String> = record
            .bindings("bind")
            .map(|(name, value)| format!("{}={}", escape_text(name), escape_text(value)))
            .collect();
        let message = record.text("msg").map(escape_text).unwrap_or_default();
        self.remark(format!("{message} {}", bound.join(" ")).trim());
    }

    fn remark(&mut self, text: &str) {
        let _ = writeln!(self.out, "{:>11}  {REMARK}= {text}{REMARK:#}", "");
    }

    fn stamp(&mut self, at: Timestamp) {
        let elapsed = at.since(self.started);
        let _ = write!(self.out, "{TIME}{:>11.6}{TIME:#}  ", elapsed.as_secs_f64());
    }
}

fn escape_text(text: &str) -> String {
    escape(text.as_bytes())
}

/// A latency in the unit that shows it best.
fn latency(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..10_000_000_000 => {
            format!("{}.{:02} ms", nanos / 1_000_000, nanos / 10_000 % 100)
        }
        _ => format!("{} s", nanos / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = r#"{"helo":"rec","v":1,"k":"head","n":0,"id":"01a20da6-f21e-71da-bce7-0a0007757b62","part":1,"at":"2026-11-24T13:02:54.494136063Z","clock":"monotonic","tool":"helo-server 0.1.0","redact":["auth"],"bodies":"full","need":[]}
{"n":1,"s":1,"at":"2026-11-24T13:02:54.651272104Z","k":"open","id":"01a20da6-f2bb-719b-9bcd-dc4726cae621","role":"server","c":"127.0.0.1:58648","l":"127.0.0.1:46389"}
{"n":2,"s":1,"at":"2026-11-24T13:02:54.651447539Z","k":"fault","act":"keep; no-reply; reset","rule":3,"name":"lost-ack"}
{"n":3,"s":1,"at":"2026-11-24T13:02:54.651447539Z","k":"fault","act":"delay 1s\u001b","rule":4}
"#;

    #[test]
    fn what_was_done_on_purpose_is_shown() {
        let recording = Recording::parse(RECORDED.as_bytes()).unwrap();
        let mut out = String::new();
        print(&recording, 1, false, &mut out);
        assert!(
            out.contains("= on purpose (lost-ack): keep; no-reply; reset"),
            "{out}"
        );
        assert!(
            out.contains("= on purpose (rule 4): delay 1s\\x1b"),
            "{out}"
        );
    }
}
