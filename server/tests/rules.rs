//! What rules do, over real connections: every action, and every stage that the named
//! failures leave out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use support::faulty::{ends, faulty, faulty_with, is_reset, is_silent, octets, timed};
use support::tls::Tls;
use support::{TO_ANNA, accepts, play};
use testkit::recorded::{closed, of_kind, payloads};
use testkit::scratch;
use testkit::talk::{drain, reply, say};
use testkit::wait::until_true;

const MAIL: &[u8] = b"Subject: x\r\n\r\nx\r\n.\r\n";

#[test]
fn a_rule_answers_in_place_of_the_server() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on rcpt if to ~ \"^full@\" : reply 452 4.2.2 \"mailbox full\"",
            "on mail if from ~ \"^$\" : reject",
            "on vrfy|expn : defer",
            "on unknown : reply 250 2.0.0 \"as you like\"",
        ],
    );
    let mut tcp = server.after(&["EHLO c.test"]);
    play(
        &mut tcp,
        "C: MAIL FROM:<>
         S: 550 5.7.1 no, by a rule
         C: VRFY anna
         S: 451 4.3.0 not now, by a rule
         C: XYZZY
         S: 250 2.0.0 as you like
         C: MAIL FROM:<a@c.test>
         S: 250 2.1.0 sender noted
         C: RCPT TO:<full@local.test>
         S: 452 4.2.2 mailbox full
         C: RCPT TO:<anna@local.test>
         S: 250 2.1.5
         C: QUIT
         S: 221",
    );
    // Each stands beside what it is about.
    let faults = server.faults(1);
    let recording = server.recorded();
    let about: Vec<_> = faults
        .iter()
        .map(|fault| {
            let on = fault.number("on").unwrap();
            let line = recording.records().iter().find(|one| one.n() == on);
            line.unwrap().text("verb").unwrap().to_owned()
        })
        .collect();
    assert_eq!(about, ["MAIL", "VRFY", "XYZZY", "RCPT"]);
    assert_eq!(faults[3].number("rule"), Some(1));
}

#[test]
fn replies_come_from_a_file_or_as_octets() {
    let dir = scratch();
    let file = dir.path().join("greeting");
    fs::write(&file, "220-one\n220 two\n").unwrap();
    let lines = format!("on greeting : reply-lines \"{}\"", file.display());
    let server = faulty(
        dir.path(),
        &[&lines, "on noop : reply-raw \"250 \\x00\\xff odd\\n\""],
    );
    let mut tcp = server.connected();
    assert_eq!(reply(&mut tcp), "220-one\r\n220 two\r\n");
    tcp.write_all(b"NOOP\r\n").unwrap();
    let mut odd = [0; 11];
    tcp.read_exact(&mut odd).unwrap();
    assert_eq!(&odd, b"250 \x00\xff odd\n");
    assert!(say(&mut tcp, "EHLO c.test\r\n").starts_with("250"));
}

#[test]
fn what_is_no_reply_leaves_the_session_where_it_would_be() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on mail : no-reply",
            "on rcpt : reply-raw \"hello\\r\\n\"; tag odd",
            "on data : reply-truncate 2",
        ],
    );
    let mut tcp = server.after(&["EHLO c.test"]);
    tcp.write_all(b"MAIL FROM:<a@c.test>\r\n").unwrap();
    is_silent(&mut tcp);
    tcp.write_all(b"RCPT TO:<anna@local.test>\r\n").unwrap();
    assert_eq!(octets(&mut tcp, 7), "hello\r\n");
    // That was no yes, so there is no recipient.
    tcp.write_all(b"DATA\r\n").unwrap();
    assert_eq!(octets(&mut tcp, 2), "50");
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
}

#[test]
fn a_message_can_be_discarded_or_kept_against_its_verdict() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on dot if header Subject ~ \"^lose\" : discard",
            "on dot if body ~ \"keep me\" : keep; reply 451 4.3.0 \"once more\"",
            "on dot if size > 100 : reply 552 5.3.4",
        ],
    );
    let mut tcp = server.after(&["EHLO c.test"]);
    let mut send = |content: &str| {
        accepts(&mut tcp, &TO_ANNA[1..]);
        say(&mut tcp, &format!("{content}\r\n.\r\n"))
    };
    assert!(send("Subject: lose it\r\n\r\nx").starts_with("250"));
    assert_eq!(server.kept("anna").len(), 0);
    assert!(send("Subject: x\r\n\r\nkeep me").starts_with("451 4.3.0 once more"));
    assert_eq!(server.kept("anna").len(), 1);
    assert!(send(&"x".repeat(200)).starts_with("552 5.3.4"));
    assert!(send("x").starts_with("250"));
    assert_eq!(server.kept("anna").len(), 2);
    assert!(server.left().0.is_empty());
}

#[test]
fn what_would_be_refused_can_be_accepted() {
    let dir = scratch();
    let witness = dir.path().join("witness");
    let witness_option = format!("--witness=maildir:{}", witness.display());
    let server = faulty_with(
        dir.path(),
        &["on rcpt : accept"],
        &[&witness_option, "--relay-policy", "auth"],
    );
    let mut tcp = server.after(&[
        "EHLO c.test",
        "MAIL FROM:<a@c.test>",
        "RCPT TO:<nobody@elsewhere.test>",
        "DATA",
    ]);
    tcp.write_all(MAIL).unwrap();
    assert!(reply(&mut tcp).starts_with("250"));
    assert_eq!(support::files(&witness.join("new")).len(), 1);
}

#[test]
fn a_reply_comes_in_pieces() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on noop : reply-split 3 150ms",
            "on rset : drip 10/50ms",
            "on vrfy : delay 100ms..200ms",
        ],
    );
    let mut tcp = server.greeted();
    tcp.write_all(b"NOOP\r\n").unwrap();
    let mut some = [0; 100];
    assert_eq!(tcp.read(&mut some).unwrap(), 3);
    let began = Instant::now();
    assert!(reply(&mut tcp).ends_with("\r\n"));
    assert!(began.elapsed() > Duration::from_millis(100));
    tcp.write_all(b"RSET\r\n").unwrap();
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < "250 2.0.0 forgotten\r\n".len() {
        sizes.push(tcp.read(&mut some).unwrap());
    }
    assert_eq!(sizes, [10, 10, 1]);
    let (said, took) = timed(&mut tcp, "VRFY a\r\n");
    assert!(said.starts_with("252"));
    assert!(took >= Duration::from_millis(100), "{took:?}");
}

#[test]
fn a_delay_holds_back_what_follows_and_not_what_came_before() {
    let dir = scratch();
    let server = faulty(dir.path(), &["on rset : delay 300ms"]);
    let mut tcp = server.greeted();
    let began = Instant::now();
    tcp.write_all(b"NOOP\r\nRSET\r\nNOOP\r\n").unwrap();
    assert!(reply(&mut tcp).contains("still here"));
    let first = began.elapsed();
    assert!(reply(&mut tcp).contains("forgotten"));
    assert!(reply(&mut tcp).contains("still here"));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(first < Duration::from_millis(250), "{first:?}");
}

#[test]
fn the_link_is_slow() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on connect : throttle-in 20K/s",
            "on help : throttle-out 100/s",
        ],
    );
    let mut tcp = server.after(&TO_ANNA);
    let line = format!("{}\r\n", "x".repeat(76));
    let content = line.repeat(100);
    let (said, took) = timed(&mut tcp, &format!("{content}.\r\n"));
    assert!(said.starts_with("250"));
    // 7800 octets at 20480 a second.
    assert!(took >= Duration::from_millis(300), "{took:?}");
    let (said, took) = timed(&mut tcp, "HELP\r\n");
    // From here on, 47 octets at 100 a second.
    assert!(said.starts_with("214"));
    assert!(took >= Duration::from_millis(300), "{took:?}");
    drop(tcp);
    closed(&server.file(), 1);
    let pieces = of_kind(&server.recorded(), 1, "data").len();
    assert!(pieces >= 4, "it is read in {pieces} pieces");
}

#[test]
fn nothing_is_read_for_a_while() {
    let dir = scratch();
    let server = faulty(dir.path(), &["on noop : stall-read 300ms"]);
    let mut tcp = server.greeted();
    let began = Instant::now();
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
    let first = began.elapsed();
    assert!(say(&mut tcp, "RSET\r\n").starts_with("250"));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(first < Duration::from_millis(250), "{first:?}");
}

#[test]
fn connections_end_in_every_way() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on noop : close",
            "on rset : reset",
            "on help : half-close",
            "on vrfy : hang",
            "on rcpt : reply 450; reset",
        ],
    );
    let mut tcp = server.greeted();
    tcp.write_all(b"NOOP\r\n").unwrap();
    ends(&mut tcp);

    let mut tcp = server.greeted();
    tcp.write_all(b"RSET\r\n").unwrap();
    is_reset(&mut tcp);

    let mut tcp = server.greeted();
    tcp.write_all(b"HELP\r\n").unwrap();
    ends(&mut tcp);
    // It hears the client out.
    tcp.write_all(b"and this\r\n").unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let record = closed(&server.file(), 3);
    assert_eq!(record.text("by"), Some("client"));
    let (said, _) = payloads(&server.recorded(), 3);
    assert_eq!(said, b"HELP\r\nand this\r\n");

    let mut tcp = server.greeted();
    tcp.write_all(b"VRFY a\r\nNOOP\r\n").unwrap();
    is_silent(&mut tcp);

    let mut tcp = server.after(&TO_ANNA[..2]);
    assert!(say(&mut tcp, "RCPT TO:<anna@local.test>\r\n").starts_with("450"));
    is_reset(&mut tcp);
    let record = closed(&server.file(), 5);
    assert_eq!(
        (record.text("by"), record.text("how")),
        (Some("server"), Some("rst"))
    );
}

#[test]
fn it_takes_no_connections_for_a_time() {
    let dir = scratch();
    let server = faulty(dir.path(), &["on quit nth 1 : shutdown 500ms"]);
    let mut tcp = server.greeted();
    assert!(say(&mut tcp, "QUIT\r\n").starts_with("421 4.3.2 shutting down"));
    ends(&mut tcp);
    is_reset(&mut server.connected());
    until_true("the end of the time", || {
        let mut tcp = server.connected();
        let mut octet = [0];
        tcp.read(&mut octet).is_ok_and(|count| count == 1)
    });
}

#[test]
fn keywords_are_hidden_and_advertised() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on ehlo nth 1 : hide STARTTLS; hide CHUNKING; advertise \"SIZE 1000\"; advertise \"XODD\"",
        ],
    );
    let mut tcp = server.greeted();
    let offer = say(&mut tcp, "EHLO c.test\r\n");
    assert!(!offer.contains("STARTTLS") && !offer.contains("CHUNKING"));
    assert!(offer.contains("SIZE 1000\r\n") && offer.contains("XODD"));
    assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("502"));
    // It is for that EHLO alone.
    let offer = say(&mut tcp, "EHLO c.test\r\n");
    assert!(offer.contains("STARTTLS") && !offer.contains("XODD"));
    accepts(&mut tcp, &["STARTTLS"]);
}

#[test]
fn rubbish_comes_before_a_reply_and_is_the_same_for_a_seed() {
    let dir = scratch();
    let heard = |seed: &str| {
        let server = faulty_with(dir.path(), &["on noop : garbage 20"], &["--seed", seed]);
        let mut tcp = server.greeted();
        tcp.write_all(b"NOOP\r\n").unwrap();
        let mut octets = vec![0; 20 + "250 2.0.0 still here\r\n".len()];
        tcp.read_exact(&mut octets).unwrap();
        assert!(octets.ends_with(b"250 2.0.0 still here\r\n"));
        drop(tcp);
        assert_eq!(server.acts(1), ["garbage 20"]);
        let (_, said) = payloads(&server.recorded(), 1);
        assert!(said.ends_with(&octets), "it is recorded as it was said");
        fs::remove_file(server.file()).unwrap();
        octets
    };
    let one = heard("1");
    assert_eq!(one, heard("1"));
    assert_ne!(one, heard("2"));
}

#[test]
fn rules_are_looked_at_within_the_content() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on body-line(2) nth 1 : reply 421 4.3.0 \"enough\"; close",
            "on body-byte(5) if to ~ \"^bert@\" : early-reply",
        ],
    );
    let mut tcp = server.after(&TO_ANNA);
    tcp.write_all(b"one\r\n").unwrap();
    is_silent(&mut tcp);
    tcp.write_all(b"two\r\n").unwrap();
    assert_eq!(reply(&mut tcp), "421 4.3.0 enough\r\n");
    ends(&mut tcp);
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<a@c.test>"]);
    accepts(&mut tcp, &["RCPT TO:<bert@local.test>", "DATA"]);
    assert!(say(&mut tcp, "123456\r\n").starts_with("250 2.0.0 kept"));
    assert!(say(&mut tcp, ".\r\nNOOP\r\n").contains("still here"));
    assert_eq!(server.kept("bert").len(), 1);
}

#[test]
fn silence_is_noticed() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on idle(150ms) : tag bored",
            "on idle(300ms) : reply 421 4.4.2 \"say something\"; close",
        ],
    );
    let mut tcp = server.greeted();
    let began = Instant::now();
    assert_eq!(reply(&mut tcp), "421 4.4.2 say something\r\n");
    assert!(began.elapsed() >= Duration::from_millis(250));
    ends(&mut tcp);
    assert_eq!(
        server.acts(1),
        ["tag bored", "reply 421 4.4.2 \"say something\"; close"]
    );
}

#[test]
fn marks_stand_in_the_recording() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on mail : tag seen; label \"the first\"; capture",
            "on mail : tag too",
        ],
    );
    drop(server.after(&TO_ANNA[..2]));
    assert_eq!(server.acts(1).len(), 2);
    let notes = of_kind(&server.recorded(), 1, "note");
    let tags: Vec<_> = notes.iter().filter_map(|note| note.text("tag")).collect();
    assert_eq!(tags, ["seen", "too"]);
    assert!(
        notes
            .iter()
            .any(|note| note.text("msg") == Some("the first"))
    );
}

#[test]
fn chunks_and_their_end_are_stages() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on bdat nth 2 : reply 451 4.3.0",
            "on dot : reply 250 2.0.0 \"all of it\"",
        ],
    );
    let mut tcp = server.after(&TO_ANNA[..3]);
    assert!(say(&mut tcp, "BDAT 2\r\nx\n").starts_with("250"));
    assert!(say(&mut tcp, "BDAT 2\r\nx\n").starts_with("451"));
    accepts(&mut tcp, &TO_ANNA[1..3]);
    assert!(say(&mut tcp, "BDAT 2 LAST\r\nx\n").starts_with("250 2.0.0 all of it"));
    assert_eq!(server.kept("anna").len(), 1);
}

#[test]
fn the_verdicts_of_lmtp_may_come_late_and_differ() {
    let dir = scratch();
    let server = faulty_with(
        dir.path(),
        &[
            "on dot : delay 200ms; tag late",
            "on dot-rcpt if to ~ \"^anna@\" : reject",
            "on dot nth 2 : reply 452 4.3.1",
        ],
        &["--listen", "127.0.0.1:0,proto=lmtp"],
    );
    let mut tcp = server.connected();
    reply(&mut tcp);
    accepts(&mut tcp, &["LHLO c.test"]);
    let two = [
        "MAIL FROM:<a@c.test>",
        "RCPT TO:<anna@local.test>",
        "RCPT TO:<bert@local.test>",
    ];
    accepts(&mut tcp, &two);
    accepts(&mut tcp, &["DATA"]);
    let (first, took) = timed(&mut tcp, "x\r\n.\r\n");
    assert!(first.starts_with("550 5.7.1"), "{first}");
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(reply(&mut tcp).starts_with("250"));
    assert_eq!(
        (server.kept("anna").len(), server.kept("bert").len()),
        (0, 1)
    );
    // What decides at the end decides for all.
    accepts(&mut tcp, &two);
    accepts(&mut tcp, &["DATA"]);
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("452"));
    assert!(reply(&mut tcp).starts_with("452"));
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
}

#[test]
fn the_size_is_what_was_declared_whatever_else_was() {
    let dir = scratch();
    let server = faulty(dir.path(), &["on mail if size > 1K : reply 552 5.3.4"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    let mut mail =
        |parameters: &str| say(&mut tcp, &format!("MAIL FROM:<a@c.test> {parameters}\r\n"));
    assert!(mail("BODY=8BITMIME SIZE=2000 RET=HDRS").starts_with("552"));
    assert!(mail("SIZE=1000 BODY=8BITMIME").starts_with("250"));
}

#[test]
fn a_listener_has_rules_of_its_own() {
    let dir = scratch();
    let listen = [
        "--listen",
        "127.0.0.1:0,name=one",
        "--listen",
        "127.0.0.1:0,name=two",
    ];
    let server = faulty_with(dir.path(), &["on greeting @two : reply 554"], &listen);
    drop(server.greeted());
    let mut other = testkit::talk::connect(server.endpoints[1].parse().unwrap());
    assert!(reply(&mut other).starts_with("554"));
}

#[test]
fn mailboxes_ask_for_what_is_to_happen_to_them() {
    let dir = scratch();
    let server = faulty_with(dir.path(), &[], &["--magic-domain", "magic.test"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    play(
        &mut tcp,
        "C: MAIL FROM:<mail-451@magic.test>
         S: 451
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<550-5.1.1@magic.test>
         S: 550 5.1.1 as this mailbox asks for
         C: RCPT TO:<450@elsewhere.test>
         S: 250
         C: RCPT TO:<rcpt-450@magic.test>
         S: 450
         C: RCPT TO:<nobody@magic.test>
         S: 250
         C: RCPT TO:<dot-554@magic.test>
         S: 250
         C: DATA
         S: 354
         C: .
         S: 554 as this mailbox asks for",
    );
    accepts(&mut tcp, &["MAIL FROM:<a@c.test>"]);
    let (said, took) = timed(&mut tcp, "RCPT TO:<slow-200ms@MAGIC.test>\r\n");
    assert!(said.starts_with("250"));
    assert!(took >= Duration::from_millis(200), "{took:?}");
    tcp.write_all(b"RCPT TO:<close@magic.test>\r\n").unwrap();
    ends(&mut tcp);
}

#[test]
fn handshakes_go_wrong() {
    let dir = scratch();
    let server = faulty(
        dir.path(),
        &[
            "on tls if session = 1 : tls-alert handshake-failure",
            "on tls if session = 2 : tls-close-after server-hello",
            "on tls if session = 3 : tls-hang",
            "on tls if session = 4 : tls-version 1.2; tag old",
            "on starttls if session = 5 : tls-version 1.3; tls-cert wrong-name",
            "on tls if session = 6 : reset",
        ],
    );
    let begun = || server.after(&["EHLO c.test", "STARTTLS"]);
    let error = Tls::over(begun()).err().unwrap().to_string();
    assert!(error.contains("HandshakeFailure"), "{error}");
    assert!(Tls::over(begun()).is_err());
    let mut hung = begun();
    hung.write_all(b"\x16\x03\x01\x00\x01\x01").unwrap();
    is_silent(&mut hung);
    drop(hung);
    drop(Tls::over(begun()).unwrap());
    let tls = Tls::over(begun()).unwrap();
    assert_eq!(
        driver::tls::names(&tls.certificates()[0]),
        ["other.invalid"]
    );
    drop(tls);
    is_reset(&mut begun());
    let version = |session| {
        closed(&server.file(), session);
        let records = of_kind(&server.recorded(), session, "tls");
        records[0].text("ver").map(str::to_owned)
    };
    assert_eq!(version(4).as_deref(), Some("1.2"));
    assert_eq!(version(5).as_deref(), Some("1.3"));
    assert_eq!(server.acts(3), ["tls-hang"]);
}

#[test]
fn implicit_tls_has_the_stage_too() {
    let dir = scratch();
    let listen = ["--listen", "127.0.0.1:0,tls=implicit"];
    let server = faulty_with(
        dir.path(),
        &[
            "on connect nth 2 : reset",
            "on tls nth 1 : tls-cert expired",
            "on greeting : reply 220 \"hi\"",
        ],
        &listen,
    );
    let mut tls = Tls::over(server.connected()).unwrap();
    assert_eq!(tls.hear(), "220 hi\r\n");
    drop(tls);
    assert_eq!(server.acts(1)[0], "tls-cert expired");
    is_reset(&mut server.connected());
}

#[test]
fn the_same_seed_draws_the_same_however_many_come_at_a_time() {
    let dir = scratch();
    let fates = |seed: &str, at_a_time: usize| {
        let rule = ["on noop prob 0.3 : reply 451 4.3.0"];
        let server = faulty_with(dir.path(), &rule, &["--seed", seed]);
        let mut fates = Vec::new();
        let sessions: Vec<usize> = (0..6).collect();
        for some in sessions.chunks(at_a_time) {
            let mut clients: Vec<_> = some.iter().map(|_| server.greeted()).collect();
            let mut codes = vec![String::new(); clients.len()];
            for _ in 0..20 {
                for (client, codes) in clients.iter_mut().zip(&mut codes) {
                    codes.push_str(&say(client, "NOOP\r\n")[..1]);
                }
            }
            fates.append(&mut codes);
        }
        fs::remove_file(server.file()).unwrap();
        fates.sort();
        fates
    };
    let one = fates("9", 1);
    assert_eq!(one, fates("9", 6));
    assert_ne!(one, fates("10", 1));
    assert!(one.concat().contains('4') && one.concat().contains('2'));
}

#[test]
fn a_client_that_leaves_and_a_server_that_ends_do_not_wait_for_a_delay() {
    let dir = scratch();
    let mut server = faulty(dir.path(), &["on noop : delay 1h", "on rset : hang"]);
    let mut tcp = server.greeted();
    tcp.write_all(b"NOOP\r\n").unwrap();
    let mut hung = server.greeted();
    hung.write_all(b"RSET\r\n").unwrap();
    is_silent(&mut hung);
    // A second request is not to wait for what drains.
    server.ask_to_end();
    let (rest, _) = drain(&mut hung);
    assert!(rest.is_empty());
    server.ask_to_end();
    assert!(server.wait().success());
}
