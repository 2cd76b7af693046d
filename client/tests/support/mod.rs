//! The client as its tests run it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail, and each of them uses a part of this"
)]

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use shared::recording::{FileLog, Head, Merge, Transcript};
use shared::time::Timestamp;
use testkit::watched::{Ended, watch};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_helo-client");

/// The program with these arguments, and an environment that says nothing to it.
pub fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    command.env_remove("HELO_LOG").env_remove("CLICOLOR_FORCE");
    command
}

/// Runs it to its end.
pub fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Ended {
    watch(&mut command(arguments))
}

/// The exit status of a run that failed, and the one line it said about it.
pub fn complaint(ended: &Ended) -> (i32, String) {
    let said = ended.stderr();
    assert_eq!(said.lines().count(), 1, "not one line: {said}");
    assert!(said.starts_with("helo-client: "), "{said}");
    (ended.status().unwrap(), said)
}

/// An address that was free a moment ago, and that nobody listens on.
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A new file with that content.
pub fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The time limit where it must run out; elsewhere a busy machine has more.
pub const SHORT: &str = "1s";

/// A session, phase by phase, all going well.
pub const GREETING: &str = "S: 220 mx.test ESMTP\n";
/// EHLO.
pub const HELLO: &str = "C: EHLO c.test\nS: 250 mx.test\n";
/// MAIL.
pub const MAIL: &str = "C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 ok\n";
/// RCPT.
pub const RCPT: &str = "C: RCPT TO:<b@mx.test>\nS: 250 2.1.5 ok\n";
/// DATA.
pub const DATA: &str = "C: DATA\nS: 354 go on\n";
/// The message.
pub const CONTENT: &str = "-- content\nS: 250 2.0.0 kept\n";
/// QUIT.
pub const QUIT: &str = "C: QUIT\nS: 221 2.0.0 bye\n";

/// `send` from a@c.test to b@mx.test.
pub fn send(address: SocketAddr, options: &[&str]) -> Ended {
    let target = address.to_string();
    let mut arguments = vec!["send", &target, "--from", "a@c.test", "--helo", "c.test"];
    if !options.contains(&"--to") {
        arguments.extend(["--to", "b@mx.test"]);
    }
    arguments.extend(options);
    run(&arguments)
}

/// A recording of sessions that went as these transcripts say.
pub fn recording(dir: &Path, transcripts: &[&str]) -> PathBuf {
    let head = Head {
        id: "test".into(),
        at: Timestamp::from_nanos(1_700_000_000_000_000_000),
        tool: "test".into(),
        redacted: true,
    };
    let mut out = Vec::new();
    let mut log = FileLog::begin(&head, &mut out);
    for text in transcripts {
        let transcript: Transcript = text.parse().unwrap();
        let one = transcript
            .record("127.0.0.1:40000", "127.0.0.1:25")
            .unwrap();
        let mut merge = Merge::default();
        for record in one.records() {
            merge.append(record.clone(), &mut log, &mut out);
        }
    }
    log.end(head.at, &mut out);
    file(dir, "recorded.helo.jsonl", out)
}
