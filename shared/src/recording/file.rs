//! The lines that belong to the file rather than to a session.

use super::line::{LineWriter, push_string};
use super::{Reader, VERSION};
use crate::time::Timestamp;

/// What the header says.
#[derive(Clone, Debug)]
pub struct Head {
    /// The file's id: a UUID.
    pub id: String,
    /// The anchor of its clock.
    pub at: Timestamp,
    /// The program that writes it, with its version.
    pub tool: String,
    /// AUTH is taken out.
    pub redacted: bool,
    /// Where the times come from.
    pub clock: ClockKind,
}

/// Where the times of a recording come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockKind {
    /// A capture file: as they stand there, backwards too.
    Capture,
    /// The recording program's own clock, which never runs backwards.
    #[default]
    Monotonic,
}

impl ClockKind {
    /// The word a recording uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Monotonic => "monotonic",
        }
    }
}

/// Counts lines and sessions, and keeps the checksum that `sync` lines carry.
#[derive(Debug)]
pub struct FileLog {
    lines: u64,
    sessions: u64,
    checksum: crc32fast::Hasher,
    octets: u64,
}

impl FileLog {
    /// Begins a file with its header.
    pub fn begin(head: &Head, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(b"{\"helo\":\"rec\",\"v\":");
        out.extend_from_slice(VERSION.to_string().as_bytes());
        out.extend_from_slice(b",\"k\":\"head\",\"n\":0,\"id\":");
        push_string(out, &head.id);
        out.extend_from_slice(b",\"part\":1,\"at\":\"");
        head.at.write_rfc3339(out);
        out.extend_from_slice(b"\",\"clock\":");
        push_string(out, head.clock.name());
        out.extend_from_slice(b",\"tool\":");
        push_string(out, &head.tool);
        let redact = if head.redacted { "[\"auth\"]" } else { "[]" };
        out.extend_from_slice(
            format!(",\"redact\":{redact},\"bodies\":\"full\",\"need\":[]}}\n").as_bytes(),
        );
        let mut log = Self {
            lines: 1,
            sessions: 0,
            checksum: crc32fast::Hasher::new(),
            octets: 0,
        };
        log.account(out.get(start..).unwrap_or_default());
        log
    }

    /// Goes on with a file that was read to its last whole line, and has so many
    /// lines and sessions already.
    pub fn resume(lines: u64, sessions: u64, read: &Reader) -> Self {
        let (checksum, octets) = read.since_mark();
        Self {
            lines,
            sessions,
            checksum,
            octets,
        }
    }

    /// The number of the next line.
    pub fn next_line(&self) -> u64 {
        self.lines
    }

    /// The number of a new session, from 1.
    pub fn new_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    /// Takes note of lines that were appended.
    pub fn appended(&mut self, lines: u64, octets: &[u8]) {
        self.lines += lines;
        self.account(octets);
    }

    /// Appends a durability mark: how many octets came since the last one (or
    /// since the start of the file), and their CRC32.
    pub fn sync(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        let checksum = std::mem::take(&mut self.checksum).finalize();
        let mut line = LineWriter::begin(out, self.lines, None, at, "sync");
        line.number("bytes", self.octets);
        line.text("crc32", &format!("{checksum:08x}"));
        line.end();
        self.lines += 1;
        self.octets = 0;
    }

    /// Nothing was appended since the last durability mark.
    pub fn is_synced(&self) -> bool {
        self.octets == 0
    }

    /// Appends a fresh pair of wall-clock time and our own.
    pub fn clock(&mut self, at: Timestamp, wall: Timestamp, out: &mut Vec<u8>) {
        let start = out.len();
        let mut line = LineWriter::begin(out, self.lines, None, at, "clock");
        line.text("wall", &wall.to_string());
        line.end();
        self.appended(1, out.get(start..).unwrap_or_default());
    }

    /// Appends the clean end of the file, with a durability mark before it.
    pub fn end(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        self.sync(at, out);
        let mut line = LineWriter::begin(out, self.lines, None, at, "end");
        line.number("lines", self.lines + 1);
        line.number("sessions", self.sessions);
        line.end();
        self.lines += 1;
    }

    fn account(&mut self, octets: &[u8]) {
        self.checksum.update(octets);
        self.octets += octets.len() as u64;
    }
}
