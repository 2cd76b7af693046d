//! `test`, the procedure: servers that misbehave, legs that are missing or made
//! elsewhere, and a report that can be made again from its recording.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;
use support::{
    EVIL, PROGRAM, Turn, complaint, honest, is_harmless, nobody, reply, run, run_coloured,
    serve_honestly, serve_with, text,
};
use testkit::watched::{Ended, watch};
use testkit::{Upstream, scratch};

/// The remote leg, from here, asked about relaying too.
const REMOTE: &[&str] = &[
    "--one-leg",
    "--remote-from",
    "here",
    "--witness",
    "w@else.test",
];

/// The procedure against a server of mx.test, as fast as it goes.
fn test(address: SocketAddr, record: &Path, options: &[&str]) -> Ended {
    let target = address.to_string();
    let arguments = ["test", &target, "--to", "anna@mx.test", "-4", "--pace", "0"];
    let named = ["--helo", "c.test", "--record", text(record)];
    run(&[&arguments[..], &named, options].concat())
}

/// Tests, and judges what was recorded: that must come to the same.
fn tested(server: &Upstream, options: &[&str]) -> (i32, String) {
    let dir = scratch();
    let record = dir.path().join("t.helo.jsonl");
    let ended = test(server.address, &record, options);
    assert_eq!(ended.stderr(), "", "{}", ended.stdout());
    let output: Vec<&str> = options
        .iter()
        .copied()
        .filter(|option| ["--json", "--fail-on", "warn"].contains(option))
        .collect();
    let judged = run(&[&["judge", text(&record)], &output[..]].concat());
    assert_eq!(judged.stdout(), ended.stdout());
    assert_eq!(judged.status(), ended.status());
    let recording = testkit::recorded::read(&record);
    assert_eq!(recording.damage(), []);
    assert!(recording.is_finished());
    (ended.status().unwrap(), ended.stdout())
}

/// The verdict on a check, of the only leg.
fn verdict<'a>(shown: &'a str, check: &str) -> &'a str {
    let line = shown
        .lines()
        .find(|line| line.split(' ').next() == Some(check));
    line.and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or("none")
}

#[test]
fn an_honest_server_passes_on_either_leg() {
    let server = serve_honestly();
    let (status, shown) = tested(&server, &["--one-leg"]);
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("note: relaying was not checked"), "{shown}");
    let (status, shown) = tested(&server, REMOTE);
    assert_eq!(status, 0, "{shown}");
    for check in ["deliver-self", "relay-plain", "tls-offered", "rcpt-unknown"] {
        assert_eq!(verdict(&shown, check), "pass", "{shown}");
    }
    // It does not know how to unquote: that is a warning, and no fail.
    assert_eq!(verdict(&shown, "rcpt-quoted"), "warn", "{shown}");
    let (status, _) = tested(&server, &[REMOTE, &["--fail-on", "warn"]].concat());
    assert_eq!(status, 1);
    let blanks = shown.lines().find(|line| line.ends_with(' '));
    assert_eq!(blanks, None, "a line ends with blanks");
}

#[test]
fn a_relay_is_caught_on_the_remote_leg() {
    let server = serve_with(|_, line| match line {
        line if line.starts_with("RCPT TO:<w@else.test>") => reply("250 2.1.5 gladly"),
        line => honest(line),
    });
    let (status, shown) = tested(&server, REMOTE);
    assert_eq!(status, 1, "{shown}");
    assert_eq!(verdict(&shown, "relay-plain"), "fail", "{shown}");
}

#[test]
fn a_leg_that_is_missing_is_3_and_how_to_run_it_is_told() {
    let server = serve_honestly();
    // On loopback it is the remote leg that cannot be run from here.
    let (status, shown) = tested(&server, &[]);
    assert_eq!(status, 3, "{shown}");
    assert!(shown.contains("note: remote leg: it was not run: give --remote-from ssh:HOST"));
    // From elsewhere it is the localhost leg.
    let dir = scratch();
    let record = dir.path().join("t.helo.jsonl");
    let far = ["test", "192.0.2.1", "--to", "anna@mx.test"];
    // From a loopback address nothing leaves this machine.
    let options = ["--record", text(&record), "--source", "127.0.0.1"];
    let ended = run(&[&far[..], &options].concat());
    assert_eq!(ended.status(), Some(3), "{}", ended.stderr());
    let shown = ended.stdout();
    assert!(shown.contains("note: localhost leg: it was not run: run this on the server"));
    assert!(
        shown.contains("remote leg: connecting to 192.0.2.1:25: "),
        "{shown}"
    );
    assert!(shown.contains("\nINCOMPLETE: 0 failed"), "{shown}");
}

#[test]
fn legs_that_were_made_apart_are_joined_into_one_report() {
    let dir = scratch();
    let server = serve_honestly();
    let (near, far, all) = (
        dir.path().join("near"),
        dir.path().join("far"),
        dir.path().join("all"),
    );
    let ended = test(server.address, &far, REMOTE);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let options = ["--witness", "w@else.test", "--join", text(&far), "--json"];
    let ended = test(server.address, &near, &options);
    assert_eq!(
        ended.status(),
        Some(0),
        "{}{}",
        ended.stdout(),
        ended.stderr()
    );
    let report: Value = serde_json::from_slice(&ended.output.stdout).unwrap();
    let kinds: Vec<&str> = legs(&report)
        .iter()
        .map(|leg| leg["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["localhost", "remote"]);
    assert_eq!(report["remarks"], serde_json::json!([]));
    assert_eq!(report["complete"], true);
    let judged = run(&["judge", text(&near), text(&far), "--json"]);
    assert_eq!(judged.stdout(), ended.stdout());
    assert_eq!(judged.status(), Some(0));
    // Alone it says that the other leg is missing.
    let alone = run(&["judge", text(&near), "--json"]);
    assert_eq!(alone.status(), Some(3));
    let report: Value = serde_json::from_slice(&alone.output.stdout).unwrap();
    assert_eq!(report["complete"], false);
    // What cannot be joined is told before anybody is talked to.
    let missing = dir.path().join("missing");
    let before = server.begun();
    let ended = test(server.address, &all, &["--join", text(&missing)]);
    let (status, said) = complaint(&ended);
    assert_eq!(status, 4, "{said}");
    assert!(said.contains(text(&missing)), "{said}");
    assert_eq!(server.begun(), before);
    assert!(!all.exists());
}

fn legs(report: &Value) -> &Vec<Value> {
    report["legs"].as_array().unwrap()
}

#[test]
fn the_report_as_json_says_all_that_it_promises() {
    let server = serve_honestly();
    let (status, shown) = tested(&server, &[REMOTE, &["--json"]].concat());
    assert_eq!(status, 0);
    let report: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(report["schema"], 1);
    assert_eq!(report["overall"], "warn");
    assert_eq!(report["target"], server.address.to_string());
    assert!(report["recording"].is_string() && report["remarks"].is_array());
    let leg = &legs(&report)[0];
    assert_eq!(leg["kind"], "remote");
    assert_eq!(leg["family"], "v4");
    assert_eq!(leg["emulated"], false);
    assert_eq!(leg["delivered"], "accepted");
    assert_eq!(leg["from"], "127.0.0.1");
    assert_eq!(leg["to"], server.address.to_string());
    let rows = report["rows"].as_array().unwrap();
    let mut counted = 0;
    for row in rows {
        for field in ["id", "group", "question", "severity", "verdict"] {
            assert!(row[field].is_string(), "{field} of {row}");
        }
        assert!(row["references"].is_array() && row["cures"].is_array());
        let cells = row["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 1, "a cell for each leg");
        counted += usize::from(cells[0].is_object());
    }
    let totals = report["totals"].as_object().unwrap();
    let sum: u64 = totals.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(usize::try_from(sum).unwrap(), counted);
    // Evidence names its line in the recording.
    let relay = rows.iter().find(|row| row["id"] == "relay-plain").unwrap();
    let evidence = &relay["cells"][0]["evidence"][0];
    assert!(evidence["n"].is_u64() && evidence["said"].is_string());
    assert_eq!(evidence["answered"], "550 5.7.1 relaying denied");
}

/// What is said of a server that answers so, and over how many connections.
fn judged(
    options: &[&str],
    answer: impl Fn(usize, &str) -> Turn + Send + Sync + 'static,
) -> (i32, String, usize) {
    let server = serve_with(answer);
    let (status, shown) = tested(&server, options);
    (status, shown, server.begun())
}

#[test]
fn a_server_that_refuses_everything_proves_nothing_about_relaying() {
    for (code, status) in [("550 5.7.1 no", 1), ("451 4.7.1 later", 3)] {
        let (found, shown, _) = judged(REMOTE, move |_, line| match line {
            line if line.starts_with("RCPT") => reply(code),
            line => honest(line),
        });
        assert_eq!(found, status, "{shown}");
        for check in [
            "relay-plain",
            "relay-null-sender",
            "relay-mixed",
            "rcpt-unknown",
        ] {
            assert_eq!(verdict(&shown, check), "inconclusive", "{shown}");
        }
    }
}

#[test]
fn a_server_that_lets_nothing_be_asked_is_left_alone() {
    let busy = |_: usize, _: &str| Turn::SayAndClose(b"421 4.3.2 busy\r\n".to_vec());
    for options in [&["--one-leg"][..], REMOTE] {
        let (status, shown, connections) = judged(options, busy);
        assert_eq!(status, 3, "{shown}");
        assert!(shown.contains("(it said 421 4.3.2 busy)"), "{shown}");
        assert!(connections <= 5, "{connections} connections");
        let closes = |_: usize, line: &str| match line {
            "" => honest(line),
            _ => Turn::SayAndClose(Vec::new()),
        };
        let (status, shown, connections) = judged(options, closes);
        assert!([1, 3].contains(&status), "{shown}");
        assert!(
            shown.contains("the server closed the connection"),
            "{shown}"
        );
        assert!(connections <= 5, "{connections} connections");
        let refuses = |_: usize, _: &str| reply("554 5.7.1 no");
        let (status, shown, connections) = judged(options, refuses);
        assert_eq!(status, 1, "{shown}");
        assert_eq!(verdict(&shown, "conn-banner"), "fail", "{shown}");
        assert!(connections <= 5, "{connections} connections");
    }
}

#[test]
fn a_client_that_is_banned_on_the_way_stops_and_has_no_verdict() {
    for options in [&["--one-leg"][..], REMOTE] {
        let (status, shown, connections) = judged(options, |connection, line| {
            if connection < 12 {
                honest(line)
            } else {
                Turn::SayAndClose(b"421 4.7.0 too many errors\r\n".to_vec())
            }
        });
        assert_eq!(status, 3, "{shown}");
        assert!(shown.contains("the other checks were not run"), "{shown}");
        assert_eq!(connections, 17);
        assert_eq!(verdict(&shown, "deliver-self"), "pass", "{shown}");
    }
}

#[test]
fn a_421_in_between_is_asked_again() {
    // The first question of a session is cut short the first time it is asked.
    let asked = Mutex::new((BTreeSet::new(), BTreeSet::new()));
    let (status, shown, _) = judged(REMOTE, move |connection, line| {
        let (sessions, questions) = &mut *asked.lock().unwrap();
        let first = line.starts_with("RCPT") && sessions.insert(connection);
        if first && questions.insert(line.to_owned()) {
            Turn::SayAndClose(b"421 4.3.2 closing\r\n".to_vec())
        } else {
            honest(line)
        }
    });
    assert_eq!(status, 0, "{shown}");
    assert_eq!(verdict(&shown, "relay-plain"), "pass", "{shown}");
}

#[test]
fn a_tarpit_is_given_up() {
    let server = Upstream::start(|mut tcp, _| {
        use std::io::Write;
        // A line now and then, and never the last one.
        while tcp.write_all(b"220-one moment please\r\n").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    let (status, shown) = tested(&server, &[REMOTE, &["--timeout", "300ms"]].concat());
    assert!([1, 3].contains(&status), "{shown}");
    assert!(shown.contains("(no answer within 0.3 s)"), "{shown}");
    assert_eq!(server.begun(), 5);
}

#[test]
fn a_server_that_does_not_answer_rcpt_is_given_up() {
    let server = serve_with(|_, line| match line {
        line if line.starts_with("RCPT") => Turn::Wait,
        line => honest(line),
    });
    let (status, shown) = tested(&server, &[REMOTE, &["--timeout", "300ms"]].concat());
    assert!([1, 3].contains(&status), "{shown}");
    assert!(shown.contains("(no answer within 0.3 s)"), "{shown}");
}

#[test]
fn a_message_that_does_not_arrive_is_a_warning() {
    let dir = scratch();
    let server = serve_honestly();
    let arrival = format!("maildir:{}", dir.path().join("Maildir").display());
    let options = ["--one-leg", "--arrival", &arrival, "--patience", "100ms"];
    let (status, shown) = tested(&server, &options);
    assert_eq!(status, 0, "{shown}");
    assert_eq!(verdict(&shown, "deliver-self"), "warn", "{shown}");
    // A place that cannot be looked into is another matter.
    let file = support::file(dir.path(), "no-maildir", "");
    let arrival = format!("maildir:{}", file.display());
    let record = dir.path().join("t.helo.jsonl");
    let options = ["--one-leg", "--arrival", &arrival, "--patience", "100ms"];
    let ended = test(server.address, &record, &options);
    assert!(
        ended.stdout().contains("arrival could not be looked for"),
        "{}",
        ended.stdout()
    );
    assert!(ended.stderr().contains(text(&file)), "{}", ended.stderr());
}

#[test]
fn whoever_cannot_be_reached_is_3_and_the_reason_is_in_the_report() {
    let dir = scratch();
    let record = dir.path().join("t.helo.jsonl");
    let address = nobody();
    let ended = test(address, &record, REMOTE);
    assert_eq!(ended.status(), Some(3), "{}", ended.stdout());
    let shown = ended.stdout();
    let why = format!("remote leg: connecting to {address}: Connection refused");
    assert!(shown.contains(&why), "{shown}");
    // Another leg that went well does not make up for it.
    let server = serve_honestly();
    let target = address.to_string();
    let near = server.address.to_string();
    let again = dir.path().join("again");
    let options = [
        "--localhost-target",
        &near,
        "--remote-from",
        "here",
        "--record",
        text(&again),
    ];
    let base = ["test", &target, "--to", "anna@mx.test", "-4", "--pace", "0"];
    let ended = run(&[&base[..], &options].concat());
    assert_eq!(ended.status(), Some(3), "{}", ended.stdout());
    assert!(ended.stdout().contains(&why), "{}", ended.stdout());
    assert!(
        ended.stdout().contains("localhost leg: 127.0.0.1"),
        "{}",
        ended.stdout()
    );
}

#[test]
fn haste_is_for_loopback_alone() {
    let dir = scratch();
    let record = dir.path().join("t.helo.jsonl");
    let server = serve_honestly();
    let near = server.address.to_string();
    for arguments in [
        &["192.0.2.1"][..],
        &["mx.test"],
        &["[2001:db8::1]:25"],
        &[
            "127.0.0.1:1",
            "--localhost-target",
            "192.0.2.1",
            "--localhost-from",
            "here",
        ],
        &[
            "192.0.2.1",
            "--localhost-target",
            &near,
            "--localhost-from",
            "here",
        ],
    ] {
        let options = [
            "--to",
            "anna@mx.test",
            "--pace",
            "0",
            "--record",
            text(&record),
        ];
        let ended = run(&[&["test"], arguments, &options].concat());
        let (status, said) = complaint(&ended);
        assert_eq!(status, 5, "{said}");
        assert!(said.contains("--pace 0"), "{said}");
        assert!(!record.exists());
    }
    assert_eq!(server.begun(), 0);
}

#[test]
fn where_the_recording_goes_is_told_and_it_is_never_overwritten() {
    let dir = scratch();
    let server = serve_honestly();
    let mut command = support::command(&["test", &server.address.to_string(), "--one-leg"]);
    command.args(["--to", "anna@mx.test", "--pace", "0", "-4"]);
    command.current_dir(dir.path());
    let ended = watch(&mut command);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let found: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("helo-test-") && found[0].ends_with(".helo.jsonl"));
    assert!(ended.stdout().contains(&format!("evidence: {}", found[0])));
    let there = dir.path().join(&found[0]);
    let before = std::fs::read(&there).unwrap();
    let (status, said) = complaint(&test(server.address, &there, &["--one-leg"]));
    assert_eq!(status, 6, "{said}");
    assert!(said.contains("it exists"), "{said}");
    assert_eq!(std::fs::read(&there).unwrap(), before);
    let nowhere = dir.path().join("no/dir");
    let (status, said) = complaint(&test(server.address, &nowhere, &["--one-leg"]));
    assert_eq!(status, 6, "{said}");
    assert!(said.contains(text(&nowhere)), "{said}");
}

#[test]
fn what_a_server_says_cannot_act_on_the_terminal() {
    let dir = scratch();
    let evil =
        String::from_utf8(shared::escape::unescape(EVIL.replace("\\x9b", "").as_str()).unwrap());
    let evil = evil.unwrap() + "\u{9b}";
    let refusing = evil.clone();
    let server = serve_with(move |_, line| match line {
        "" => reply(&format!("220 mx.test {refusing}")),
        line if line.starts_with("RCPT") => reply(&format!("550 5.7.1 {refusing}")),
        line => honest(line),
    });
    let banning = serve_with(move |_, _| reply(&format!("421 4.7.0 {evil}")));
    for (index, server) in [server, banning].iter().enumerate() {
        let (record, target) = (
            dir.path().join(index.to_string()),
            server.address.to_string(),
        );
        let arguments = ["test", &target, "--to", "anna@mx.test", "-4", "--pace", "0"];
        let options = ["--record", text(&record)];
        let ended = run_coloured(&[&arguments[..], REMOTE, &options].concat());
        is_harmless(&ended);
        is_harmless(&run_coloured(&["judge", text(&record)]));
    }
}

#[test]
fn a_report_that_cannot_be_printed_is_6() {
    let dir = scratch();
    let server = serve_honestly();
    let record = dir.path().join("t.helo.jsonl");
    assert_eq!(
        test(server.address, &record, &["--one-leg"]).status(),
        Some(0)
    );
    for line in ["\"$0\" judge \"$1\" >/dev/full", "\"$0\" checks >/dev/full"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", line, PROGRAM, text(&record)]);
        let (status, said) = complaint(&watch(&mut shell));
        assert_eq!(status, 6, "{said}");
    }
    let mut shell = Command::new("sh");
    let line = "{ \"$0\" judge \"$1\"; echo $? >&2; } | true";
    shell.args(["-c", line, PROGRAM, text(&record)]);
    assert_eq!(watch(&mut shell).stderr(), "0\n");
}

#[test]
fn what_cannot_be_meant_is_2() {
    let target = nobody().to_string();
    let good = ["test", &target, "--to", "anna@mx.test"];
    for arguments in [
        &["test"][..],
        &["test", &target],
        &["test", &target, "--to", "nobody"],
        &["test", &target, "--to", "a b@mx.test"],
        &["test", "mx.test:smtp", "--to", "anna@mx.test"],
        &[&good[..], &["--witness", "w"]].concat(),
        &[&good[..], &["--remote-from", "there"]].concat(),
        &[&good[..], &["--remote-from", "ssh:-oProxyCommand=x"]].concat(),
        &[&good[..], &["--pace", "fast"]].concat(),
        &[&good[..], &["--helo", "a\r\nDATA"]].concat(),
        &[&good[..], &["--arrival", "/var/mail"]].concat(),
        &[&good[..], &["--fail-on", "info"]].concat(),
        &[&good[..], &["-4", "-6"]].concat(),
        &["judge"],
        &["nothing"],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.status(), Some(2), "{arguments:?}: {}", ended.stderr());
        assert_eq!(ended.stdout(), "");
        assert!(ended.stderr().starts_with("error: "), "{}", ended.stderr());
    }
}
