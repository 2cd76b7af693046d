//! How rules get into the server: flags, files, and the API; and what is told of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use support::faulty::faulty_with;
use support::{Server, accepts, run};
use testkit::program::complaint;
use testkit::scratch;
use testkit::talk::{reply, say};
use testkit::wait::until_true;

/// It does not start, and says why.
fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

#[test]
fn a_rule_that_cannot_be_read_is_told_with_its_column() {
    for (rule, says) in [
        ("on lunch : close", "column 4: 'lunch' stands where a stage"),
        ("on rcpt : hide DSN", "column 11: hide has no place at rcpt"),
        ("lunch", "'lunch' is neither a rule"),
        (
            "greylist(soon)",
            "column 10: 'soon' are no arguments of greylist",
        ),
    ] {
        let said = refused(&["--check-config", "--fault", rule]);
        assert!(said.contains(says), "{said}");
    }
    let said = refused(&["--check-config", "--fault", "on rcpt @mx : close"]);
    assert!(said.contains("there is no listener 'mx'"), "{said}");
    let said = refused(&[
        "--check-config",
        "--fault",
        "on greeting : reply-lines \"/no/such/file\"",
    ]);
    assert!(
        said.contains("reading the reply in /no/such/file"),
        "{said}"
    );
}

#[test]
fn rules_stand_in_the_configuration_in_four_parts() {
    let dir = scratch();
    let file = dir.path().join("helo.toml");
    let config = ["--config", file.to_str().unwrap()];
    fs::write(
        &file,
        "fault = ['on noop : defer']\nseed = 7\n\n[[rule]]\nwhen = 'rcpt'\nif = 'to ~ \"^full@\"'\n\
         count = 'first 1 per to'\ndo = 'reply 452 4.2.2 \"full\"'\n\n[[rule]]\nwhen = 'on vrfy'\ndo = 'reject'\n",
    )
    .unwrap();
    let server = Server::start(dir.path(), &config);
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<a@c.test>"]);
    let rcpt = "RCPT TO:<full@local.test>\r\n";
    assert_eq!(say(&mut tcp, rcpt), "452 4.2.2 full\r\n");
    assert!(say(&mut tcp, rcpt).starts_with("550 5.1.1"));
    assert!(say(&mut tcp, "VRFY a\r\n").starts_with("554"));
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("451"));
    // What is printed is read again, rules and all.
    let printed = run(&[&config[..], &["--print-config"]].concat());
    let printed = String::from_utf8(printed.stdout).unwrap();
    fs::write(&file, &printed).unwrap();
    let again = run(&[&config[..], &["--print-config"]].concat());
    assert_eq!(String::from_utf8(again.stdout).unwrap(), printed);
    assert!(printed.contains("if = 'to ~ \"^full@\"'"), "{printed}");
    // An error says where it is: the table, the part, the column in it.
    fs::write(&file, "\n[[rule]]\nwhen = 'rcpt'\ndo = 'close; reset'\n").unwrap();
    let (status, said) = complaint(&run(&[&config[..], &["--check-config"]].concat()));
    assert_eq!(status, 2);
    assert!(
        said.contains(":2:1: 'do' of this rule: column 8: close and"),
        "{said}"
    );
}

#[test]
fn presets_are_printed_as_the_rules_they_stand_for() {
    let output = run(&[
        "--print-config",
        "--fault",
        "greylist(delay=1m,window=2h)",
        "--fault",
        "lost-ack",
    ]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("on rcpt first 1 per triplet within 2h for 1m : reply 451"));
    assert!(printed.contains("on dot : keep; no-reply; reset"));
    assert!(!printed.contains("greylist(") && !printed.contains("lost-ack"));
}

/// A server with one preset.
fn with(dir: &Path, preset: &str) -> Server {
    faulty_with(dir, &[preset], &["--seed", "1"])
}

#[test]
fn presets_do_what_they_say() {
    let dir = scratch();
    let said = |preset: &str, lines: &[&str]| {
        let server = with(dir.path(), preset);
        let mut tcp = server.connected();
        let mut said = reply(&mut tcp);
        for line in lines {
            said = say(&mut tcp, &format!("{line}\r\n"));
        }
        fs::remove_file(server.file()).unwrap();
        said
    };
    let (ehlo, mail) = ("EHLO c.test", "MAIL FROM:<a@c.test>");
    let full = ["EHLO c.test", mail, "RCPT TO:<full@local.test>"];
    assert!(said("full-mailbox", &full).starts_with("452 4.2.2"));
    let unknown = ["EHLO c.test", mail, "RCPT TO:<anna@local.test>"];
    assert!(said("unknown-user(^anna@)", &unknown).starts_with("550 5.1.1"));
    let quota = ["EHLO c.test", "MAIL FROM:<a@c.test> SIZE=11000000"];
    assert!(said("quota", &quota).starts_with("552 5.2.2"));
    assert!(said("blocklist(127.0.0.1)", &[]).starts_with("554 5.7.1"));
    assert!(said("blocklist(192.0.2.0/24)", &[]).starts_with("220"));
    assert!(said("no-esmtp", &[ehlo]).starts_with("500"));
    assert!(said("flaky(p=1)", &[ehlo, mail]).starts_with("451"));
    assert!(said("pix", &[]).starts_with("220 ****"));
    let masked = said("pix", &[ehlo]);
    assert!(masked.contains("XXXXXXXA") && !masked.contains("STARTTLS"));
    assert!(said("exchange-like", &[]).contains("Microsoft ESMTP MAIL Service"));
    assert!(said("exchange-like", &[ehlo]).contains("SIZE 37748736"));
    assert!(said("gmail-like", &[ehlo]).contains("SIZE 157286400"));
    let began = Instant::now();
    assert!(said("tarpit(100ms)", &[ehlo]).starts_with("250"));
    assert!(began.elapsed() >= Duration::from_millis(200));
    let began = Instant::now();
    assert!(said("slow-link(1024B/s)", &[ehlo]).starts_with("250"));
    // The reply alone has some 250 octets.
    assert!(began.elapsed() >= Duration::from_millis(200));
    said("jim", &[]);
}

#[test]
fn more_sessions_than_that_are_too_many() {
    let dir = scratch();
    let server = with(dir.path(), "busy(max-conns=2)");
    let (first, second) = (server.greeted(), server.greeted());
    assert!(reply(&mut server.connected()).starts_with("421 4.3.2"));
    drop((first, second));
    until_true("room for another", || {
        reply(&mut server.connected()).starts_with("220")
    });
}

#[test]
fn a_scenario_is_a_file_of_rules() {
    let dir = scratch();
    let file = dir.path().join("scenario");
    let option = format!("--scenario={}", file.display());
    fs::write(&file, "# two of them\n\non noop : defer\n  mail-452\n").unwrap();
    let server = faulty_with(dir.path(), &[], &[&option]);
    let mut tcp = server.after(&["EHLO c.test"]);
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("451"));
    assert!(say(&mut tcp, "MAIL FROM:<a@c.test>\r\n").starts_with("452"));
    fs::write(&file, "on noop : defer\n  on noop : defr\n").unwrap();
    let said = refused(&["--check-config", &option]);
    let place = format!("{}:2:13: 'defr' stands where", file.display());
    assert!(said.contains(&place), "{said}");
}

#[test]
fn the_seed_is_in_the_recording() {
    let dir = scratch();
    let server = faulty_with(dir.path(), &["flaky"], &["--seed", "42"]);
    let recording = server.recorded();
    let notes = recording.records().iter();
    let mut notes = notes.filter(|record| record.text("tag") == Some("faults"));
    let bound = notes.next().unwrap().field("bind").unwrap().clone();
    assert_eq!(bound, json!({"seed": "42"}));
}

#[test]
fn all_there_is_can_be_listed_and_explained() {
    let listed = run(&["faults"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in [
        "connect",
        "body-byte(N)",
        "client in CIDR",
        "reply-split N [TIME]",
        "expired",
        "greylist(delay=5m, window=4h)",
        "lmtp-mixed",
    ] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    for (name, says) in [
        ("lost-ack", "on dot : keep; no-reply; reset"),
        ("greylist", "on rcpt first 1 per triplet within 4h for 5m"),
        ("drip", "N octets at a time"),
        ("body-byte", "octets of the content have come"),
        ("size", "the message is larger"),
    ] {
        let explained = run(&["faults", name]);
        let text = String::from_utf8(explained.stdout).unwrap();
        assert!(text.contains(says), "{name}: {text}");
    }
    assert!(refused(&["faults", "lunch"]).contains("there is no 'lunch'"));
}

#[test]
fn rules_come_and_go_over_the_api() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &["--fault", "data-refused"]);
    let faults = "/api/v1/faults";
    let found = server.json(faults);
    assert_eq!(found["rules"][0]["name"], "data-refused");
    assert_eq!(
        found["rules"][0]["rule"],
        "on data : reply 451 4.3.0 \"not now\""
    );
    let mut tcp = server.after(&["EHLO c.test"]);
    assert!(say(&mut tcp, "DATA\r\n").starts_with("451"));
    assert_eq!(server.json(faults)["rules"][0]["hits"], 1);

    // The next one, and only that.
    let answer = server.tell("POST", faults, "{\"rule\": \"mail-452\", \"once\": true}");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["rules"][1]["once"], true);
    assert!(say(&mut tcp, "MAIL FROM:<a@c.test>\r\n").starts_with("452"));
    accepts(&mut tcp, &["MAIL FROM:<a@c.test>", "RSET"]);
    assert_eq!(server.json(faults)["rules"].as_array().unwrap().len(), 1);

    let body = "{\"rules\": [\"on noop : defer\", \"on rset : delay 1ms\"]}";
    let answer = server.tell("PUT", faults, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("451"));
    assert!(say(&mut tcp, "DATA\r\n").starts_with("503"));

    // One that is wrong changes nothing.
    let body = "{\"rules\": [\"on noop : close\", \"on noop\"]}";
    let answer = server.tell("PUT", faults, body);
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("'on noop': column 8"),
        "{}",
        answer.text()
    );
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("451"));

    let id = server.json(faults)["rules"][0]["id"].as_u64().unwrap();
    assert_eq!(
        server
            .ask("DELETE", &format!("{faults}?id={id}"), &[])
            .status,
        204
    );
    assert_eq!(
        server
            .ask("DELETE", &format!("{faults}?id={id}"), &[])
            .status,
        404
    );
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
    assert_eq!(server.ask("DELETE", faults, &[]).status, 204);
    assert_eq!(server.json(faults)["rules"], json!([]));
}

#[test]
fn the_api_reads_no_files_and_takes_no_unknown_members() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    for (body, says) in [
        (
            "{\"rule\": \"on greeting : reply-lines \\\"/etc/passwd\\\"\"}",
            "reply-lines is taken at the start alone",
        ),
        ("{\"rule\": \"on noop : defer\", \"twice\": true}", "twice"),
        ("[]", "no such JSON"),
        (
            "{\"rule\": \"on noop @nowhere : defer\"}",
            "there is no listener",
        ),
    ] {
        let answer = server.tell("POST", "/api/v1/faults", body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    let big = format!("{{\"rule\": \"{}\"}}", "x".repeat(70_000));
    let answer = server.tell("POST", "/api/v1/faults", &big);
    assert_eq!(answer.status, 413);
    assert_eq!(server.json("/api/v1/faults")["rules"], json!([]));
}
