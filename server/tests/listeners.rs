//! Several listeners, each on terms of its own, and what clients may not do there.
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
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use support::tls::Tls;
use support::{PROGRAM, Server, TO_ANNA, play, run};
use testkit::program::complaint;
use testkit::recorded::{closed, of_kind};
use testkit::scratch;
use testkit::talk::{connect, drain, reply, say};

#[test]
fn lmtp_answers_each_recipient_at_a_unix_socket() {
    let dir = scratch();
    let path = dir.path().join("lmtp.sock");
    let spec = format!("unix:{},proto=lmtp,tls=none", path.display());
    // A socket that a killed server has left behind is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut server = Server::recording(dir.path(), &["--listen", &spec]);
    assert_eq!(server.endpoints, [format!("unix:{}", path.display())]);
    let mut unix = UnixStream::connect(&path).unwrap();
    unix.set_read_timeout(Some(testkit::wait::LIMIT)).unwrap();
    assert!(reply(&mut unix).starts_with("220"));
    assert!(say(&mut unix, "EHLO c.test\r\n").starts_with("500 5.5.1"));
    let offer = say(&mut unix, "LHLO c.test\r\n");
    assert!(offer.contains("250-PIPELINING\r\n"), "{offer}");
    for (line, answer) in [
        ("MAIL FROM:<a@c.test>", "250"),
        ("RCPT TO:<anna@local.test>", "250"),
        ("RCPT TO:<nobody@local.test>", "550 5.1.1"),
        ("RCPT TO:<bert@local.test>", "250"),
        ("DATA", "354"),
    ] {
        let got = say(&mut unix, &format!("{line}\r\n"));
        assert!(got.starts_with(answer), "{line}: {got}");
    }
    assert!(say(&mut unix, "hello\r\n.\r\n").starts_with("250 2.0.0"));
    assert!(reply(&mut unix).starts_with("250 2.0.0"));
    assert!(say(&mut unix, "QUIT\r\n").starts_with("221"));
    for user in ["anna", "bert"] {
        let message = String::from_utf8(server.kept(user).remove(0)).unwrap();
        assert!(message.contains(" with LMTP id "), "{message}");
    }
    closed(&server.file(), 1);
    assert!(server.terminate().success());
    assert!(!path.exists(), "the socket was left behind");
}

#[test]
fn a_unix_socket_in_use_is_left_alone() {
    let dir = scratch();
    let path = dir.path().join("lmtp.sock");
    let spec = format!("unix:{}", path.display());
    let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (status, said) = complaint(&run(&["--listen", &spec]));
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("somebody listens there already"), "{said}");
    fs::write(dir.path().join("file"), "mine").unwrap();
    let spec = format!("unix:{}/file", dir.path().display());
    let (status, said) = complaint(&run(&["--listen", &spec]));
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("no socket"), "{said}");
}

#[test]
fn each_listener_has_its_own_terms() {
    let dir = scratch();
    let server = Server::start(
        dir.path(),
        &[
            "--mynetworks",
            "192.0.2.0/24",
            "--listen",
            "127.0.0.1:0,name=mx",
            "--listen",
            "127.0.0.1:0,proto=submission,require-tls",
            "--listen",
            "127.0.0.1:0,tls=none,relay=open",
            "--listen",
            "127.0.0.1:0,proto=submission,tls=implicit,require-tls",
        ],
    );
    let at = |index: usize| connect(server.endpoints[index].parse().unwrap());
    play(
        &mut at(0),
        "S: 220
         C: EHLO c.test
         S: 250
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<w@elsewhere.test>
         S: 550 5.7.1",
    );
    play(
        &mut at(1),
        "S: 220
         C: MAIL FROM:<a@c.test>
         S: 530 5.7.0
         C: NOOP
         S: 250
         C: EHLO c.test
         S: 250
         C: MAIL FROM:<a@c.test>
         S: 530 5.7.0
         C: VRFY anna
         S: 530 5.7.0
         C: STARTTLS
         S: 220",
    );
    play(
        &mut at(2),
        "S: 220
         C: EHLO c.test
         S: 250
         C: STARTTLS
         S: 502 5.5.1
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<w@elsewhere.test>
         S: 250",
    );
    let mut tls = Tls::over(at(3)).unwrap();
    assert!(tls.say("").starts_with("220 "));
    let offer = tls.say("EHLO c.test\r\n");
    assert!(!offer.contains("STARTTLS"), "{offer}");
    let got = tls.say("MAIL FROM:<a@c.test>\r\n");
    assert!(got.starts_with("530 5.7.0 authentication"), "{got}");
}

#[test]
fn who_speaks_too_early_is_noted_and_by_a_strict_server_refused() {
    for (strict, answer) in [(false, "250"), (true, "503 5.5.0")] {
        let dir = scratch();
        let mut options = vec!["--greet-pause", "10s"];
        options.extend(strict.then_some("--strict"));
        let server = Server::recording(dir.path(), &options);
        let mut tcp = connect(server.address);
        tcp.write_all(b"EHLO c.test\r\n").unwrap();
        assert!(reply(&mut tcp).starts_with("220"));
        assert!(reply(&mut tcp).starts_with(answer), "strict: {strict}");
        drop(tcp);
        closed(&server.file(), 1);
        let command = of_kind(&server.recorded(), 1, "cmd").remove(0);
        let odd: Vec<&str> = command.texts("dev").collect();
        assert_eq!(odd, ["talk-before-greeting"]);
    }
}

#[test]
fn a_strict_server_refuses_what_can_be_understood_but_is_not_right() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--strict"]);
    let mut tcp = server.greeted();
    // HELO offers no PIPELINING, and nothing may follow EHLO in a group at all.
    tcp.write_all(b"HELO c.test\r\nMAIL FROM:<a@c.test>\r\n")
        .unwrap();
    assert!(reply(&mut tcp).starts_with("250"));
    assert!(reply(&mut tcp).starts_with("503 5.5.0"));
    play(
        &mut tcp,
        "C: EHLO c.test
         S: 250
         C: MAIL FROM: <a@c.test>
         S: 501 5.5.2
         C: MAIL FROM:a@c.test
         S: 501 5.5.2
         C: MAIL FROM:<a@c.test>
         S: 250",
    );
    // What was offered may be used.
    tcp.write_all(b"RCPT TO:<anna@local.test>\r\nRCPT TO:<bert@local.test>\r\nDATA\r\n")
        .unwrap();
    for answer in ["250", "250", "354"] {
        assert!(reply(&mut tcp).starts_with(answer));
    }
}

#[test]
fn other_protocols_are_turned_away_at_once() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    for line in [
        "GET / HTTP/1.1",
        "POST / HTTP/1.1",
        "CONNECT mx.test:25 HTTP/1.1",
        "{\"a\": 1}",
        "\u{16}\u{3}\u{1}",
    ] {
        let mut tcp = server.greeted();
        let mail = format!("{line}\r\nMAIL FROM:<a@c.test>\r\n");
        tcp.write_all(mail.as_bytes()).unwrap();
        assert!(reply(&mut tcp).starts_with("554 5.5.1"), "{line}");
        assert_eq!(drain(&mut tcp).0, b"", "{line}");
    }
    // A line that is only unknown is only refused.
    let mut tcp = server.greeted();
    assert!(say(&mut tcp, "GETX\r\n").starts_with("500"));
    assert!(say(&mut tcp, "\r\n").starts_with("500"));
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
}

#[test]
fn sessions_and_silence_and_slow_content_have_an_end() {
    for (options, lines, why) in [
        (&["--timeout-command", "200ms"][..], &[][..], "silent"),
        (&["--timeout-session", "200ms"], &[], "lasted"),
        (
            &["--min-rate-over", "300ms", "--min-rate", "9"],
            &TO_ANNA,
            "slowly",
        ),
    ] {
        let dir = scratch();
        let server = Server::start(dir.path(), options);
        let mut tcp = server.after(lines);
        let last = reply(&mut tcp);
        assert!(last.starts_with("421 4.4.2 "), "{last}");
        assert!(last.contains(why), "{last}");
        assert_eq!(drain(&mut tcp).0, b"");
    }
}

#[test]
fn one_client_may_have_so_many_connections() {
    let dir = scratch();
    let options = ["--max-connections-per-client", "2"];
    let server = Server::start(dir.path(), &options);
    let (first, _second) = (server.greeted(), server.greeted());
    let mut third = connect(server.address);
    assert!(reply(&mut third).starts_with("421 4.3.2 "));
    let mut other = support::connect_from("127.0.0.2", server.address);
    assert!(reply(&mut other).starts_with("220"));
    drop(first);
    testkit::wait::until_true("a place for another connection", || {
        reply(&mut connect(server.address)).starts_with("220")
    });
}

#[test]
fn sockets_are_taken_over_from_who_made_them() {
    let dir = scratch();
    let made = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::io::fcntl_setfd(&made, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&made);
    let script = format!("exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"");
    let program = ["sh", "-c", &script, PROGRAM];
    let server = Server::start_as(&program, dir.path(), &["--listen", "fd:0,name=mx"]);
    assert_eq!(server.address, made.local_addr().unwrap());
    assert!(server.serves());
    let (status, said) = complaint(&run(&["--listen", "fd:0"]));
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("fd:0"), "{said}");
}

#[test]
fn privileges_are_dropped_before_files_are_made() {
    let dir = scratch();
    if !rustix::process::geteuid().is_root() {
        let (status, said) = complaint(&run(&["--listen", "127.0.0.1:0", "--run-as", "nobody"]));
        assert_eq!(status, 2, "{said}");
        assert!(said.contains("only root can"), "{said}");
        return;
    }
    let (status, said) = complaint(&run(&[
        "--listen",
        "127.0.0.1:0",
        "--run-as",
        "no-such-user",
    ]));
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("no-such-user"), "{said}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let server = Server::recording(dir.path(), &["--run-as", "nobody"]);
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let root_nowhere = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().skip(1).all(|id| id != "0")
    };
    assert!(root_nowhere("Uid:") && root_nowhere("Gid:"), "{status}");
    assert!(root_nowhere("Groups:"), "{status}");
    assert!(server.serves());
    assert_eq!(server.kept("anna").len(), 1);
}
