//! `replay` against servers that play transcripts: what is said again, what of the
//! answers is compared, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::path::Path;

use driver::tls::{Clients, mint};
use serde_json::Value;
use support::{EVIL, SHORT, is_harmless, recording, replayed, run, run_coloured, send, text};
use testkit::watched::Ended;
use testkit::{Scripted, scratch};

/// A session, as it was recorded and as a server plays it.
const SESSION: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test
S: 250-PIPELINING
S: 250-SIZE 1000
S: 250 8BITMIME
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| Subject: x
C|
C| ..dot
C| .
S: 250 2.0.0 Ok: queued as 4F1bC2
C: QUIT
S: 221 2.0.0 bye
";

fn replay(recorded: &Path, server: &Scripted, options: &[&str]) -> Ended {
    let target = server.address.to_string();
    run(&[&["replay", text(recorded), &target], options].concat())
}

fn closed(by: &str) -> String {
    format!("{SESSION}-- close {by}\n")
}

#[test]
fn the_same_replies_are_the_same_whatever_their_words() {
    let ended = replayed(&closed("client"), SESSION, &[]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    assert_eq!(ended.stderr(), "");
    assert!(
        ended
            .stdout()
            .ends_with("SAME: the replies are as recorded\n")
    );
    // Varying texts are shown, and not compared.
    let other = SESSION
        .replace("mx.test ESMTP", "other.test at your service")
        .replace("250-mx.test", "250-other.test")
        .replace("4F1bC2", "7AA01c")
        .replace("2.1.0 ok", "2.1.0 sender fine");
    let ended = replayed(&closed("server"), &other, &["--fail-on", "warn"]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    assert!(ended.stdout().contains("queued as 7AA01c"));
}

#[test]
fn replies_differ_by_code_status_and_offer() {
    for (from, to, status, levels) in [
        (
            "250 2.1.0 ok",
            "250 ok",
            0,
            &["WARN ec: 2.1.0 > (none)"][..],
        ),
        (
            "250 2.1.0 ok",
            "250 2.1.7 ok",
            1,
            &["FAIL ec: 2.1.0 > 2.1.7"],
        ),
        ("250 2.1.0 ok", "251 2.1.0 ok", 1, &["FAIL code: 250 > 251"]),
        ("354 go on", "355 go on", 1, &["FAIL code: 354 > 355"]),
        ("220 mx", "221 mx", 1, &["FAIL code: 220 > 221"]),
        (
            "S: 250-SIZE 1000\n",
            "",
            1,
            &["FAIL ehlo: SIZE 1000 > (not offered)"],
        ),
        (
            "S: 250-SIZE 1000",
            "S: 250-SIZE 2000",
            0,
            &["WARN ehlo: SIZE 1000 > SIZE 2000"],
        ),
        (
            "S: 250-SIZE 1000",
            "S: 250-SIZE 1000\nS: 250-DSN",
            0,
            &["INFO ehlo: (not offered) > DSN"],
        ),
        (
            "250 2.0.0 Ok: queued as 4F1bC2",
            "554 5.7.1 no",
            1,
            &["FAIL code: 250 > 554", "FAIL ec: 2.0.0 > 5.7.1"],
        ),
        ("221 2.0.0 bye", "221-2.0.0 good\nS: 221 2.0.0 bye", 0, &[]),
    ] {
        let live = SESSION.replace(from, to);
        assert_ne!(live, SESSION);
        let ended = replayed(&closed("client"), &live, &[]);
        let shown = ended.stdout();
        assert_eq!(ended.status(), Some(status), "{to}: {shown}");
        let found: Vec<&str> = shown
            .lines()
            .map(str::trim)
            .filter(|line| {
                ["WARN ", "FAIL ", "INFO "]
                    .iter()
                    .any(|level| line.starts_with(level))
            })
            .collect();
        assert_eq!(found, levels, "{shown}");
        assert_eq!(shown.ends_with("DIFFERENT: see above\n"), status == 1);
        let warned = replayed(&closed("client"), &live, &["--fail-on", "warn"]);
        let worth = levels.iter().any(|level| !level.starts_with("INFO"));
        assert_eq!(warned.status(), Some(i32::from(worth)));
    }
}

#[test]
fn codes_may_be_compared_by_their_class() {
    let live = SESSION.replace("250 2.1.5 ok", "251 2.1.5 ok");
    let ended = replayed(&closed("client"), &live, &["--match", "class"]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    assert_eq!(replayed(&closed("client"), &live, &[]).status(), Some(1));
}

#[test]
fn a_reply_that_does_not_come_is_a_difference_of_its_step() {
    let recorded = closed("client");
    for (live, options, step, why) in [
        ("-- close\n", &[][..], 0, "closed"),
        (
            "S: 220 mx.test ESMTP\nC: EHLO c.test\n-- close\n",
            &[],
            1,
            "closed",
        ),
        (
            "S: 220 mx.test ESMTP\nC: EHLO c.test\n-- wait\n",
            &["--timeout", SHORT],
            1,
            "no answer",
        ),
        ("S: nonsense\n", &[], 0, "nonsense"),
        (
            "S: 220 mx\nS: 250 mx\nC: EHLO c.test\n",
            &[],
            1,
            "before it was asked",
        ),
        ("S: 220 mx\nC: EHLO c.test\nS: 421 no\n", &[], 1, "421 no"),
        ("S: 554 no\n", &[], 0, "554 no"),
    ] {
        let ended = replayed(&recorded, live, options);
        let shown = ended.stdout();
        assert_eq!(ended.status(), Some(1), "{live}{shown}{}", ended.stderr());
        let begun = shown.find(&format!("step {step:>3} ")).unwrap();
        assert!(shown[begun..].contains(why), "{shown}");
        assert!(shown[begun..].contains("FAIL "), "{shown}");
        assert!(
            shown.contains("of the recorded lines were not said"),
            "{shown}"
        );
    }
}

#[test]
fn where_the_recorded_client_left_so_does_the_replay() {
    // It did not wait for the reply to QUIT.
    let begun = SESSION.split("S: 221").next().unwrap();
    let ended = replayed(&format!("{begun}-- close client\n"), begun, &[]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    // It left in the middle of its message: no final dot is made up for it.
    let begun = SESSION.split("C| .\n").next().unwrap();
    let ended = replayed(&format!("{begun}-- close client\n"), begun, &[]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
}

#[test]
fn a_server_that_closed_must_close_again() {
    let begun = SESSION.split("S: 250 2.1.0").next().unwrap();
    let recorded = format!("{begun}-- close server\n");
    let ended = replayed(&recorded, &format!("{begun}-- close\n"), &[]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    // It was recorded as no yes: what it answers now is not made use of.
    let live = format!("{begun}S: 250 2.1.0 ok\nC: RSET\nS: 250 ok\n");
    let ended = replayed(&recorded, &live, &[]);
    assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
}

/// MAIL, RCPT and DATA in one group.
const PIPELINED: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test
S: 250 PIPELINING
C: MAIL FROM:<a@c.test>
C: RCPT TO:<b@mx.test>
C: DATA
S: 250 2.1.0 ok
S: 250 2.1.5 ok
S: 354 go on
C| x
C| .
S: 250 2.0.0 kept
C: QUIT
S: 221 2.0.0 bye
";

#[test]
fn a_group_is_one_write_where_pipelining_is_offered() {
    let recorded = format!("{PIPELINED}-- close client\n");
    let ended = replayed(&recorded, PIPELINED, &[]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let one_by_one = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250 mx.test
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| x
C| .
S: 250 2.0.0 kept
C: QUIT
S: 221 2.0.0 bye
";
    let ended = replayed(&recorded, one_by_one, &[]);
    let shown = ended.stdout();
    // That PIPELINING is missing is a difference; the replies are the same.
    assert_eq!(ended.status(), Some(1), "{shown}");
    assert!(shown.contains("said one by one"), "{shown}");
    assert_eq!(shown.matches("FAIL").count(), 1, "{shown}");
}

#[test]
fn bdat_is_said_with_its_content() {
    let session = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test
S: 250 CHUNKING
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: BDAT 3
C| a
S: 250 2.0.0 3 octets
C: BDAT 3 LAST
C| .
S: 250 2.0.0 kept
C: QUIT
S: 221 2.0.0 bye
";
    let ended = replayed(&format!("{session}-- close client\n"), session, &[]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    // Where CHUNKING is not offered, its content would be taken for commands.
    let live = session.split("C: BDAT").next().unwrap();
    let live = live.replace("250-mx.test\nS: 250 CHUNKING", "250 mx.test");
    let live = live + "C: RSET\nS: 250 ok\nC: QUIT\nS: 221 2.0.0 bye\n";
    let ended = replayed(&format!("{session}-- close client\n"), &live, &[]);
    let shown = ended.stdout();
    assert_eq!(ended.status(), Some(1), "{shown}");
    assert!(
        shown.contains("not said: CHUNKING is not offered"),
        "{shown}"
    );
}

#[test]
fn json_is_one_object_a_step() {
    let live = SESSION
        .replace("250 2.1.5 ok", "550 5.1.1 who?")
        .replace("C: DATA\n", "C: RSET\nS: 250 ok\n-- close\n");
    let ended = replayed(&closed("client"), &live, &["--json"]);
    assert_eq!(ended.status(), Some(1));
    let steps: Vec<Value> = ended
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for step in &steps {
        assert_eq!(step["schema"], 1);
        assert_eq!(step["session"], 1);
        assert!(step["said"].is_string() && step["n"].is_u64());
    }
    let numbers: Vec<u64> = steps
        .iter()
        .map(|step| step["step"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 6]);
    let difference = serde_json::json!({
        "field": "code", "want": "250", "got": "550", "level": "fail"
    });
    assert_eq!(steps[3]["said"], "RCPT TO:<b@mx.test>");
    assert_eq!(steps[3]["differences"][0], difference);
    // The last one is QUIT, that nobody answered.
    assert_eq!(steps[4]["got"], Value::Null);
    assert_eq!(steps[4]["differences"][0]["field"], "reply");
}

#[test]
fn what_a_server_says_cannot_act_on_the_terminal() {
    let live = SESSION
        .replace("250-SIZE 1000", &format!("250-X{EVIL} {EVIL}"))
        .replace("mx.test ESMTP", EVIL)
        .replace("250 2.1.5 ok", &format!("550 {EVIL}"))
        .replace("C: DATA\n", "C: RSET\nS: 250 ok\n-- close\n");
    let dir = scratch();
    let server = Scripted::start(&[&live]);
    let file = recording(dir.path(), &[&closed("client")]);
    let ended = run_coloured(&["replay", text(&file), &server.address.to_string()]);
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(1));
    is_harmless(&ended);
    // Nor what was recorded of one.
    let file = recording(dir.path(), &[&format!("{live}-- close client\n")]);
    let server = Scripted::start(&[SESSION]);
    let ended = run_coloured(&["replay", text(&file), &server.address.to_string()]);
    assert_eq!(ended.status(), Some(1));
    is_harmless(&ended);
}

#[test]
fn sessions_are_replayed_each_over_its_own_connection() {
    let dir = scratch();
    let other = SESSION.replace("b@mx.test", "c@mx.test");
    let file = recording(dir.path(), &[&closed("client"), &other]);
    let server = Scripted::start(&[SESSION, &other]);
    let ended = replay(&file, &server, &[]);
    server.must_have_served(2);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let server = Scripted::start(&[&other]);
    assert_eq!(
        replay(&file, &server, &["--session", "2"]).status(),
        Some(0)
    );
    server.must_have_served(1);
    let server = Scripted::start(&[SESSION, &other]);
    let ended = replay(&file, &server, &["--session", "1,2"]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    server.must_have_served(2);
    // One that breaks off is no reason to leave out the next.
    let broken = SESSION.split("S: 250 2.1.0").next().unwrap();
    let server = Scripted::start(&[&format!("{broken}-- reset\n"), &other]);
    let ended = replay(&file, &server, &[]);
    server.must_have_served(2);
    assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
}

#[test]
fn what_send_recorded_is_replayed_and_recorded_again() {
    let dir = scratch();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let session = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250 mx.test
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
-- content
S: 250 2.0.0 Ok: queued as 4F1bC2
C: QUIT
S: 221 2.0.0 bye
";
    let server = Scripted::start(&[session]);
    assert_eq!(
        send(server.address, &["--record", text(&first)]).status(),
        Some(0)
    );
    let ended = replay(&first, &server, &["--record", text(&second)]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let ended = replay(&second, &server, &[]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let sessions = server.must_have_served(3);
    assert_eq!(sessions[0].said, sessions[1].said);
    assert_eq!(sessions[0].said, sessions[2].said);
    let recorded = testkit::recorded::read(&second);
    assert_eq!(recorded.damage(), []);
    assert!(recorded.is_finished());
}

/// EHLO, STARTTLS, and EHLO again.
const IN_TLS: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test
S: 250 STARTTLS
C: STARTTLS
S: 220 2.0.0 go
-- tls
C: EHLO c.test
S: 250 mx.test
C: QUIT
S: 221 2.0.0 bye
";

#[test]
fn starttls_is_performed_anew_and_must_not_get_worse() {
    let dir = scratch();
    let minted = mint(&["mx.test".into()], Clients::Unknown).unwrap();
    // Transcripts are recorded with a certificate that verified.
    let file = recording(dir.path(), &[&format!("{IN_TLS}-- close client\n")]);
    let server = Scripted::start_tls(&[IN_TLS], &minted);
    let ended = replay(&file, &server, &[]);
    server.must_have_served(1);
    let shown = ended.stdout();
    assert_eq!(ended.status(), Some(1), "{shown}");
    assert!(
        shown.contains("FAIL tls: certificate: ok > invalid peer"),
        "{shown}"
    );
    // It verifies where we are told what to trust.
    let ca = support::file(dir.path(), "ca.pem", &minted.certificate);
    let server = Scripted::start_tls(&[IN_TLS], &minted);
    let options = ["--ca", text(&ca), "--tls-name", "mx.test"];
    let ended = replay(&file, &server, &options);
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let ended = replay(&file, &server, &["--ca", text(&file)]);
    assert_eq!(ended.status(), Some(2), "{}", ended.stdout());
    // What did not verify then need not now.
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("\"verify\":\"ok\"", "\"verify\":\"no\"");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("\"k\":\"sync\""))
        .collect();
    let file = support::file(
        dir.path(),
        "unverified",
        lines[..lines.len() - 1].join("\n") + "\n",
    );
    let server = Scripted::start_tls(&[IN_TLS], &minted);
    let ended = replay(&file, &server, &[]);
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    // TLS that fails keeps us from a verdict.
    let plain = IN_TLS.split("-- tls").next().unwrap();
    let server = Scripted::start(&[&format!("{plain}-- some\nS: no TLS\n-- wait\n")]);
    let ended = replay(&file, &server, &[]);
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(3), "{}", ended.stdout());
    assert!(ended.stderr().contains("handshake"), "{}", ended.stderr());
}

#[test]
fn tls_from_the_first_octet_is_spoken_to_smtps() {
    let dir = scratch();
    let minted = mint(&["mx.test".into()], Clients::Unknown).unwrap();
    let file = recording(dir.path(), &[&closed("client")]);
    let server = Scripted::start_tls(&[&format!("-- tls\n{SESSION}")], &minted);
    let target = format!("smtps://{}", server.address);
    let ended = run(&["replay", text(&file), &target]);
    server.must_have_served(1);
    assert_eq!(
        ended.status(),
        Some(0),
        "{}{}",
        ended.stdout(),
        ended.stderr()
    );
}
