//! Every named failure does on the wire what its name says.
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
use std::path::Path;
use std::time::Duration;

use support::faulty::{ends, faulty, faulty_with, is_reset, is_silent, octets, timed};
use support::tls::Tls;
use support::{Server, TO_ANNA, accepts, play};
use testkit::recorded::payloads;
use testkit::scratch;
use testkit::talk::{drain, reply, say};

/// A mail, said to the end of data, to which the reply is not read.
fn mail(tcp: &mut TcpStream) {
    accepts(tcp, &TO_ANNA);
    tcp.write_all(b"Subject: x\r\n\r\nx\r\n.\r\n").unwrap();
}

#[test]
fn refuse_connect() {
    let dir = scratch();
    let server = faulty(dir.path(), &["refuse-connect"]);
    is_reset(&mut server.connected());
    assert_eq!(server.acts(1), ["reset"]);
}

#[test]
fn busy_421() {
    let dir = scratch();
    let server = faulty(dir.path(), &["busy-421"]);
    let mut tcp = server.connected();
    assert_eq!(reply(&mut tcp), "421 4.3.2 too busy, try again later\r\n");
    ends(&mut tcp);
    assert_eq!(server.faults(1)[0].text("name"), Some("busy-421"));
}

#[test]
fn never_554() {
    let dir = scratch();
    let server = faulty(dir.path(), &["never-554"]);
    let mut tcp = server.connected();
    assert_eq!(reply(&mut tcp), "554 no SMTP service here\r\n");
    // RFC 5321 §3.1: all else is out of place but QUIT.
    assert!(say(&mut tcp, "EHLO c.test\r\n").starts_with("503"));
    assert!(say(&mut tcp, "QUIT\r\n").starts_with("221"));
}

#[test]
fn silent_greeting() {
    let dir = scratch();
    let server = faulty(dir.path(), &["silent-greeting"]);
    let mut tcp = server.connected();
    is_silent(&mut tcp);
    tcp.write_all(b"EHLO c.test\r\n").unwrap();
    is_silent(&mut tcp);
    drop(tcp);
    assert_eq!(server.acts(1), ["hang"]);
    // What the client said meanwhile is recorded.
    let (said, heard) = payloads(&server.recorded(), 1);
    assert_eq!((said, heard), (b"EHLO c.test\r\n".to_vec(), Vec::new()));
}

#[test]
fn slow_greeting() {
    let dir = scratch();
    let server = faulty(dir.path(), &["slow-greeting(300ms)"]);
    let mut tcp = server.connected();
    is_silent(&mut tcp);
    assert!(reply(&mut tcp).starts_with("220"));
    drop(tcp);
    assert_eq!(server.faults(1)[0].number("ms"), Some(300));
}

#[test]
fn multiline_greeting() {
    let dir = scratch();
    let server = faulty(dir.path(), &["multiline-greeting"]);
    let mut tcp = server.connected();
    let greeting = reply(&mut tcp);
    assert_eq!(greeting.lines().count(), 3);
    assert!(greeting.starts_with("220-mx.example.test"));
    assert!(say(&mut tcp, "EHLO c.test\r\n").starts_with("250"));
}

#[test]
fn ehlo_500() {
    let dir = scratch();
    let server = faulty(dir.path(), &["ehlo-500"]);
    let mut tcp = server.greeted();
    play(
        &mut tcp,
        "C: EHLO c.test
         S: 500 5.5.1 command not recognized
         C: HELO c.test
         S: 250
         C: MAIL FROM:<a@c.test> SIZE=1
         S: 555
         C: MAIL FROM:<a@c.test>
         S: 250",
    );
}

#[test]
fn ehlo_421() {
    let dir = scratch();
    let server = faulty(dir.path(), &["ehlo-421"]);
    let mut tcp = server.greeted();
    assert_eq!(say(&mut tcp, "EHLO c.test\r\n"), "421 4.3.2 going down\r\n");
    ends(&mut tcp);
}

#[test]
fn starttls_454() {
    let dir = scratch();
    let server = faulty(dir.path(), &["starttls-454"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("454 4.7.0"));
    // It goes on in clear.
    accepts(&mut tcp, &["MAIL FROM:<a@c.test>"]);
}

#[test]
fn starttls_cut() {
    let dir = scratch();
    let server = faulty(dir.path(), &["starttls-cut"]);
    let tcp = server.after(&["EHLO c.test", "STARTTLS"]);
    assert!(Tls::over(tcp).is_err());
    assert_eq!(server.acts(1), ["tls-close-after client-hello"]);
    assert!(!server.serves_tls());
}

impl Server {
    /// A whole handshake comes about.
    fn serves_tls(&self) -> bool {
        Tls::over(self.after(&["EHLO c.test", "STARTTLS"])).is_ok()
    }

    /// The certificates that it shows.
    fn chain(&self) -> Vec<Vec<u8>> {
        let tcp = self.after(&["EHLO c.test", "STARTTLS"]);
        Tls::over(tcp).unwrap().certificates()
    }
}

/// The certificates of a server with that failure.
fn shown(dir: &Path, failure: &str) -> Vec<Vec<u8>> {
    let server = faulty(dir, &[failure]);
    let chain = server.chain();
    let wanted = failure.replace("cert-", "tls-cert ");
    assert_eq!(server.acts(1), [wanted]);
    std::fs::remove_file(server.file()).unwrap();
    chain
}

#[test]
fn cert_each() {
    use x509_parser::parse_x509_certificate as parse;
    let dir = scratch();
    let of = |failure: &str| shown(dir.path(), failure);
    let names = |der: &[u8]| driver::tls::names(der);
    let now = x509_parser::time::ASN1Time::now();

    let expired = of("cert-expired");
    let (_, leaf) = parse(&expired[0]).unwrap();
    assert!(leaf.validity().not_after < now);
    let early = of("cert-not-yet-valid");
    let (_, leaf) = parse(&early[0]).unwrap();
    assert!(leaf.validity().not_before > now);
    let wrong = of("cert-wrong-name");
    assert_eq!(names(&wrong[0]), ["other.invalid"]);

    let common = of("cert-name-in-cn");
    let (_, leaf) = parse(&common[0]).unwrap();
    assert!(leaf.subject_alternative_name().unwrap().is_none());
    assert_eq!(names(&common[0]), ["mx.local.test"]);

    let unknown = of("cert-unknown-ca");
    assert_eq!(unknown.len(), 2);
    let (_, leaf) = parse(&unknown[0]).unwrap();
    let (_, root) = parse(&unknown[1]).unwrap();
    assert_eq!(leaf.issuer(), root.subject());
    assert!(names(&unknown[0]).contains(&"mx.local.test".to_owned()));

    let own = of("cert-self-signed");
    let (_, leaf) = parse(&own[0]).unwrap();
    assert_eq!((own.len(), leaf.issuer()), (1, leaf.subject()));

    let missing = of("cert-missing-intermediate");
    let (_, leaf) = parse(&missing[0]).unwrap();
    assert_eq!(missing.len(), 1);
    assert!(leaf.issuer().to_string().contains("Intermediate CA"));
}

#[test]
fn inject_220() {
    let dir = scratch();
    let server = faulty(dir.path(), &["inject-220"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    tcp.write_all(b"STARTTLS\r\n").unwrap();
    let expected = "220 2.0.0 go ahead\r\n250-AUTH PLAIN\r\n250 injected\r\n";
    assert_eq!(octets(&mut tcp, expected.len()), expected);
    // Who discards it has TLS.
    let mut tls = Tls::over(tcp).unwrap();
    assert!(tls.say("EHLO c.test\r\n").starts_with("250"));
    drop(tls);
    let raw = {
        server.acts(1);
        testkit::recorded::of_kind(&server.recorded(), 1, "raw")
    };
    assert_eq!(raw[0].text("why"), Some("after-starttls"));
}

#[test]
fn auth_535_and_auth_454() {
    for (failure, code) in [("auth-535", "535 5.7.8"), ("auth-454", "454 4.7.0")] {
        let dir = scratch();
        let server = faulty_with(dir.path(), &[failure], &["--auth-any"]);
        let mut tcp = server.after(&["EHLO c.test"]);
        assert!(say(&mut tcp, "AUTH CRAM-MD5\r\n").starts_with(code));
        assert!(say(&mut tcp, "AUTH PLAIN AGEAYg==\r\n").starts_with(code));
    }
}

#[test]
fn auth_downgrade() {
    let dir = scratch();
    let server = faulty_with(dir.path(), &["auth-downgrade"], &["--auth-any"]);
    let mut tcp = server.greeted();
    let offer = say(&mut tcp, "EHLO c.test\r\n");
    assert!(offer.contains("AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN\r\n"));
    assert!(say(&mut tcp, "AUTH SCRAM-SHA-256\r\n").starts_with("504 5.5.4"));
    assert!(!say(&mut tcp, "AUTH CRAM-MD5\r\n").starts_with("504 5.5.4 that"));
}

#[test]
fn mail_452() {
    let dir = scratch();
    let server = faulty(dir.path(), &["mail-452"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    assert!(say(&mut tcp, "MAIL FROM:<a@c.test>\r\n").starts_with("452 4.3.1"));
    // It was not carried out.
    assert!(say(&mut tcp, "RCPT TO:<anna@local.test>\r\n").starts_with("503"));
}

#[test]
fn rcpt_mixed() {
    let dir = scratch();
    let server = faulty(dir.path(), &["rcpt-mixed"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    for _ in 0..2 {
        play(
            &mut tcp,
            "C: MAIL FROM:<a@c.test>
             S: 250
             C: RCPT TO:<anna@local.test>
             S: 250
             C: RCPT TO:<bert@local.test>
             S: 550 5.1.1
             C: RCPT TO:<postmaster@local.test>
             S: 250
             C: DATA
             S: 354
             C: .
             S: 250",
        );
    }
    let kept = |user| server.kept(user).len();
    assert_eq!([kept("anna"), kept("bert"), kept("postmaster")], [2, 0, 2]);
}

#[test]
fn rcpt_cap() {
    let dir = scratch();
    let server = faulty(dir.path(), &["rcpt-cap"]);
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<a@c.test>"]);
    for _ in 0..100 {
        accepts(&mut tcp, &["RCPT TO:<anna@local.test>"]);
    }
    assert!(say(&mut tcp, "RCPT TO:<anna@local.test>\r\n").starts_with("452 4.5.3"));
    // RFC 5321 §4.5.3.1.10: the rest goes in a second transaction.
    assert!(say(&mut tcp, "DATA\r\n").starts_with("354"));
    assert!(say(&mut tcp, ".\r\n").starts_with("250"));
    accepts(&mut tcp, &TO_ANNA[1..3]);
}

#[test]
fn rcpt_none_pipelined() {
    let dir = scratch();
    let server = faulty(dir.path(), &["rcpt-none-pipelined"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    tcp.write_all(b"MAIL FROM:<a@c.test>\r\nRCPT TO:<anna@local.test>\r\nDATA\r\n")
        .unwrap();
    let codes = [(); 3].map(|()| reply(&mut tcp)[..3].to_owned());
    assert_eq!(codes, ["250", "550", "354"]);
    assert!(say(&mut tcp, ".\r\n").starts_with("554 5.5.1"));
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
    assert_eq!(server.kept("anna").len(), 0);
}

#[test]
fn data_354_late() {
    let dir = scratch();
    let server = faulty(dir.path(), &["data-354-late(200ms)"]);
    let mut tcp = server.after(&TO_ANNA[..3]);
    let (said, took) = timed(&mut tcp, "DATA\r\n");
    assert!(said.starts_with("354"));
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
}

#[test]
fn data_refused() {
    let dir = scratch();
    let server = faulty(dir.path(), &["data-refused"]);
    let mut tcp = server.after(&TO_ANNA[..3]);
    assert!(say(&mut tcp, "DATA\r\n").starts_with("451 4.3.0"));
    // What comes now is a command.
    assert!(say(&mut tcp, "RSET\r\n").starts_with("250"));
}

#[test]
fn early_reply() {
    let dir = scratch();
    let server = faulty(dir.path(), &["early-reply"]);
    let mut tcp = server.after(&TO_ANNA[..3]);
    assert!(say(&mut tcp, "DATA\r\n").starts_with("354"));
    assert!(reply(&mut tcp).starts_with("250 2.0.0 kept"));
    tcp.write_all(b"x\r\n.\r\n").unwrap();
    is_silent(&mut tcp);
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
    // The next message is answered like any other.
    assert_eq!(server.kept("anna").len(), 1);
}

#[test]
fn cut_at_byte() {
    let dir = scratch();
    let server = faulty(dir.path(), &["cut-at-byte(10)"]);
    let mut tcp = server.after(&TO_ANNA);
    tcp.write_all(b"12345678\r").unwrap();
    is_silent(&mut tcp);
    tcp.write_all(b"\n").unwrap();
    is_reset(&mut tcp);
    assert_eq!(server.acts(1), ["reset"]);
    assert_eq!(server.left(), (Vec::new(), Vec::new()));
}

#[test]
fn dot_slow() {
    let dir = scratch();
    let server = faulty(dir.path(), &["dot-slow(200ms)"]);
    let mut tcp = server.after(&TO_ANNA);
    let (said, took) = timed(&mut tcp, ".\r\n");
    assert!(said.starts_with("250"));
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[test]
fn lost_ack() {
    let dir = scratch();
    let server = faulty(dir.path(), &["lost-ack(nth 1)"]);
    let mut tcp = server.greeted();
    mail(&mut tcp);
    is_reset(&mut tcp);
    assert_eq!(server.kept("anna").len(), 1, "it is kept all the same");
    assert_eq!(server.acts(1), ["keep; no-reply; reset"]);
    assert_eq!(server.faults(1)[0].text("name"), Some("lost-ack"));
    // And then a second time, as a client does that was not told.
    let mut tcp = server.greeted();
    mail(&mut tcp);
    assert!(reply(&mut tcp).starts_with("250"));
    assert_eq!(server.kept("anna").len(), 2);
}

#[test]
fn dot_552() {
    let dir = scratch();
    let server = faulty(dir.path(), &["dot-552"]);
    let mut tcp = server.greeted();
    mail(&mut tcp);
    assert_eq!(reply(&mut tcp), "552 5.3.4 message too big\r\n");
    assert_eq!(server.left(), (Vec::new(), Vec::new()));
    accepts(&mut tcp, &TO_ANNA[1..3]);
}

#[test]
fn partial_reply() {
    let dir = scratch();
    let server = faulty(dir.path(), &["partial-reply"]);
    let mut tcp = server.greeted();
    mail(&mut tcp);
    assert_eq!(octets(&mut tcp, 3), "250");
    is_silent(&mut tcp);
    drop(tcp);
    server.acts(1);
    let (_, heard) = payloads(&server.recorded(), 1);
    assert!(heard.ends_with(b"\r\n250"), "it is recorded as it was said");
}

#[test]
fn two_replies() {
    let dir = scratch();
    let server = faulty(dir.path(), &["two-replies"]);
    let mut tcp = server.greeted();
    mail(&mut tcp);
    let one = reply(&mut tcp);
    assert!(one.starts_with("250"));
    assert_eq!(reply(&mut tcp), one);
    accepts(&mut tcp, &["MAIL FROM:<a@c.test>"]);
}

#[test]
fn quit_cut() {
    let dir = scratch();
    let server = faulty(dir.path(), &["quit-cut"]);
    let mut tcp = server.greeted();
    mail(&mut tcp);
    assert!(reply(&mut tcp).starts_with("250"));
    tcp.write_all(b"QUIT\r\n").unwrap();
    ends(&mut tcp);
    assert_eq!(server.kept("anna").len(), 1);
}

#[test]
fn greylist() {
    let dir = scratch();
    let server = faulty(dir.path(), &["greylist(delay=400ms,window=1h)"]);
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<a@c.test>"]);
    let rcpt = "RCPT TO:<anna@local.test>\r\n";
    assert!(say(&mut tcp, rcpt).starts_with("451 4.7.1"));
    assert!(say(&mut tcp, rcpt).starts_with("451 4.7.1"));
    let once = testkit::wait::until("the end of the delay", || {
        let said = say(&mut tcp, rcpt);
        (!said.starts_with("451")).then_some(said)
    });
    assert!(once.starts_with("250"), "{once}");
    // Another recipient has to wait by itself.
    assert!(say(&mut tcp, "RCPT TO:<bert@local.test>\r\n").starts_with("451"));
}

#[test]
fn ratelimit() {
    let dir = scratch();
    let server = faulty(dir.path(), &["ratelimit(3/1h per from, 450 4.7.0)"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    for _ in 0..3 {
        accepts(&mut tcp, &["MAIL FROM:<a@c.test>", "RSET"]);
    }
    assert!(say(&mut tcp, "MAIL FROM:<a@c.test>\r\n").starts_with("450 4.7.0"));
    accepts(&mut tcp, &["MAIL FROM:<b@c.test>"]);
}

#[test]
fn lmtp_mixed() {
    let dir = scratch();
    let listen = ["--listen", "127.0.0.1:0,proto=lmtp"];
    let server = faulty_with(dir.path(), &["lmtp-mixed"], &listen);
    let mut tcp = server.connected();
    play(
        &mut tcp,
        "S: 220
         C: LHLO c.test
         S: 250
         C: MAIL FROM:<a@c.test>
         S: 250
         C: RCPT TO:<anna@local.test>
         S: 250
         C: RCPT TO:<bert@local.test>
         S: 250
         C: RCPT TO:<postmaster@local.test>
         S: 250
         C: DATA
         S: 354
         C: .
         S: 250
         S: 450 4.2.1 mailbox busy
         S: 250
         C: NOOP
         S: 250",
    );
    let kept = |user| server.kept(user).len();
    assert_eq!([kept("anna"), kept("bert"), kept("postmaster")], [1, 0, 1]);
    let (rest, _) = {
        tcp.write_all(b"QUIT\r\n").unwrap();
        drain(&mut tcp)
    };
    assert!(rest.starts_with(b"221"));
}

/// Who adds a failure adds a test: each name, with hyphens as underscores, is a test
/// here or stands in one.
#[test]
fn every_failure_has_a_test() {
    let tests = include_str!("failures.rs");
    let certificates = shared::fault::catalogue::ALL
        .iter()
        .filter(|failure| failure.name.starts_with("cert-"));
    assert_eq!(certificates.count(), 7);
    for failure in shared::fault::catalogue::ALL {
        assert!(
            tests.contains(&format!("\"{}\"", failure.name))
                || tests.contains(&format!("\"{}(", failure.name)),
            "{}",
            failure.name
        );
    }
}
