//! The server as its tests run it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail, and each of them uses a part of this"
)]

pub mod faulty;
pub mod http;
pub mod mail;
pub mod tls;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use shared::recording::Recording;
use testkit::{Program, recorded, talk};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_helo-server");

/// The server, running as mx.local.test, with anna and bert of local.test.
pub struct Server {
    program: Program,
    dir: PathBuf,
}

impl Server {
    /// Starts it in a directory, with Maildirs there if no other store is named.
    pub fn start(dir: &Path, options: &[&str]) -> Self {
        Self::start_as(&[PROGRAM], dir, options)
    }

    /// Starts it with a recording.
    pub fn recording(dir: &Path, options: &[&str]) -> Self {
        let file = dir.join("t.helo.jsonl");
        let mut all = vec!["--record", file.to_str().unwrap()];
        all.extend(options);
        Self::start(dir, &all)
    }

    /// Starts what that command line, with the server's options appended, starts.
    pub fn start_as(program: &[&str], dir: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(SITE).args(options);
        let mail = dir.join("mail");
        if !options.iter().any(|option| option.starts_with("--store")) {
            command.arg(format!("--store=maildir:{}", mail.display()));
        }
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Self {
            program: Program::start(command, dir),
            dir: dir.to_owned(),
        }
    }

    /// A connection that was greeted.
    pub fn greeted(&self) -> TcpStream {
        let mut tcp = talk::connect(self.address);
        assert!(talk::reply(&mut tcp).starts_with("220 mx.local.test ESMTP"));
        tcp
    }

    /// A connection on which these were said, one line each, and accepted.
    pub fn after(&self, lines: &[&str]) -> TcpStream {
        let mut tcp = self.greeted();
        accepts(&mut tcp, lines);
        tcp
    }

    /// A client that has said so much without hearing the replies that neither can
    /// go on: nothing moved for a while.
    pub fn deaf_client(&self) -> TcpStream {
        let mut tcp = self.greeted();
        rustix::net::sockopt::set_socket_recv_buffer_size(&tcp, 4096).unwrap();
        let a_while = std::time::Duration::from_millis(300);
        tcp.set_write_timeout(Some(a_while)).unwrap();
        // Of what is short and has a long reply.
        let commands = b"EHLO c.test\r\n".repeat(5_000);
        let mut most = 1000;
        while tcp.write(&commands).is_ok() {
            most -= 1;
            assert!(most > 0, "65 MB were taken, and nobody reads the replies");
        }
        tcp
    }

    /// It still serves a whole session, and keeps the message.
    pub fn serves(&self) -> bool {
        talk::is_served(self.address, "a@c.test", "anna@local.test")
    }

    /// The Maildir of a user.
    pub fn maildir(&self, user: &str) -> PathBuf {
        self.dir.join("mail").join(user)
    }

    /// What is in the `new` of a user.
    pub fn kept(&self, user: &str) -> Vec<Vec<u8>> {
        contents(&self.maildir(user).join("new"))
    }

    /// The files in any `tmp`, and in any `new`.
    pub fn left(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let users = ["anna", "bert", "postmaster", "abuse"].map(|user| format!("mail/{user}"));
        let files = |part: &str| {
            let parts = users.iter().map(|user| self.dir.join(user).join(part));
            parts.flat_map(|part| files(&part)).collect()
        };
        (files("tmp"), files("new"))
    }

    /// Where it records.
    pub fn file(&self) -> PathBuf {
        self.dir.join("t.helo.jsonl")
    }

    /// What it has recorded.
    pub fn recorded(&self) -> Recording {
        recorded::read(&self.file())
    }
}

/// The options that make a server the one of these tests.
pub const SITE: [&str; 8] = [
    "--hostname",
    "mx.local.test",
    "--local-domain",
    "local.test",
    "--user",
    "anna",
    "--user",
    "bert",
];

/// What begins a transaction that is about to be given its content.
pub const TO_ANNA: [&str; 4] = [
    "EHLO c.test",
    "MAIL FROM:<a@c.test>",
    "RCPT TO:<anna@local.test>",
    "DATA",
];

impl Deref for Server {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

/// The files of a directory; none if it does not exist.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What is in the files of a directory.
pub fn contents(directory: &Path) -> Vec<Vec<u8>> {
    let files = files(directory).into_iter();
    files.map(|file| fs::read(file).unwrap()).collect()
}

/// Runs the server to its end.
pub fn run(arguments: &[&str]) -> Output {
    testkit::run(PROGRAM, arguments)
}

/// Says these lines; each is accepted.
pub fn accepts(tcp: &mut TcpStream, lines: &[&str]) {
    for line in lines {
        let reply = talk::say(tcp, &format!("{line}\r\n"));
        assert!(reply.starts_with(['2', '3']), "{line}: {reply}");
    }
}

/// Plays a dialogue: `C:` lines are said, `S:` lines are how the reply that comes
/// then begins.
pub fn play(tcp: &mut TcpStream, dialogue: &str) {
    for line in dialogue.lines().map(str::trim) {
        match line.split_at_checked(3) {
            Some(("C: ", said)) => tcp.write_all(format!("{said}\r\n").as_bytes()).unwrap(),
            Some(("S: ", expected)) => {
                let reply = talk::reply(tcp);
                assert!(reply.starts_with(expected), "{reply:?} is not: {line}");
            }
            _ => assert!(
                line.is_empty() || line.starts_with('#'),
                "what is {line:?}?"
            ),
        }
    }
}

/// Connects from an address of our own.
pub fn connect_from(source: &str, server: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let source = SocketAddr::new(source.parse().unwrap(), 0);
    let family = match source {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family, SocketType::STREAM, None).unwrap();
    bind(&socket, &source).unwrap();
    connect(&socket, &server).unwrap();
    let tcp = TcpStream::from(socket);
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(testkit::wait::LIMIT)).unwrap();
    tcp
}
