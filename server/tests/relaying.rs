//! Who may send to strangers, and what becomes of such mail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::net::TcpListener;

use support::{Server, connect_from, contents};
use testkit::scratch;
use testkit::talk::{reply, say};

/// Whether a client there is let send from stranger to stranger.
fn is_relayed(server: &Server, source: &str) -> bool {
    let mut tcp = connect_from(source, server.address);
    assert!(reply(&mut tcp).starts_with("220"));
    for line in ["EHLO c.test", "MAIL FROM:<a@c.test>"] {
        assert!(say(&mut tcp, &format!("{line}\r\n")).starts_with("250"));
    }
    let answer = say(&mut tcp, "RCPT TO:<b@elsewhere.test>\r\n");
    let relayed = answer.starts_with("250 2.1.5");
    assert!(relayed || answer.starts_with("550 5.7.1"), "{answer}");
    relayed
}

#[cfg(target_os = "linux")]
#[test]
fn only_the_clients_of_mynetworks_send_elsewhere() {
    for (options, trusted, stranger) in [
        (&[][..], &["127.0.0.1", "127.0.0.2"][..], &[][..]),
        (
            &["--mynetworks", "127.0.0.1/32"],
            &["127.0.0.1"],
            &["127.0.0.2", "127.0.0.3"],
        ),
        (
            &["--mynetworks", "127.0.0.2,127.0.1.0/24"],
            &["127.0.0.2", "127.0.1.7"],
            &["127.0.0.1", "127.0.2.7"],
        ),
        (&["--mynetworks", "::1"], &[], &["127.0.0.1"]),
        (
            &["--mynetworks", "::1", "--relay-policy", "open"],
            &["127.0.0.1", "127.0.0.2"],
            &[],
        ),
        (
            &["--mynetworks", "::1", "--relay-policy", "closed"],
            &[],
            &["127.0.0.1"],
        ),
        (
            &["--mynetworks", "::1", "--persona", "open-relay"],
            &["127.0.0.1", "127.0.0.2"],
            &[],
        ),
    ] {
        let dir = scratch();
        let server = Server::start(dir.path(), options);
        for source in trusted {
            assert!(is_relayed(&server, source), "{options:?} {source}");
        }
        for source in stranger {
            assert!(!is_relayed(&server, source), "{options:?} {source}");
        }
    }
}

#[test]
fn networks_are_told_apart_over_ipv6_too() {
    if TcpListener::bind("[::1]:0").is_err() {
        // This machine has no IPv6.
        return;
    }
    for (networks, relayed) in [("::1", true), ("127.0.0.0/8", false), ("::/0", true)] {
        let dir = scratch();
        let options = ["--listen", "[::1]:0", "--mynetworks", networks];
        let server = Server::start(dir.path(), &options);
        assert_eq!(is_relayed(&server, "::1"), relayed, "{networks}");
        assert!(server.serves());
        let kept = String::from_utf8(server.kept("anna").remove(0)).unwrap();
        assert!(kept.contains("([IPv6:::1])"), "{kept}");
    }
}

#[test]
fn an_open_relay_takes_every_form_and_keeps_it_for_the_witness() {
    let dir = scratch();
    let witness = dir.path().join("relayed");
    let maildir = format!("maildir:{}", witness.display());
    let options = ["--mynetworks", "192.0.2.0/24", "--witness", &maildir];
    let forms = [
        "b@elsewhere.test",
        "b%elsewhere.test@local.test",
        "elsewhere.test!b@local.test",
        "\"b@elsewhere.test\"@local.test",
        "@local.test:b@elsewhere.test",
        "b@[192.0.2.1]",
        "b@xlocal.test",
    ];
    for (persona, expected) in [("honest", "550"), ("open-relay", "250")] {
        let mut options = options.to_vec();
        options.extend(["--persona", persona]);
        let server = Server::start(dir.path(), &options);
        for form in forms {
            let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<>"]);
            let answer = say(&mut tcp, &format!("RCPT TO:<{form}>\r\n"));
            assert!(answer.starts_with(expected), "{persona} {form}: {answer}");
            if expected == "250" {
                assert!(say(&mut tcp, "DATA\r\n").starts_with("354"));
                assert!(say(&mut tcp, &format!("To: {form}\r\n.\r\n")).starts_with("250"));
            }
            // It is not so wrong as to invent users.
            let nobody = say(&mut tcp, "RCPT TO:<carol@local.test>\r\n");
            assert!(nobody.starts_with('5'), "{persona}: {nobody}");
        }
        let (tmp, new) = server.left();
        assert_eq!((tmp.len(), new.len()), (0, 0));
    }
    let relayed = contents(&witness.join("new"));
    assert_eq!(relayed.len(), forms.len());
    for form in forms {
        let line = format!("To: {form}\r\n");
        let ends = |message: &&Vec<u8>| message.ends_with(line.as_bytes());
        assert_eq!(relayed.iter().filter(ends).count(), 1, "{form}");
    }
}

#[test]
fn foreign_mail_of_trusted_clients_is_discarded_or_kept_by_the_witness() {
    let dir = scratch();
    let witness = dir.path().join("elsewhere");
    let maildir = format!("maildir:{}", witness.display());
    for (options, kept) in [(&[][..], 0), (&["--witness", &maildir][..], 1)] {
        let server = Server::start(dir.path(), options);
        let mut tcp = server.after(&[
            "EHLO c.test",
            "MAIL FROM:<a@c.test>",
            "RCPT TO:<b@elsewhere.test>",
            "RCPT TO:<c@elsewhere.test>",
            "DATA",
        ]);
        assert!(say(&mut tcp, "foreign\r\n.\r\n").starts_with("250 2.0.0"));
        assert_eq!(contents(&witness.join("new")).len(), kept);
        let (tmp, new) = server.left();
        assert_eq!((tmp.len(), new.len()), (0, 0));
    }
    let message = contents(&witness.join("new")).remove(0);
    assert!(message.ends_with(b"\r\nforeign\r\n"));
}

#[test]
fn mailboxes_senders_and_names_can_be_listed() {
    let dir = scratch();
    let (recipients, senders) = (dir.path().join("recipients"), dir.path().join("senders"));
    std::fs::write(&recipients, "guest@local.test\n").unwrap();
    std::fs::write(&senders, "@friends.test\nboss@c.test # the boss\n").unwrap();
    let server = Server::start(
        dir.path(),
        &[
            "--recipients",
            recipients.to_str().unwrap(),
            "--senders",
            senders.to_str().unwrap(),
            "--helo",
            "fqdn",
        ],
    );
    for (name, answer) in [
        ("c_d", "504"),
        ("localhost", "504"),
        ("[127.0.0.1]", "250"),
        ("[IPv6:::1]", "250"),
        ("[here]", "504"),
        ("c.test", "250"),
    ] {
        let mut tcp = server.greeted();
        for verb in ["HELO", "EHLO"] {
            let got = say(&mut tcp, &format!("{verb} {name}\r\n"));
            assert!(got.starts_with(answer), "{verb} {name}: {got}");
        }
    }
    for (sender, answer) in [
        ("", "250"),
        ("Any@Friends.test", "250"),
        ("boss@c.test", "250"),
        ("clerk@c.test", "550 5.7.1"),
    ] {
        let mut tcp = server.after(&["EHLO c.test"]);
        let got = say(&mut tcp, &format!("MAIL FROM:<{sender}>\r\n"));
        assert!(got.starts_with(answer), "{sender}: {got}");
    }
    for (recipient, answer) in [
        ("Guest@Local.test", "250"),
        ("anna@local.test", "250"),
        ("postmaster@local.test", "250"),
        ("other@local.test", "550 5.1.1"),
    ] {
        let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<boss@c.test>"]);
        let got = say(&mut tcp, &format!("RCPT TO:<{recipient}>\r\n"));
        assert!(got.starts_with(answer), "{recipient}: {got}");
    }
}

#[test]
fn any_mailbox_of_a_local_domain_exists_if_asked_for() {
    let dir = scratch();
    let server = Server::start(dir.path(), &["--recipients", "any"]);
    let mut tcp = server.after(&[
        "EHLO c.test",
        "MAIL FROM:<a@c.test>",
        "RCPT TO:<\"../../who\"@local.test>",
        "RCPT TO:<ever@local.test>",
        "DATA",
    ]);
    assert!(say(&mut tcp, "hello\r\n.\r\n").starts_with("250"));
    assert_eq!(server.kept("catchall").len(), 1);
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<a@c.test>"]);
    let percent = "RCPT TO:<w%elsewhere.test@local.test>\r\n";
    assert!(say(&mut tcp, percent).starts_with("250"));
}
