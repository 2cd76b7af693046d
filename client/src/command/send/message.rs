//! The message that is sent: a given one, or a test message.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use shared::message::body;

/// A message beyond this is no message any more.
const MOST: u64 = 256 * 1024 * 1024;

/// Reads a message from a file, or from standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("cannot read the message {}", path.display());
    let mut message = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(MOST + 1).read_to_end(&mut message)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut message))
    }
    .with_context(what)?;
    ensure!(
        message.len() as u64 <= MOST,
        "{}: it has more than {} MiB",
        what(),
        MOST >> 20
    );
    Ok(with_crlf(message))
}

/// Files have bare LFs, mail has CRLF (RFC 5321 §2.3.8); a file that has CRLF
/// keeps it, octet by octet.
fn with_crlf(message: Vec<u8>) -> Vec<u8> {
    if message.windows(2).any(|pair| pair == b"\r\n") {
        return message;
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    for octet in message {
        if octet == b'\n' {
            out.push(b'\r');
        }
        out.push(octet);
    }
    out
}

/// Its header section has octets above 127: it is for servers that take SMTPUTF8
/// (RFC 6532 §3).
pub(super) fn has_wide_header(message: &[u8]) -> bool {
    let head = message.len() - body(message).len();
    !message.get(..head).unwrap_or_default().is_ascii()
}
