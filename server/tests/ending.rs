//! A server that ends by itself, and what was expected of it by then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use support::{Server, TO_ANNA, accepts, run};
use testkit::program::complaint;
use testkit::scratch;
use testkit::talk::{reply, say};
use testkit::wait::{LIMIT, until_true};

/// What it says when it has ended, and its status.
fn ended(server: &mut Server) -> (i32, String) {
    let status = server.wait().code().unwrap();
    (status, server.stderr())
}

#[test]
fn it_ends_after_so_many_messages_and_the_last_client_is_let_go() {
    let dir = scratch();
    let mut server = Server::start(dir.path(), &["--exit-after-messages", "2"]);
    assert!(server.serves());
    let mut tcp = server.after(&TO_ANNA);
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
    until_true("the end to begin", || {
        TcpStream::connect(server.address).is_err()
    });
    // It is not interrupted.
    tcp.set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let waiting = tcp.read(&mut [0]).unwrap_err();
    assert_eq!(waiting.kind(), ErrorKind::WouldBlock);
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(say(&mut tcp, "QUIT\r\n").starts_with("221"));
    drop(tcp);
    assert_eq!(ended(&mut server), (0, String::new()));
    assert_eq!(server.kept("anna").len(), 2);
}

#[test]
fn a_client_that_stays_is_told_that_it_ends() {
    let dir = scratch();
    let mut server = Server::start(dir.path(), &["--exit-after-messages", "1"]);
    let mut half = server.after(&TO_ANNA);
    let mut idle = server.after(&["EHLO c.test"]);
    assert!(server.serves());
    assert!(reply(&mut idle).starts_with("421 4.3.2"));
    drop(idle);
    // What has begun is finished.
    assert!(say(&mut half, "x\r\n.\r\n").starts_with("250"));
    drop(half);
    assert_eq!(ended(&mut server).0, 0);
    assert_eq!(server.kept("anna").len(), 2);
}

#[test]
fn it_ends_after_so_many_sessions() {
    let dir = scratch();
    let mut server = Server::start(dir.path(), &["--exit-after-sessions", "2"]);
    drop(server.greeted());
    assert!(server.is_alive());
    assert!(server.serves());
    assert_eq!(ended(&mut server).0, 0);
}

#[test]
fn it_ends_when_nobody_comes_but_not_while_somebody_is_there() {
    let dir = scratch();
    let mut server = Server::start(dir.path(), &["--exit-idle", "300ms"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 600 {
        assert!(say(&mut tcp, "RSET\r\n").starts_with("250"));
        assert!(say(&mut tcp, "MAIL FROM:<>\r\n").starts_with("250"));
        assert!(say(&mut tcp, "RCPT TO:<anna@local.test>\r\n").starts_with("250"));
        assert!(say(&mut tcp, "DATA\r\n").starts_with("354"));
        assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
    }
    assert!(server.is_alive());
    drop(tcp);
    assert_eq!(ended(&mut server).0, 0);
}

#[test]
fn what_was_expected_and_was_not_is_said_line_by_line() {
    for (expected, status, said) in [
        ("messages=2,duplicates=1,refused=1,sessions=1", 0, vec![]),
        (
            "recipients>=2,octets<=100,timeouts=0,broken=0,refusals=2",
            0,
            vec![],
        ),
        (
            "messages=3, duplicates<=0, refused>=1",
            1,
            vec![
                "helo-server: expected messages=3, but it was 2",
                "helo-server: expected duplicates<=0, but it was 1",
            ],
        ),
    ] {
        let dir = scratch();
        let options = [
            "--max-size",
            "100",
            "--expect",
            expected,
            "--exit-after-sessions",
            "1",
        ];
        let mut server = Server::start(dir.path(), &options);
        let mut tcp = server.after(&TO_ANNA);
        assert!(say(&mut tcp, "the same\r\n.\r\n").starts_with("250"));
        accepts(&mut tcp, &TO_ANNA[1..]);
        assert!(say(&mut tcp, "the same\r\n.\r\n").starts_with("250"));
        accepts(&mut tcp, &TO_ANNA[1..]);
        let big = format!("{}\r\n.\r\n", "x".repeat(200));
        assert!(say(&mut tcp, &big).starts_with("552"));
        assert!(say(&mut tcp, "NONSENSE\r\n").starts_with('5'));
        assert!(say(&mut tcp, "QUIT\r\n").starts_with("221"));
        drop(tcp);
        let (ended, stderr) = ended(&mut server);
        assert_eq!(ended, status, "{expected}: {stderr}");
        assert_eq!(stderr.lines().collect::<Vec<_>>(), said, "{expected}");
    }
}

#[test]
fn expectations_hold_at_a_signal_too() {
    let dir = scratch();
    let mut server = Server::start(dir.path(), &["--expect", "messages>=1"]);
    assert_eq!(server.terminate().code(), Some(1));
    assert_eq!(
        server.stderr(),
        "helo-server: expected messages>=1, but it was 0\n"
    );
}

#[test]
fn what_cannot_be_expected_is_a_usage_error() {
    for (expected, said) in [
        ("letters=3", "there is no count 'letters'"),
        ("messages", "'messages' is no expectation"),
        ("messages>3", "'messages>3' is no expectation"),
    ] {
        let output = run(&["--expect", expected]);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(said), "{stderr}");
    }
    let dir = scratch();
    let file = dir.path().join("helo.toml");
    std::fs::write(&file, "[exit]\nexpect = 'letters=3'\n").unwrap();
    let (status, complaint) = complaint(&run(&["--config", file.to_str().unwrap()]));
    assert_eq!(status, 2);
    assert!(
        complaint.contains("helo.toml:2:10: there is no count"),
        "{complaint}"
    );
}
