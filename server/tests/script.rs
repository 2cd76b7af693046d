//! A server that plays scripts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use shared::recording::Record;
use support::faulty::{ends, is_reset, octets, timed};
use support::tls::Tls;
use support::{PROGRAM, run};
use testkit::program::complaint;
use testkit::recorded::{self, closed, of_kind, payloads};
use testkit::talk::{connect, drain, reply, say};
use testkit::{Program, scratch};

struct Scripted {
    program: Program,
    file: std::path::PathBuf,
}

impl Scripted {
    /// A server that plays these to its clients.
    fn start(dir: &Path, scripts: &[&str], options: &[&str]) -> Self {
        let file = dir.join("t.helo.jsonl");
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0", "--hostname", "mx.local.test"]);
        command.arg("--record").arg(&file).args(options);
        for (index, text) in scripts.iter().enumerate() {
            let path = dir.join(format!("script{index}.txt"));
            fs::write(&path, text).unwrap();
            command.arg("--script").arg(path);
        }
        let program = Program::start(command, dir);
        Self { program, file }
    }

    fn connect(&self) -> TcpStream {
        connect(self.program.address)
    }

    /// What the notes about a script say of a session, once it is over.
    fn notes(&self, session: u64) -> Vec<String> {
        closed(&self.file, session);
        let notes = of_kind(&recorded::read(&self.file), session, "note");
        let said = |note: &Record| {
            let message = note.text("msg").unwrap_or_default();
            format!("{message} {}", note.field("bind").unwrap())
        };
        notes.iter().map(said).collect()
    }

    fn payloads(&self, session: u64) -> (String, String) {
        closed(&self.file, session);
        let (client, server) = payloads(&recorded::read(&self.file), session);
        let text = |octets| String::from_utf8(octets).unwrap();
        (text(client), text(server))
    }
}

const SESSION: &str = "\
# Odd, and nobody's business.
S: 220 mx script
C: EHLO *
S: 250-mx
S: 250 SIZE
C: MAIL FROM:<a@c.test>
C: RCPT TO:<b@d.test>
S: 250 first
S: 550 second
C: *
S: 354 go on
-- content
S~ 25
S~ 0 ke
S~ pt\\r\\n
C: QUIT
-- octets
S: 221 bye
";

#[test]
fn a_script_is_played_from_the_top_to_each_client() {
    let dir = scratch();
    let mut server = Scripted::start(dir.path(), &[SESSION], &[]);
    for session in 1..=2 {
        let mut tcp = server.connect();
        assert_eq!(reply(&mut tcp), "220 mx script\r\n");
        assert_eq!(say(&mut tcp, "EHLO c.test\r\n"), "250-mx\r\n250 SIZE\r\n");
        // In pieces, as a client may.
        tcp.write_all(b"MAIL FROM:<a@c.").unwrap();
        tcp.write_all(b"test>\r\nRCPT TO:<b@d.test>\r\n").unwrap();
        assert_eq!(reply(&mut tcp), "250 first\r\n");
        assert_eq!(reply(&mut tcp), "550 second\r\n");
        assert_eq!(say(&mut tcp, "DATA\r\n"), "354 go on\r\n");
        assert_eq!(say(&mut tcp, "a\r\n..\r\n.\r\n"), "250 kept\r\n");
        assert_eq!(say(&mut tcp, "QUIT\r\n"), "221 bye\r\n");
        ends(&mut tcp);
        drop(tcp);
        let (client, said) = server.payloads(session);
        assert!(
            client.ends_with("DATA\r\na\r\n..\r\n.\r\nQUIT\r\n"),
            "{client}"
        );
        assert!(said.ends_with("250 kept\r\n221 bye\r\n"), "{said}");
        let notes = server.notes(session);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("script0.txt"), "{notes:?}");
        assert_eq!(closed(&server.file, session).text("by"), Some("server"));
    }
    let units = of_kind(&recorded::read(&server.file), 1, "cmd");
    let verbs: Vec<_> = units.iter().filter_map(|unit| unit.text("verb")).collect();
    assert_eq!(verbs, ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]);
    assert!(server.program.terminate().success());
}

#[test]
fn a_client_that_says_something_else_is_told_so() {
    let dir = scratch();
    let script = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: NOOP\nS: 250 ok\n-- close\n";
    let server = Scripted::start(dir.path(), &[script], &[]);
    let mut tcp = server.connect();
    reply(&mut tcp);
    say(&mut tcp, "EHLO c.test\r\n");
    let told = say(&mut tcp, "RSET\r\n");
    assert_eq!(told, "421 4.3.0 script expected NOOP\r\n");
    ends(&mut tcp);
    drop(tcp);
    let notes = server.notes(1);
    assert_eq!(notes.len(), 2, "{notes:?}");
    for part in [r#""expected":"NOOP""#, r#""got":"RSET""#, r#""line":"4""#] {
        assert!(notes[1].contains(part), "{part} is not in {}", notes[1]);
    }
    assert_eq!(server.payloads(1).0, "EHLO c.test\r\nRSET\r\n");

    // One that leaves is not told anything.
    let mut tcp = server.connect();
    reply(&mut tcp);
    tcp.shutdown(Shutdown::Write).unwrap();
    ends(&mut tcp);
    drop(tcp);
    let notes = server.notes(2);
    assert!(notes[1].contains("left in the middle"), "{notes:?}");
    assert_eq!(closed(&server.file, 2).text("by"), Some("client"));
}

#[test]
fn scripts_are_dealt_in_turn() {
    let dir = scratch();
    let scripts = [
        "S: 220 first\n",
        "S: 421 second\n-- reset\n",
        "S~ 220 third\n-- wait\n",
    ];
    let server = Scripted::start(dir.path(), &scripts, &[]);
    for session in [1, 4] {
        let mut tcp = server.connect();
        assert_eq!(reply(&mut tcp), "220 first\r\n");
        ends(&mut tcp);
        drop(tcp);
        let mut tcp = server.connect();
        let (heard, end) = drain(&mut tcp);
        assert!(heard.is_empty() || heard == b"421 second\r\n", "{heard:?}");
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(closed(&server.file, session + 1).text("how"), Some("rst"));
        let mut tcp = server.connect();
        assert_eq!(octets(&mut tcp, 9), "220 third");
        tcp.write_all(b"anything\r\n").unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        ends(&mut tcp);
        drop(tcp);
        let (client, said) = server.payloads(session + 2);
        assert_eq!((&*client, &*said), ("anything\r\n", "220 third"));
    }
}

#[test]
fn time_goes_by_where_it_says_so() {
    let dir = scratch();
    let script = "S: 220 mx\nC: *\n-- 300ms\nS: 250 late\nC: *\n-- reset\n";
    let server = Scripted::start(dir.path(), &[script], &[]);
    let mut tcp = server.connect();
    reply(&mut tcp);
    let (late, took) = timed(&mut tcp, "NOOP\r\n");
    assert_eq!(late, "250 late\r\n");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    tcp.write_all(b"NOOP\r\n").unwrap();
    is_reset(&mut tcp);
}

#[test]
fn tls_begins_where_it_says_so() {
    let dir = scratch();
    let script =
        "S: 220 mx\nC: STARTTLS\nS: 220 go on\n-- tls\nC: EHLO *\nS: 250 inside\n-- wait\n";
    let server = Scripted::start(dir.path(), &[script], &[]);
    let mut tcp = server.connect();
    reply(&mut tcp);
    assert_eq!(say(&mut tcp, "STARTTLS\r\n"), "220 go on\r\n");
    let mut tls = Tls::over(tcp).unwrap();
    assert_eq!(tls.say("EHLO c.test\r\n"), "250 inside\r\n");
    drop(tls);
    closed(&server.file, 1);
    let handshake = of_kind(&recorded::read(&server.file), 1, "tls").remove(0);
    assert!(handshake.flag("ok"));
    // What comes in clear with STARTTLS is no part of TLS.
    let mut tcp = server.connect();
    reply(&mut tcp);
    assert_eq!(say(&mut tcp, "STARTTLS\r\nEHLO evil\r\n"), "220 go on\r\n");
    assert_eq!(
        reply(&mut tcp),
        "421 4.3.0 script expected a TLS handshake\r\n"
    );
}

#[test]
fn waiting_has_its_limits() {
    let dir = scratch();
    let silent = ["--timeout-command", "200ms"];
    let server = Scripted::start(dir.path(), &["S: 220 mx\nC: NOOP\nS: 250 ok\n"], &silent);
    let mut tcp = server.connect();
    reply(&mut tcp);
    assert!(reply(&mut tcp).starts_with("421 4.4.2 silent for too long"));
    ends(&mut tcp);
    drop(tcp);
    let notes = server.notes(1);
    assert!(notes[1].contains(r#""expected":"NOOP""#), "{notes:?}");
    assert_eq!(closed(&server.file, 1).text("by"), Some("timeout"));

    let dir = scratch();
    let short = ["--timeout-session", "200ms"];
    for script in ["S: 220 mx\n-- 1h\nS: 250 ok\n", "S: 220 mx\n-- wait\n"] {
        let dir = dir.path().join(script.len().to_string());
        fs::create_dir(&dir).unwrap();
        let server = Scripted::start(&dir, &[script], &short);
        let mut tcp = server.connect();
        reply(&mut tcp);
        assert!(reply(&mut tcp).starts_with("421 4.4.2 this session has lasted"));
        drop(tcp);
        assert_eq!(closed(&server.file, 1).text("by"), Some("timeout"));
    }
}

#[test]
fn who_never_stops_is_read_no_further() {
    let dir = scratch();
    let options = ["--timeout-session", "1s"];
    let server = Scripted::start(dir.path(), &["S: 220 mx\n-- wait\n"], &options);
    let mut tcp = server.connect();
    reply(&mut tcp);
    let lines = b"NOOP\r\n".repeat(10_000);
    let mut written = 0_usize;
    while tcp.write_all(&lines).is_ok() {
        written += lines.len();
        assert!(written < 100 << 20, "all is taken");
    }
    assert!(closed(&server.file, 1).text("by").is_some());
    assert!(server.program.resident_at_most() < 200 << 10);
}

#[test]
fn the_server_ends_although_a_script_waits() {
    let dir = scratch();
    let mut server = Scripted::start(dir.path(), &["S: 220 mx\nC: NOOP\n"], &[]);
    let mut tcp = server.connect();
    reply(&mut tcp);
    server.program.ask_to_end();
    assert!(reply(&mut tcp).starts_with("421 4.3.2 "));
    ends(&mut tcp);
    drop(tcp);
    assert!(server.program.wait().success());
    assert_eq!(closed(&server.file, 1).text("by"), Some("server"));
}

#[test]
fn secrets_are_not_in_the_recording() {
    let dir = scratch();
    let script = "S: 220 mx\nC: EHLO *\nS: 250 AUTH PLAIN\nC: AUTH PLAIN c2VjcmV0\nS: 235 ok\n";
    let server = Scripted::start(dir.path(), &[script], &[]);
    let mut tcp = server.connect();
    reply(&mut tcp);
    say(&mut tcp, "EHLO c.test\r\n");
    let told = say(&mut tcp, "AUTH PLAIN b3RoZXI=\r\n");
    assert!(
        told.starts_with("421 4.3.0 script expected AUTH PLAIN"),
        "{told}"
    );
    drop(tcp);
    closed(&server.file, 1);
    let recorded = fs::read_to_string(&server.file).unwrap();
    assert!(!recorded.contains("c2VjcmV0") && !recorded.contains("b3RoZXI"));
}

#[test]
fn what_does_not_go_with_a_script_is_told_at_start() {
    let dir = scratch();
    let good = dir.path().join("good.txt");
    fs::write(&good, "S: 220 mx\nC: STARTTLS\nS: 220 go on\n-- tls\n").unwrap();
    let bad = dir.path().join("bad.txt");
    fs::write(&bad, "S: 220 mx\n\n-- hold\n").unwrap();
    let large = dir.path().join("large.txt");
    fs::write(&large, "# more\n".repeat(200_000)).unwrap();
    let config = dir.path().join("helo.toml");
    fs::write(
        &config,
        format!("script = [{good:?}]\npersona = 'open-relay'\n"),
    )
    .unwrap();
    let [good, bad, large, config] =
        [&good, &bad, &large, &config].map(|path| path.to_str().unwrap());
    let with = |options: &[&str], says: &[&str]| {
        let output = run(&[&["--check-config"], options].concat());
        let (status, said) = complaint(&output);
        assert_eq!(status, 2, "{said}");
        for part in says {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    };
    with(&["--script", bad], &["bad.txt:3: ", "content, octets"]);
    with(&["--script", large], &["large.txt", "1048576 octets"]);
    with(&["--script", "/nowhere/x"], &["/nowhere/x", "No such file"]);
    let tls = ["--script", good, "--no-tls"];
    with(&tls, &["good.txt:4: ", "has no TLS"]);
    let implicit = ["--script", good, "-l", "127.0.0.1:0,tls=implicit,name=x"];
    with(&implicit, &["good.txt:4: ", "listener x is inside TLS"]);
    for other in [
        ["--fault", "on rcpt : reply 452"],
        ["--scenario", bad],
        ["--persona", "open-relay"],
        ["--store", "null"],
        ["--witness", "mbox:w"],
        ["--magic-domain", "m.test"],
    ] {
        let options = ["--script", good, other[0], other[1]];
        with(&options, &[other[0], "does nothing with --script"]);
    }
    with(&["--config", config], &["--persona", "--script"]);
    let output = run(&["--check-config", "--script", good]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn no_rules_are_taken_over_http() {
    let dir = scratch();
    let server = Scripted::start(dir.path(), &["S: 220 mx\n"], &["--http", "127.0.0.1:0"]);
    let url = server.program.endpoints.last().unwrap();
    let host = url.strip_prefix("http://").unwrap();
    let mut tcp = connect(host.parse().unwrap());
    let body = r#"{"rule":"on rcpt : reply 452"}"#;
    let asked = format!(
        "POST /api/v1/faults HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("--script"), "{answer}");
}
