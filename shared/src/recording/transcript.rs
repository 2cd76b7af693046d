//! The text transcript: a session as an RFC prints one.
//!
//! ```text
//! # One forward-path is refused, the transaction goes on (RFC 5321 §3.3).
//! S: 220 mx.example.net ready
//! C: EHLO client.example.org
//! C| mail data, dots as on the wire
//! C~ bytes without a line end\x00
//! -- tls
//! -- 5min
//! = leg remote
//! ```
//!
//! `C:` and `S:` are lines of the dialogue, `C|` is mail data, `--` is what else
//! happens (a period of time goes by), `=` is what is true of the session. Lines end in CRLF unless they
//! show another end; odd bytes are written as [`escape`] writes them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::dialogue::{Answer, Dialogue, Said};
use super::log::{CloseFacts, NoteFacts, OpenFacts, SessionLog, TlsLine};
use super::read::{Recording, Unusable};
use super::redact::Redaction;
use super::{ClockKind, FileLog, Head, Record};
use crate::codec::Limits;
use crate::direction::Direction::{self, Client, Server};
use crate::escape::{escape, unescape};
use crate::quantity::Period;
use crate::session::{Observer, Peers};
use crate::time::Timestamp;

/// A session as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    lines: Vec<Line>,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `# …`
    Comment(String),
    /// Nothing.
    Blank,
    /// `C: …` or `S: …`, and `C~ …`: the bytes, line end included.
    Said(Direction, Vec<u8>),
    /// `C| …`: mail data.
    Content(Vec<u8>),
    /// `-- …`
    Event(String),
    /// `= …`
    Fact(String),
}

/// Why a text is no transcript.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TranscriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Transcript {
    /// Its lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What `=` lines say: the first word, and the rest.
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Fact(fact) => Some(fact.split_once(' ').unwrap_or((fact, ""))),
            _ => None,
        })
    }

    /// The transcript of a recorded session.
    pub fn of(dialogue: &Dialogue) -> Self {
        let mut lines = Vec::new();
        let mut say = |direction: Direction, bytes: &[u8]| {
            for line in bytes.split_inclusive(|&octet| octet == b'\n') {
                lines.push(Line::Said(direction, line.to_vec()));
            }
        };
        if let Some(greeting) = &dialogue.greeting {
            say(Server, &greeting.wire);
        }
        let mut in_tls = dialogue.implicit_tls;
        for exchange in &dialogue.exchanges {
            if exchange.in_tls && !in_tls {
                lines.push(Line::Event("tls".into()));
                in_tls = true;
            }
            match &exchange.said {
                Said::Command { line, .. } | Said::Sasl { line, .. } => {
                    lines.push(Line::Said(Client, line.clone()));
                }
                Said::Content {
                    wire,
                    complete,
                    missing,
                    ..
                } => {
                    for line in wire.split_inclusive(|&octet| octet == b'\n') {
                        lines.push(Line::Content(line.to_vec()));
                    }
                    if *missing > 0 {
                        lines.push(Line::Event(format!("gap {missing}")));
                    }
                    if *complete {
                        lines.push(Line::Content(b".\r\n".to_vec()));
                    }
                }
                Said::Raw { octets, why } => {
                    lines.push(Line::Event(format!("raw {octets} {why}")));
                }
            }
            for Answer { wire, .. } in &exchange.answers {
                for line in wire.split_inclusive(|&octet| octet == b'\n') {
                    lines.push(Line::Said(Server, line.to_vec()));
                }
            }
        }
        for Answer { wire, .. } in &dialogue.unsolicited {
            lines.push(Line::Said(Server, wire.clone()));
        }
        if let Some(close) = &dialogue.close {
            lines.push(Line::Event(format!("close {}", close.by)));
        }
        Self { lines }
    }

    /// A recording of one session that went as the transcript says, a
    /// millisecond a line. `client` and `server` are its addresses; `=` lines
    /// become facts of the session.
    pub fn record(&self, client: &str, server: &str) -> Result<Recording, Unusable> {
        let mut play = Play::begin(client, server);
        let facts: BTreeMap<_, _> = self.facts().collect();
        play.facts(&facts);
        for line in &self.lines {
            match line {
                Line::Said(direction, bytes) => play.said(*direction, bytes),
                Line::Content(bytes) => play.said(Client, bytes),
                Line::Event(event) => play.event(event),
                Line::Comment(_) | Line::Blank | Line::Fact(_) => {}
            }
        }
        play.finish()
    }
}

/// A transcript being played into a recording.
struct Play {
    observer: Observer,
    file: FileLog,
    log: SessionLog,
    out: Vec<u8>,
    now: Timestamp,
}

impl Play {
    fn begin(client: &str, server: &str) -> Self {
        let mut out = Vec::new();
        let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let head = Head {
            id: "transcript".into(),
            at: now,
            tool: "transcript".into(),
            redacted: false,
            clock: ClockKind::Monotonic,
        };
        let mut file = FileLog::begin(&head, &mut out);
        let mut log = SessionLog::new(file.new_session(), Redaction::Nothing);
        let open = OpenFacts {
            id: "transcript".into(),
            role: "client",
            client: Some(client.to_owned()),
            listener: Some(server.to_owned()),
            ..OpenFacts::default()
        };
        let count = log.open(file.next_line(), now, &open, &mut out);
        file.appended(count, &[]);
        Self {
            observer: Observer::new(Peers::Ours, Limits::DEFAULT),
            file,
            log,
            out,
            now,
        }
    }

    fn facts(&mut self, facts: &BTreeMap<&str, &str>) {
        let note = NoteFacts {
            by: "transcript".into(),
            tag: Some("session".into()),
            bind: facts
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..NoteFacts::default()
        };
        let count = self
            .log
            .note(self.file.next_line(), self.now, &note, &mut self.out);
        self.file.appended(count, &[]);
    }

    fn said(&mut self, direction: Direction, bytes: &[u8]) {
        self.now = self.now + std::time::Duration::from_millis(1);
        self.observer.push(direction, bytes, self.now);
        while let Some(unit) = self.observer.poll() {
            let count = self.log.unit(self.file.next_line(), &unit, &mut self.out);
            self.file.appended(count, &[]);
        }
    }

    fn event(&mut self, event: &str) {
        let mut words = event.split(' ');
        match (words.next(), words.next()) {
            (Some("tls"), _) => {
                self.observer.tls_started();
                let tls = TlsLine {
                    leg: 'u',
                    ok: true,
                    verify: "ok".into(),
                    ..TlsLine::default()
                };
                let count = self
                    .log
                    .tls(self.file.next_line(), self.now, &tls, &mut self.out);
                self.file.appended(count, &[]);
            }
            (Some("close"), by) => {
                let by = if by == Some("client") {
                    "client"
                } else {
                    "server"
                };
                let close = CloseFacts { by, how: "fin" };
                let count = self
                    .log
                    .close(self.file.next_line(), self.now, close, &mut self.out);
                self.file.appended(count, &[]);
            }
            _ => {
                if let Ok(Period(time)) = event.parse() {
                    self.now = self.now + time;
                }
            }
        }
    }

    fn finish(mut self) -> Result<Recording, Unusable> {
        for direction in [Client, Server] {
            while let Some(unit) = self.observer.finish(direction) {
                let count = self.log.unit(self.file.next_line(), &unit, &mut self.out);
                self.file.appended(count, &[]);
            }
        }
        let lines = self.out.split(|&octet| octet == b'\n');
        Recording::of(lines.filter_map(Record::parse).collect(), Vec::new())
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Comment(text) if text.is_empty() => writeln!(f, "#")?,
                Line::Comment(text) => writeln!(f, "# {text}")?,
                Line::Blank => writeln!(f)?,
                Line::Said(direction, bytes) => {
                    let side = if *direction == Client { 'C' } else { 'S' };
                    let mark = if bytes.ends_with(b"\n") { ':' } else { '~' };
                    write_line(f, side, mark, bytes)?;
                }
                Line::Content(bytes) => {
                    let mark = if bytes.ends_with(b"\n") { '|' } else { '~' };
                    write_line(f, 'C', mark, bytes)?;
                }
                Line::Event(event) => writeln!(f, "-- {event}")?,
                Line::Fact(fact) => writeln!(f, "= {fact}")?,
            }
        }
        Ok(())
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, side: char, mark: char, bytes: &[u8]) -> fmt::Result {
    let text = match mark {
        '~' => escape(bytes),
        _ => crate::escape::escape_line(bytes),
    };
    match text.as_str() {
        "" => writeln!(f, "{side}{mark}"),
        text => writeln!(f, "{side}{mark} {text}"),
    }
}

impl FromStr for Transcript {
    type Err = TranscriptError;

    fn from_str(text: &str) -> Result<Self, TranscriptError> {
        let lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                parse_line(line).map_err(|what| TranscriptError {
                    line: index + 1,
                    what,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { lines })
    }
}

fn parse_line(line: &str) -> Result<Line, &'static str> {
    let after = |mark: &str| {
        let rest = line.strip_prefix(mark)?;
        if rest.is_empty() {
            return Some("");
        }
        rest.strip_prefix(' ')
    };
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("a control character is written as \\xNN");
    }
    if line.trim().is_empty() {
        return Ok(Line::Blank);
    }
    if let Some(text) = after("#") {
        return Ok(Line::Comment(text.to_owned()));
    }
    if let Some(event) = after("--") {
        return Ok(Line::Event(event.to_owned()));
    }
    if let Some(fact) = after("=") {
        return Ok(Line::Fact(fact.to_owned()));
    }
    for (side, direction) in [("C", Client), ("S", Server)] {
        if let Some(text) = after(&format!("{side}:")) {
            return Ok(Line::Said(direction, with_line_end(text)?));
        }
        if let Some(text) = after(&format!("{side}~")) {
            let bytes = unescape(text).ok_or(ESCAPE)?;
            return Ok(Line::Said(direction, bytes));
        }
    }
    match after("C|") {
        Some(text) => Ok(Line::Content(with_line_end(text)?)),
        None => Err("a line begins with C: S: C| C~ S~ -- = or #, and a space"),
    }
}

fn with_line_end(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = unescape(text).ok_or(ESCAPE)?;
    if !bytes.ends_with(b"\n") {
        bytes.extend_from_slice(b"\r\n");
    }
    Ok(bytes)
}

const ESCAPE: &str = "a backslash is followed by \\ r n t or xNN";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A message with a bare LF.
S: 220 mx ready
C: EHLO a
S: 250-mx
S: 250 STARTTLS
C: MAIL FROM:<a@b>
S: 250 2.1.0 ok
C: RCPT TO:<c@d>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| bare\\n
C|
C| ..dot
C| .
S: 250 2.0.0 kept
-- close server
";

    #[test]
    fn transcripts_are_parsed_and_printed_back() {
        let transcript: Transcript = TEXT.parse().unwrap();
        assert_eq!(transcript.to_string(), TEXT);
    }

    #[test]
    fn a_played_transcript_reads_the_same() {
        let transcript: Transcript = TEXT.parse().unwrap();
        let recording = transcript.record("192.0.2.1:1", "192.0.2.2:25").unwrap();
        let dialogues = recording.dialogues();
        let again = Transcript::of(&dialogues[0]).to_string();
        assert_eq!(again, TEXT.split_once('\n').unwrap().1);
        let content = &dialogues[0].exchanges[4];
        assert_eq!(content.deviations, [crate::deviation::Deviation::BareLf]);
        assert_eq!(content.answers.len(), 1);
    }

    #[test]
    fn time_goes_by_where_it_says_so() {
        let text = TEXT.replace("C: RCPT", "-- 5min\nC: RCPT");
        let transcript: Transcript = text.parse().unwrap();
        let recording = transcript.record("192.0.2.1:1", "192.0.2.2:25").unwrap();
        let exchanges = &recording.dialogues()[0].exchanges;
        let pause = exchanges[2].at - exchanges[1].answers[0].at;
        assert_eq!(pause, std::time::Duration::from_millis(300_001));
    }

    #[test]
    fn odd_line_ends_are_printed_as_they_are_parsed() {
        for line in [
            "S: \\n\\r\\n",
            "S~ a\\n\\r\\n",
            "C| \\r\\n\\r\\n",
            "C: a\\r",
            "C~ a\\r\\n",
            "S~",
            "C|",
        ] {
            let transcript: Transcript = line.parse().unwrap();
            let printed = transcript.to_string();
            assert_eq!(
                printed.parse().as_ref(),
                Ok(&transcript),
                "{line}: {printed}"
            );
        }
    }

    #[test]
    fn malformed_lines_are_named() {
        let error = "S: ok\nC; no\n".parse::<Transcript>().unwrap_err();
        assert_eq!(error.line, 2);
        assert!("C: \\q\n".parse::<Transcript>().is_err());
        assert!("-- tls\r".parse::<Transcript>().is_err(), "a stray CR");
    }
}
