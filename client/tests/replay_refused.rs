//! What `replay` refuses to say: recordings that cannot be said again, and servers
//! it was not told to send to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{PROGRAM, complaint, file, nobody, recording, run, text};
use testkit::watched::{Ended, watch};
use testkit::{Scripted, scratch};

const SESSION: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250 mx.test
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: RCPT TO:<c@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| x
C| .
S: 250 2.0.0 kept
C: QUIT
S: 221 2.0.0 bye
";

/// For a server that nobody may talk to.
fn replay(file: &Path, options: &[&str]) -> Ended {
    let server = Scripted::start(&[SESSION]);
    let target = server.address.to_string();
    let ended = run(&[&["replay", text(file), &target], options].concat());
    server.must_have_served(0);
    ended
}

fn is_unusable(file: &Path, because: &str) {
    let (status, said) = complaint(&replay(file, &[]));
    assert_eq!(status, 4, "{said}");
    assert!(said.contains(text(file)), "{said}");
    assert!(said.contains(because), "{because}: {said}");
}

#[test]
fn what_is_no_recording_is_4() {
    let dir = scratch();
    is_unusable(&dir.path().join("missing"), "No such file");
    is_unusable(dir.path(), "directory");
    is_unusable(&file(dir.path(), "empty", ""), "not a recording");
    is_unusable(&file(dir.path(), "text", "S: 220 mx\n"), "not a recording");
    is_unusable(
        &file(dir.path(), "json", "{\"k\":\"head\"}\n"),
        "not a recording",
    );
    let head = "{\"helo\":\"rec\",\"v\":99,\"k\":\"head\",\"n\":0}\n";
    is_unusable(&file(dir.path(), "newer", head), "version 99");
    let head = "{\"helo\":\"rec\",\"v\":1,\"k\":\"head\",\"n\":0,\"need\":[\"magic\"]}\n";
    is_unusable(&file(dir.path(), "needy", head), "'magic'");
    let head = "{\"helo\":\"rec\",\"v\":1,\"k\":\"head\",\"n\":0}\n";
    is_unusable(&file(dir.path(), "nobody", head), "no session");
}

#[test]
fn a_damaged_recording_is_4_and_says_where() {
    let dir = scratch();
    let whole = recording(dir.path(), &[&format!("{SESSION}-- close client\n")]);
    let whole = std::fs::read_to_string(whole).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let damaged = |name: &str, lines: &[&str]| file(dir.path(), name, lines.join("\n") + "\n");
    let mut holed = lines.clone();
    holed[9] = "{\"n\":9,\"s\":1,\"k\":\"cm";
    is_unusable(&damaged("holed", &holed), "line 10 ");
    let mut missing = lines.clone();
    missing.remove(9);
    is_unusable(&damaged("missing", &missing), "n=9 ");
    let changed: Vec<String> = lines
        .iter()
        .map(|line| line.replace("c@mx", "d@mx"))
        .collect();
    let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
    is_unusable(&damaged("changed", &changed), "checksum");
    // A session that was cut off in the middle of a line lost what the line had.
    let torn = lines[..9].join("\n") + "\n{\"n\":9,\"s\":1,";
    is_unusable(&file(dir.path(), "torn", torn), "torn line");
}

#[test]
fn what_is_torn_after_the_session_does_no_harm() {
    let dir = scratch();
    let whole = recording(dir.path(), &[&format!("{SESSION}-- close client\n")]);
    let mut whole = std::fs::read(whole).unwrap();
    whole.extend_from_slice(b"{\"n\":99,\"k\":\"no");
    let torn = file(dir.path(), "torn", whole);
    let server = Scripted::start(&[SESSION]);
    let ended = run(&["replay", text(&torn), &server.address.to_string()]);
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
}

#[test]
fn a_session_of_which_bytes_are_missing_is_4_and_says_why() {
    let dir = scratch();
    let begun = "S: 220 mx.test\nC: EHLO c.test\nS: 250-mx.test\nS: 250 AUTH PLAIN\n";
    for (said, because) in [
        ("C: AUTH PLAIN AGEAYg==\nS: 235 ok\n", "AUTH"),
        (
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YQ==\nS: 334 x\nC: Yg==\nS: 235 ok\n",
            "AUTH",
        ),
    ] {
        let auth = recording(dir.path(), &[&format!("{begun}{said}-- close client\n")]);
        is_unusable(&auth, because);
        is_unusable(&auth, "(n=");
        // A secret that was recorded on purpose is not shown either.
        let ended = replay(&auth, &["--dry-run"]);
        let shown = ended.stdout() + &ended.stderr();
        assert!(
            !shown.contains("AGEAYg==") && !shown.contains("Yg=="),
            "{shown}"
        );
    }
    let masked = recording(
        dir.path(),
        &["S: 220 mx\nC: XCLIENT LOGIN=********\nS: 220 mx\n"],
    );
    let with_mark = std::fs::read_to_string(&masked).unwrap();
    let with_mark = with_mark.replace("LOGIN=", "LOGIN=\",\"x\":[{\"off\":14}],\"y\":\"");
    let lines: Vec<&str> = with_mark.lines().collect();
    let masked = file(
        dir.path(),
        "masked",
        lines[..lines.len() - 2].join("\n") + "\n",
    );
    is_unusable(&masked, "a secret in it was not recorded");
    for (line, because) in [
        (
            "{\"n\":3,\"s\":1,\"k\":\"raw\",\"d\":\"c\",\"why\":\"tls\",\"b\":\"x\"}",
            "encrypted",
        ),
        (
            "{\"n\":3,\"s\":1,\"k\":\"raw\",\"d\":\"c\",\"why\":\"after-starttls\",\"b\":\"x\"}",
            "no SMTP",
        ),
        (
            "{\"n\":3,\"s\":1,\"k\":\"cmd\",\"d\":\"c\",\"verb\":\"NOOP\"}",
            "empty",
        ),
        (
            "{\"n\":3,\"s\":1,\"k\":\"data\",\"d\":\"c\",\"form\":\"dot\",\"b\":\"x\"}\n\
             {\"n\":4,\"s\":1,\"k\":\"gap\",\"d\":\"c\",\"len\":10,\"why\":\"bodies\"}",
            "not recorded whole",
        ),
    ] {
        let head = "{\"helo\":\"rec\",\"v\":1,\"k\":\"head\",\"n\":0}\n\
                    {\"n\":1,\"s\":1,\"k\":\"open\"}\n\
                    {\"n\":2,\"s\":1,\"k\":\"rep\",\"d\":\"s\",\"code\":220,\"re\":0,\"b\":\"220 mx\\r\\n\"}\n";
        let missing = file(dir.path(), "missing", format!("{head}{line}\n"));
        is_unusable(&missing, because);
    }
}

#[test]
fn a_session_that_is_not_there_is_told_with_those_that_are() {
    let dir = scratch();
    let recorded = recording(dir.path(), &[SESSION, SESSION]);
    let (status, said) = complaint(&replay(&recorded, &["--session", "1,7"]));
    assert_eq!(status, 4);
    assert!(
        said.contains("no session 7") && said.contains("there are: 1, 2"),
        "{said}"
    );
}

#[test]
fn real_mail_is_sent_only_where_that_was_asked_for() {
    let dir = scratch();
    let recorded = recording(dir.path(), &[SESSION]);
    let record = dir.path().join("again");
    // An address for documentation: had it been connected to, it took a while.
    for target in ["192.0.2.1:25", "smtp://192.0.2.1", "[2001:db8::1]:25"] {
        let arguments = ["replay", text(&recorded), target, "--record", text(&record)];
        let ended = run(&arguments);
        let (status, said) = complaint(&ended);
        assert_eq!(status, 5, "{said}");
        assert!(
            said.contains("--live") && said.contains("--dry-run"),
            "{said}"
        );
        assert!(ended.took.as_secs() < 5);
        assert_eq!(ended.stdout(), "");
        assert!(!record.exists());
    }
    // Loopback is never real, whatever it is called.
    for host in ["127.0.0.1", "127.8.9.10", "[::ffff:127.0.0.1]"] {
        let target = format!("{host}:{}", nobody().port());
        let (status, said) = complaint(&run(&["replay", "--json", text(&recorded), &target]));
        assert_eq!(status, 3, "{said}");
        assert!(said.contains("cannot connect to"), "{said}");
    }
}

#[test]
fn a_dry_run_says_all_and_sends_nothing() {
    let dir = scratch();
    let recorded = recording(
        dir.path(),
        &[&format!("{SESSION}-- close client\n"), SESSION],
    );
    let ended = replay(&recorded, &["--dry-run"]);
    assert_eq!(ended.status(), Some(0));
    let shown = ended.stdout();
    let first = shown.lines().next().unwrap();
    assert!(first.starts_with("session 1: messages: 1, "), "{shown}");
    assert!(
        first.contains("recipients: <b@mx.test>, <c@mx.test>; it took 0.016 s"),
        "{shown}"
    );
    assert!(shown.contains("step   5  C  DATA"), "{shown}");
    assert!(shown.contains("session 2: "), "{shown}");
    // Neither is a server far away talked to.
    let ended = run(&[
        "replay",
        text(&recorded),
        "192.0.2.1:25",
        "--dry-run",
        "--json",
    ]);
    assert_eq!(ended.status(), Some(0));
    let said: Vec<String> = ended
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["session"] == 2)
        .map(|line| line["said"].as_str().unwrap().to_owned())
        .collect();
    let commands: Vec<&str> = SESSION
        .lines()
        .filter_map(|line| line.strip_prefix("C: "))
        .collect();
    assert_eq!(said[..5], commands[..5]);
    assert_eq!(said[5], "(3 octets of mail data)");
}

#[test]
fn what_cannot_be_recorded_or_printed_is_6() {
    let dir = scratch();
    let recorded = recording(dir.path(), &[SESSION]);
    let (status, said) = complaint(&replay(&recorded, &["--record", text(dir.path())]));
    assert_eq!(status, 6, "{said}");
    let server = Scripted::start(&[SESSION]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" > /dev/full", PROGRAM, "replay"]);
    shell.args([text(&recorded), &server.address.to_string()]);
    let (status, said) = complaint(&watch(&mut shell));
    assert_eq!(status, 6, "{said}");
    assert!(said.contains("standard output"), "{said}");
    server.must_have_served(1);
}

#[test]
fn what_cannot_be_meant_is_2() {
    let here: SocketAddr = nobody();
    let here = here.to_string();
    for arguments in [
        &["replay"][..],
        &["replay", "file"],
        &["replay", "file", "127.0.0.1:0"],
        &["replay", "file", &here, "--session", "one"],
        &["replay", "file", &here, "--match", "words"],
        &["replay", "file", &here, "--vary", "ticket"],
        &["replay", "file", &here, "--pace", "slow"],
        &["replay", "file", &here, "--max-slowdown", "3"],
        &["replay", "file", &here, "--rcpt-map", "*=nobody"],
        &["replay", "file", &here, "--refresh", "subject"],
        &["replay", "file", &here, "--on-mismatch", "cry"],
        &["replay", "file", &here, "--auth-password-file", "x"],
        &["replay", "file", &here, "--timeout", "-1s"],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.status(), Some(2), "{arguments:?}: {}", ended.stderr());
        assert_eq!(ended.stdout(), "");
    }
}
