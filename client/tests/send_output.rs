//! What `send` shows, records and tells, and what it refuses to begin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use shared::direction::Direction;
use shared::recording::Recording;
use support::{
    CONTENT, DATA, EVIL, GREETING, HELLO, MAIL, PROGRAM, QUIT, RCPT, SHORT, command, complaint,
    file, is_harmless, nobody, run, run_coloured, send, text,
};
use testkit::recorded::{self, of_kind};
use testkit::watched::{Ended, watch};
use testkit::{Scripted, scratch};

#[test]
fn the_transcript_is_there_as_it_happens() {
    let begun = [GREETING, HELLO, MAIL].concat();
    let rest = [RCPT, DATA, CONTENT, QUIT].concat();
    let server = Scripted::start(&[&(begun + "-- hold\n" + &rest)]);
    let target = server.address.to_string();
    let arguments = ["send", &target, "-f", "a@c.test", "-t", "b@mx.test"];
    let mut child = command(&[&arguments[..], &["--helo", "c.test"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut shown = Vec::new();
    // All of it is shown while the server thinks about RCPT.
    while shown.last().map(String::as_str) != Some("C: RCPT TO:<b@mx.test>") {
        shown.push(lines.next().unwrap().unwrap());
    }
    assert_eq!(
        shown,
        [
            "S: 220 mx.test ESMTP",
            "C: EHLO c.test",
            "S: 250 mx.test",
            "C: MAIL FROM:<a@c.test>",
            "S: 250 2.1.0 ok",
            "C: RCPT TO:<b@mx.test>"
        ]
    );
    server.go_on();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    server.must_have_served(1);
    let content = rest.iter().filter(|line| line.starts_with("C| ")).count();
    assert_eq!(
        content, 8,
        "six lines, that there are more, and the dot: {rest:?}"
    );
    assert_eq!(rest.last().unwrap(), "S: 221 2.0.0 bye");
}

#[test]
fn what_a_server_says_cannot_act_on_the_terminal() {
    let script = format!(
        "S: 220 mx {EVIL}\nC: EHLO c.test\nS: 250-mx {EVIL}\nS: 250 SIZE {EVIL}\n\
         C: MAIL FROM:<a@c.test> SIZE=*\nS: 550 5.7.1 {EVIL}\n{QUIT}"
    );
    for script in [script.as_str(), &format!("S: no SMTP {EVIL}\n")] {
        let server = Scripted::start(&[script]);
        let target = server.address.to_string();
        let arguments = ["send", &target, "-f", "a@c.test", "-t", "b@mx.test"];
        let ended = run_coloured(&[&arguments[..], &["--helo", "c.test"]].concat());
        server.must_have_served(1);
        assert!([Some(23), Some(91)].contains(&ended.status()));
        is_harmless(&ended);
    }
}

#[test]
fn json_is_one_document_whatever_happens() {
    let whole = [GREETING, HELLO, MAIL, RCPT, DATA, CONTENT, QUIT].concat();
    let refused = [
        GREETING,
        HELLO,
        "C: MAIL FROM:<a@c.test>\nS: 550 5.7.1 no\n",
        QUIT,
    ]
    .concat();
    for (script, status, verdict) in [
        (whole.as_str(), 0, Some("250 2.0.0 kept")),
        (refused.as_str(), 23, None),
        ("S: nonsense\n", 91, None),
        ("-- close\n", 71, None),
    ] {
        let server = Scripted::start(&[script]);
        let ended = send(server.address, &["--json"]);
        server.must_have_served(1);
        let found = json(&ended, status);
        assert_eq!(found["address"], server.address.to_string());
        assert_eq!(found["verdict"].as_str(), verdict);
        assert_eq!(found["error"].is_string(), status != 0, "{found}");
        if status == 0 {
            let recipients = serde_json::json!([["b@mx.test", "250 2.1.5 ok"]]);
            assert_eq!(found["recipients"], recipients);
        }
    }
    let found = json(&send(nobody(), &["--json"]), 3);
    assert!(found["error"].as_str().unwrap().contains("cannot connect"));
    assert_eq!(found["address"], Value::Null);
}

/// The document on standard output, and nothing else.
fn json(ended: &Ended, status: i32) -> Value {
    assert_eq!(ended.status(), Some(status), "{}", ended.stderr());
    let found: Value = serde_json::from_slice(&ended.output.stdout).unwrap();
    assert_eq!(found["schema"], 1);
    assert_eq!(found["status"], status);
    found
}

#[test]
fn the_recording_is_whole_and_private() {
    let dir = scratch();
    let whole = [GREETING, HELLO, MAIL, RCPT, DATA, CONTENT, QUIT].concat();
    for (name, script, status) in [
        ("whole", whole.as_str(), 0),
        ("closed", "S: 220 mx\nC: EHLO c.test\n-- close\n", 72),
        ("garbage", "S: \\x00\\xff\\xfe\n", 91),
    ] {
        let path = dir.path().join(name);
        let server = Scripted::start(&[script]);
        let ended = send(server.address, &["-q", "--record", text(&path)]);
        assert_eq!(ended.status(), Some(status), "{}", ended.stderr());
        let said = server.must_have_served(1).remove(0).said;
        let recording = is_whole(&path);
        assert_eq!(recording.payload(1, Direction::Client), said);
        assert_eq!(of_kind(&recording, 1, "close").len(), 1);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // Nobody was there: the recording says so.
    let path = dir.path().join("nobody");
    let ended = send(nobody(), &["-q", "--record", text(&path)]);
    assert_eq!(ended.status(), Some(3));
    let recording = is_whole(&path);
    let note = recording.notes("unreachable").next().unwrap();
    assert!(note.text("msg").unwrap().contains("cannot connect"));
}

fn is_whole(path: &std::path::Path) -> Recording {
    let recording = recorded::read(path);
    assert_eq!(recording.damage(), []);
    assert!(recording.is_finished());
    recording
}

#[test]
fn whoever_cannot_be_reached_is_3() {
    let (status, said) = complaint(&send(nobody(), &[]));
    assert_eq!(status, 3);
    assert!(said.contains("cannot connect to 127.0.0.1:"), "{said}");
    assert!(said.contains("refused"), "{said}");
    // From an address that is not ours.
    let (status, said) = complaint(&send(nobody(), &["--source", "192.0.2.1"]));
    assert_eq!(status, 3, "{said}");
    let (status, said) = complaint(&send(nobody(), &["--source", "::1"]));
    assert_eq!(status, 3);
    assert!(said.contains("--source"), "{said}");
    // Nobody takes the connection: a queue that is full lets nobody in.
    let full = full_queue();
    let (status, said) = complaint(&send(full.0, &["--timeout", SHORT]));
    assert_eq!(status, 3);
    assert!(said.contains("no answer within 1 s"), "{said}");
}

/// A listener that takes no more connections, and what fills it.
fn full_queue() -> (SocketAddr, std::os::fd::OwnedFd, Vec<TcpStream>) {
    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
    bind(&listener, &any).unwrap();
    listen(&listener, 0).unwrap();
    let address = rustix::net::getsockname(&listener).unwrap();
    let address = SocketAddr::try_from(address).unwrap();
    let mut waiting = Vec::new();
    while let Ok(tcp) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(tcp);
        assert!(waiting.len() < 100, "the queue is never full");
    }
    (address, listener, waiting)
}

#[test]
fn a_message_that_cannot_be_read_is_4_before_anybody_is_talked_to() {
    let dir = scratch();
    let server = Scripted::start(&[GREETING]);
    let record = dir.path().join("t.helo.jsonl");
    for (path, reason) in [
        (dir.path().join("missing"), "No such file"),
        (dir.path().to_path_buf(), "directory"),
        (dir.path().join("missing/a"), "No such file"),
    ] {
        let options = ["--data", text(&path), "--record", text(&record)];
        let (status, said) = complaint(&send(server.address, &options));
        assert_eq!(status, 4, "{said}");
        assert!(
            said.contains(text(&path)) && said.contains(reason),
            "{said}"
        );
        assert!(!record.exists(), "a recording of nothing was left behind");
    }
    server.must_have_served(0);
}

#[test]
fn a_recording_that_cannot_be_made_is_6_before_anybody_is_talked_to() {
    let dir = scratch();
    let server = Scripted::start(&[GREETING]);
    let there = file(dir.path(), "there", "mine\n");
    for (path, reason) in [
        (there.clone(), "it exists"),
        (dir.path().join("no/dir"), "No such file"),
        (dir.path().to_path_buf(), "it exists"),
    ] {
        let (status, said) = complaint(&send(server.address, &["--record", text(&path)]));
        assert_eq!(status, 6, "{said}");
        assert!(
            said.contains(text(&path)) && said.contains(reason),
            "{said}"
        );
    }
    assert_eq!(std::fs::read(&there).unwrap(), b"mine\n");
    server.must_have_served(0);
}

#[test]
fn a_recording_that_is_full_ends_the_session_with_6() {
    let dir = scratch();
    let message = file(dir.path(), "message", b"Subject: big\n\n".repeat(10_000));
    let path = dir.path().join("t.helo.jsonl");
    let way = [GREETING, HELLO, MAIL, RCPT, "C: DATA\nS: 354 go\n-- wait\n"].concat();
    let server = Scripted::start(&[&way]);
    let mut limited = Command::new("sh");
    // A limit on the size of files stands for the end of the disk.
    limited.args(["-c", "ulimit -f 16; exec \"$0\" \"$@\"", PROGRAM]);
    limited.args(["send", &server.address.to_string(), "-q"]);
    limited.args(["-f", "a@c.test", "-t", "b@mx.test", "--helo", "c.test"]);
    limited.args(["--data", text(&message), "--record", text(&path)]);
    let (status, said) = complaint(&watch(&mut limited));
    assert_eq!(status, 6, "{said}");
    assert!(said.contains(text(&path)), "{said}");
    // Of what could not be recorded nothing was said.
    let said = server.must_have_served(1).remove(0).said;
    assert!(said.ends_with(b"DATA\r\n"));
}

#[test]
fn output_that_is_full_is_6_and_a_reader_that_has_left_is_none() {
    let whole = [GREETING, HELLO, MAIL, RCPT, DATA, CONTENT, QUIT].concat();
    for option in [None, Some("--json")] {
        for (output, status) in [("> /dev/full", 6), ("| true", 0)] {
            let server = Scripted::start(&[&whole]);
            let mut shell = Command::new("sh");
            let line = format!("{{ \"$0\" \"$@\"; echo $? >&2; }} {output}");
            shell.args(["-c", &line, PROGRAM, "send", &server.address.to_string()]);
            shell.args(["-f", "a@c.test", "-t", "b@mx.test", "--helo", "c.test"]);
            shell.args(option);
            let ended = watch(&mut shell);
            // The message was sent all the same.
            server.must_have_served(1);
            let said = ended.stderr();
            assert_eq!(
                said.lines().last(),
                Some(status.to_string().as_str()),
                "{said}"
            );
            assert_eq!(
                said.contains("standard output could not be written"),
                status == 6
            );
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

#[test]
fn what_cannot_be_meant_is_2() {
    let good = [
        "send",
        "127.0.0.1:1",
        "--from",
        "a@c.test",
        "--to",
        "b@mx.test",
    ];
    for arguments in [
        &["send"][..],
        &["send", "127.0.0.1:1"],
        &[
            "send",
            "127.0.0.1:0",
            "--from",
            "a@c.test",
            "--to",
            "b@mx.test",
        ],
        &[
            "send",
            "http://mx.test",
            "--from",
            "a@c.test",
            "--to",
            "b@mx.test",
        ],
        &[
            "send",
            "127.0.0.1:1",
            "--from",
            "a@c.test",
            "--to",
            "b\r\nDATA",
        ],
        &[
            "send",
            "127.0.0.1:1",
            "--from",
            "a\r\n@c.test",
            "--to",
            "b@mx.test",
        ],
        &[&good[..], &["--helo", "a\nb"]].concat(),
        &[&good[..], &["--timeout", "soon"]].concat(),
        &[&good[..], &["--tls", "perhaps"]].concat(),
        &[&good[..], &["--no-such"]].concat(),
        &[
            "send",
            "smtps://127.0.0.1:1",
            "-f",
            "a@c.test",
            "-t",
            "b@mx.test",
            "--tls",
            "never",
        ],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.status(), Some(2), "{arguments:?}: {}", ended.stderr());
        assert_eq!(ended.stdout(), "");
        assert!(!ended.stderr().is_empty());
    }
}

#[test]
fn what_tls_cannot_go_on_with_is_2_before_anybody_is_talked_to() {
    let dir = scratch();
    let no_pem = file(dir.path(), "ca.pem", "this is no certificate\n");
    let missing = dir.path().join("missing.pem");
    let good = [
        "send",
        "127.0.0.1:1",
        "--from",
        "a@c.test",
        "--to",
        "b@mx.test",
    ];
    for (option, value) in [
        ("--ca", text(&no_pem)),
        ("--ca", text(&missing)),
        ("--tls-name", "not a name"),
    ] {
        let (status, said) = complaint(&run(&[&good[..], &[option, value]].concat()));
        assert_eq!(status, 2, "{said}");
        assert!(said.contains(value), "{said}");
    }
}
