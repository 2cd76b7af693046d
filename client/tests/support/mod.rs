//! The client as its tests run it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail, and each of them uses a part of this"
)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use driver::tls::{Clients, Minted, mint};
use shared::recording::{ClockKind, FileLog, Head, Merge, Transcript};
use shared::time::Timestamp;
use testkit::Upstream;
use testkit::watched::{Ended, watch};
use testkit::wire::Wire;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_helo-client");

/// The program with these arguments, and an environment that says nothing to it.
pub fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    for name in ["HELO_LOG", "HELO_PASSWORD", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Ended {
    watch(&mut command(arguments))
}

/// Runs it as on a terminal, where what looks like a command to it reaches it.
pub fn run_coloured<S: AsRef<OsStr>>(arguments: &[S]) -> Ended {
    watch(command(arguments).env("CLICOLOR_FORCE", "1"))
}

/// What a server could say to act on a terminal, as a transcript has it.
pub const EVIL: &str = "\\x1b]0;owned\\x07\\x1b[2J\\x9b1m\\xe2\\x80\\xae";

/// All that was said is text, but for colours of ours; [`EVIL`] is in it, as text.
pub fn is_harmless(ended: &Ended) {
    let said = ended.stdout() + &ended.stderr();
    assert!(said.contains("\\x1b]0;owned\\x07\\x1b[2J"), "{said}");
    let mut pieces = said.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let rest = pieces.map(|piece| {
        let colour = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        colour.strip_prefix('m').unwrap_or("\u{1b}")
    });
    let text = rest.fold(first, |text, piece| text + piece);
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(harmful), "{text:?}");
}

/// The exit status of a run that failed, and the one line it said about it.
pub fn complaint(ended: &Ended) -> (i32, String) {
    let said = ended.stderr();
    assert_eq!(said.lines().count(), 1, "not one line: {said}");
    assert!(said.starts_with("helo-client: "), "{said}");
    (ended.status().unwrap(), said)
}

/// An address that was free a moment ago, and that nobody listens on.
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A new file with that content.
pub fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The time limit where it must run out; elsewhere a busy machine has more.
pub const SHORT: &str = "1s";

/// A session, phase by phase, all going well.
pub const GREETING: &str = "S: 220 mx.test ESMTP\n";
/// EHLO.
pub const HELLO: &str = "C: EHLO c.test\nS: 250 mx.test\n";
/// MAIL.
pub const MAIL: &str = "C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 ok\n";
/// RCPT.
pub const RCPT: &str = "C: RCPT TO:<b@mx.test>\nS: 250 2.1.5 ok\n";
/// DATA.
pub const DATA: &str = "C: DATA\nS: 354 go on\n";
/// The message.
pub const CONTENT: &str = "-- content\nS: 250 2.0.0 kept\n";
/// QUIT.
pub const QUIT: &str = "C: QUIT\nS: 221 2.0.0 bye\n";

/// `send` from a@c.test to b@mx.test.
pub fn send(address: SocketAddr, options: &[&str]) -> Ended {
    let target = address.to_string();
    let mut arguments = vec!["send", &target, "--from", "a@c.test", "--helo", "c.test"];
    if !options.contains(&"--to") {
        arguments.extend(["--to", "b@mx.test"]);
    }
    arguments.extend(options);
    run(&arguments)
}

/// `replay` of what one transcript says, against a server that plays another one: it
/// must have come to its end.
pub fn replayed(recorded: &str, live: &str, options: &[&str]) -> Ended {
    let dir = testkit::scratch();
    let server = testkit::Scripted::start(&[live]);
    let file = recording(dir.path(), &[recorded]);
    let target = server.address.to_string();
    let ended = run(&[&["replay", text(&file), &target], options].concat());
    server.must_have_served(1);
    ended
}

/// A recording of sessions that went as these transcripts say.
pub fn recording(dir: &Path, transcripts: &[&str]) -> PathBuf {
    let head = Head {
        id: "test".into(),
        at: Timestamp::from_nanos(1_700_000_000_000_000_000),
        tool: "test".into(),
        redacted: true,
        clock: ClockKind::Monotonic,
    };
    let mut out = Vec::new();
    let mut log = FileLog::begin(&head, &mut out);
    for text in transcripts {
        let transcript: Transcript = text.parse().unwrap();
        let one = transcript
            .record("127.0.0.1:40000", "127.0.0.1:25")
            .unwrap();
        let mut merge = Merge::default();
        for record in one.records() {
            merge.append(record.clone(), &mut log, &mut out);
        }
    }
    log.end(head.at, &mut out);
    file(dir, "recorded.helo.jsonl", out)
}

/// What a server does next.
pub enum Turn {
    /// Says a reply, its line end added.
    Say(String),
    /// The same, octet by octet.
    Octets(String),
    /// Does something else with the connection, and leaves.
    Do(fn(&mut Wire)),
    /// Says 220, and has TLS.
    StartTls,
    /// Says some octets as they are, and closes.
    SayAndClose(Vec<u8>),
    /// Says nothing more, and waits for the client to leave.
    Wait,
}

/// A reply.
pub fn reply(text: &str) -> Turn {
    Turn::Say(text.to_owned())
}

/// Serves a connection: `answer` gets an empty line for the greeting, then every
/// command, and a dot for mail data.
pub fn serve(tcp: TcpStream, tls: Option<&Minted>, mut answer: impl FnMut(&str) -> Turn) {
    let mut wire = BufReader::new(Wire::new(tcp));
    let (mut line, mut in_data) = (Vec::new(), false);
    loop {
        if !in_data || line == b".\r\n" {
            let said = String::from_utf8_lossy(&line).trim_end().to_owned();
            in_data = false;
            let bytes = match answer(&said) {
                Turn::Say(reply) => {
                    in_data = said == "DATA" && reply.starts_with('3');
                    (reply + "\r\n").into_bytes()
                }
                Turn::Octets(reply) => {
                    in_data = said == "DATA" && reply.starts_with('3');
                    for octet in (reply + "\r\n").as_bytes() {
                        let _ = wire.get_mut().write_all(&[*octet]);
                    }
                    Vec::new()
                }
                Turn::Do(act) => return act(wire.get_mut()),
                Turn::StartTls => {
                    let _ = wire.get_mut().write_all(b"220 2.0.0 go\r\n");
                    let config = Arc::clone(&tls.unwrap().config);
                    if wire.get_mut().start_tls(config).is_err() {
                        return;
                    }
                    Vec::new()
                }
                Turn::SayAndClose(bytes) => {
                    let _ = wire.get_mut().write_all(&bytes);
                    return;
                }
                Turn::Wait => {
                    let _ = wire.read_to_end(&mut Vec::new());
                    return;
                }
            };
            let _ = wire.get_mut().write_all(&bytes);
        }
        line.clear();
        if !wire
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            wire.get_mut().close();
            return;
        }
    }
}

/// An honest server of mx.test with TLS.
pub fn serve_honestly() -> Upstream {
    serve_with(|_, line| honest(line))
}

/// A server of mx.test with TLS that answers so; it is given the number of the
/// connection.
pub fn serve_with(answer: impl Fn(usize, &str) -> Turn + Send + Sync + 'static) -> Upstream {
    let minted = mint(&["mx.test".into()], Clients::Unknown).unwrap();
    Upstream::start(move |tcp, number| {
        let mut order = Order::default();
        serve(tcp, Some(&minted), |line| {
            order.keep(line, answer(number, line))
        });
    })
}

/// Where a session stands: what is out of order is not accepted.
#[derive(Default)]
struct Order {
    mail: bool,
    rcpt: bool,
}

impl Order {
    fn keep(&mut self, line: &str, turn: Turn) -> Turn {
        let (Turn::Say(said) | Turn::Octets(said)) = &turn else {
            return turn;
        };
        if !said.starts_with(['2', '3']) {
            return turn;
        }
        let upper = line.to_ascii_uppercase();
        match upper.split([' ', ':']).next().unwrap_or_default() {
            "MAIL" if self.mail => return reply("503 5.5.1 one at a time"),
            "RCPT" if !self.mail => return reply("503 5.5.1 MAIL first"),
            "DATA" if !self.rcpt => return reply("503 5.5.1 RCPT first"),
            "MAIL" => self.mail = true,
            "RCPT" => self.rcpt = true,
            "EHLO" | "HELO" | "RSET" | "." => *self = Self::default(),
            _ => {}
        }
        turn
    }
}

/// What an honest server of mx.test says. It knows anna and its postmaster, and
/// relays for nobody.
pub fn honest(line: &str) -> Turn {
    let upper = line.to_ascii_uppercase();
    let verb = upper.split([' ', ':']).next().unwrap_or_default();
    if upper == "STARTTLS" {
        return Turn::StartTls;
    }
    if verb == "POST" {
        return Turn::SayAndClose(b"554 5.5.1 no web server\r\n".to_vec());
    }
    reply(match verb {
        "" => "220 mx.test ESMTP",
        "STARTTLS" => "501 5.5.4 no argument, please",
        "EHLO" if upper == "EHLO" => "501 5.5.4 who?",
        "EHLO" => "250-mx.test\r\n250 STARTTLS",
        "HELO" => "250 mx.test",
        "MAIL" if upper.contains("HELO-X") => "555 5.5.4 unknown parameter",
        "MAIL" => "250 2.1.0 ok",
        "RCPT" => rcpt(&upper),
        "DATA" => "354 go on",
        "." => "250 2.0.0 kept",
        "RSET" | "NOOP" => "250 2.0.0 ok",
        "VRFY" => "252 2.5.0 perhaps",
        "QUIT" => "221 2.0.0 bye",
        _ => "502 5.5.1 what?",
    })
}

fn rcpt(upper: &str) -> &'static str {
    let path = upper.trim_start_matches("RCPT TO:");
    let path = path.strip_prefix('<').unwrap_or(path);
    let path = path.strip_suffix('>').unwrap_or(path);
    match path {
        "ANNA@MX.TEST" | "POSTMASTER@MX.TEST" | "POSTMASTER" | "ABUSE@MX.TEST" => "250 2.1.5 ok",
        local if local.ends_with("@MX.TEST") => "550 5.1.1 no such mailbox",
        _ => "550 5.7.1 relaying denied",
    }
}
