//! A server that plays transcripts.
//!
//! `S:` lines are said, in one write up to the next line of another kind. `C:` and
//! `C|` lines are what the client must say, octet by octet; a trailing `*` stands
//! for the rest of a line. A run of `C:` lines must come in one write and nothing
//! with it: a client that does not wait where the transcript does is found out.
//!
//! | `--` | what happens |
//! |---|---|
//! | `some` | something comes, whatever it is |
//! | `content` | mail data comes, whatever it is, to its final dot |
//! | `wait` | nothing is said any more, and whatever comes is taken, to the end |
//! | `close`, `reset` | the connection is closed, or reset |
//! | `octets` | what is said from now on comes octet by octet |
//! | `hold` | goes on when the test calls [`Scripted::go_on`] |
//! | `tls` | the handshake, with the certificate of [`Scripted::start_tls`] |
//!
//! At its end the client must close, without another word.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use driver::tls::Minted;
use shared::direction::Direction;
use shared::escape::escape;
use shared::recording::{Line, Transcript};

use crate::Upstream;
use crate::wire::Wire;

/// A server that plays a transcript to each client.
#[derive(Debug)]
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    upstream: Upstream,
    sessions: Arc<Mutex<Vec<Session>>>,
    go_on: Sender<()>,
}

/// What came of one connection.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Every octet the client said, inside TLS or not.
    pub said: Vec<u8>,
    /// The name the client asked for in its TLS handshake.
    pub server_name: Option<String>,
    /// What went otherwise than the transcript has it.
    pub wrong: Option<String>,
}

impl Scripted {
    /// Plays the first transcript to the first client and so on, and the last one
    /// to all that come after.
    pub fn start(transcripts: &[&str]) -> Self {
        Self::with(transcripts, None)
    }

    /// The same, with a certificate for `-- tls`.
    pub fn start_tls(transcripts: &[&str], minted: &Minted) -> Self {
        Self::with(transcripts, Some(Arc::clone(&minted.config)))
    }

    fn with(transcripts: &[&str], tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let parsed: Vec<Transcript> = transcripts
            .iter()
            .map(|text| text.parse().unwrap_or_else(|error| panic!("{error}")))
            .collect();
        let sessions = Arc::<Mutex<Vec<Session>>>::default();
        let (go_on, goes_on) = channel();
        let (results, goes_on) = (Arc::clone(&sessions), Mutex::new(goes_on));
        let upstream = Upstream::start(move |tcp, number| {
            let transcript = &parsed[number.min(parsed.len() - 1)];
            let mut play = Play::new(tcp, tls.clone());
            let wrong = play.all(transcript, &goes_on).err();
            play.session.wrong = wrong.map(|wrong| format!("connection {number}: {wrong}"));
            let mut results = results.lock().unwrap();
            let count = results.len().max(number + 1);
            results.resize(count, Session::default());
            results[number] = play.session;
        });
        Self {
            address: upstream.address,
            upstream,
            sessions,
            go_on,
        }
    }

    /// Lets a transcript go on after `-- hold`.
    pub fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }

    /// Waits until every connection is done with, and says what came of each.
    pub fn sessions(&self) -> Vec<Session> {
        self.upstream.idle();
        self.sessions.lock().unwrap().clone()
    }

    /// Everything went as the transcripts have it, and so many clients came.
    pub fn must_have_served(&self, clients: usize) -> Vec<Session> {
        let sessions = self.sessions();
        for session in &sessions {
            if let Some(wrong) = &session.wrong {
                panic!("{wrong}\nthe client said: {}", escape(&session.said));
            }
        }
        assert_eq!(sessions.len(), clients, "so many clients came");
        sessions
    }
}

struct Play {
    wire: Wire,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// What was read and not looked at.
    held: Vec<u8>,
    by_octets: bool,
    session: Session,
}

impl Play {
    fn new(tcp: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self {
            wire: Wire::new(tcp),
            tls,
            held: Vec::new(),
            by_octets: false,
            session: Session::default(),
        }
    }

    fn all(&mut self, transcript: &Transcript, go_on: &Mutex<Receiver<()>>) -> Result<(), String> {
        let lines = transcript.lines();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            at += 1;
            match line {
                Line::Said(Direction::Server, bytes) => {
                    let mut all = bytes.clone();
                    while let Some(Line::Said(Direction::Server, more)) = lines.get(at) {
                        all.extend_from_slice(more);
                        at += 1;
                    }
                    self.say(&all)?;
                }
                Line::Said(Direction::Client, bytes) => {
                    let mut group = vec![&bytes[..]];
                    while let Some(Line::Said(Direction::Client, more)) = lines.get(at) {
                        group.push(more);
                        at += 1;
                    }
                    self.expect_together(&group)?;
                }
                Line::Content(bytes) => self.expect(bytes)?,
                Line::Event(event) => match event.as_str() {
                    "close" | "reset" | "wait" => return self.leave(event),
                    _ => self.event(event, go_on)?,
                },
                Line::Comment(_) | Line::Blank | Line::Fact(_) => {}
            }
        }
        self.end()
    }

    fn event(&mut self, event: &str, go_on: &Mutex<Receiver<()>>) -> Result<(), String> {
        match event {
            "some" => self.some()?,
            "content" => self.content()?,
            "octets" => self.by_octets = true,
            "hold" => go_on
                .lock()
                .unwrap()
                .recv()
                .map_err(|gone| gone.to_string())?,
            "tls" => self.start_tls()?,
            other => return Err(format!("what is '-- {other}'?")),
        }
        Ok(())
    }

    /// The end of the transcript, before the client's.
    fn leave(&mut self, how: &str) -> Result<(), String> {
        match how {
            "reset" => return self.reset(),
            "wait" => self.swallow(),
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        if !self.held.is_empty() {
            return Err(format!("it said {} without waiting", escape(&self.held)));
        }
        let pieces = bytes.chunks(if self.by_octets {
            1
        } else {
            bytes.len().max(1)
        });
        for piece in pieces {
            self.wire
                .write_all(piece)
                .map_err(|error| format!("saying {}: {error}", escape(bytes)))?;
        }
        Ok(())
    }

    /// Lines that come in one write.
    fn expect_together(&mut self, group: &[&[u8]]) -> Result<(), String> {
        self.expect(group[0])?;
        for line in &group[1..] {
            if self.held.is_empty() {
                return Err(format!("{} did not come in one write", escape(line)));
            }
            self.expect(line)?;
        }
        Ok(())
    }

    fn expect(&mut self, wanted: &[u8]) -> Result<(), String> {
        let line = self
            .line()
            .map_err(|error| format!("{error} instead of {}", escape(wanted)))?;
        let same = match wanted.strip_suffix(b"*\r\n") {
            Some(begun) => line.starts_with(begun),
            None => line == wanted,
        };
        if same {
            return Ok(());
        }
        Err(format!("{} instead of {}", escape(&line), escape(wanted)))
    }

    fn line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(end) = self.held.iter().position(|&octet| octet == b'\n') {
                return Ok(self.held.drain(..=end).collect());
            }
            if self.read()? == 0 {
                return Err(format!("the end after {}", escape(&self.held)));
            }
        }
    }

    fn read(&mut self) -> Result<usize, String> {
        let mut chunk = vec![0; 64 * 1024];
        let count = self
            .wire
            .read(&mut chunk)
            .map_err(|error| format!("reading: {error}"))?;
        self.held.extend_from_slice(&chunk[..count]);
        self.session.said.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    fn some(&mut self) -> Result<(), String> {
        while self.held.is_empty() {
            if self.read()? == 0 {
                return Err("the end instead of anything".into());
            }
        }
        self.held.clear();
        Ok(())
    }

    fn content(&mut self) -> Result<(), String> {
        while self.line()? != b".\r\n" {}
        Ok(())
    }

    fn swallow(&mut self) {
        while self.read().is_ok_and(|count| count > 0) {
            self.held.clear();
        }
    }

    fn reset(&mut self) -> Result<(), String> {
        self.wire
            .reset_on_close()
            .map_err(|error| error.to_string())
    }

    fn start_tls(&mut self) -> Result<(), String> {
        let config = self.tls.clone().ok_or("no certificate for TLS")?;
        if !self.held.is_empty() {
            return Err(format!("it said {} before TLS", escape(&self.held)));
        }
        let shaken = self.wire.start_tls(config);
        self.session.server_name = self.wire.server_name();
        shaken.map_err(|error| format!("the TLS handshake: {error}"))
    }

    fn end(&mut self) -> Result<(), String> {
        let left = self.held.is_empty() && self.read()? == 0;
        self.wire.close();
        if left {
            return Ok(());
        }
        Err(format!("it said {} instead of leaving", escape(&self.held)))
    }
}
