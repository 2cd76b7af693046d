//! What each command is answered, by a real server over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;

use support::{Server, play};
use testkit::scratch;
use testkit::talk::{drain, reply, say};

/// Each is played over a connection of its own.
const DIALOGUES: &[&str] = &[
    "C: EHLO
     S: 501 5.5.4
     C: HELO
     S: 501 5.5.4",
    // Local domains and users.
    "C: EHLO c.test
     S: 250
     C: MAIL FROM:<a@c.test>
     S: 250 2.1.0
     C: RCPT TO:<anna@local.test>
     S: 250 2.1.5
     C: RCPT TO:<ANNA@Local.TEST>
     S: 250 2.1.5
     C: RCPT TO:<anna+lists@local.test>
     S: 250 2.1.5
     C: RCPT TO:<\"bert\"@local.test>
     S: 250 2.1.5
     C: RCPT TO:<anna@mx.local.test>
     S: 250 2.1.5
     C: RCPT TO:<Postmaster>
     S: 250 2.1.5
     C: RCPT TO:<postmaster@local.test>
     S: 250 2.1.5
     C: RCPT TO:<abuse@local.test>
     S: 250 2.1.5
     C: RCPT TO:<@elsewhere.test,@local.test:anna@local.test>
     S: 250 2.1.5
     C: RCPT TO:<carol@local.test>
     S: 550 5.1.1
     C: RCPT TO:<annab@local.test>
     S: 550 5.1.1
     C: RCPT TO:<b%elsewhere.test@local.test>
     S: 550 5.1.1
     C: RCPT TO:<anna@sub.local.test>
     S: 550 5.7.1
     C: RCPT TO:<anna@local.test.elsewhere.test>
     S: 550 5.7.1
     C: RCPT TO:<anna@xlocal.test>
     S: 550 5.7.1
     C: RCPT TO:<@local.test:b@elsewhere.test>
     S: 550 5.7.1
     C: RCPT TO:<anna@[127.0.0.1]>
     S: 550 5.7.1
     C: RCPT TO:<anna@local.test
     S: 501 5.1.3
     C: RCPT TO:<>
     S: 501 5.1.3",
    // Order (RFC 5321 §4.1.4).
    "C: MAIL FROM:<a@c.test>
     S: 503 5.5.1 say EHLO first
     C: RCPT TO:<anna@local.test>
     S: 503 5.5.1
     C: DATA
     S: 503 5.5.1
     C: NOOP
     S: 250 2.0.0
     C: RSET
     S: 250 2.0.0
     C: EHLO c.test
     S: 250
     C: RCPT TO:<anna@local.test>
     S: 503 5.5.1 MAIL first
     C: DATA
     S: 503 5.5.1 MAIL first
     C: MAIL FROM:<a@c.test>
     S: 250
     C: DATA
     S: 503 5.5.1 RCPT first
     C: MAIL FROM:<a@c.test>
     S: 503 5.5.1
     C: STARTTLS
     S: 503 5.5.1
     C: RCPT TO:<carol@local.test>
     S: 550
     C: DATA
     S: 503 5.5.1 RCPT first
     C: RCPT TO:<anna@local.test>
     S: 250
     C: MAIL FROM:<a@c.test>
     S: 503 5.5.1
     C: NOOP
     S: 250
     C: DATA
     S: 354
     C: x
     C: .
     S: 250 2.0.0
     C: DATA
     S: 503 5.5.1 MAIL first",
    // RSET, EHLO and HELO end a transaction.
    "C: EHLO c.test
     S: 250
     C: MAIL FROM:<a@c.test>
     S: 250
     C: RCPT TO:<anna@local.test>
     S: 250
     C: RSET
     S: 250 2.0.0
     C: DATA
     S: 503
     C: MAIL FROM:<a@c.test>
     S: 250
     C: RCPT TO:<anna@local.test>
     S: 250
     C: EHLO c.test
     S: 250
     C: DATA
     S: 503
     C: MAIL FROM:<a@c.test>
     S: 250
     C: RCPT TO:<anna@local.test>
     S: 250
     C: HELO c.test
     S: 250
     C: DATA
     S: 503
     C: RSET now
     S: 501 5.5.4",
    // What changes nothing, and what is not offered.
    "C: EHLO c.test
     S: 250
     C: MAIL FROM:<a@c.test>
     S: 250
     C: noop
     S: 250 2.0.0
     C: NOOP whatever
     S: 250 2.0.0
     C: VRFY anna
     S: 252 2.5.2
     C: VRFY carol
     S: 252 2.5.2
     C: VRFY
     S: 501 5.5.4
     C: EXPN lists
     S: 502 5.5.1
     C: HELP
     S: 214 2.0.0
     C: HELP MAIL
     S: 214 2.0.0
     C: AUTH PLAIN AGEAYg==
     S: 503 5.5.1
     C: ETRN c.test
     S: 502 5.5.1
     C: LHLO c.test
     S: 500 5.5.1
     C: WIZ
     S: 500 5.5.1
     C:  NOOP
     S: 500 5.5.1
     C: RCPT TO:<anna@local.test>
     S: 250
     C: QUIT now
     S: 501
     C: QUIT
     S: 221 2.0.0",
    "C: EHLO c.test
     S: 250
     C: AUTH PLAIN AGEAYg==
     S: 502 5.5.1
     C: LHLO c.test
     S: 500 5.5.1
     C: XCLIENT ADDR=192.0.2.1
     S: 550 5.7.0",
    // The octets of a chunk that is refused are no commands, whatever they are, and
    // it changes nothing but a transaction that has recipients (RFC 3030 §2).
    "C: EHLO c.test
     S: 250
     C: MAIL FROM:<a@c.test>
     S: 250
     C: BDAT 6 LAST
     C: QUIT
     S: 503 5.5.1 RCPT first
     C: RCPT TO:<anna@local.test>
     S: 250
     C: BDAT 1002 LAST
     C: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
     S: 552 5.3.4
     C: RCPT TO:<anna@local.test>
     S: 503 5.5.1 MAIL first
     C: MAIL FROM:<a@c.test>
     S: 250
     C: BDAT x
     S: 501 5.5.4
     C: RCPT TO:<anna@local.test>
     S: 250",
    // Parameters (RFC 5321 §4.1.1.11), and SIZE at MAIL (RFC 1870 §6.1).
    "C: EHLO c.test
     S: 250
     C: MAIL FROM:<a@c.test> SIZE=1001
     S: 552 5.3.4
     C: MAIL FROM:<a@c.test> SIZE=99999999999999999999
     S: 552 5.3.4
     C: MAIL FROM:<a@c.test> SIZE=big
     S: 501 5.5.4
     C: MAIL FROM:<a@c.test> SIZE=+5
     S: 501 5.5.4
     C: MAIL FROM:<a@c.test> SIZE
     S: 501 5.5.4
     C: MAIL FROM:<a@c.test> BODY=9BITMIME
     S: 501 5.5.4
     C: MAIL FROM:<a@c.test> COLOUR=RED
     S: 555 5.5.4
     C: MAIL FROM:<a@c.test> SIZE=10 SIZE=10
     S: 501 5.5.4
     C: MAIL FROM:<a@c.test>SIZE=10
     S: 501 5.1.7
     C: MAIL FROM:<a@c.test> size=1000 body=8bitmime
     S: 250 2.1.0
     C: RCPT TO:<anna@local.test> COLOUR=RED
     S: 555 5.5.4
     C: RCPT TO:<anna@local.test>
     S: 250",
    // After HELO there are none.
    "C: HELO c.test
     S: 250
     C: MAIL FROM:<a@c.test> SIZE=10
     S: 555 5.5.4
     C: MAIL FROM:<a@c.test>
     S: 250",
    // SMTPUTF8 (RFC 6531 §3.5).
    "C: EHLO c.test
     S: 250
     C: MAIL FROM:<ä@c.test>
     S: 550 5.6.7
     C: MAIL FROM:<a@bücher.test>
     S: 550 5.6.7
     C: MAIL FROM:<a@c.test>
     S: 250
     C: RCPT TO:<änna@local.test>
     S: 553 5.6.7
     C: RSET
     S: 250
     C: MAIL FROM:<ä@c.test> SMTPUTF8=yes
     S: 501 5.5.4
     C: MAIL FROM:<ä@c.test> SMTPUTF8
     S: 250
     C: RCPT TO:<änna@local.test>
     S: 550 5.1.1
     C: RCPT TO:<ä@bücher.test>
     S: 550 5.7.1
     C: RCPT TO:<anna@local.test>
     S: 250",
];

#[test]
fn commands_are_answered_as_the_standards_say() {
    let dir = scratch();
    let server = Server::start(
        dir.path(),
        &["--max-size", "1000", "--mynetworks", "192.0.2.0/24"],
    );
    for dialogue in DIALOGUES {
        let mut tcp = server.greeted();
        play(&mut tcp, dialogue);
    }
}

#[test]
fn ehlo_lists_what_is_offered_and_helo_nothing() {
    let greets = "mx.local.test greets c.test [127.0.0.1]\r\n";
    for (options, size, starttls) in [
        (&[][..], "52428800", "250-STARTTLS\r\n"),
        (&["--no-tls", "--max-size", "1000"], "1000", ""),
    ] {
        let dir = scratch();
        let server = Server::start(dir.path(), options);
        let mut tcp = server.greeted();
        let offered = format!(
            "250-{greets}250-PIPELINING\r\n250-SIZE {size}\r\n250-8BITMIME\r\n\
             250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n250-DELIVERBY\r\n\
             250-MT-PRIORITY\r\n{starttls}250-LIMITS MAILMAX=10000 RCPTMAX=1000\r\n\
             250 ENHANCEDSTATUSCODES\r\n"
        );
        assert_eq!(say(&mut tcp, "EHLO c.test\r\n"), offered);
        assert_eq!(say(&mut tcp, "HELO c.test\r\n"), format!("250 {greets}"));
    }
}

#[test]
fn no_reply_line_is_longer_than_512_octets_or_beyond_ascii() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let mut tcp = server.greeted();
    let long = "x".repeat(3000);
    for line in [
        format!("EHLO {long}"),
        format!("EHLO b\u{fc}cher.{}", "\u{fc}".repeat(600)),
        format!("MAIL FROM:<a@c.test> {long}=1"),
        format!("MAIL FROM:<{long}@c.test>"),
        format!("VRFY {long}"),
        long.clone(),
    ] {
        let reply = say(&mut tcp, &format!("{line}\r\n"));
        assert!(reply.is_ascii(), "{reply}");
        // RFC 5321 §4.5.3.1.5: with the reply code and the CRLF.
        assert!(reply.lines().all(|line| line.len() <= 510), "{reply}");
    }
}

#[test]
fn a_group_of_commands_is_answered_in_one_go() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--max-errors", "0"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    let mut group = String::from("MAIL FROM:<a@c.test>\r\n");
    let mut replies = String::from("250 2.1.0 sender noted\r\n");
    for _ in 0..50 {
        group += "RCPT TO:<anna@local.test>\r\nRCPT TO:<carol@local.test>\r\n";
        replies += "250 2.1.5 recipient taken\r\n550 5.1.1 no such mailbox here\r\n";
    }
    group += "DATA\r\n";
    replies += "354 go ahead, end with CRLF dot CRLF\r\n";
    // Somebody who waits in a read sees the first octets as soon as they come: all
    // replies in one read, time after time, were one write.
    for _ in 0..20 {
        let waiting = {
            let (mut tcp, most) = (tcp.try_clone().unwrap(), replies.len() + 1);
            std::thread::spawn(move || {
                let mut read = vec![0; most];
                let count = tcp.read(&mut read).unwrap();
                String::from_utf8_lossy(&read[..count]).into_owned()
            })
        };
        tcp.write_all(group.as_bytes()).unwrap();
        let read = waiting.join().unwrap();
        assert!(read == replies, "{} of {}", read.len(), replies.len());
        assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
    }
}

#[test]
fn zero_is_no_limit() {
    let dir = scratch();
    let none = [
        "size",
        "recipients",
        "messages",
        "errors",
        "junk",
        "connections",
        "connections-per-client",
    ];
    let mut options: Vec<String> = none.map(|what| format!("--max-{what}=0")).to_vec();
    options.extend(["command", "session", "tls"].map(|what| format!("--timeout-{what}=0")));
    // No disk has room for what is declared below.
    options.push("--min-free=0".into());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::start(dir.path(), &options);
    let mut tcp = server.greeted();
    let ehlo = say(&mut tcp, "EHLO c.test\r\n");
    // RFC 1870 §4.
    assert!(ehlo.contains("250-SIZE 0\r\n"), "{ehlo}");
    for _ in 0..300 {
        assert!(say(&mut tcp, "WIZ\r\n").starts_with("500"));
        assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
    }
    let size = "MAIL FROM:<> SIZE=99999999999999999999\r\n";
    assert!(say(&mut tcp, size).starts_with("250"));
    assert!(server.serves());
}

#[test]
fn whoever_only_errs_is_sent_away() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let mut tcp = server.greeted();
    for _ in 0..20 {
        assert!(say(&mut tcp, "WIZ\r\n").starts_with("500 5.5.1"));
    }
    assert!(say(&mut tcp, "WIZ\r\n").starts_with("421 4.7.0"));
    let (rest, end) = drain(&mut tcp);
    assert_eq!((rest, end.is_ok()), (Vec::new(), true));
}

#[test]
fn limits_of_recipients_and_connections_hold() {
    let dir = scratch();
    let options = ["--max-recipients", "2", "--max-connections", "1"];
    let server = Server::start(dir.path(), &options);
    let mut tcp = server.greeted();
    play(
        &mut tcp,
        "C: EHLO c.test
         S: 250
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<anna@local.test>
         S: 250
         C: RCPT TO:<bert@local.test>
         S: 250
         C: RCPT TO:<postmaster>
         S: 452 4.5.3",
    );
    let mut second = testkit::talk::connect(server.address);
    assert!(reply(&mut second).starts_with("421 4.3.2"));
    assert_eq!(drain(&mut second).0, b"");
    // Whoever comes when the first has gone is served, each time.
    assert!(say(&mut tcp, "QUIT\r\n").starts_with("221"));
    drain(&mut tcp).1.unwrap();
    drop(tcp);
    testkit::wait::until_true("the place to be free", || {
        let mut next = testkit::talk::connect(server.address);
        reply(&mut next).starts_with("220")
    });
}

#[test]
fn a_silent_client_is_told_so() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--timeout-command", "300ms"]);
    let mut tcp = server.greeted();
    assert!(reply(&mut tcp).starts_with("421 4.4.2"));
    assert_eq!(drain(&mut tcp).0, b"");
    // A session that lasts too long is ended, however busy.
    let options = ["--timeout-session", "300ms", "--max-junk", "0"];
    let server = Server::start(dir.path(), &options);
    let mut tcp = server.greeted();
    let last = loop {
        let reply = say(&mut tcp, "NOOP\r\n");
        if !reply.starts_with("250") {
            break reply;
        }
    };
    assert!(last.starts_with("421 4.4.2"), "{last}");
    // A time limit beyond any clock is none.
    let options = ["--timeout-command=9999999d", "--timeout-session=9999999d"];
    assert!(Server::start(dir.path(), &options).serves());
}

#[test]
fn whoever_has_said_all_still_hears_the_replies() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let mut tcp = server.greeted();
    tcp.write_all(b"HELO c.test\r\nNOOP\r\nNOO").unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let (replies, end) = drain(&mut tcp);
    end.unwrap();
    let replies = String::from_utf8(replies).unwrap();
    assert_eq!(replies.lines().count(), 2, "{replies}");
}
