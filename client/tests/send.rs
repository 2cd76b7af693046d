//! `send` against servers that play transcripts: what it says, octet by octet,
//! what it shows, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use shared::direction::Direction;
use support::{
    CONTENT, DATA, GREETING, HELLO, MAIL, QUIT, RCPT, SHORT, complaint, file, run, send, text,
};
use testkit::{Dice, Scripted, scratch};

/// How it ends where a server goes on with `rest` after having gone through
/// `begun`, and what it says about that.
fn ends(begun: &[&str], rest: &str, options: &[&str]) -> (i32, String) {
    let server = Scripted::start(&[&(begun.concat() + rest)]);
    let ended = send(server.address, &[&["--quiet"], options].concat());
    server.must_have_served(1);
    assert_eq!(ended.stdout(), "");
    complaint(&ended)
}

#[test]
fn every_refusal_is_told_by_its_phase() {
    let refusals = [
        ("550 5.7.1 no", "C: QUIT\nS: 221 bye\n", 20),
        ("450 4.7.1 later", "C: QUIT\nS: 221 bye\n", 40),
        // The server closes: nothing is said to it any more.
        ("421 4.3.2 closing", "", 40),
    ];
    for (reply, after, status) in refusals {
        let refused = |phase, line: &str| (phase, format!("{line}S: {reply}\n{after}"));
        let rows = [
            refused(1, ""),
            refused(3, "C: MAIL FROM:<a@c.test>\n"),
            refused(4, "C: RCPT TO:<b@mx.test>\n"),
            refused(5, "C: DATA\n"),
            refused(6, "-- content\n"),
        ];
        let way = [GREETING, HELLO, MAIL, RCPT, DATA];
        for (phase, rest) in rows {
            let begun = &way[..phase - 1];
            let (found, said) = ends(begun, &rest, &[]);
            assert_eq!(found, status + i32::try_from(phase).unwrap(), "{said}");
            assert!(said.contains(reply), "{said}");
        }
    }
    // Old servers know HELO alone (RFC 5321 §3.2); of a 4yz nothing is tried again.
    let rest = "C: EHLO c.test\nS: 502 what?\nC: HELO c.test\nS: 550 no\nC: QUIT\nS: 221 bye\n";
    assert_eq!(ends(&[GREETING], rest, &[]).0, 22);
    let rest = "C: EHLO c.test\nS: 450 later\nC: QUIT\nS: 221 bye\n";
    assert_eq!(ends(&[GREETING], rest, &[]).0, 42);
}

#[test]
fn every_silence_end_and_nonsense_is_told_by_its_phase() {
    let way = [
        ("", GREETING),
        ("C: EHLO c.test\n", HELLO),
        ("C: MAIL FROM:<a@c.test>\n", MAIL),
        ("C: RCPT TO:<b@mx.test>\n", RCPT),
        ("C: DATA\n", DATA),
        ("-- content\n", CONTENT),
    ];
    for (phase, (line, _)) in (1..).zip(way) {
        let begun: Vec<&str> = way[..phase - 1].iter().map(|(_, turn)| *turn).collect();
        let phase = i32::try_from(phase).unwrap();
        let failures = [
            ("-- wait\n", 60, "no answer within 1 s", SHORT),
            ("-- close\n", 70, "closed", "20s"),
            ("-- reset\n", 70, "connection broke", "20s"),
            ("S: HTTP/1.1 400 Bad\n", 90, "not SMTP: HTTP/1.1 400", "20s"),
            // A code that is no answer to this.
            ("S: 333 what\n", 90, "333 what", "20s"),
        ];
        for (failure, status, words, timeout) in failures {
            if phase == 5 && failure.contains("333") {
                // Any 3yz lets mail data come (RFC 5321 §4.2.1).
                continue;
            }
            let rest = format!("{line}{failure}");
            let (found, said) = ends(&begun, &rest, &["--timeout", timeout]);
            // Where a reset is all there is, it may come before connecting is done.
            if phase == 1 && failure == "-- reset\n" && found == 3 {
                continue;
            }
            assert_eq!(found, status + phase, "{failure}{said}");
            assert!(said.contains(words), "{said}");
        }
    }
    // Go-ahead is given by 354, not by 250: nothing of the message is said.
    let way = [GREETING, HELLO, MAIL, RCPT];
    assert_eq!(ends(&way, "C: DATA\nS: 250 ok\n", &[]).0, 95);
    // What is said before it is asked for is no answer.
    let (status, said) = ends(&[], "S: 220 mx\nS: 250 mx\nC: EHLO c.test\n", &[]);
    assert_eq!(status, 92);
    assert!(said.contains("before it was asked: 250 mx"), "{said}");
}

#[test]
fn tls_that_fails_is_phase_9() {
    let offers = "C: EHLO c.test\nS: 250-mx.test\nS: 250 STARTTLS\nC: STARTTLS\n";
    let bye = "C: QUIT\nS: 221 bye\n";
    for (rest, status, words) in [
        (format!("S: 502 no\n{bye}"), 29, "502 no"),
        (format!("S: 454 4.7.0 not now\n{bye}"), 49, "454 4.7.0"),
        ("-- wait\n".into(), 69, "no answer within"),
        ("S: 220 go\n-- wait\n".into(), 69, "no answer within"),
        ("-- close\n".into(), 79, "closed"),
        (
            "S: 220 go\n-- some\n-- close\n".into(),
            79,
            "handshake failed",
        ),
        (
            "S: 220 go\n-- some\n-- reset\n".into(),
            79,
            "handshake failed",
        ),
        ("S: nonsense\n".into(), 99, "not SMTP"),
        (
            "S: 220 go\n-- some\nS: 250 no TLS\n-- wait\n".into(),
            99,
            "handshake failed",
        ),
    ] {
        let options = ["--timeout", if status == 69 { SHORT } else { "20s" }];
        let (found, said) = ends(&[GREETING, offers], &rest, &options);
        assert_eq!(found, status, "{rest}{said}");
        assert!(said.contains(words), "{said}");
    }
    let rest = format!("{HELLO}{bye}");
    let (status, said) = ends(&[GREETING], &rest, &["--tls", "required"]);
    assert_eq!(status, 29);
    assert!(said.contains("STARTTLS is not offered"), "{said}");
}

#[test]
fn a_quit_that_goes_wrong_counts_only_if_asked_for() {
    let way = [GREETING, HELLO, MAIL, RCPT, DATA, CONTENT];
    for (quit, status) in [
        ("C: QUIT\nS: 550 stay\n", 27),
        ("C: QUIT\nS: 450 stay\n", 47),
        ("C: QUIT\n-- wait\n", 67),
        ("C: QUIT\n-- close\n", 77),
        ("C: QUIT\nS: by\n", 97),
    ] {
        let options = [
            "--strict-quit",
            "--timeout",
            if status == 67 { SHORT } else { "20s" },
        ];
        let (found, said) = ends(&way, quit, &options[1..]);
        assert_eq!(found, 0, "{quit}{said}");
        assert!(said.contains("QUIT: "), "{said}");
        assert!(said.contains("the message was accepted"), "{said}");
        assert_eq!(ends(&way, quit, &options).0, status, "{quit}");
    }
}

#[test]
fn recipients_accepted_and_refused_are_8_and_none_is_the_first_refusal() {
    let to = [
        "--quiet",
        "--to",
        "b@mx.test",
        "--to",
        "<c@mx.test>",
        "--to",
        "d@mx.test",
    ];
    let rcpt = |mailbox: &str, reply: &str| format!("C: RCPT TO:<{mailbox}>\nS: {reply}\n");
    let begun = [GREETING, HELLO, MAIL].concat();
    let some = [
        &begun,
        &rcpt("b@mx.test", "550 5.1.1 who?"),
        &rcpt("c@mx.test", "251 elsewhere"),
        &rcpt("d@mx.test", "452 4.5.3 too many"),
        &[DATA, CONTENT, QUIT].concat(),
    ];
    let server = Scripted::start(&[&some.map(String::as_str).concat()]);
    assert_eq!(send(server.address, &to).status(), Some(8));
    server.must_have_served(1);
    let none = [
        begun.clone(),
        rcpt("b@mx.test", "450 4.2.1 later"),
        rcpt("c@mx.test", "550 5.1.1 who?"),
        rcpt("d@mx.test", "550 5.1.1 who?"),
        QUIT.to_owned(),
    ];
    let server = Scripted::start(&[&none.concat()]);
    let (status, said) = complaint(&send(server.address, &to));
    assert_eq!(status, 44);
    assert!(said.contains("450 4.2.1 later"), "{said}");
    server.must_have_served(1);
    // A 421 ends the session, though a recipient was accepted.
    let left = [
        &begun,
        &rcpt("b@mx.test", "250 ok"),
        &rcpt("c@mx.test", "421 4.3.2 closing"),
    ];
    let server = Scripted::start(&[&left.map(String::as_str).concat()]);
    assert_eq!(send(server.address, &to).status(), Some(44));
    server.must_have_served(1);
}

#[test]
fn what_a_server_said_before_it_left_is_heard_though_writing_fails() {
    let dir = scratch();
    let message = file(dir.path(), "big", b"Subject: big\n\n".repeat(1_000_000));
    let way = [GREETING, HELLO, MAIL, RCPT, DATA].concat();
    // It refuses and leaves while the message is still being written.
    let server = Scripted::start(&[&(way + "-- some\nS: 552 5.3.4 too big\n-- close\n")]);
    let ended = send(server.address, &["--quiet", "--data", text(&message)]);
    let (status, said) = complaint(&ended);
    assert_eq!(status, 26, "{said}");
    assert!(said.contains("552 5.3.4"), "{said}");
}

#[test]
fn the_message_goes_as_it_is_but_for_line_ends_and_dots() {
    let dir = scratch();
    for (content, wire) in [
        (
            "Subject: x\n\n.\n..\n.dot\nlast",
            "C| Subject: x\nC|\nC| ..\nC| ...\nC| ..dot\nC| last\n",
        ),
        (".\n", "C| ..\n"),
        // CRLF is kept, and so is what is odd beside it.
        (
            "Subject: x\r\n\r\nlf\ncr\r.\r\n",
            "C| Subject: x\nC|\nC| lf\\n\nC| cr\\r.\n",
        ),
        (
            "Subject: x\r\n\r\n.\r\n.",
            "C| Subject: x\nC|\nC| ..\nC| ..\n",
        ),
        ("", ""),
    ] {
        let message = file(dir.path(), "message", content);
        let way = [GREETING, HELLO, MAIL, RCPT, DATA].concat();
        let script = format!("{way}{wire}C| .\nS: 250 kept\n{QUIT}");
        let server = Scripted::start(&[&script]);
        let ended = send(server.address, &["--quiet", "--data", text(&message)]);
        server.must_have_served(1);
        assert_eq!(ended.status(), Some(0), "{}", ended.stderr());
        assert_eq!(ended.stderr(), "");
    }
}

#[test]
fn a_long_message_is_said_and_recorded_whole() {
    let dir = scratch();
    let mut dice = Dice::new();
    let mut message = b"Subject: x\r\n\r\n".to_vec();
    while message.len() < 400_000 {
        // Dots wherever lines begin, and now and then a line beyond any limit.
        message.extend(b".".repeat(dice.below(3)));
        let longest = if dice.below(50) == 0 { 100_000 } else { 80 };
        message.extend(b"x".repeat(dice.below(longest)));
        message.extend_from_slice(b"\r\n");
    }
    let path = file(dir.path(), "message", &message);
    let record = dir.path().join("t.helo.jsonl");
    let way = [GREETING, HELLO, MAIL, RCPT, DATA, CONTENT, QUIT].concat();
    let server = Scripted::start(&[&way]);
    let options = ["-q", "--data", text(&path), "--record", text(&record)];
    assert_eq!(send(server.address, &options).status(), Some(0));
    let said = server.must_have_served(1).remove(0).said;
    let stuffed: Vec<u8> = message
        .split_inclusive(|&octet| octet == b'\n')
        .flat_map(|line| {
            let dot: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
            [dot, line].concat()
        })
        .collect();
    let wire = [&stuffed[..], b".\r\n", b"QUIT\r\n"].concat();
    assert!(said.ends_with(&wire), "{} octets were said", said.len());
    let recording = testkit::recorded::read(&record);
    assert!(recording.payload(1, Direction::Client) == said);
}

#[test]
fn the_test_message_survives_dots_and_is_marked() {
    let way = [GREETING, HELLO, MAIL, RCPT, DATA, CONTENT, QUIT].concat();
    let server = Scripted::start(&[&way]);
    assert_eq!(send(server.address, &["--quiet"]).status(), Some(0));
    let said = server.must_have_served(1).remove(0).said;
    let said = String::from_utf8(said).unwrap();
    for line in [
        "X-Helo-Token: ",
        "Auto-Submitted: auto-generated",
        "..\r\n...two dots",
    ] {
        assert!(
            said.contains(&format!("\r\n{line}")),
            "{line} is not in {said}"
        );
    }
    assert!(!said.replace("\r\n", "").contains(['\r', '\n']));
}

#[test]
fn parameters_are_said_only_where_offered_and_needed() {
    let dir = scratch();
    let ascii = file(dir.path(), "ascii", "Subject: x\n\nx\n");
    let eight = file(dir.path(), "eight", "Subject: x\n\n\u{e9}\n");
    let wide = file(dir.path(), "wide", "Subject: \u{e9}\n\n\u{e9}\n");
    let all = "S: 250-mx.test\nS: 250-SIZE\nS: 250-8BITMIME\nS: 250-PIPELINING\nS: 250 SMTPUTF8\n";
    let none = "S: 250 mx.test\n";
    for (offer, message, to, parameters) in [
        (none, &ascii, "b@mx.test", ""),
        (none, &wide, "b@mx.test", ""),
        (all, &ascii, "b@mx.test", " SIZE=17"),
        (all, &eight, "b@mx.test", " SIZE=18 BODY=8BITMIME"),
        (all, &wide, "b@mx.test", " SIZE=19 BODY=8BITMIME SMTPUTF8"),
        (all, &ascii, "\u{e9}@mx.test", " SIZE=17 SMTPUTF8"),
        (
            "S: 250-mx.test\nS: 250 size 100\n",
            &eight,
            "b@mx.test",
            " SIZE=18",
        ),
    ] {
        let content = std::fs::read_to_string(message).unwrap();
        let content = format!("C| {}\n", content.trim_end().replace('\n', "\nC| "));
        let script = format!(
            "{GREETING}C: EHLO c.test\n{offer}C: MAIL FROM:<a@c.test>{parameters}\nS: 250 ok\n\
             C: RCPT TO:<{to}>\nS: 250 ok\n{DATA}{content}C| .\nS: 250 kept\n{QUIT}"
        );
        let server = Scripted::start(&[&script]);
        let ended = send(
            server.address,
            &["--quiet", "--to", to, "--data", text(message)],
        );
        server.must_have_served(1);
        assert_eq!(ended.status(), Some(0), "{}", ended.stderr());
        let told = ended.stderr().contains("8BITMIME is not offered");
        let bare = !offer.contains("8BITMIME") && !content.is_ascii();
        assert_eq!(told, bare, "{}", ended.stderr());
    }
}

#[test]
fn a_path_that_needs_smtputf8_is_not_said_where_it_is_not_offered() {
    let script = [GREETING, HELLO, QUIT].concat();
    let server = Scripted::start(&[&script]);
    let ended = send(server.address, &["--quiet", "--to", "\u{e9}@mx.test"]);
    server.must_have_served(1);
    let (status, said) = complaint(&ended);
    assert_eq!(status, 23);
    assert!(said.contains("SMTPUTF8 is not offered"), "{said}");
}

#[test]
fn the_null_reverse_path_may_be_sent_from() {
    let script = [
        GREETING,
        HELLO,
        "C: MAIL FROM:<>\nS: 250 ok\n",
        RCPT,
        DATA,
        "-- content\nS: 250 kept\n",
        QUIT,
    ];
    for null in ["", "<>"] {
        let server = Scripted::start(&[&script.concat()]);
        let target = server.address.to_string();
        let arguments = ["send", &target, "--from", null, "--to", "<b@mx.test>"];
        let ended = run(&[&arguments[..], &["--helo", "c.test", "-q"]].concat());
        server.must_have_served(1);
        assert_eq!(ended.status(), Some(0), "{}", ended.stderr());
    }
}
