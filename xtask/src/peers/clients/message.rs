//! The message that each client is given, with what careless programs break.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// One message, marked with the cell it is for.
pub(super) struct Message {
    mark: String,
    text: String,
}

impl Message {
    pub(super) fn new(client: &str, mechanism: &str, transport: &str) -> Self {
        let mark = format!("Subject: {client} {mechanism} {transport}\r\n");
        // RFC 5321 §4.5.3.1.6: a line of content has at most 998 octets before its
        // CRLF; the dot that is doubled on the wire does not count.
        let (long, dotted) = ("x".repeat(998), "y".repeat(997));
        let text = format!(
            "From: <probe@test.invalid>\r\nTo: <anna@example.test>\r\n{mark}\
             Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <cell@test.invalid>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n\
             .\r\n..two dots\r\n.one dot\r\nspaces at the end:   \r\ntab at the end:\t\r\n\
             eight bits: gr\u{fc}\u{df}e \u{2014} \u{1f4ec}\r\n{long}\r\n.{dotted}\r\n\
             From the start of a line\r\n\r\n\r\nlast line\r\n"
        );
        Self { mark, text }
    }

    /// As it is on the wire, but for the dots.
    pub(super) fn octets(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The line that no other message has.
    pub(super) fn mark(&self) -> &[u8] {
        self.mark.as_bytes()
    }

    /// The files that clients read: as it is, with LF for each CRLF, and that in mbox.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let lines = self.text.replace("\r\n", "\n");
        let mbox = format!("From probe@test.invalid Tue Nov 24 12:00:00 2026\n{lines}");
        for (name, text) in [
            ("message.eml", &self.text),
            ("message.txt", &lines),
            ("message.mbox", &mbox),
        ] {
            fs::write(directory.join(name), text).with_context(|| format!("writing {name}"))?;
        }
        Ok(())
    }
}
