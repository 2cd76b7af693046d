//! The HTTP API, asked while the server does its work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::Write;
use std::thread;

use serde_json::{Value, json};
use shared::recording::Recording;
use support::http::{Events, deliver};
use support::{Server, TO_ANNA, accepts, contents, play};
use testkit::scratch;
use testkit::talk::{reply, say};
use testkit::wait::{until, until_true};

/// The values of a field of every one of a list.
fn each(list: &Value, field: &str) -> Vec<Value> {
    let list = list.as_array().unwrap();
    list.iter().map(|one| one[field].clone()).collect()
}

#[test]
fn what_was_received_is_told_and_given_octet_by_octet() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    assert_eq!(server.json("/api/v1/messages")["messages"], json!([]));
    deliver(
        &server,
        "<a@c.test> BODY=8BITMIME",
        "<anna@local.test>",
        "Subject: =?utf-8?B?w7xiZXI=?=\r\n\r\n..dot \u{fc}",
    );
    let list = server.json("/api/v1/messages");
    assert_eq!((&list["schema"], &list["next"]), (&json!(1), &Value::Null));
    let message = &list["messages"][0];
    for (field, value) in [
        ("number", json!(1)),
        ("session", json!(1)),
        ("client", json!("127.0.0.1")),
        ("helo", json!("c.test")),
        ("protocol", json!("ESMTP")),
        ("subject", json!("über")),
        ("tls", Value::Null),
        ("octets", json!(42)),
    ] {
        assert_eq!(message[field], value, "{field} in {message}");
    }
    let envelope = &message["envelope"];
    assert_eq!(envelope["reverse_path"], "<a@c.test>");
    assert_eq!(envelope["parameters"], "BODY=8BITMIME");
    assert_eq!(
        envelope["recipients"][0]["forward_path"],
        "<anna@local.test>"
    );
    assert_eq!(envelope["recipients"][0]["user"], "anna");
    let id = message["id"].as_str().unwrap();
    let mut alone = server.json(&format!("/api/v1/messages/{id}"));
    assert_eq!(
        alone.as_object_mut().unwrap().shift_remove("schema"),
        Some(json!(1))
    );
    assert_eq!(alone, *message);
    let raw = server.get(&format!("/api/v1/messages/{id}/raw"));
    assert_eq!(raw.field("content-type"), Some("message/rfc822"));
    let content = "Subject: =?utf-8?B?w7xiZXI=?=\r\n\r\n.dot \u{fc}\r\n";
    assert_eq!(raw.text(), content);
    assert_eq!(
        raw.field("content-length"),
        Some(&*raw.body.len().to_string())
    );
}

#[test]
fn content_comes_whole_out_of_any_store() {
    for store in ["memory", "eml", "maildir", "mbox"] {
        let dir = scratch();
        let place = match store {
            "memory" => "memory".to_owned(),
            _ => format!("{store}:{}", dir.path().join("kept").display()),
        };
        let server = Server::with_api(dir.path(), &["--store", &place]);
        let content = "From 0123456789abcdef\r\n>From me\r\n".repeat(100_000);
        deliver(&server, "<>", "<anna@local.test>", &content);
        let id = server.json("/api/v1/messages")["messages"][0]["id"].clone();
        let path = format!("/api/v1/messages/{}/raw", id.as_str().unwrap());
        let raw = server.get(&path);
        assert!(raw.body == format!("{content}\r\n").as_bytes(), "{store}");
        if store != "memory" {
            // What somebody has taken away is not there any more.
            let kept = dir.path().join("kept");
            let removed = std::fs::remove_file(&kept);
            removed.unwrap_or_else(|_| std::fs::remove_dir_all(kept).unwrap());
            assert_eq!(server.ask("GET", &path, &[]).status, 404, "{store}");
        }
    }
}

#[test]
fn a_large_message_comes_out_of_an_mbox_piece_by_piece() {
    let dir = scratch();
    let kept = dir.path().join("kept");
    let store = format!("mbox:{}", kept.display());
    let options = ["--store", &store, "--max-size", "0", "--fsync", "false"];
    let server = Server::with_api(dir.path(), &options);
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<>", "RCPT TO:<anna@local.test>"]);
    let content = b"From me\r\n>From you\r\n".repeat(2_000_000);
    let command = format!("BDAT {} LAST\r\n", content.len());
    tcp.write_all(command.as_bytes()).unwrap();
    tcp.write_all(&content).unwrap();
    assert!(reply(&mut tcp).starts_with("250 "));
    let id = server.json("/api/v1/messages")["messages"][0]["id"].clone();
    let path = format!("/api/v1/messages/{}/raw", id.as_str().unwrap());
    let raw = server.get(&path);
    assert!(raw.body == content, "it is another one");
    let most = server.resident_at_most();
    assert!(most < 48 << 10, "{most} KiB for {} octets", content.len());
    // What was cut short there is not there.
    let file = std::fs::OpenOptions::new().write(true).open(&kept).unwrap();
    file.set_len(1_000_000).unwrap();
    assert_eq!(server.ask("GET", &path, &[]).status, 404);
}

#[test]
fn what_is_not_kept_has_no_content() {
    for (store, detail) in [("null", "not kept"), ("memory:1", "made room")] {
        let dir = scratch();
        let server = Server::with_api(dir.path(), &["--store", store]);
        for _ in 0..2 {
            deliver(&server, "<>", "<anna@local.test>", "x");
        }
        let id = server.json("/api/v1/messages")["messages"][0]["id"].clone();
        let path = format!("/api/v1/messages/{}/raw", id.as_str().unwrap());
        let answer = server.ask("GET", &path, &[]);
        assert_eq!(answer.status, 404);
        assert!(answer.text().contains(detail), "{}", answer.text());
    }
}

#[test]
fn messages_are_found_by_what_they_have() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    deliver(
        &server,
        "<a@c.test>",
        "<anna@local.test>",
        "Subject: First\r\n\r\n1",
    );
    deliver(
        &server,
        "<b@c.test>",
        "<bert@local.test>",
        "Subject: second\r\n\r\n2",
    );
    deliver(&server, "<>", "<ANNA@local.test>", "\r\n3");
    let list = server.json("/api/v1/messages");
    let time = list["messages"][1]["at"].as_str().unwrap();
    for (filter, found) in [
        ("", vec![1, 2, 3]),
        ("?from=C.TEST", vec![1, 2]),
        ("?from=%3Cb@c.test%3E", vec![2]),
        ("?from=%3C%3E", vec![3]),
        ("?to=anna", vec![1, 3]),
        ("?to=%3Canna@local.test%3E&from=a@c.test", vec![1]),
        ("?subject=s", vec![1, 2]),
        ("?subject=first", vec![1]),
        ("?session=2", vec![2]),
        (&format!("?since={time}"), vec![2, 3]),
        ("?after=1", vec![2, 3]),
        ("?from=nobody", vec![]),
    ] {
        let list = server.json(&format!("/api/v1/messages{filter}"));
        assert_eq!(each(&list["messages"], "number"), found, "{filter}");
        assert_eq!(list["next"], Value::Null);
    }
    let page = server.json("/api/v1/messages?limit=2");
    assert_eq!(each(&page["messages"], "number"), [1, 2]);
    assert_eq!(page["next"], 2);
    let page = server.json("/api/v1/messages?limit=2&after=2");
    assert_eq!(each(&page["messages"], "number"), [3]);
    assert_eq!(page["next"], Value::Null);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    for (path, status) in [
        ("/api/v1/messages?form=a", 400),
        ("/api/v1/messages?from=a&from=b", 400),
        ("/api/v1/messages?limit=0", 400),
        ("/api/v1/messages?limit=1001", 400),
        ("/api/v1/messages?limit=+1", 400),
        ("/api/v1/messages?after=-1", 400),
        ("/api/v1/messages?since=yesterday", 400),
        ("/api/v1/messages?session=x", 400),
        (&format!("/api/v1/messages?to={}", "x".repeat(1001)), 400),
        ("/api/v1/wait?timeout=30", 400),
        ("/api/v1/wait?count=0", 400),
        ("/api/v1/sessions?open=maybe", 400),
        ("/livez/more", 404),
        ("/api/v1/messages/none", 404),
        ("/api/v1/messages/%ff", 404),
        ("/api/v1/messages/none/raw", 404),
        ("/api/v1/sessions/1", 404),
        ("/api/v1/sessions/01", 404),
        ("/api/v1/sessions/99999999999999999999/transcript", 404),
        ("/api/v1/sessions/x/recording", 404),
        ("/", 404),
    ] {
        let answer = server.ask("GET", path, &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(
            answer.field("content-type"),
            Some("application/problem+json")
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["detail"].is_string(), "{problem}");
    }
    let answer = server.ask("POST", "/api/v1/messages", &["Content-Length: 0"]);
    assert_eq!(answer.status, 405);
    assert_eq!(answer.field("allow"), Some("GET,HEAD,DELETE"));
    assert_eq!(answer.json()["status"], 405);
}

#[test]
fn sessions_that_failed_have_a_transcript_too() {
    let dir = scratch();
    let options = ["--listen", "127.0.0.1:0,name=mx"];
    let server = Server::with_api(dir.path(), &options);
    // One that is well, one that is broken off in the middle, one that never was SMTP.
    deliver(&server, "<a@c.test>", "<anna@local.test>", "x");
    let mut broken = server.after(&TO_ANNA);
    broken.write_all(b"half\r\n").unwrap();
    drop(broken);
    let mut alien = server.greeted();
    play(&mut alien, "C: GET / HTTP/1.1\nS: 554 5.5.1");
    drop(alien);
    let open = server.after(&["HELO open.test"]);
    let closed = until("the end of three sessions", || {
        let list = server.json("/api/v1/sessions?open=false");
        (list["sessions"].as_array().unwrap().len() == 3).then_some(list)
    });
    let sessions = &closed["sessions"];
    assert_eq!(each(sessions, "id"), [1, 2, 3]);
    assert_eq!(each(sessions, "messages"), [1, 0, 0]);
    assert_eq!(each(sessions, "commands"), [5, 4, 1]);
    assert_eq!(each(sessions, "refusals"), [0, 0, 1]);
    assert_eq!(each(sessions, "listener"), ["mx", "mx", "mx"]);
    assert_eq!(sessions[0]["ended"], json!({"by": "server", "how": "fin"}));
    assert_eq!(sessions[1]["ended"]["by"], "client");
    assert_eq!(sessions[2]["ended"]["by"], "server");
    let under_way = server.json("/api/v1/sessions?open=true");
    assert_eq!(each(&under_way["sessions"], "id"), [4]);
    let fourth = server.json("/api/v1/sessions/4");
    assert_eq!(
        (&fourth["helo"], &fourth["end"]),
        (&json!("open.test"), &Value::Null)
    );
    assert_eq!(fourth["octets_in"], 16);
    let text = |id: u64| {
        let answer = server.get(&format!("/api/v1/sessions/{id}/transcript"));
        assert_eq!(
            answer.field("content-type"),
            Some("text/plain; charset=utf-8")
        );
        answer.text()
    };
    let second = text(2);
    assert!(second.starts_with("S: 220 mx.local.test ESMTP"), "{second}");
    assert!(
        second.contains("\nC: RCPT TO:<anna@local.test>\nS: 250 "),
        "{second}"
    );
    assert!(second.ends_with("\nC| half\n-- close client\n"), "{second}");
    assert!(text(3).contains("\nC: GET / HTTP/1.1\nS: 554 5.5.1 "));
    assert!(text(4).ends_with("]\n"), "{}", text(4));
    drop(open);
}

#[test]
fn a_message_with_a_reply_for_each_recipient_is_one_message() {
    let dir = scratch();
    let options = ["--listen", "127.0.0.1:0,proto=lmtp", "--max-size", "100"];
    let server = Server::with_api(dir.path(), &options);
    let mut tcp = server.greeted();
    let begin = |tcp: &mut _| {
        accepts(
            tcp,
            &[
                "MAIL FROM:<a@c.test>",
                "RCPT TO:<anna@local.test>",
                "RCPT TO:<bert@local.test>",
                "DATA",
            ],
        );
    };
    accepts(&mut tcp, &["LHLO c.test"]);
    begin(&mut tcp);
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
    assert!(reply(&mut tcp).starts_with("250"));
    begin(&mut tcp);
    assert!(say(&mut tcp, &format!("{}\r\n.\r\n", "x".repeat(200))).starts_with("552"));
    assert!(reply(&mut tcp).starts_with("552"));
    let session = server.json("/api/v1/sessions/1");
    assert_eq!(
        (&session["messages"], &session["refusals"]),
        (&json!(1), &json!(2))
    );
    let numbers = server.get("/metrics").text();
    for verdict in ["kept", "refused"] {
        let line = format!("helo_messages_total{{verdict=\"{verdict}\"}} 1\n");
        assert!(numbers.contains(&line), "no {line} in {numbers}");
    }
}

#[test]
fn a_session_is_given_as_a_recording_of_its_own() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    let first = server.after(&["EHLO first.test"]);
    deliver(&server, "<a@c.test>", "<anna@local.test>", "x");
    drop(first);
    let recording = until("the end of the second session", || {
        let answer = server.get("/api/v1/sessions/2/recording");
        let recording = Recording::parse(&answer.body).unwrap();
        recording.is_finished().then_some(recording)
    });
    assert_eq!(recording.damage(), []);
    assert_eq!(recording.sessions(), [1]);
    let dialogue = recording.dialogues().remove(0);
    assert_eq!(dialogue.exchanges.len(), 6);
    assert!(dialogue.exchanges.iter().all(|one| one.answers.len() == 1));
    assert_eq!(dialogue.transactions().count(), 1);
}

#[test]
fn no_secret_is_told_even_where_secrets_are_recorded() {
    for record_secrets in [false, true] {
        let dir = scratch();
        let options: &[&str] = if record_secrets {
            &["--record-secrets"]
        } else {
            &[]
        };
        let server = Server::with_api(dir.path(), options);
        let mut events = Events::follow(&server);
        let mut tcp = server.after(&["EHLO c.test"]);
        // Refused, and sent all the same.
        assert!(say(&mut tcp, "AUTH NOSUCH\r\n").starts_with('5'));
        assert!(say(&mut tcp, "c2VjcmV0\r\n").starts_with('5'));
        assert!(say(&mut tcp, "AUTH NOSUCH c2VjcmV0\r\n").starts_with('5'));
        assert!(say(&mut tcp, "QUIT\r\n").starts_with("221"));
        drop(tcp);
        let mut told = String::new();
        while !told.contains("session-closed") {
            let (name, data) = events.next();
            told.push_str(&name);
            told.push_str(&data.to_string());
        }
        for path in ["", "/1", "/1/transcript", "/1/recording"] {
            let answer = server.get(&format!("/api/v1/sessions{path}"));
            told.push_str(&answer.text());
        }
        assert!(told.contains("********"), "{told}");
        assert!(!told.to_lowercase().contains("c2vjcmv0"), "{told}");
    }
}

#[test]
fn a_session_is_remembered_only_so_far() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &["--max-junk", "0", "--max-errors", "0"]);
    let mut tcp = server.after(&TO_ANNA);
    // Of a big message the beginning is there, and what was said after it.
    let content = "0123456789abcdef\r\n".repeat(30_000);
    assert!(say(&mut tcp, &format!("{content}.\r\n")).starts_with("250"));
    assert!(say(&mut tcp, "NOOP after\r\n").starts_with("250"));
    let answer = server.get("/api/v1/sessions/1/transcript");
    let text = answer.text();
    assert!(answer.body.len() < 256 * 1024);
    assert!(text.contains("\n-- gap 4"), "{}", &text[text.len() - 500..]);
    assert!(
        text.contains("\nC| .\nS: 250 2.0.0 kept"),
        "{}",
        &text[text.len() - 500..]
    );
    assert!(text.contains("\nC: NOOP after\n"));
    assert_eq!(server.json("/api/v1/sessions/1")["cut"], false);
    for _ in 0..2000 {
        let reply = say(&mut tcp, &format!("NOOP {}\r\n", "x".repeat(100)));
        assert!(reply.starts_with("250"));
    }
    assert_eq!(server.json("/api/v1/sessions/1")["cut"], true);
    let answer = server.get("/api/v1/sessions/1/transcript");
    assert!(answer.body.len() < 256 * 1024);
    assert!(
        answer
            .text()
            .ends_with("\n# The rest is not remembered: the session was too long.\n")
    );
}

#[test]
fn waiting_ends_when_the_messages_are_there() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    deliver(
        &server,
        "<a@c.test>",
        "<anna@local.test>",
        "Subject: x\r\n\r\n1",
    );
    // What is there already counts.
    let there = server.json("/api/v1/wait?timeout=9m");
    assert_eq!(each(&there["messages"], "number"), [1]);
    thread::scope(|scope| {
        let path = "/api/v1/wait?count=2&from=b@c.test&subject=y&after=1&timeout=9m";
        let waiting = scope.spawn(|| server.json(path));
        deliver(
            &server,
            "<b@c.test>",
            "<anna@local.test>",
            "Subject: y\r\n\r\n2",
        );
        deliver(
            &server,
            "<b@c.test>",
            "<anna@local.test>",
            "Subject: z\r\n\r\n3",
        );
        assert!(!waiting.is_finished());
        deliver(
            &server,
            "<b@c.test>",
            "<anna@local.test>",
            "Subject: y\r\n\r\n4",
        );
        let answer = waiting.join().unwrap();
        assert_eq!(each(&answer["messages"], "number"), [2, 4]);
    });
    let late = server.ask("GET", "/api/v1/wait?count=9&timeout=1ms", &[]);
    assert_eq!(late.status, 408);
    let problem = late.json();
    assert_eq!(each(&problem["messages"], "number"), [1, 2, 3, 4]);
    assert_eq!(problem["detail"], "time is up: 4 of 9 messages are there");
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &["--max-size", "100"]);
    let mut events = Events::follow(&server);
    let mut tcp = server.after(&TO_ANNA);
    let (name, data) = events.next();
    assert_eq!(
        (&*name, &data["id"], &data["end"]),
        ("session-opened", &json!(1), &Value::Null)
    );
    assert!(say(&mut tcp, "Subject: x\r\n\r\n.\r\n").starts_with("250"));
    let (name, data) = events.next();
    assert_eq!((&*name, &data["subject"]), ("message-kept", &json!("x")));
    assert_eq!(data["number"], 1);
    accepts(&mut tcp, &TO_ANNA[1..]);
    let verdict = say(&mut tcp, &format!("{}\r\n.\r\n", "x".repeat(200)));
    let (name, data) = events.next();
    assert_eq!(name, "message-refused");
    assert_eq!(data["reply"], verdict.trim_end());
    drop(tcp);
    let (name, data) = events.next();
    assert_eq!(name, "session-closed");
    assert_eq!(
        (&data["ended"]["by"], &data["messages"]),
        (&json!("client"), &json!(1))
    );
}

#[test]
fn a_reset_forgets_what_is_over() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    deliver(&server, "<a@c.test>", "<anna@local.test>", "1");
    deliver(&server, "<b@c.test>", "<anna@local.test>", "2");
    let open = server.after(&["EHLO open.test"]);
    until_true("the end of two sessions", || {
        let list = server.json("/api/v1/sessions?open=false");
        list["sessions"].as_array().unwrap().len() == 2
    });
    let answer = server.ask("DELETE", "/api/v1/messages?from=a@c.test", &[]);
    assert_eq!(answer.json(), json!({"schema": 1, "forgotten": 1}));
    let list = server.json("/api/v1/messages");
    assert_eq!(each(&list["messages"], "number"), [2]);
    let answer = server.ask("POST", "/api/v1/reset", &["Content-Length: 0"]);
    assert_eq!(answer.status, 204);
    assert_eq!(server.json("/api/v1/messages")["messages"], json!([]));
    let list = server.json("/api/v1/sessions");
    assert_eq!(each(&list["sessions"], "id"), [3]);
    // The files are somebody's mail, and numbers go on.
    assert_eq!(contents(&dir.path().join("mail/anna/new")).len(), 2);
    deliver(&server, "<a@c.test>", "<anna@local.test>", "3");
    let list = server.json("/api/v1/messages");
    assert_eq!(each(&list["messages"], "number"), [3]);
    drop(open);
}

#[test]
fn everything_is_counted() {
    let dir = scratch();
    let options = ["--max-size", "100", "--timeout-command", "300ms"];
    let server = Server::with_api(dir.path(), &options);
    deliver(&server, "<a@c.test>", "<anna@local.test>", "x");
    let mut tcp = server.after(&TO_ANNA);
    let verdict = say(&mut tcp, &format!("{}\r\n.\r\n", "x".repeat(200)));
    assert!(verdict.starts_with("552"));
    assert!(say(&mut tcp, "MAIL FROM:<> SIZE=101\r\n").starts_with("552"));
    // Silent for too long.
    assert!(reply(&mut tcp).starts_with("421"));
    drop(tcp);
    let numbers = until("the end of the second session", || {
        let answer = server.get("/metrics");
        let media_type = "text/plain; version=0.0.4; charset=utf-8";
        assert_eq!(answer.field("content-type"), Some(media_type));
        let text = answer.text();
        text.contains("helo_sessions_open 0\n").then_some(text)
    });
    for line in [
        "helo_sessions_total{by=\"server\",how=\"fin\"} 1",
        "helo_sessions_total{by=\"timeout\",how=\"fin\"} 1",
        "helo_messages_total{verdict=\"kept\"} 1",
        "helo_messages_total{verdict=\"refused\"} 1",
        "helo_replies_total{stage=\"greeting\",code=\"220\"} 2",
        "helo_replies_total{stage=\"rcpt\",code=\"250\"} 2",
        "helo_replies_total{stage=\"end-of-data\",code=\"250\"} 1",
        "helo_replies_total{stage=\"end-of-data\",code=\"552\"} 1",
        "helo_replies_total{stage=\"nothing\",code=\"421\"} 1",
        "helo_reply_seconds_count{stage=\"quit\"} 1",
        "helo_limit_trips_total{limit=\"max-size\"} 2",
        "helo_limit_trips_total{limit=\"timeout-command\"} 1",
    ] {
        assert!(
            numbers.lines().any(|one| one == line),
            "no {line} in {numbers}"
        );
    }
    let octets = numbers.lines().find_map(|line| {
        let octets = line.strip_prefix("helo_octets_total{direction=\"in\"} ")?;
        octets.parse::<u64>().ok()
    });
    // What the two clients said.
    let said = "EHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<anna@local.test>\r\nDATA\r\n";
    let said = 2 * said.len() + "x\r\n.\r\nQUIT\r\n".len() + 200 + "\r\n.\r\n".len();
    let said = said + "MAIL FROM:<> SIZE=101\r\n".len();
    assert_eq!(octets, Some(said as u64));
}

#[test]
fn it_is_not_ready_while_it_ends() {
    let dir = scratch();
    let mut server = Server::with_api(dir.path(), &[]);
    assert_eq!(server.get("/readyz").text(), "ok\n");
    let mut tcp = server.after(&TO_ANNA);
    server.ask_to_end();
    until_true("the end to begin", || {
        server.ask("GET", "/readyz", &[]).status == 503
    });
    assert_eq!(server.get("/livez").text(), "ok\n");
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
    assert!(server.wait().success());
}
