//! One message: its envelope, and the digest of its content.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::codec::DotDecoder;
use shared::escape::hex;

/// A message that was sent, or begun.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// By `BDAT` instead of `DATA`.
    pub chunked: bool,
    /// The reverse-path without its brackets; `None` if there was no MAIL.
    pub from: Option<String>,
    /// What follows it.
    pub parameters: String,
    /// The forward-paths without their brackets, and how each was answered.
    pub recipients: Vec<(String, Option<u64>)>,
    /// Octets of content: dots undone, without the final dot.
    pub size: u64,
    /// The end was seen.
    pub ended: bool,
    /// Octets of it that are missing.
    pub missing: u64,
    /// How the end was answered.
    pub codes: Vec<u64>,
    /// Tells the transactions of a session apart.
    pub(super) serial: u64,
    /// The line of the last record of content.
    pub(super) end: u64,
    digest: Sha256,
    dots: DotDecoder,
}

impl Message {
    /// Takes a piece of its content as it was on the wire.
    pub(super) fn content(&mut self, bytes: &[u8]) {
        let Self {
            digest, dots, size, ..
        } = self;
        let mut keep = |bytes: &[u8]| {
            *size += bytes.len() as u64;
            digest.update(bytes);
        };
        if self.chunked {
            keep(bytes);
        } else {
            dots.decode(bytes, |range| keep(bytes.get(range).unwrap_or_default()));
        }
    }

    /// A transaction that begins with that reverse-path.
    pub(super) fn begin(from: String, parameters: String) -> Self {
        Self {
            from: Some(from),
            parameters,
            ..Self::default()
        }
    }

    /// All of it is there.
    pub fn is_complete(&self) -> bool {
        self.ended && self.missing == 0
    }

    /// The SHA-256 of the content, as far as it is there.
    pub fn sha256(&self) -> String {
        hex(&self.digest.clone().finalize())
    }

    /// Recipients that were accepted.
    pub fn accepted(&self) -> impl Iterator<Item = &str> {
        self.recipients
            .iter()
            .filter(|(_, code)| code.is_some_and(|code| (200..300).contains(&code)))
            .map(|(path, _)| path.as_str())
    }

    /// As the summary's JSON has it.
    pub fn to_json(&self) -> Value {
        json!({
            "method": if self.chunked { "BDAT" } else { "DATA" },
            "mail_from": self.from,
            "mail_params": self.parameters,
            "rcpt_to": self.recipients.iter().map(|(path, _)| path).collect::<Vec<_>>(),
            "rcpt_codes": self.recipients.iter().map(|(_, code)| code).collect::<Vec<_>>(),
            "rcpt_accepted": self.accepted().collect::<Vec<_>>(),
            "complete": self.is_complete(),
            "size": self.size,
            "missing": self.missing,
            "sha256": self.sha256(),
            "final_codes": self.codes,
        })
    }
}
