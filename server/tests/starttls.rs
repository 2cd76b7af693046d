//! STARTTLS: what was said before it is forgotten, and never crosses into it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::Write;

use support::tls::{Minted, Tls};
use support::{Server, TO_ANNA};
use testkit::recorded::{closed, of_kind, payloads};
use testkit::scratch;
use testkit::talk::{drain, reply, say};

#[test]
fn a_message_is_taken_inside_tls() {
    let dir = scratch();
    let mut server = Server::recording(dir.path(), &[]);
    let tcp = server.after(&["EHLO c.test", "STARTTLS"]);
    let mut tls = Tls::over(tcp).unwrap();
    let ehlo = tls.say("EHLO c.test\r\n");
    assert!(ehlo.starts_with("250-mx.local.test"), "{ehlo}");
    assert!(!ehlo.contains("STARTTLS"), "{ehlo}");
    assert!(tls.say("STARTTLS\r\n").starts_with("503 5.5.1"));
    for line in &TO_ANNA[1..] {
        assert!(tls.say(&format!("{line}\r\n")).starts_with(['2', '3']));
    }
    assert!(tls.say("secret\r\n.\r\n").starts_with("250 2.0.0"));
    assert!(tls.say("QUIT\r\n").starts_with("221"));
    let message = String::from_utf8(server.kept("anna").remove(0)).unwrap();
    assert!(message.contains(" with ESMTPS id "), "{message}");
    assert!(message.ends_with("\r\nsecret\r\n"), "{message}");
    drop(tls);
    closed(&server.file(), 1);
    assert!(server.terminate().success());
    let handshake = of_kind(&server.recorded(), 1, "tls").remove(0);
    assert!(handshake.flag("ok"));
    assert_eq!(handshake.text("sni"), Some("mx.local.test"));
}

#[test]
fn what_was_said_before_is_forgotten() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    for before in [&[][..], &["HELO c.test"], &["EHLO c.test"]] {
        let mut tcp = server.after(before);
        assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("220"));
        let mut tls = Tls::over(tcp).unwrap();
        assert!(tls.say("MAIL FROM:<>\r\n").starts_with("503 5.5.1"));
        assert!(tls.say("EHLO c.test\r\n").starts_with("250-"));
        assert!(tls.say("MAIL FROM:<>\r\n").starts_with("250"));
    }
}

#[test]
fn plaintext_after_starttls_never_enters_the_tls_session() {
    let dir = scratch();
    let mut server = Server::recording(dir.path(), &[]);
    let injected = "EHLO evil.test\r\nMAIL FROM:<evil@c.test>\r\nRCPT TO:<anna@local.test>\r\n";
    for (session, together) in [(1, true), (2, false)] {
        let mut tcp = server.after(&["EHLO c.test"]);
        // In one segment, and in a second one that comes before the handshake.
        let mut said = String::from("STARTTLS\r\n");
        if together {
            said += injected;
        }
        assert!(say(&mut tcp, &said).starts_with("220"));
        if together {
            let mut tls = Tls::over(tcp).unwrap();
            assert!(tls.is_silent(), "injected commands were answered");
            assert!(tls.say("DATA\r\n").starts_with("503 5.5.1"));
            let ehlo = tls.say("EHLO c.test\r\n");
            assert!(ehlo.contains("greets c.test"), "{ehlo}");
            assert!(tls.say("DATA\r\n").starts_with("503 5.5.1 MAIL first"));
            assert!(tls.say("QUIT\r\n").starts_with("221"));
        } else {
            tcp.write_all(injected.as_bytes()).unwrap();
            // It is no handshake: the connection ends, and nothing is answered.
            let (rest, _) = drain(&mut tcp);
            assert!(!rest.starts_with(b"2"), "{rest:?}");
        }
        closed(&server.file(), session);
    }
    assert!(server.serves());
    assert!(server.terminate().success());
    let recording = server.recorded();
    let raw = of_kind(&recording, 1, "raw");
    assert_eq!(raw.len(), 1);
    assert_eq!(raw[0].payload().unwrap(), injected.as_bytes());
    assert_eq!(raw[0].text("why"), Some("after-starttls"));
    assert!(of_kind(&recording, 1, "tls")[0].flag("ok"));
    assert!(!of_kind(&recording, 2, "tls")[0].flag("ok"));
    let (client, _) = payloads(&recording, 1);
    assert!(client.starts_with(format!("EHLO c.test\r\nSTARTTLS\r\n{injected}").as_bytes()));
}

#[test]
fn starttls_is_refused_where_it_is_not_offered_or_has_no_place() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--no-tls"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("502 5.5.1"));
    let server = Server::start(dir.path(), &[]);
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<>"]);
    assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("503 5.5.1"));
    assert!(say(&mut tcp, "STARTTLS now\r\n").starts_with("501 5.5.4"));
    // The transaction is as it was, and the lines after it are commands.
    tcp.write_all(b"STARTTLS\r\nRCPT TO:<anna@local.test>\r\n")
        .unwrap();
    assert!(reply(&mut tcp).starts_with("503 5.5.1"));
    assert!(reply(&mut tcp).starts_with("250 2.1.5"));
}

#[test]
fn a_certificate_of_ones_own_is_shown() {
    let dir = scratch();
    let minted = Minted::in_files(dir.path());
    let server = Server::start(dir.path(), &minted.options());
    let tcp = server.after(&["EHLO c.test", "STARTTLS"]);
    let tls = Tls::over(tcp).unwrap();
    assert_eq!(tls.certificates(), [minted.der]);
}
