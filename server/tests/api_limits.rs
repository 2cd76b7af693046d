//! Who may ask the HTTP API, how much, and for how long.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;

use support::http::{Answer, Events, ask_with, head};
use support::{Server, run};
use testkit::program::complaint;
use testkit::scratch;
use testkit::talk::{self, reply, say};
use testkit::wait::until_true;

/// More than the channel and the sockets before a slow reader hold.
const MESSAGES: u64 = 5000;

/// The server's side of the connection may hold some megabytes, and the channel behind
/// it 1024 events: with more than both, some are lost, and that is told.
#[test]
fn a_slow_reader_is_told_how_much_it_missed_and_nobody_waits_for_it() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &["--max-messages", "0", "--max-errors", "0"]);
    let mut slow = talk::connect(server.http());
    slow.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut events = Events::of(slow);
    let mut tcp = server.greeted();
    assert!(say(&mut tcp, &format!("EHLO {}\r\n", "x".repeat(1900))).starts_with("250"));
    let subject = "y".repeat(900);
    let messages = thread::spawn(move || {
        let message = format!(
            "MAIL FROM:<>\r\nRCPT TO:<x@foreign.test>\r\nDATA\r\nSubject: {subject}\r\n\r\n.\r\n"
        );
        for _ in 0..MESSAGES {
            tcp.write_all(message.as_bytes()).unwrap();
            for _ in 0..4 {
                reply(&mut tcp);
            }
        }
    });
    messages.join().unwrap();
    let (mut kept, mut missed) = (0, 0);
    assert_eq!(events.next().0, "session-opened");
    while kept + missed < MESSAGES {
        match events.next() {
            (name, _) if name == "message-kept" => kept += 1,
            (name, data) if name == "missed" => missed += data["missed"].as_u64().unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert!(missed > 0, "everything was kept for it");
    assert_eq!(kept + missed, MESSAGES);
}

const TOKEN: &str = "0123456789abcdef";

/// A server that demands the token.
fn guarded(dir: &Path, options: &[&str]) -> Server {
    let file = dir.join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let token = ["--http-token-file", file.to_str().unwrap()];
    Server::with_api(dir, &[&token, options].concat())
}

#[test]
fn only_who_has_the_token_is_answered() {
    let dir = scratch();
    let server = guarded(dir.path(), &[]);
    let list = "/api/v1/messages";
    for (path, given, status) in [
        (list, "", 401),
        (list, "Bearer 0123456789abcdef", 200),
        (list, "bearer 0123456789abcdef", 200),
        (list, "Bearer 0123456789abcdeF", 401),
        (list, "Bearer 0123456789abcde", 401),
        (list, "Bearer ", 401),
        (list, "Basic 0123456789abcdef", 401),
        (list, "0123456789abcdef", 401),
        ("/metrics", "", 401),
        ("/nowhere", "", 401),
        ("/livez", "", 200),
        ("/readyz", "", 200),
    ] {
        let answer = server.ask("GET", path, &[&format!("Authorization: {given}")]);
        assert_eq!(answer.status, status, "{path} {given}");
        let asks_for_token = answer.field("www-authenticate") == Some("Bearer");
        assert_eq!(asks_for_token, status == 401);
    }
}

#[test]
fn only_its_own_names_are_answered() {
    let dir = scratch();
    let server = guarded(dir.path(), &["--http-host", "api.test"]);
    let at = server.http();
    let list = "/api/v1/messages";
    let ours = format!("Host: {at}");
    for (path, header, status) in [
        (list, vec!["Host: localhost"], 200),
        (list, vec!["Host: API.test:80"], 200),
        (list, vec!["Host: evil.test"], 421),
        ("/livez", vec!["Host: evil.test"], 421),
        (list, vec!["Host: "], 421),
        (list, vec![], 400),
        (list, vec!["Host: localhost", "Host: localhost"], 400),
        (list, vec![&*ours, "Origin: http://evil.test"], 403),
        (list, vec![&ours, "Origin: null"], 403),
        (list, vec![&ours, "Origin: http://api.test:8025"], 200),
        ("http://evil.test/livez", vec![&ours], 421),
        ("http://localhost/livez", vec![&ours], 200),
    ] {
        let mut lines: Vec<String> = header.iter().map(|&line| line.to_owned()).collect();
        lines.push(format!("Authorization: Bearer {TOKEN}"));
        let answer = ask_with(at, "GET", path, &lines);
        assert_eq!(answer.status, status, "{path} {header:?}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    }
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let reset = ["Origin: http://evil.test", "Content-Length: 0", &bearer];
    assert_eq!(server.ask("POST", "/api/v1/reset", &reset).status, 403);
}

#[test]
fn what_is_not_loopback_needs_a_token() {
    let dir = scratch();
    let short = dir.path().join("short");
    std::fs::write(&short, "secret\n").unwrap();
    for (options, said) in [
        (vec!["--http", "0.0.0.0:0"], "it needs --http-token-file"),
        (vec!["--http", "[::]:0"], "it needs --http-token-file"),
        (
            vec!["--http", "127.0.0.1:0", "--http-token-file", "/nowhere"],
            "/nowhere",
        ),
        (
            vec![
                "--http",
                "127.0.0.1:0",
                "--http-token-file",
                short.to_str().unwrap(),
            ],
            "at least 16",
        ),
    ] {
        let all = [&options[..], &["--check-config"]].concat();
        let (status, complaint) = complaint(&run(&all));
        assert_eq!(status, 2, "{complaint}");
        assert!(complaint.contains(said), "{complaint}");
        assert!(!complaint.contains("secret"), "{complaint}");
    }
}

#[test]
fn requests_have_limits_and_smtp_goes_on() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &["--http-timeout", "300ms"]);
    let at = server.http();
    let big = format!("X: {}", "x".repeat(20_000));
    assert_eq!(server.ask("GET", "/livez", &[&big]).status, 431);
    let many = vec!["X: x"; 100];
    assert_eq!(server.ask("GET", "/livez", &many).status, 431);
    let body = ["Content-Length: 70000"];
    assert_eq!(server.ask("POST", "/api/v1/reset", &body).status, 413);
    // Those who take all connections and then their time lose them.
    let mut idle: Vec<TcpStream> = (0..128).map(|_| talk::connect(at)).collect();
    for tcp in idle.iter_mut().step_by(2) {
        tcp.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
    }
    assert!(server.serves(), "SMTP waits for HTTP");
    assert_eq!(server.get("/livez").text(), "ok\n");
    for mut tcp in idle {
        let mut rest = Vec::new();
        // Closed, in order or with what was not read.
        let _ = tcp.read_to_end(&mut rest);
    }
}

#[test]
fn those_who_wait_leave_room_for_others() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    let followers: Vec<Events> = (0..64).map(|_| Events::follow(&server)).collect();
    for path in ["/api/v1/wait?timeout=1ms", "/api/v1/events"] {
        let answer = server.ask("GET", path, &[]);
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.field("retry-after"), Some("1"));
    }
    assert_eq!(server.get("/livez").text(), "ok\n");
    assert!(server.serves());
    drop(followers);
    // Their places are free when the server notices that they are gone.
    until_true("a place for one who waits", || {
        let answer = server.ask("GET", "/api/v1/wait?timeout=1ms", &[]);
        assert!(server.serves());
        answer.status != 503
    });
}

#[test]
fn nobody_waits_longer_than_the_server_lets_them() {
    let dir = scratch();
    let mut server = Server::with_api(dir.path(), &["--http-max-wait", "10ms"]);
    let late = server.ask("GET", "/api/v1/wait?timeout=9d", &[]);
    assert_eq!(late.status, 408);
    let dir = scratch();
    server = Server::with_api(dir.path(), &[]);
    // Of 64 places for those who wait it has the last one.
    let followers: Vec<Events> = (0..63).map(|_| Events::follow(&server)).collect();
    // Whoever looks whether it waits may be in its place for a moment.
    let place = |answer: &Answer| !answer.text().contains("requests wait already");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut answers =
                std::iter::repeat_with(|| server.ask("GET", "/api/v1/wait?timeout=9m", &[]));
            answers.find(place).unwrap()
        });
        until_true("the request to wait", || {
            !place(&server.ask("GET", "/api/v1/wait?timeout=1ms", &[]))
        });
        server.ask_to_end();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.status, 503);
        let detail = answer.json()["detail"].clone();
        assert_eq!(detail, "the server ends: 0 of 1 messages are there");
    });
    assert!(server.wait().success());
    drop(followers);
}

#[test]
fn a_connection_serves_more_than_one_request() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    let mut tcp = talk::connect(server.http());
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..3 {
        tcp.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(tcp.try_clone().unwrap());
        assert_eq!(head(&mut reader).status, 200);
        let mut body = [0; 3];
        reader.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"ok\n");
    }
    // HEAD is GET without the body.
    let answer = server.ask("HEAD", "/livez", &[]);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}
