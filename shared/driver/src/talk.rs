//! Drives a `ClientSession`: say something, hear the answer.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use shared::codec::Limits;
use shared::command::Command;
use shared::escape::excerpt;
use shared::session::{Answers, ClientOutput, ClientSession, Heard, Unit};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::journal::{Ended, SessionJournal, WriteFailed};
use crate::stream::Stream;
use crate::tls::{self, Facts};

/// Why the talk could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Wire(io::Error),
    /// No answer came in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The server answered what nobody had asked.
    #[error("the server answered before it was asked: {0}")]
    Unasked(String),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// The recording could not be written.
    #[error(transparent)]
    Journal(#[from] WriteFailed),
}

/// A talk with a server. Everything said and heard is recorded first.
pub struct Talk {
    stream: Stream,
    session: ClientSession,
    clock: Clock,
    journal: SessionJournal,
    heard: VecDeque<Heard>,
    batch: Vec<Unit>,
    received: BytesMut,
    watch: Box<dyn FnMut(&Unit) + Send>,
    ended: Option<Ended>,
    /// The server had left when something was said.
    left: bool,
    last_hello: Option<String>,
}

impl Talk {
    /// A talk over a new connection. `watch` sees every unit as it happens.
    pub fn new(
        stream: Stream,
        clock: Clock,
        journal: SessionJournal,
        watch: Box<dyn FnMut(&Unit) + Send>,
    ) -> Self {
        Self {
            stream,
            session: ClientSession::new(Limits::DEFAULT),
            clock,
            journal,
            heard: VecDeque::new(),
            batch: Vec::new(),
            received: BytesMut::new(),
            watch,
            ended: None,
            left: false,
            last_hello: None,
        }
    }

    /// Says some bytes, in pieces of which each has the whole time limit: a long
    /// message over a slow line gets on. A server that has left may have said why:
    /// that it has left is told by [`hear`](Self::hear), after what it said.
    pub async fn say(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Broken> {
        if let Ok(Command::Ehlo(name)) = Command::parse(bytes).command {
            self.last_hello = Some(name);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_of(rest));
            rest = after;
            if !self.say_piece(piece, limit).await? {
                self.left = true;
                break;
            }
        }
        Ok(())
    }

    /// Records a piece, then sends it; false if the server has left.
    async fn say_piece(&mut self, piece: &[u8], limit: Duration) -> Result<bool, Broken> {
        self.session.say(self.clock.now(), piece);
        while let Some(output) = self.session.poll() {
            match output {
                ClientOutput::Record(unit) => self.note(unit),
                ClientOutput::Heard(heard) => self.heard.push_back(heard),
                ClientOutput::Send(bytes) => {
                    self.record()?;
                    match timeout(limit, self.stream.write(&bytes)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) if has_left(&error) => return Ok(false),
                        Ok(Err(error)) => return Err(self.broke(error)),
                        Err(_) => return Err(self.timed_out(limit)),
                    }
                }
            }
        }
        Ok(true)
    }

    /// Waits for the next thing the server says. What it says before it was asked
    /// is never taken for an answer, but for a 421 (RFC 5321 §3.8).
    pub async fn hear(&mut self, limit: Duration) -> Result<Heard, Broken> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(heard) = self.heard.pop_front() {
                if self.is_unasked(&heard) {
                    return Err(Broken::Unasked(excerpt(&heard.wire, 60)));
                }
                return Ok(heard);
            }
            if self.ended.is_some() {
                return Err(Broken::Closed);
            }
            self.received.clear();
            let read = self.stream.read(&mut self.received);
            match tokio::time::timeout_at(deadline, read).await {
                Err(_) => return Err(self.timed_out(limit)),
                Ok(Err(error)) => return Err(self.broke(error)),
                Ok(Ok(0)) => {
                    self.session.receive_end();
                    self.ended = Some(Ended::SERVER);
                }
                Ok(Ok(_)) => self.session.receive(self.clock.now(), &self.received),
            }
            self.take_in()?;
        }
    }

    /// Performs the TLS handshake, after STARTTLS was accepted or at the start.
    pub async fn start_tls(
        &mut self,
        client: &tls::Client,
        name: ServerName<'static>,
        limit: Duration,
    ) -> Result<Facts, Broken> {
        let sni = match &name {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            _ => None,
        };
        // What came before TLS answers nothing that is asked inside it (RFC 3207 §4.2).
        self.heard.clear();
        let config = std::sync::Arc::clone(&client.config);
        let handshake = timeout(limit, self.stream.start_tls_as_client(config, name))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let facts = match &handshake {
            Ok(()) => Facts::of(&self.stream, sni, client.verdict()),
            Err(error) => Facts {
                verify: client.verdict(),
                ..Facts::failed(sni, error)
            },
        };
        self.journal.tls(self.clock.now(), 'u', &facts)?;
        handshake.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => self.timed_out(limit),
            _ => Broken::Handshake(error),
        })?;
        self.session.tls_ready();
        Ok(facts)
    }

    /// Says that nothing more will be said, and hears whether the server still has
    /// something to say that nobody asked for, until it closes too. The session is
    /// closed by the client then; only [`close`](Self::close) is left to do.
    pub async fn last_words(&mut self, limit: Duration) -> Result<Option<String>, Broken> {
        if self.ended.is_some() {
            return Ok(None);
        }
        let _ = timeout(limit, self.stream.shutdown()).await;
        let heard = self.hear(limit).await;
        self.ended = Some(Ended::CLIENT);
        match heard {
            Ok(heard) => Ok(Some(excerpt(&heard.wire, 60))),
            Err(Broken::Unasked(words)) => Ok(Some(words)),
            Err(error @ Broken::Journal(_)) => Err(error),
            // The end, or a server that does not close: it had its time.
            Err(_) => Ok(None),
        }
    }

    /// Closes the connection, if the server has not, and records how it ended.
    pub async fn close(mut self, limit: Duration) -> Result<(), WriteFailed> {
        if self.ended.is_none() {
            let _ = timeout(limit, self.stream.shutdown()).await;
        }
        let ended = self.ended.unwrap_or(Ended::CLIENT);
        self.record_quietly()?;
        self.journal.close(self.clock.now(), ended)
    }

    /// The name given in the last EHLO.
    pub fn last_hello(&self) -> Option<String> {
        self.last_hello.clone()
    }

    /// The recording of this session.
    pub fn journal(&mut self) -> &mut SessionJournal {
        &mut self.journal
    }

    /// Our address and the server's.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// A reply to nothing. A no is one whatever it answers, if the server has left
    /// with it: it need not hear the end of a message to refuse it.
    fn is_unasked(&self, heard: &Heard) -> bool {
        heard.answers == Answers::Nothing
            && heard.reply.as_ref().is_some_and(|reply| {
                let last_word = self.left && reply.code().is_refusal();
                reply.code().number() != 421 && !last_word
            })
    }

    fn take_in(&mut self) -> Result<(), WriteFailed> {
        while let Some(output) = self.session.poll() {
            match output {
                ClientOutput::Record(unit) => self.note(unit),
                ClientOutput::Heard(heard) => self.heard.push_back(heard),
                // Only `say` makes something to send.
                ClientOutput::Send(_) => {}
            }
        }
        self.record()
    }

    fn note(&mut self, unit: Unit) {
        (self.watch)(&unit);
        self.batch.push(unit);
    }

    fn record(&mut self) -> Result<(), WriteFailed> {
        let written = self.journal.units(&self.batch);
        self.batch.clear();
        written
    }

    fn record_quietly(&mut self) -> Result<(), WriteFailed> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.record()
    }

    fn broke(&mut self, error: io::Error) -> Broken {
        self.ended = Some(Ended::SERVER_RESET);
        Broken::Wire(error)
    }

    fn timed_out(&mut self, limit: Duration) -> Broken {
        self.ended = Some(Ended::TIMEOUT);
        Broken::TimedOut(limit)
    }
}

/// So much is said at once.
const PIECE: usize = 64 * 1024;

/// The length of the first piece: up to a line end, so that no dot waits for what
/// follows it to be understood.
fn piece_of(bytes: &[u8]) -> usize {
    match bytes.get(..PIECE) {
        Some(window) if bytes.len() > PIECE => {
            let end = window.windows(2).rposition(|pair| pair == b"\r\n");
            end.map_or(PIECE, |end| end + 2)
        }
        _ => bytes.len(),
    }
}

/// Nothing that is written arrives any more, but what the server said before may
/// still be read.
fn has_left(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
