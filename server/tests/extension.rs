//! What extensions add: chunks, parameters, limits, and clients that speak for
//! others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::Write;

use shared::proxy::{Header, Origin, Version};
use support::tls::Tls;
use support::{Server, play};
use testkit::recorded::of_kind;
use testkit::scratch;
use testkit::talk::{connect, drain, reply, say};

const BEGUN: [&str; 3] = [
    "EHLO c.test",
    "MAIL FROM:<a@c.test> BODY=BINARYMIME",
    "RCPT TO:<anna@local.test>",
];

#[test]
fn chunks_are_put_together_octet_by_octet() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let mut tcp = server.after(&BEGUN);
    assert!(say(&mut tcp, "BDAT 7\r\n.\r\n\0\u{7f}\r\n").starts_with("250 2.0.0"));
    assert!(say(&mut tcp, "BDAT 0\r\n").starts_with("250 2.0.0"));
    // A chunk may hold what would end dotted data, or look like a command.
    assert!(say(&mut tcp, "bdat 11 last\r\nQUIT\r\n.\r\nQ\n").starts_with("250 2.0.0"));
    let message = server.kept("anna").remove(0);
    assert!(message.ends_with(b"\r\n.\r\n\0\x7f\r\nQUIT\r\n.\r\nQ\n"));
    // An empty message is one, too, and a group may hold all of it.
    tcp.write_all(b"MAIL FROM:<>\r\nRCPT TO:<bert@local.test>\r\nBDAT 0 LAST\r\nNOOP\r\n")
        .unwrap();
    for _ in 0..4 {
        assert!(reply(&mut tcp).starts_with("250"));
    }
    assert_eq!(server.kept("bert").len(), 1);
}

#[test]
fn a_chunk_that_is_refused_is_swallowed_all_the_same() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--max-size", "10"]);
    play(
        &mut server.after(&["EHLO c.test", "MAIL FROM:<a@c.test>"]),
        // Two octets each: without the line end that `play` adds.
        "C: BDAT 10 LAST
         C: RSETRSET
         S: 503 5.5.1
         C: RCPT TO:<nobody@local.test>
         S: 550
         C: BDAT 6
         C: NOOP
         S: 503 5.5.1
         C: RCPT TO:<anna@local.test>
         S: 250
         C: BDAT 6
         C: four
         S: 250
         C: BDAT 6 LAST
         C: five
         S: 552 5.3.4
         C: RCPT TO:<anna@local.test>
         S: 503
         C: MAIL FROM:<a@c.test>
         S: 250",
    );
    assert_eq!(server.left(), (vec![], vec![]));
}

#[test]
fn the_two_ways_to_send_content_do_not_mix() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    play(
        &mut server.after(&BEGUN),
        "C: DATA
         S: 503 5.5.1
         C: BDAT 6
         C: four
         S: 250
         C: DATA
         S: 503 5.5.1
         C: RCPT TO:<bert@local.test>
         S: 503
         C: RSET
         S: 250
         C: MAIL FROM:<a@c.test>
         S: 250",
    );
    assert_eq!(server.left(), (vec![], vec![]));
}

#[test]
fn parameters_are_understood_or_refused() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--max-size", "1000"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    for (parameters, answer) in [
        ("RET=HDRS ENVID=QQ+2B1", "250"),
        ("RET=ALL", "501 5.5.4"),
        ("RET=FULL SIZE=1000 BODY=8BITMIME SMTPUTF8", "250"),
        ("SIZE=1001", "552 5.3.4"),
        ("ENVID=a=b", "501 5.5.4"),
        ("BY=120;R", "250"),
        ("BY=0;R", "501 5.5.4"),
        ("MT-PRIORITY=-9", "250"),
        ("MT-PRIORITY=10", "501 5.5.4"),
        ("HOLDFOR=60", "555 5.5.4"),
        ("REQUIRETLS", "555 5.5.4"),
        ("AUTH=<>", "555 5.5.4"),
        ("BODY=9BIT", "501 5.5.4"),
        ("COLOUR=RED", "555 5.5.4"),
    ] {
        let got = say(&mut tcp, &format!("MAIL FROM:<a@c.test> {parameters}\r\n"));
        assert!(got.starts_with(answer), "{parameters}: {got}");
        say(&mut tcp, "RSET\r\n");
    }
    say(&mut tcp, "MAIL FROM:<a@c.test>\r\n");
    for (parameters, answer) in [
        ("NOTIFY=SUCCESS,DELAY ORCPT=rfc822;anna@x.test", "250"),
        ("NOTIFY=NEVER", "250"),
        ("NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("ORCPT=anna", "501 5.5.4"),
        ("RET=HDRS", "555 5.5.4"),
    ] {
        let line = format!("RCPT TO:<anna@local.test> {parameters}\r\n");
        let got = say(&mut tcp, &line);
        assert!(got.starts_with(answer), "{parameters}: {got}");
    }
    // After HELO there are none.
    let mut tcp = server.after(&["HELO c.test"]);
    assert!(say(&mut tcp, "MAIL FROM:<a@c.test> SIZE=5\r\n").starts_with("555 5.5.4"));
}

#[test]
fn what_is_offered_can_be_chosen() {
    let dir = scratch();
    let server = Server::start(
        dir.path(),
        &[
            "--max-messages",
            "7",
            "--max-recipients",
            "3",
            "--hide",
            "chunking",
            "--hide",
            "STARTTLS",
            "--hide",
            "DSN",
            "--advertise",
            "SIZE 12",
            "--advertise",
            "X-TEST one two",
        ],
    );
    let mut tcp = server.greeted();
    let offer = say(&mut tcp, "EHLO c.test\r\n");
    let has = |line: &str| offer.lines().any(|one| one.get(4..) == Some(line));
    assert!(has("LIMITS MAILMAX=7 RCPTMAX=3"), "{offer}");
    assert!(has("SIZE 12") && has("X-TEST one two"), "{offer}");
    for hidden in ["CHUNKING", "STARTTLS", "DSN", "SIZE 52428800"] {
        assert!(!has(hidden), "{offer}");
    }
    play(
        &mut tcp,
        "C: STARTTLS
         S: 502
         C: MAIL FROM:<a@c.test> SIZE=13
         S: 552
         C: MAIL FROM:<a@c.test> RET=HDRS
         S: 555
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<anna@local.test>
         S: 250
         C: BDAT 4 LAST
         C: xx
         S: 502 5.5.1
         C: MAIL FROM:<a@c.test>
         S: 250",
    );
}

#[test]
fn a_proxy_that_is_believed_says_who_the_client_is() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--xclient-hosts", "127.0.0.1"]);
    let to_foreign = "C: EHLO c.test
         S: 250
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<w@elsewhere.test>";
    for (said, answer) in [
        ("ADDR=192.0.2.55 NAME=probe.test", "550 5.7.1"),
        ("ADDR=IPV6:2001:db8::55", "550 5.7.1"),
        ("ADDR=[UNAVAILABLE]", "550 5.7.1"),
        ("ADDR=127.0.0.3", "250"),
        ("NAME=probe.test", "250"),
    ] {
        let mut tcp = server.after(&["EHLO p.test"]);
        let again = say(&mut tcp, &format!("XCLIENT {said}\r\n"));
        assert!(again.starts_with("220 mx.local.test"), "{said}: {again}");
        assert!(say(&mut tcp, "MAIL FROM:<>\r\n").starts_with("503"));
        play(&mut tcp, &format!("{to_foreign}\nS: {answer}"));
    }
    // Who it was shows in the trace header.
    let mut tcp = server.after(&["EHLO p.test", "XCLIENT ADDR=192.0.2.55 NAME=probe.test"]);
    play(
        &mut tcp,
        "C: EHLO c.test
         S: 250
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<anna@local.test>
         S: 250
         C: DATA
         S: 354
         C: .
         S: 250",
    );
    let message = String::from_utf8(server.kept("anna").remove(0)).unwrap();
    let from = "Received: from c.test (probe.test [192.0.2.55])\r\n";
    assert!(message.contains(from), "{message}");
}

#[test]
fn others_are_not_believed() {
    let dir = scratch();
    let options = ["--xclient-hosts", "192.0.2.0/24", "--hide", "XFORWARD"];
    let server = Server::start(dir.path(), &options);
    let mut tcp = server.greeted();
    let offer = say(&mut tcp, "EHLO c.test\r\n");
    assert!(!offer.contains("XCLIENT") && !offer.contains("XFORWARD"));
    play(
        &mut tcp,
        "C: XCLIENT ADDR=192.0.2.55
         S: 550 5.7.0
         C: XFORWARD ADDR=192.0.2.55
         S: 550 5.7.0
         C: XCLIENT COLOUR=RED
         S: 501 5.5.4",
    );
}

/// The relay forms that checkers try, from a stranger, against a closed server.
#[test]
fn relay_forms_get_the_answers_they_should() {
    let dir = scratch();
    let options = [
        "--mynetworks",
        "192.0.2.0/24",
        "--relay-domain",
        "backup.test",
    ];
    let server = Server::start(dir.path(), &options);
    let senders = [
        "",
        "u@elsewhere.test",
        "anna@local.test",
        "anna@mx.local.test",
        "anna@[127.0.0.1]",
    ];
    for sender in senders {
        for (recipient, answer) in [
            ("anna@local.test", "250"),
            ("postmaster", "250"),
            ("w@backup.test", "250"),
            ("w@elsewhere.test", "550 5.7.1"),
            ("w%elsewhere.test@local.test", "550 5.1.1"),
            ("w%elsewhere.test@mx.local.test", "550 5.1.1"),
            ("\"w@elsewhere.test\"@local.test", "550 5.1.1"),
            ("\"w%elsewhere.test\"@local.test", "550 5.1.1"),
            ("w@elsewhere.test@local.test", "501 5.1.3"),
            ("@local.test:w@elsewhere.test", "550 5.7.1"),
            ("elsewhere.test!w@local.test", "550 5.1.1"),
            ("elsewhere.test!w", "501 5.1.3"),
            ("w%elsewhere.test", "501 5.1.3"),
            ("\"w@elsewhere.test\"", "501 5.1.3"),
            ("w@[192.0.2.9]", "550 5.7.1"),
            ("w@[IPv6:2001:db8::9]", "550 5.7.1"),
        ] {
            let mut tcp = server.after(&["EHLO c.test", &format!("MAIL FROM:<{sender}>")]);
            let got = say(&mut tcp, &format!("RCPT TO:<{recipient}>\r\n"));
            assert!(got.starts_with(answer), "{sender} to {recipient}: {got}");
        }
    }
}

#[test]
fn a_proxy_header_says_whose_connection_it_is() {
    let dir = scratch();
    let any = "127.0.0.1:0,proxy=any";
    let server = Server::recording(
        dir.path(),
        &[
            "--listen",
            any,
            "--listen",
            "127.0.0.1:0,proxy=v2,tls=implicit",
        ],
    );
    let v2 = Header {
        version: Version::Two,
        origin: Origin::of(
            "[2001:db8::7]:50111".parse().unwrap(),
            "[2001:db8::25]:25".parse().unwrap(),
        ),
        tlvs: Vec::new(),
    };
    let v2 = v2.encode().unwrap();
    for (header, client, answer) in [
        (
            &b"PROXY TCP4 203.0.113.7 192.0.2.25 50111 25\r\n"[..],
            "[203.0.113.7]",
            "550 5.7.1",
        ),
        (&v2, "[2001:db8::7]", "550 5.7.1"),
        (b"PROXY UNKNOWN\r\n", "[127.0.0.1]", "250"),
    ] {
        let mut tcp = connect(server.address);
        // What follows in the same segment is the client's.
        let mut first = header.to_vec();
        first.extend_from_slice(b"EHLO c.test\r\n");
        tcp.write_all(&first).unwrap();
        assert!(reply(&mut tcp).starts_with("220"));
        let greeted = reply(&mut tcp);
        assert!(greeted.contains(client), "{greeted}");
        play(
            &mut tcp,
            &format!("C: MAIL FROM:<a@c.test>\nS: 250\nC: RCPT TO:<w@elsewhere.test>\nS: {answer}"),
        );
    }
    let mut tcp = connect(server.endpoints[1].parse().unwrap());
    tcp.write_all(&v2).unwrap();
    assert!(Tls::over(tcp).unwrap().say("").starts_with("220"));
    // Without the header that is wanted there is no session at all.
    for (index, line) in [
        (0, "EHLO c.test\r\n"),
        (1, "PROXY TCP4 203.0.113.7 192.0.2.25 50111 25\r\n"),
    ] {
        let mut tcp = connect(server.endpoints[index].parse().unwrap());
        tcp.write_all(line.as_bytes()).unwrap();
        assert_eq!(drain(&mut tcp).0, b"", "{line}");
    }
    let open = of_kind(&server.recorded(), 1, "open").remove(0);
    assert_eq!(open.text("c"), Some("203.0.113.7:50111"));
    let strict = Server::start(
        scratch().path(),
        &["--listen", any, "--proxy-hosts", "192.0.2.1"],
    );
    assert_eq!(drain(&mut connect(strict.address)).0, b"");
}
