//! A server that greylists is asked again once it is ready to answer, and is never
//! called wrong for having deferred.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Upstream, run, scratch};

/// When each client, reverse-path and forward-path was first seen.
type Seen = Mutex<BTreeMap<(String, String, String), Instant>>;

/// Like a sane server that knows anna and postmaster, but whoever comes from
/// 127.0.0.2 is greylisted for so many seconds.
fn greylisting(seconds: u64) -> Upstream {
    let seen = Seen::default();
    Upstream::start(move |tcp, _| serve(&tcp, seconds, &seen))
}

fn serve(mut tcp: &TcpStream, seconds: u64, seen: &Seen) {
    let client = tcp.peer_addr().unwrap().ip().to_string();
    let (mut sender, mut in_data, mut accepted) = (String::new(), false, 0);
    let _ = tcp.write_all(b"220 mx.own.test ESMTP\r\n");
    for line in BufReader::new(tcp).lines().map_while(Result::ok) {
        let line = line.to_ascii_lowercase();
        if in_data && line != "." {
            continue;
        }
        let reply = match line.get(..4).unwrap_or_default() {
            "ehlo" if line.len() < 6 => "501 5.5.4 a name, please",
            "mail" if line.contains("helo-x") => "555 5.5.4 unknown parameter",
            "mail" if !sender.is_empty() => "503 5.5.1 one at a time",
            "rcpt" if sender.is_empty() => "503 5.5.1 MAIL first",
            "data" if accepted == 0 => "503 5.5.1 RCPT first",
            "mail" => {
                sender.clone_from(&line);
                "250 2.1.0 ok"
            }
            "rcpt" if is_early((&client, &sender, &line), seconds, seen) => {
                &format!("451 4.7.1 Greylisted, try again in {seconds} seconds")
            }
            "rcpt" => recipient(&line, &client),
            "ehlo" | "helo" | "rset" | "" => {
                (sender, accepted) = (String::new(), 0);
                "250 mx.own.test"
            }
            "noop" | "quit" => "250 2.0.0 ok",
            "data" => "354 go ahead",
            _ => "502 5.5.1 not here",
        };
        accepted += u32::from(line.starts_with("rcpt") && reply.starts_with('2'));
        in_data = line == "data" && reply.starts_with('3');
        let _ = tcp.write_all(format!("{reply}\r\n").as_bytes());
        if line == "quit" {
            return;
        }
    }
}

fn is_early((client, sender, line): (&str, &str, &str), seconds: u64, seen: &Seen) -> bool {
    let key = (client.to_owned(), sender.to_owned(), line.to_owned());
    let first = *seen.lock().unwrap().entry(key).or_insert_with(Instant::now);
    client == "127.0.0.2" && first.elapsed() < Duration::from_secs(seconds)
}

fn recipient(line: &str, client: &str) -> &'static str {
    let known = ["<anna@own.test>", "<postmaster@own.test>", "<postmaster>"];
    if client == "127.0.0.2" && line.contains("@elsewhere.") {
        "554 5.7.1 Relay access denied"
    } else if known.iter().any(|known| line.contains(known)) {
        "250 2.1.5 ok"
    } else {
        "550 5.1.1 unknown user"
    }
}

/// Runs the procedure with five seconds of patience: the report, and how long it took.
fn test(greylisted: u64) -> (Value, Duration) {
    let (server, dir) = (greylisting(greylisted), scratch());
    let (address, record) = (
        server.address.to_string(),
        dir.path().join("test.helo.jsonl"),
    );
    let mut arguments = vec!["test", &address, "--emulate-from", "127.0.0.2", "--json"];
    arguments.extend(["--to", "anna@own.test", "--witness", "w@elsewhere.test"]);
    arguments.extend(["--pace", "0", "--patience", "5s"]);
    arguments.extend(["--record", record.to_str().unwrap()]);
    let begun = Instant::now();
    let output = run(env!("CARGO_BIN_EXE_helo-client"), &arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (report, begun.elapsed())
}

/// What a check found on the remote leg.
fn remote<'a>(report: &'a Value, check: &str) -> &'a Value {
    let legs = report["legs"].as_array().unwrap();
    let column = legs.iter().position(|leg| leg["kind"] == "remote").unwrap();
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == check).unwrap();
    &row["cells"][column]
}

/// The checks that rest on what RCPT is answered, and pass here.
const DECIDED: &[&str] = &[
    "deliver-self",
    "deliver-null-sender",
    "relay-plain",
    "relay-null-sender",
    "relay-own-sender",
    "relay-mixed",
    "rcpt-unknown",
];

#[test]
fn with_patience_enough_the_real_answers_are_judged() {
    let (report, took) = test(1);
    for check in DECIDED {
        let cell = remote(&report, check);
        assert_eq!(cell["verdict"], "pass", "{check}: {cell}");
    }
    // Once for the delivery and once for all the rest, not for each question.
    assert!(took < Duration::from_secs(20), "it took {took:?}");
}

#[test]
fn with_too_little_patience_nothing_is_decided_and_nothing_fails() {
    let (report, _) = test(600);
    for check in DECIDED {
        let cell = remote(&report, check);
        assert_eq!(cell["verdict"], "inconclusive", "{check}: {cell}");
        assert_ne!(cell["advice"][0], Value::Null, "{check}: {cell}");
    }
    let advice = remote(&report, "deliver-self")["advice"].to_string();
    assert!(advice.contains("--patience"), "{advice}");
    let rows = report["rows"].as_array().unwrap();
    for id in rows.iter().map(|row| row["id"].as_str().unwrap()) {
        // The server has no TLS.
        let failed = remote(&report, id)["verdict"] == "fail" && id != "tls-offered";
        assert!(!failed, "{id}: {}", remote(&report, id));
    }
}
