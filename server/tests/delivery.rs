//! Messages: kept octet by octet, whole or not at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use shared::codec::encode_dots;
use support::{Server, TO_ANNA, accepts, contents, files};
use testkit::talk::{reply, say};
use testkit::wait::until_true;
use testkit::{Dice, scratch};

/// Sends mail data after 354, and returns the verdict.
fn finish(tcp: &mut TcpStream, data: &[u8]) -> String {
    tcp.write_all(data).unwrap();
    reply(tcp)
}

/// A message with its trace header taken off, which must be the one of
/// `c.test`, by that protocol, from that reverse-path.
fn untraced<'a>(message: &'a [u8], reverse_path: &str, protocol: &str) -> &'a [u8] {
    let mut lines = message.splitn(5, |&octet| octet == b'\n');
    let mut line = || String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
    assert_eq!(line(), format!("Return-Path: {reverse_path}\r"));
    assert_eq!(line(), "Received: from c.test ([127.0.0.1])\r");
    let by = format!("\tby mx.local.test (Heloscope) with {protocol} id ");
    let by_line = line();
    let id = by_line.strip_prefix(&by).expect(&by_line);
    let id = id.strip_suffix(";\r").expect(&by_line);
    assert!(id.len() == 32 && id.bytes().all(|octet| octet.is_ascii_hexdigit()));
    // The date of RFC 5322 §3.3, in UTC.
    let date = line();
    let zone = date.strip_suffix(" +0000\r").expect(&date);
    assert!(zone.starts_with('\t') && zone.contains(", "), "{date}");
    lines.next().unwrap()
}

#[test]
fn content_is_kept_octet_by_octet() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    for (wire, content) in [
        (&b".\r\n"[..], &b""[..]),
        (b"\r\n.\r\n", b"\r\n"),
        (b"Subject: x\r\n\r\ny\r\n.\r\n", b"Subject: x\r\n\r\ny\r\n"),
        // RFC 5321 §4.5.2.
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        // Only CRLF dot CRLF is the end (RFC 5321 §4.1.1.4).
        (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
        (b"a\r\n.\nQUIT\r\n.\r\n", b"a\r\n\nQUIT\r\n"),
        (b"a\n.\r\nQUIT\r\n.\r\n", b"a\n.\r\nQUIT\r\n"),
        (b"a\r.\r\r\n.\r\n", b"a\r.\r\r\n"),
        (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
        (b"\0\x01\x7f\x80\xff\r\n.\r\n", b"\0\x01\x7f\x80\xff\r\n"),
        (b"a\rb\nc\r\n.\r\n", b"a\rb\nc\r\n"),
    ] {
        let mut tcp = server.after(&TO_ANNA);
        let verdict = finish(&mut tcp, wire);
        assert!(verdict.starts_with("250 2.0.0"), "{wire:?}: {verdict}");
        let message = server.kept("anna").remove(0);
        assert_eq!(untraced(&message, "<a@c.test>", "ESMTP"), content);
        let file = files(&dir.path().join("mail/anna/new")).remove(0);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "others can read mail");
        std::fs::remove_file(file).unwrap();
        assert!(server.left().0.is_empty());
        // The end was the end: the session goes on after it.
        assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
    }
}

#[test]
fn any_content_in_any_pieces_is_kept() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let mut dice = Dice::new();
    let mut tcp = server.after(&["EHLO c.test"]);
    for _ in 0..100 {
        // Mostly of what matters to the end of data.
        let length = dice.below(3000);
        let alphabet = b"\r\n..\r\n.\0a\xff";
        let mut content: Vec<u8> = (0..length)
            .map(|_| alphabet[dice.below(alphabet.len())])
            .collect();
        content.extend_from_slice(b"\r\n");
        let mut wire = Vec::new();
        encode_dots(&content, &mut wire);
        accepts(&mut tcp, &TO_ANNA[1..]);
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(1 + dice.below(1000)));
            tcp.write_all(piece).unwrap();
            rest = after;
        }
        assert!(reply(&mut tcp).starts_with("250 2.0.0"));
        let message = server.kept("anna").remove(0);
        assert!(untraced(&message, "<a@c.test>", "ESMTP") == content);
        std::fs::remove_file(files(&dir.path().join("mail/anna/new")).remove(0)).unwrap();
    }
}

#[test]
fn the_trace_header_says_how_it_came() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    for (hello, mail, reverse_path, protocol) in [
        ("HELO", "<>", "<>", "SMTP"),
        ("EHLO", "<>", "<>", "ESMTP"),
        ("EHLO", "<\"a b\"@c.test>", "<\"a b\"@c.test>", "ESMTP"),
        ("EHLO", "<@x.test:a@c.test>", "<a@c.test>", "ESMTP"),
        ("EHLO", "<ä@c.test> SMTPUTF8", "<ä@c.test>", "UTF8SMTP"),
    ] {
        let mut tcp = server.after(&[
            &format!("{hello} c.test"),
            &format!("MAIL FROM:{mail}"),
            "RCPT TO:<bert@local.test>",
            "DATA",
        ]);
        assert!(finish(&mut tcp, b"x\r\n.\r\n").starts_with("250"));
        let message = server.kept("bert").remove(0);
        assert_eq!(untraced(&message, reverse_path, protocol), b"x\r\n");
        std::fs::remove_file(files(&dir.path().join("mail/bert/new")).remove(0)).unwrap();
    }
}

#[test]
fn a_name_cannot_forge_the_trace_header() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let forged = format!("x ([10.0.0.1]) by y; (\u{fc}\t{}", "z".repeat(2000));
    let mut tcp = server.after(&[&format!("EHLO {forged}")]);
    accepts(&mut tcp, &TO_ANNA[1..]);
    assert!(finish(&mut tcp, b"x\r\n.\r\n").starts_with("250"));
    let message = String::from_utf8(server.kept("anna").remove(0)).unwrap();
    assert!(message.contains("Received: from x??[10.0.0.1]??by?y?????zzz"));
    assert!(message.contains("z ([127.0.0.1])\r\n"), "{message}");
    // RFC 5322 §2.1.1.
    assert!(message.lines().all(|line| line.len() <= 998), "{message}");
}

#[test]
fn every_recipient_gets_it_once() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let mut tcp = server.after(&[
        "EHLO c.test",
        "MAIL FROM:<a@c.test>",
        "RCPT TO:<anna@local.test>",
        "RCPT TO:<ANNA+x@local.test>",
        "RCPT TO:<bert@mx.local.test>",
        "RCPT TO:<Postmaster>",
        "DATA",
    ]);
    assert!(finish(&mut tcp, b"to all\r\n.\r\n").starts_with("250"));
    for (user, count) in [("anna", 1), ("bert", 1), ("postmaster", 1), ("abuse", 0)] {
        assert_eq!(server.kept(user).len(), count, "{user}");
    }
    assert!(server.left().0.is_empty());
    assert_eq!(server.kept("anna"), server.kept("bert"));
}

#[test]
fn many_at_once_never_share_a_name() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut tcp = server.after(&["EHLO c.test"]);
            scope.spawn(move || {
                for n in 0..25 {
                    accepts(&mut tcp, &TO_ANNA[1..]);
                    let data = format!("{thread}.{n}\r\n.\r\n");
                    assert!(finish(&mut tcp, data.as_bytes()).starts_with("250"));
                }
            });
        }
    });
    let mut bodies: Vec<Vec<u8>> = server
        .kept("anna")
        .iter()
        .map(|message| untraced(message, "<a@c.test>", "ESMTP").to_vec())
        .collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 100);
    assert!(server.left().0.is_empty());
}

#[test]
fn what_is_too_big_is_heard_out_refused_and_gone() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--max-size", "1000"]);
    for (octets, verdict) in [
        (1000, "250 2.0.0"),
        (1001, "552 5.3.4"),
        (300_000, "552 5.3.4"),
    ] {
        let mut tcp = server.after(&TO_ANNA);
        let mut data = vec![b'x'; octets - 2];
        data.extend_from_slice(b"\r\n.\r\n");
        assert!(finish(&mut tcp, &data).starts_with(verdict), "{octets}");
        // The transaction is over, the session is not.
        assert!(say(&mut tcp, "DATA\r\n").starts_with("503"));
        assert!(say(&mut tcp, "MAIL FROM:<>\r\n").starts_with("250"));
    }
    let (tmp, new) = server.left();
    assert_eq!((tmp.len(), new.len()), (0, 1));
}

#[test]
fn what_is_broken_off_leaves_nothing_behind() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--spill", "1K"]);
    for reset in [false, true] {
        let mut tcp = server.after(&TO_ANNA);
        tcp.write_all(&b"half of a message\r\n".repeat(10_000))
            .unwrap();
        until_true("the message to come in", || {
            let files = server.left().0;
            files.iter().any(|file| file.metadata().unwrap().len() > 0)
        });
        if reset {
            let at_once = Some(std::time::Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&tcp, at_once).unwrap();
        }
        drop(tcp);
        until_true("the message to be gone", || server.left().0.is_empty());
    }
    assert!(server.left().1.is_empty());
    assert!(server.serves());
}

#[test]
fn a_maildir_on_another_file_system_gets_a_copy() {
    let dir = scratch();
    // Of two of these at least one is on another file system than the rest.
    let elsewhere = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let witness = elsewhere.path().join("relayed");
    let maildir = format!("maildir:{}", witness.display());
    let server = Server::start(dir.path(), &["--witness", &maildir]);
    let mut tcp = server.after(&[
        "EHLO c.test",
        "MAIL FROM:<a@c.test>",
        "RCPT TO:<anna@local.test>",
        "RCPT TO:<b@elsewhere.test>",
        "DATA",
    ]);
    assert!(finish(&mut tcp, b"to both\r\n.\r\n").starts_with("250"));
    assert_eq!(server.kept("anna"), contents(&witness.join("new")));
    assert_eq!(server.kept("anna").len(), 1);
    assert_eq!(files(&witness.join("tmp")).len() + server.left().0.len(), 0);
}
