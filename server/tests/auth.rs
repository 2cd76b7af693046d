//! AUTH: every mechanism, with and without TLS, and what it opens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use driver::sasl::client::{Context, Credentials, Exchange, Proof, Step};
use driver::sasl::message::decode_challenge;
use driver::sasl::{ALL, Channel, Needs, Plus, find};
use shared::command::Secret;
use support::tls::Tls;
use support::{Server, play, run};
use testkit::program::complaint;
use testkit::recorded::closed;
use testkit::scratch;
use testkit::talk::{drain, reply, say};

/// A side of a connection that can be spoken to.
trait Peer {
    fn ask(&mut self, line: &str) -> String;
    fn channel(&self) -> Channel;
}

impl Peer for TcpStream {
    fn ask(&mut self, line: &str) -> String {
        say(self, &format!("{line}\r\n"))
    }

    fn channel(&self) -> Channel {
        Channel::Clear
    }
}

impl Peer for Tls {
    fn ask(&mut self, line: &str) -> String {
        self.say(&format!("{line}\r\n"))
    }

    fn channel(&self) -> Channel {
        Self::channel(self)
    }
}

/// The mechanisms that the next EHLO reply offers.
fn offered(peer: &mut impl Peer) -> Vec<String> {
    let offer = peer.ask("EHLO c.test");
    let line = offer
        .lines()
        .find(|line| line.get(4..8) == Some("AUTH"))
        .unwrap_or_default();
    line.split(' ').skip(1).map(str::to_owned).collect()
}

/// Proves to be somebody, and returns the reply that ends it.
fn log_in(peer: &mut impl Peer, name: &str, user: &str, secret: &str) -> String {
    let mechanism = find(name).unwrap();
    let secret = Secret::new(secret.to_owned());
    let credentials = Credentials {
        user: user.to_owned(),
        authzid: None,
        proof: match mechanism.needs {
            Needs::Password => Proof::Password(secret),
            Needs::Token => Proof::Token(secret),
            Needs::Certificate => Proof::Certificate,
        },
    };
    let context = Context {
        channel: peer.channel(),
        plus: Plus::of(&offered(peer)),
        ..Context::default()
    };
    let mut exchange = Exchange::begin(mechanism, &credentials, &context).unwrap();
    let mut line = format!("AUTH {name}");
    if let Some(initial) = exchange.initial() {
        line = format!("{line} {}", initial.encode_initial());
    }
    loop {
        let answer = peer.ask(&line);
        let Some(challenge) = answer.strip_prefix("334 ") else {
            if answer.starts_with("235") {
                exchange.finish().unwrap();
            }
            return answer;
        };
        let challenge = decode_challenge(challenge.trim_end().as_bytes()).unwrap();
        line = match exchange.step(challenge.as_bytes()) {
            Step::Response(response) => response.encode(),
            Step::Failed(_) => "*".into(),
        };
    }
}

fn accounts(dir: &Path) -> Vec<String> {
    let (users, tokens) = (dir.join("users"), dir.join("tokens"));
    fs::write(
        &users,
        "# who\nanna:secret of anna\ncarl@local.test:carl's\n",
    )
    .unwrap();
    fs::write(&tokens, "anna token-of-anna\n").unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    vec![
        "--users".into(),
        path(&users),
        "--tokens".into(),
        path(&tokens),
        "--auth-delay".into(),
        "0".into(),
    ]
}

fn server(dir: &Path, options: &[&str]) -> Server {
    let accounts = accounts(dir);
    let mut all: Vec<&str> = accounts.iter().map(String::as_str).collect();
    all.extend(options);
    Server::recording(dir, &all)
}

fn in_tls(server: &Server) -> Tls {
    Tls::over(server.after(&["EHLO c.test", "STARTTLS"])).unwrap()
}

fn secret_for(name: &str) -> &'static str {
    match find(name).unwrap().needs {
        Needs::Token => "token-of-anna",
        _ => "secret of anna",
    }
}

#[test]
fn what_shows_the_password_is_offered_inside_tls_alone() {
    let dir = scratch();
    let server = server(dir.path(), &[]);
    assert_eq!(
        offered(&mut server.greeted()),
        ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]
    );
    let all: Vec<&str> = ALL.iter().map(|one| one.name).collect();
    let all: Vec<&str> = all.into_iter().filter(|one| *one != "EXTERNAL").collect();
    assert_eq!(offered(&mut in_tls(&server)), all);
    let mut tcp = server.after(&["EHLO c.test"]);
    assert!(say(&mut tcp, "AUTH PLAIN AGFubmEAc2VjcmV0IG9mIGFubmE=\r\n").starts_with("504 5.5.4"));
}

#[test]
fn each_mechanism_lets_in_who_knows_the_secret_and_nobody_else() {
    let dir = scratch();
    let server = server(dir.path(), &["--max-auth-failures", "0"]);
    let mut names = offered(&mut in_tls(&server));
    for name in &names {
        let right = secret_for(name);
        for (user, secret, answer) in [
            ("anna", "wrong-secret", "535 5.7.8"),
            ("nobody", right, "535 5.7.8"),
            ("anna", right, "235 2.7.0"),
        ] {
            let got = log_in(&mut in_tls(&server), name, user, secret);
            assert!(got.starts_with(answer), "{name}, {user}, {secret}: {got}");
        }
    }
    names.retain(|name| offered(&mut server.greeted()).contains(name));
    for name in &names {
        let got = log_in(&mut server.greeted(), name, "anna", secret_for(name));
        assert!(got.starts_with("235"), "{name}: {got}");
        let got = log_in(&mut server.greeted(), name, "anna", "wrong");
        assert!(got.starts_with("535"), "{name}: {got}");
    }
}

#[test]
fn no_secret_is_in_the_recording() {
    let dir = scratch();
    let mut server = server(dir.path(), &["--auth-mechs", "PLAIN,LOGIN"]);
    for name in ["PLAIN", "LOGIN"] {
        assert!(log_in(&mut server.greeted(), name, "anna", "secret of anna").starts_with("235"));
    }
    for session in 1..=2 {
        closed(&server.file(), session);
    }
    assert!(server.terminate().success());
    let recording = fs::read_to_string(server.file()).unwrap();
    for secret in ["secret of anna", "c2VjcmV0IG9mIGFubmE", "AGFubmEA"] {
        assert!(!recording.contains(secret), "{secret}");
    }
}

#[test]
fn who_has_authenticated_may_relay_and_shows_in_the_trace() {
    let dir = scratch();
    let server = server(dir.path(), &["--relay-policy", "auth"]);
    let mut tls = in_tls(&server);
    let envelope = [
        ("EHLO c.test", "250"),
        ("MAIL FROM:<anna@local.test> AUTH=<>", "250"),
        ("RCPT TO:<w@elsewhere.test>", "250"),
        ("RCPT TO:<carl@local.test>", "250"),
        ("DATA", "354"),
        ("hello\r\n.", "250"),
    ];
    assert!(log_in(&mut tls, "PLAIN", "anna", "secret of anna").starts_with("235"));
    assert!(tls.ask("AUTH PLAIN").starts_with("503 5.5.1"));
    for (line, answer) in envelope {
        let got = tls.ask(line);
        assert!(got.starts_with(answer), "{line}: {got}");
    }
    let message = String::from_utf8(server.kept("carl").remove(0)).unwrap();
    assert!(message.contains(" with ESMTPSA id "), "{message}");
    // Being on loopback is not enough here.
    let mut tcp = server.after(&["EHLO c.test", "MAIL FROM:<anna@local.test>"]);
    assert!(say(&mut tcp, "RCPT TO:<w@elsewhere.test>\r\n").starts_with("550 5.7.1"));
}

#[test]
fn a_submission_port_knows_its_clients() {
    let dir = scratch();
    let server = server(
        dir.path(),
        &[
            "--mynetworks",
            "127.0.0.2/32",
            "--listen",
            "127.0.0.1:0,proto=submission",
            "--listen",
            "127.0.0.1:0,require-auth",
        ],
    );
    let at = |index: usize, source: &str| {
        let mut tcp = support::connect_from(source, server.endpoints[index].parse().unwrap());
        reply(&mut tcp);
        tcp
    };
    for (index, source, answer) in [
        (0, "127.0.0.1", "530 5.7.0"),
        (0, "127.0.0.2", "250"),
        (1, "127.0.0.1", "530 5.7.0"),
        (1, "127.0.0.2", "530 5.7.0"),
    ] {
        let mut tcp = at(index, source);
        tcp.ask("EHLO c.test");
        let got = tcp.ask("MAIL FROM:<anna@local.test>");
        assert!(got.starts_with(answer), "{index} {source}: {got}");
        let got = log_in(&mut tcp, "CRAM-MD5", "anna", "secret of anna");
        assert!(got.starts_with("235"), "{got}");
        assert!(tcp.ask("MAIL FROM:<anna@local.test>").starts_with("250"));
    }
}

#[test]
fn broken_exchanges_are_told_apart() {
    let dir = scratch();
    let server = server(dir.path(), &["--auth-mechs", "PLAIN,LOGIN,CRAM-MD5"]);
    let mut tcp = server.greeted();
    play(
        &mut tcp,
        "C: AUTH PLAIN AGEAYg==
         S: 503 5.5.1
         C: EHLO c.test
         S: 250
         C: AUTH
         S: 501 5.5.4
         C: AUTH GSSAPI
         S: 504 5.5.4
         C: AUTH PLAIN =
         S: 501 5.5.2
         C: AUTH PLAIN
         S: 334
         C: *
         S: 501 5.7.0
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: not base64!
         S: 501 5.5.2
         C: AUTH CRAM-MD5 AGEAYg==
         S: 501 5.7.0
         C: MAIL FROM:<a@c.test>
         S: 250
         C: AUTH PLAIN AGEAYg==
         S: 503 5.5.1
         C: RSET
         S: 250",
    );
    // What follows AUTH in a group is taken for its exchange, not for commands.
    let got = say(&mut tcp, "AUTH PLAIN\r\nAGFubmEAc2VjcmV0IG9mIGFubmE=\r\n");
    assert!(got.starts_with("334"));
    assert!(reply(&mut tcp).starts_with("235"));
}

#[test]
fn so_many_failures_are_borne() {
    let dir = scratch();
    let server = server(dir.path(), &["--max-auth-failures", "2"]);
    let mut tcp = server.greeted();
    assert!(log_in(&mut tcp, "CRAM-MD5", "anna", "wrong").starts_with("535"));
    assert!(log_in(&mut tcp, "CRAM-MD5", "anna", "wrong").starts_with("421 4.7.0"));
    assert_eq!(drain(&mut tcp).0, b"");
}

#[test]
fn any_password_will_do_if_asked_for() {
    let dir = scratch();
    let options = ["--auth-any", "--auth-mechs", "PLAIN,LOGIN,CRAM-MD5,XOAUTH2"];
    let server = Server::start(dir.path(), &options);
    for name in ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"] {
        let got = log_in(&mut server.greeted(), name, "whoever", "what.ever");
        assert!(got.starts_with("235"), "{name}: {got}");
    }
}

#[test]
fn bad_accounts_and_mechanisms_are_told_at_the_start() {
    let dir = scratch();
    let users = dir.path().join("users");
    fs::write(&users, "anna:x\n\nbert\n").unwrap();
    let path = users.to_str().unwrap();
    for (options, said) in [
        (&["--users", path][..], ":3"),
        (&["--users", "/no/such/file"], "/no/such/file"),
        (&["--auth-mechs", "PLAIN,ROT13"], "ROT13"),
        (&["--tls-client-auth", "require"], "tls-ca"),
    ] {
        let (status, complaint) = complaint(&run(options));
        assert_eq!(status, 2, "{complaint}");
        assert!(complaint.contains(said), "{complaint}");
    }
}
