//! Lines that are longer than any buffer, said to a server (RFC 5321 §3.8, §4.5.3.1.9).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::time::Duration;

use helo_shared::codec::Limits;
use helo_shared::reply::Reply;
use helo_shared::session::{Answers, Asked, Kind, ServerOutput, ServerSession, Unit, UnitId};
use helo_shared::time::Timestamp;

/// A server that answers commands as they deserve, and takes note of them.
struct Server {
    session: ServerSession,
    time: u64,
    sent: String,
    units: Vec<Unit>,
    closed: bool,
}

impl Server {
    fn new() -> Self {
        let patience = Duration::from_secs(300);
        let mut made = Self {
            session: ServerSession::new(Timestamp::from_nanos(0), Limits::DEFAULT, patience),
            time: 0,
            sent: String::new(),
            units: Vec::new(),
            closed: false,
        };
        made.pump();
        made
    }

    fn hear(&mut self, said: &[u8], read: usize) {
        for piece in said.chunks(read) {
            self.time += 1;
            self.session
                .receive(Timestamp::from_nanos(self.time), piece);
            self.pump();
        }
    }

    fn pump(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Record(unit) => self.units.push(unit),
                ServerOutput::Send(bytes) => self.sent += std::str::from_utf8(&bytes).unwrap(),
                ServerOutput::Close => self.closed = true,
                ServerOutput::Ask(asked) => self.answer(&asked),
                ServerOutput::Content(_) | ServerOutput::StartTls => panic!("{output:?}"),
            }
        }
    }

    fn answer(&mut self, asked: &Asked) {
        let reply = match asked {
            Asked::Greeting => Reply::of(220, "", "mx"),
            Asked::Command(heard) => match &heard.command {
                Ok(helo_shared::command::Command::Auth { .. }) => Reply::of(334, "", ""),
                Ok(_) => Reply::of(250, "2.0.0", "ok"),
                Err(error) => error.reply(),
            },
            Asked::Sasl(line) if line.len() > 12_288 => Reply::of(500, "5.5.6", "too long"),
            other => panic!("{other:?}"),
        };
        self.time += 1;
        let now = Timestamp::from_nanos(self.time);
        self.session.answer(now, &[reply]);
    }

    /// What a reply answers.
    fn answered(&self, reply: &str) -> Option<UnitId> {
        self.units.iter().find_map(|unit| match unit.kind {
            Kind::Reply {
                answers: Answers::Unit(id),
                ..
            } if unit.bytes.starts_with(reply.as_bytes()) => Some(id),
            _ => None,
        })
    }
}

/// In reads of so many octets.
const READS: [usize; 4] = [1000, 1460, 65_536, usize::MAX];

#[test]
fn a_long_line_is_answered_once_at_its_end_and_the_session_goes_on() {
    for (before, verb) in [
        ("", "NOOP"),
        ("", "BDAT 5"),
        ("", "what"),
        ("NOOP\r\n", "MAIL"),
    ] {
        for octets in [65_530, 65_536, 70_000, 131_072, 500_000] {
            for read in READS {
                let mut server = Server::new();
                let long = format!("{before}{verb} {}\r\n", "x".repeat(octets));
                server.hear(long.as_bytes(), read);
                server.hear(b"RSET\r\n", read);
                let before = before.replace("NOOP", "250 2.0.0 ok");
                let wanted =
                    format!("220 mx\r\n{before}500 5.5.2 the line is too long\r\n250 2.0.0 ok\r\n");
                assert_eq!(server.sent, wanted, "{verb} {octets} {read}");
                assert!(!server.closed);
                // It answers the end of the line.
                let answered = server.answered("500");
                let last = server.units.iter().find(|unit| Some(unit.id) == answered);
                assert!(last.unwrap().bytes.ends_with(b"\n"));
            }
        }
    }
}

#[test]
fn a_long_bdat_line_announces_no_chunk() {
    for (before, after) in [(600, 0), (3000, 0), (13_000, 0), (3000, 3000), (70_000, 10)] {
        for read in READS {
            let mut server = Server::new();
            let (before, after) = (" ".repeat(before), " ".repeat(after));
            let long = format!("BDAT{before}5{after}\r\n");
            server.hear(long.as_bytes(), read);
            server.hear(b"RSET\r\n", read);
            let wanted = "220 mx\r\n500 5.5.2 the line is too long\r\n250 2.0.0 ok\r\n";
            assert_eq!(server.sent, wanted, "{read}");
        }
    }
}

#[test]
fn a_long_line_of_an_exchange_is_answered_once() {
    for read in READS {
        let mut server = Server::new();
        server.hear(b"EHLO c\r\nAUTH LOGIN\r\n", read);
        let long = "x".repeat(70_000) + "\r\n";
        server.hear(long.as_bytes(), read);
        server.hear(b"RSET\r\n", read);
        let wanted = "220 mx\r\n250 2.0.0 ok\r\n334 \r\n500 5.5.6 too long\r\n250 2.0.0 ok\r\n";
        assert_eq!(server.sent, wanted);
    }
}

#[test]
fn a_line_without_an_end_ends_the_session_with_421() {
    for read in READS {
        let mut server = Server::new();
        server.hear(&b"x".repeat(3 << 20), read);
        let wanted = "220 mx\r\n421 4.7.0 this line has no end, closing\r\n";
        assert_eq!(server.sent, wanted);
        assert!(server.closed);
    }
}
