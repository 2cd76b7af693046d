//! How the server says where it is, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;
use support::tls::Tls;
use support::{PROGRAM, Server, TO_ANNA};
use testkit::recorded::{closed, of_kind};
use testkit::scratch;
use testkit::talk::{connect, drain, reply, say};
use testkit::wait::{until, until_true};

#[test]
fn it_says_where_it_listens() {
    let dir = scratch();
    let stdout = dir.path().join("stdout");
    let to_file = format!("exec \"$0\" \"$@\" > {}", stdout.display());
    let socket = format!("unix:{}", dir.path().join("socket").display());
    let places = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        &socket,
    ];
    let mut server = Server::start_as(&["sh", "-c", &to_file, PROGRAM], dir.path(), &places);
    let ready = fs::read_to_string(dir.path().join("ready")).unwrap();
    let listening: Vec<&str> = ready.lines().collect();
    assert_eq!(listening, server.endpoints);
    assert_eq!(listening.len(), 3, "{ready}");
    assert_eq!(listening[2], socket);
    let line = until("the line on standard output", || {
        fs::read_to_string(&stdout)
            .ok()
            .filter(|line| line.ends_with('\n'))
    });
    assert_eq!(line, format!("listening on {}\n", listening.join(" ")));
    // And there it is.
    for place in &listening[..2] {
        let mut tcp = connect(place.parse().unwrap());
        assert!(reply(&mut tcp).starts_with("220 "));
    }
    assert!(server.terminate().success());
    assert_eq!(server.stderr(), "");
    assert!(!dir.path().join("socket").exists());
}

/// Everything in the recording has its end.
fn is_whole(server: &Server, sessions: u64) {
    let recording = server.recorded();
    assert_eq!(recording.damage(), []);
    assert!(recording.is_finished());
    for session in 1..=sessions {
        let ends = of_kind(&recording, session, "close").len();
        assert_eq!(ends, 1, "of session {session}");
    }
    assert_eq!(recording.sessions().len() as u64, sessions);
}

/// Is told that the server ends, and nothing more.
fn is_told(mut tcp: TcpStream) {
    let told = reply(&mut tcp);
    assert!(told.starts_with("421 4.3.2 "), "{told}");
    let (rest, end) = drain(&mut tcp);
    assert_eq!((rest, end.is_ok()), (Vec::new(), true));
}

#[test]
fn told_to_end_it_lets_transactions_finish_and_tells_the_others() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = scratch();
        let mut server = Server::recording(dir.path(), &[]);
        let idle = [
            server.greeted(),
            server.after(&["EHLO c.test"]),
            server.after(&["EHLO c.test", "MAIL FROM:<>", "RSET"]),
        ];
        let mut typing = server.greeted();
        typing.write_all(b"EHL").unwrap();
        let mut in_data = server.after(&TO_ANNA);
        in_data.write_all(b"half of it\r\n").unwrap();
        let mut in_transaction = server.after(&TO_ANNA[..2]);
        server.send(signal);
        for tcp in idle.into_iter().chain([typing]) {
            is_told(tcp);
        }
        until_true("the port to be closed", || {
            TcpStream::connect(server.address).is_err()
        });
        assert!(server.is_alive(), "two transactions are under way");
        assert!(say(&mut in_data, "and the rest\r\n.\r\n").starts_with("250 2.0.0"));
        is_told(in_data);
        for (line, answer) in [
            (TO_ANNA[2], "250"),
            (TO_ANNA[3], "354"),
            ("x\r\n.", "250 2.0.0"),
        ] {
            let told = say(&mut in_transaction, &format!("{line}\r\n"));
            assert!(told.starts_with(answer), "{line}: {told}");
        }
        is_told(in_transaction);
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(server.stderr(), "");
        let mut kept = server.kept("anna");
        kept.sort_by_key(Vec::len);
        assert_eq!(kept.len(), 2);
        assert!(kept[1].ends_with(b"\r\nhalf of it\r\nand the rest\r\n"));
        is_whole(&server, 6);
    }
}

#[test]
fn who_goes_on_for_too_long_is_cut_off() {
    // By the time limit, or by a second signal.
    for (limit, again) in [("200ms", false), ("1h", true)] {
        let dir = scratch();
        let options = ["--timeout-drain", limit, "--max-errors=0", "--max-junk=0"];
        let mut server = Server::recording(dir.path(), &options);
        let mut in_data = server.after(&TO_ANNA);
        in_data.write_all(b"half of it\r\n").unwrap();
        let mut in_tls = {
            let tcp = server.after(&["EHLO c.test", "STARTTLS"]);
            let mut tls = Tls::over(tcp).unwrap();
            for line in &TO_ANNA {
                assert!(tls.say(&format!("{line}\r\n")).starts_with(['2', '3']));
            }
            tls
        };
        let handshake = server.after(&["EHLO c.test", "STARTTLS"]);
        let deaf = server.deaf_client();
        let last = server.greeted();
        server.ask_to_end();
        is_told(last);
        if again {
            server.ask_to_end();
        }
        is_told(in_data);
        assert!(in_tls.hear().starts_with("421 4.3.2 "));
        drop(in_tls);
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(server.stderr(), "");
        assert_eq!(server.left(), (Vec::new(), Vec::new()));
        is_whole(&server, 5);
        drop((handshake, deaf));
    }
}

#[test]
fn ending_twice_or_with_nobody_there_is_no_trouble() {
    let dir = scratch();
    let mut server = Server::recording(dir.path(), &[]);
    server.ask_to_end();
    assert_eq!(server.wait().code(), Some(0));
    is_whole(&server, 0);
    // A client that is gone before it is told.
    let dir = scratch();
    let mut server = Server::recording(dir.path(), &[]);
    let tcp = server.after(&["EHLO c.test"]);
    drop(tcp);
    assert_eq!(server.terminate().code(), Some(0));
    is_whole(&server, 1);
}

#[test]
fn every_way_to_leave_is_recorded() {
    let dir = scratch();
    let server = Server::recording(dir.path(), &[]);
    let mut quits = server.greeted();
    assert!(say(&mut quits, "QUIT\r\n").starts_with("221"));
    assert_eq!(drain(&mut quits).0, b"");
    let leaves = server.greeted();
    drop(leaves);
    let resets = server.greeted();
    let at_once = Some(std::time::Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(&resets, at_once).unwrap();
    drop(resets);
    for (session, by, how) in [
        (1, "server", "fin"),
        (2, "client", "fin"),
        (3, "client", "rst"),
    ] {
        let close = closed(&server.file(), session);
        assert_eq!(
            (close.text("by"), close.text("how")),
            (Some(by), Some(how)),
            "{session}"
        );
    }
    let dir = scratch();
    let server = Server::recording(dir.path(), &["--timeout-command", "200ms"]);
    let mut sleeps = server.greeted();
    assert!(reply(&mut sleeps).starts_with("421 4.4.2 "));
    drop(sleeps);
    let close = closed(&server.file(), 1);
    assert_eq!(
        (close.text("by"), close.text("how")),
        (Some("timeout"), Some("fin"))
    );
}

/// What that client has sent was read by the server.
fn is_read(tcp: &TcpStream) -> bool {
    let port = |at: std::net::SocketAddr| format!(":{:04X}", at.port());
    let server = port(tcp.peer_addr().unwrap());
    let client = port(tcp.local_addr().unwrap());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace());
    lines.any(|mut line| {
        let (local, remote) = (line.nth(1).unwrap_or(""), line.next().unwrap_or(""));
        let waiting = line.nth(1).unwrap_or("");
        local.ends_with(&server) && remote.ends_with(&client) && waiting.ends_with(":00000000")
    })
}

#[test]
fn a_client_that_waits_for_a_reply_is_told_and_has_an_end() {
    let dir = scratch();
    let users = dir.path().join("users");
    fs::write(&users, "anna:tea\n").unwrap();
    let mut server = Server::recording(
        dir.path(),
        &[
            "--users",
            users.to_str().unwrap(),
            "--auth-mechs=PLAIN",
            "--auth-delay=1h",
            "--timeout-drain=100ms",
        ],
    );
    let mut tcp = server.after(&["EHLO c.test"]);
    tcp.write_all(b"AUTH PLAIN AGFubmEAd3Jvbmc=\r\n").unwrap();
    until_true("the command to be read", || is_read(&tcp));
    server.ask_to_end();
    is_told(tcp);
    assert_eq!(server.wait().code(), Some(0));
    is_whole(&server, 1);
}
