//! The recording that an import writes, a session's lines among those of others.

use std::io::{self, Write};
use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use shared::recording::{ClockKind, FileLog, Head, NoteFacts, Redaction, SessionLog};
use shared::time::Timestamp;

use super::Settings;

/// Where lines go.
pub(super) struct Output<W> {
    sink: W,
    log: FileLog,
    redaction: Redaction,
    lines: Vec<u8>,
    unsynced: usize,
    last: Timestamp,
}

/// Lines are given to the sink when there are so many octets of them.
const BATCH: usize = 64 << 10;

/// A checksum follows so many octets.
const CHECKED: usize = 1 << 20;

impl<W: Write> Output<W> {
    /// Begins a recording of what was captured from that time on.
    pub(super) fn begin(sink: W, settings: &Settings, at: Timestamp, seed: &[u8]) -> Self {
        let mut lines = Vec::new();
        let head = Head {
            id: id(at, &[b"file", seed]),
            at,
            tool: settings.tool.to_owned(),
            redacted: matches!(settings.redaction, Redaction::Auth(_)),
            clock: ClockKind::Capture,
        };
        let log = FileLog::begin(&head, &mut lines);
        Self {
            sink,
            log,
            redaction: settings.redaction,
            lines,
            unsynced: 0,
            last: at,
        }
    }

    /// The log of a new session.
    pub(super) fn session(&mut self) -> SessionLog {
        SessionLog::new(self.log.new_session(), self.redaction)
    }

    /// Appends lines: `write` is given the number of the first, and gives how many.
    pub(super) fn append(
        &mut self,
        at: Timestamp,
        write: impl FnOnce(u64, &mut Vec<u8>) -> u64,
    ) -> io::Result<()> {
        let start = self.lines.len();
        let count = write(self.log.next_line(), &mut self.lines);
        let lines = self.lines.get(start..).unwrap_or_default();
        self.log.appended(count, lines);
        self.unsynced += lines.len();
        self.last = at;
        if self.unsynced >= CHECKED {
            self.log.sync(at, &mut self.lines);
            self.unsynced = 0;
        }
        if self.lines.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Appends a note of the file.
    pub(super) fn note(&mut self, note: &NoteFacts) -> io::Result<()> {
        let at = self.last;
        self.append(at, |n, lines| {
            note.write(n, at, lines);
            1
        })
    }

    /// Appends the end of the file.
    pub(super) fn end(mut self) -> io::Result<W> {
        self.log.end(self.last, &mut self.lines);
        self.flush()?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

/// A UUID of version 7 (RFC 9562 §5.7) that is the same whenever the same capture is
/// imported: its time is the capture's, and its random part a digest.
fn id(at: Timestamp, parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let random: [u8; 10] = digest.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(at.nanos() / 1_000_000, &random)
        .into_uuid()
        .to_string()
}

/// The id of the session between those two that began then.
pub(super) fn session_id(at: Timestamp, client: SocketAddr, server: SocketAddr) -> String {
    let (client, server) = (client.to_string(), server.to_string());
    let nanos = at.nanos().to_be_bytes();
    id(at, &[client.as_bytes(), server.as_bytes(), &nanos])
}
