//! `send` and TLS: when it is used, what is demanded of the certificate, and that
//! nothing said before the handshake counts inside it (RFC 3207 §4.2, RFC 8314).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use driver::tls::{Clients, Minted, mint};
use shared::direction::Direction;
use support::{complaint, file, run, text};
use testkit::recorded::{of_kind, read};
use testkit::watched::Ended;
use testkit::{Scripted, scratch};

const GREETING: &str = "S: 220 mx.test ESMTP\n";
const OFFER: &str = "C: EHLO c.test\nS: 250-mx.test\nS: 250-SIZE\nS: 250 STARTTLS\n";
const TURN: &str = "C: STARTTLS\nS: 220 go\n-- tls\n";
/// What is offered inside TLS is less than before: EHLO was said anew.
const REST: &str = "\
C: EHLO c.test
S: 250 mx.test
C: MAIL FROM:<a@c.test>
S: 250 ok
C: RCPT TO:<b@mx.test>
S: 250 ok
C: DATA
S: 354 go on
-- content
S: 250 kept
C: QUIT
S: 221 bye
";

fn minted(name: &str) -> Minted {
    mint(&[name.to_owned()], Clients::Unknown).unwrap()
}

fn send(server: &Scripted, scheme: &str, options: &[&str]) -> Ended {
    let target = format!("{scheme}{}", server.address);
    let arguments = ["send", &target, "-f", "a@c.test", "-t", "b@mx.test"];
    let named = ["--helo", "c.test", "--tls-name", "mx.test"];
    run(&[&arguments[..], &named, options].concat())
}

#[test]
fn tls_is_used_as_it_is_asked_for() {
    let dir = scratch();
    let minted = minted("mx.test");
    let ca = file(dir.path(), "ca.pem", &minted.certificate);
    let in_tls = [GREETING, OFFER, TURN, REST].concat();
    let plain = [GREETING, REST].concat();
    let trusted = ["--ca", text(&ca)];
    for (tls, script, more, shown) in [
        (
            "offered",
            &in_tls,
            &[][..],
            "certificate: invalid peer certificate",
        ),
        ("offered", &in_tls, &trusted, "certificate: ok"),
        ("offered", &plain, &[], ""),
        (
            "required",
            &in_tls,
            &[],
            "certificate: invalid peer certificate",
        ),
        ("verified", &in_tls, &trusted, "certificate: ok"),
        ("never", &plain, &[], ""),
    ] {
        let server = Scripted::start_tls(&[script], &minted);
        let ended = send(&server, "", &[&["--tls", tls][..], more].concat());
        let session = server.must_have_served(1).remove(0);
        assert_eq!(ended.status(), Some(0), "{tls}: {}", ended.stderr());
        let summary = ended.stdout();
        let summary = summary.lines().find(|line| line.starts_with("-- TLS 1.3 "));
        assert!(summary.unwrap_or_default().contains(shown), "{summary:?}");
        assert_eq!(summary.is_some(), !shown.is_empty());
        let name = summary.map(|_| "mx.test".to_owned());
        assert_eq!(session.server_name, name, "the name asked for");
    }
}

#[test]
fn tls_that_is_offered_may_be_left_alone() {
    let script = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test
S: 250 STARTTLS
C: MAIL FROM:<a@c.test>
S: 550 no
C: QUIT
S: 221 bye
";
    let server = Scripted::start(&[script]);
    let ended = send(&server, "", &["--tls", "never"]);
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(23));
}

#[test]
fn a_certificate_that_does_not_verify_is_29_where_it_must() {
    let dir = scratch();
    let (right, wrong) = (minted("mx.test"), minted("other.test"));
    let ca = file(dir.path(), "right.pem", &right.certificate);
    let wrong_ca = file(dir.path(), "wrong.pem", &wrong.certificate);
    for (minted, options, words) in [
        (&right, &["--quiet"][..], "invalid peer certificate"),
        (
            &right,
            &["--quiet", "--ca", text(&wrong_ca)],
            "invalid peer certificate",
        ),
        // Trusted, but made for another name.
        (&wrong, &["--quiet", "--ca", text(&wrong_ca)], "other.test"),
        (
            &right,
            &["--quiet", "--ca", text(&ca), "--tls-name", "x.test"],
            "x.test",
        ),
    ] {
        let server = Scripted::start_tls(&[&[GREETING, OFFER, TURN].concat()], minted);
        let target = server.address.to_string();
        let arguments = ["send", &target, "-f", "a@c.test", "-t", "b@mx.test"];
        let named = ["--helo", "c.test", "--tls", "verified"];
        let name = ["--tls-name", "mx.test"];
        let name = if options.contains(&name[0]) {
            &[][..]
        } else {
            &name
        };
        let ended = run(&[&arguments[..], &named, name, options].concat());
        let (status, said) = complaint(&ended);
        assert_eq!(status, 29, "{said}");
        assert!(said.contains(words), "{said}");
        // Nothing was said to whom it could not be told.
        let said = server.sessions().remove(0).said;
        assert!(!String::from_utf8_lossy(&said).contains("MAIL"));
    }
}

#[test]
fn tls_from_the_first_octet_is_spoken_to_smtps() {
    let dir = scratch();
    let minted = minted("mx.test");
    let ca = file(dir.path(), "ca.pem", &minted.certificate);
    let path = dir.path().join("t.helo.jsonl");
    let server = Scripted::start_tls(&[&["-- tls\n", GREETING, REST].concat()], &minted);
    let options = [
        "--tls",
        "verified",
        "--ca",
        text(&ca),
        "--record",
        text(&path),
    ];
    let ended = send(&server, "smtps://", &options);
    let said = server.must_have_served(1).remove(0).said;
    assert_eq!(ended.status(), Some(0), "{}", ended.stderr());
    let recording = read(&path);
    assert_eq!(recording.damage(), []);
    assert_eq!(
        of_kind(&recording, 1, "open")[0].text("tls"),
        Some("implicit")
    );
    assert_eq!(recording.payload(1, Direction::Client), said);
}

#[test]
fn what_is_injected_before_the_handshake_is_recorded_and_never_heard() {
    let dir = scratch();
    let minted = minted("mx.test");
    let path = dir.path().join("t.helo.jsonl");
    // In one write with the 220: an EHLO reply for the session inside TLS.
    let turn = "C: STARTTLS\nS: 220 go\nS: 250-evil.test\nS: 250 SIZE 1\n-- tls\n";
    let server = Scripted::start_tls(&[&[GREETING, OFFER, turn, REST].concat()], &minted);
    let ended = send(&server, "", &["--record", text(&path)]);
    // MAIL came without SIZE: the transcript would have found it.
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(0), "{}", ended.stderr());
    let raw = of_kind(&read(&path), 1, "raw").remove(0);
    assert_eq!(raw.text("why"), Some("after-starttls"));
    assert_eq!(raw.text("b"), Some("250-evil.test\r\n250 SIZE 1\r\n"));
}

#[test]
fn a_reply_to_starttls_that_came_before_it_is_none() {
    let minted = minted("mx.test");
    // With the EHLO reply come the 220, and what is to be heard inside TLS.
    let early = "\
C: EHLO c.test
S: 250-mx.test
S: 250 STARTTLS
S: 220 go
S: 250-evil.test
S: 250 SIZE 1
C: STARTTLS
";
    let server = Scripted::start_tls(&[&[GREETING, early].concat()], &minted);
    let (status, said) = complaint(&send(&server, "", &["--quiet"]));
    server.must_have_served(1);
    assert_eq!(status, 99, "{said}");
    assert!(said.contains("before it was asked: 220 go"), "{said}");
}
