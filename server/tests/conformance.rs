//! What the RFCs demand of a server, played without sockets and at every split.
//!
//! `conformance/RFC/*.smtp` are dialogues as `recording::Transcript` reads them, with
//! these additions:
//!
//! ```text
//! # RFC 5321 §4.1.1.2, §4.1.2: what the file is about     (its first line)
//! #! --max-size 1000                                      options of the server
//! S: 220 …                                                how each dialogue begins
//! ## what this dialogue shows
//! C: NOOP {a*100}                                         `a`, a hundred times
//! C: MAIL FROM:<a@c.test> HOLDUNTIL={+60s}                a minute from now
//! S: 250 2.0.0 …                                          `…`: whatever ends the line
//! S: 250-…                                                one such line, or more
//! -- at once                                              see `Turn::AtOnce`
//! -- close                                                the server has closed
//! = content Hi\r\n                                        what came of the last message
//! = messages 1                                            how many were kept
//! ```
//!
//! Lines of the client with no reply between them are one group, sent at once. A word
//! of the options may have escapes, such as `\x20`.
//! `{users}` in the options is a file with the password of anna, which is `tea`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

#[path = "conformance/client.rs"]
mod client;
#[path = "conformance/document.rs"]
mod document;
#[path = "conformance/file.rs"]
mod file;
#[path = "conformance/order.rs"]
mod order;
#[path = "conformance/play.rs"]
mod play;

use std::fmt::Write as _;

use file::File;

/// Each has a test below.
const FOLDERS: &[&str] = &[
    "rfc1870", "rfc2033", "rfc2852", "rfc2920", "rfc3030", "rfc3207", "rfc3461", "rfc4865",
    "rfc4954", "rfc5321", "rfc6152", "rfc6531", "rfc6710", "rfc8689", "rfc9422",
];

/// Plays all dialogues of a folder, and tells of all that fail.
fn folder(name: &str) {
    let mut failures = String::new();
    let files = File::all(name);
    assert!(!files.is_empty(), "{name} is empty");
    for file in files {
        let server = play::Server::new(&file.options);
        for dialogue in &file.dialogues {
            if let Err(failure) = server.play_every_way(dialogue) {
                let title = &dialogue.title;
                let _ = writeln!(failures, "\n{name}/{}: {title}: {failure}", file.name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn size() {
    folder("rfc1870");
}

#[test]
fn lmtp() {
    folder("rfc2033");
}

#[test]
fn deliver_by() {
    folder("rfc2852");
}

#[test]
fn pipelining() {
    folder("rfc2920");
}

#[test]
fn chunking() {
    folder("rfc3030");
}

#[test]
fn starttls() {
    folder("rfc3207");
}

#[test]
fn dsn() {
    folder("rfc3461");
}

#[test]
fn future_release() {
    folder("rfc4865");
}

#[test]
fn auth() {
    folder("rfc4954");
}

#[test]
fn smtp() {
    folder("rfc5321");
}

#[test]
fn eight_bit_mime() {
    folder("rfc6152");
}

#[test]
fn smtputf8() {
    folder("rfc6531");
}

#[test]
fn priority() {
    folder("rfc6710");
}

#[test]
fn requiretls() {
    folder("rfc8689");
}

#[test]
fn limits() {
    folder("rfc9422");
}

#[test]
fn every_command_at_every_stage() {
    order::play_all();
}
