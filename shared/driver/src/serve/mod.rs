//! Drives a `ServerSession`: the one loop between its outputs and the socket.
//!
//! `wait` is waiting for the client, `tls` the handshake, `strike` doing what goes
//! wrong on purpose, and `record` what remains of a session. `script` is a loop of its
//! own, for a server whose part is written down.

mod record;
mod script;
mod strike;
#[cfg(test)]
mod tests;
mod tls;
mod wait;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shared::codec::Limits;
use shared::reply::Reply;
use shared::session::{Asked, ServerOutput, ServerSession, Unit};
use shared::time::Timestamp;
use tokio::sync::watch;

use self::record::{hang_up, say_unrecorded};
use self::wait::{Pace, Read, shutting_down};
use crate::clock::Clock;
use crate::journal::{Ended, SessionJournal, WriteFailed};
use crate::stream::Stream;
use crate::strike::{Strike, TlsStrike};
use crate::tls::Facts;

pub use self::script::play;
pub use self::wait::{Due, Waits};

/// What to answer.
#[derive(Debug)]
pub enum Answer {
    /// This reply.
    Reply(Reply),
    /// These replies, in order: one for each recipient (RFC 2033 §4.2).
    Replies(Vec<Reply>),
    /// This reply, and then close the connection.
    Last(Reply),
    /// Nothing: close the connection.
    HangUp,
    /// These replies, and what is to go wrong with them.
    Struck(Vec<Reply>, Box<Strike>),
}

/// Whoever decides what a server says.
pub trait Policy: Send {
    /// Answers what the session asks.
    fn asked(
        &mut self,
        asked: Asked,
        session: &ServerSession,
    ) -> impl Future<Output = Answer> + Send;

    /// Takes a piece of message content, dots undone; what is to go wrong there.
    fn content(&mut self, bytes: Bytes) -> impl Future<Output = Option<Box<Strike>>> + Send;

    /// TLS is in force; everything said before is forgotten (RFC 3207 §4.2).
    fn tls_started(&mut self, facts: &Facts, stream: &Stream);

    /// The session is given up: a time limit was met.
    fn gave_up(&mut self, _due: Due) {}

    /// What is to go wrong before anything is said.
    fn connected(&mut self) -> Option<Box<Strike>> {
        None
    }

    /// What is to go wrong with the TLS handshake.
    fn shaking_hands(&mut self) -> Option<Box<TlsStrike>> {
        None
    }

    /// After how long a silence of the client it is to be told of it, next.
    fn idle_after(&self) -> Option<Duration> {
        None
    }

    /// The client has been silent for so long: what is to go wrong.
    fn idle(&mut self, _period: Duration) -> Option<Box<Strike>> {
        None
    }
}

/// What a connection is served with.
#[derive(Clone, Debug)]
pub struct Service {
    /// The time.
    pub clock: Clock,
    /// For STARTTLS, and for TLS at once.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS begins at once.
    pub implicit_tls: bool,
    /// What a client may make us keep.
    pub limits: Limits,
    /// How long it may do what.
    pub waits: Waits,
    /// Whether the server is to end.
    pub ending: watch::Receiver<Ending>,
}

/// Whether a server is to end, and what its sessions may still do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Everything: it does not end.
    #[default]
    Not,
    /// Finish the transaction they are at. All others are told 421.
    Soon,
    /// Nothing: all are told 421, as far as they listen.
    Now,
}

/// Why a session could not be served to its end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Wire(#[from] io::Error),
    /// The recording could not be written.
    #[error(transparent)]
    Journal(#[from] WriteFailed),
}

/// Serves one connection to its end, and records how it ended.
pub async fn serve(
    mut stream: Stream,
    service: &Service,
    policy: &mut impl Policy,
    journal: &mut SessionJournal,
) -> Result<(), ServeError> {
    let now = service.clock.now();
    let mut session = ServerSession::new(now, service.limits, service.waits.command);
    if service.implicit_tls {
        session = session.inside_tls();
    }
    let mut loop_ = Loop {
        session,
        stream: &mut stream,
        service,
        journal,
        batch: Vec::new(),
        received: BytesMut::new(),
        ends: (!service.waits.session.is_zero()).then(|| now + service.waits.session),
        pace: None,
        closed: false,
        read_rate: None,
        write_rate: None,
        stalled: None,
    };
    let result = loop_.run(policy).await;
    if let Err(ServeError::Journal(_)) = &result {
        say_unrecorded(loop_.stream).await;
    }
    loop_.close(how_it_ended(&result))?;
    result.map(drop)
}

/// How a session ended, as it is recorded.
fn how_it_ended(result: &Result<Ended, ServeError>) -> Ended {
    match result {
        Ok(ended) => *ended,
        Err(ServeError::Wire(error)) => match error.kind() {
            io::ErrorKind::TimedOut => Ended::TIMEOUT,
            io::ErrorKind::Interrupted => Ended::SERVER,
            _ => Ended::CLIENT_RESET,
        },
        Err(ServeError::Journal(_)) => Ended::SERVER,
    }
}

pub(crate) struct Loop<'a> {
    pub(crate) session: ServerSession,
    pub(crate) stream: &'a mut Stream,
    pub(crate) service: &'a Service,
    pub(crate) journal: &'a mut SessionJournal,
    batch: Vec<Unit>,
    pub(crate) received: BytesMut,
    /// When the session must be over.
    pub(crate) ends: Option<Timestamp>,
    pace: Option<Pace>,
    /// The end is recorded.
    closed: bool,
    /// Octets a second that are read at most, on purpose.
    pub(crate) read_rate: Option<u64>,
    /// Octets a second that are written at most, on purpose.
    pub(crate) write_rate: Option<u64>,
    /// Nothing is read before that, on purpose.
    pub(crate) stalled: Option<Timestamp>,
}

impl Drop for Loop<'_> {
    /// The server has ended, and waits for this session no longer: it has an end all the
    /// same. One that panicked has none, which says that it crashed.
    fn drop(&mut self) {
        if !self.closed && !std::thread::panicking() {
            // A recording that cannot be written has been heard of.
            let _ = self.close(Ended::SERVER);
        }
    }
}

impl Loop<'_> {
    async fn run(&mut self, policy: &mut impl Policy) -> Result<Ended, ServeError> {
        let mut ended = Ended::SERVER;
        if let Some(ended) = self.begin(policy).await? {
            return Ok(ended);
        }
        loop {
            while let Some(output) = self.session.poll() {
                if let ServerOutput::Close = output {
                    self.record_batch()?;
                    hang_up(self.stream, &mut self.received).await;
                    return Ok(ended);
                }
                if let Some(ended) = self.perform(output, policy).await? {
                    return Ok(ended);
                }
            }
            self.record_batch()?;
            match self.read(policy.idle_after()).await? {
                Read::Some => {}
                Read::End => ended = Ended::CLIENT,
                Read::Late(Due::Idle(period)) => {
                    let strike = policy.idle(period);
                    if let Some(ended) = self.strike_unasked(strike).await? {
                        return Ok(ended);
                    }
                }
                Read::Late(due) => {
                    ended = Ended::TIMEOUT;
                    policy.gave_up(due);
                }
            }
        }
    }

    /// Does what the session says. Tells how it ended, if that was on purpose.
    async fn perform(
        &mut self,
        output: ServerOutput,
        policy: &mut impl Policy,
    ) -> Result<Option<Ended>, ServeError> {
        match output {
            ServerOutput::Record(unit) => self.note(unit)?,
            ServerOutput::Content(bytes) => {
                let strike = policy.content(bytes).await;
                return self.strike_unasked(strike).await;
            }
            ServerOutput::Ask(asked) => {
                return self.answer(asked, policy).await;
            }
            ServerOutput::Send(bytes) => self.send(&bytes, policy).await?,
            ServerOutput::StartTls => return self.start_tls(policy).await,
            ServerOutput::Close => {}
        }
        Ok(None)
    }

    /// What comes before the first command.
    async fn begin(&mut self, policy: &mut impl Policy) -> Result<Option<Ended>, ServeError> {
        let strike = policy.connected();
        let ends = strike.as_ref().is_some_and(|strike| strike.end.is_some());
        if let Some(ended) = self.strike_unasked(strike).await? {
            return Ok(Some(ended));
        }
        if ends {
            return Ok(None);
        }
        if self.service.implicit_tls
            && let Some(ended) = self.handshake(policy).await?
        {
            return Ok(Some(ended));
        }
        self.notice_early_talk().await?;
        Ok(None)
    }

    /// Has the policy answer, however long it takes; but when the server ends, only the
    /// verdict on a message is still waited for.
    async fn answer(
        &mut self,
        asked: Asked,
        policy: &mut impl Policy,
    ) -> Result<Option<Ended>, ServeError> {
        let verdict = matches!(asked, Asked::EndOfData { .. });
        let mut ending = self.service.ending.clone();
        let answer = tokio::select! {
            biased;
            answer = policy.asked(asked, &self.session) => answer,
            _ = ending.wait_for(|&ending| ending == Ending::Now), if !verdict => {
                Answer::Last(shutting_down())
            }
        };
        let now = self.service.clock.now();
        match answer {
            Answer::Reply(reply) => self.session.answer(now, &[reply]),
            Answer::Replies(replies) => self.session.answer(now, &replies),
            Answer::Last(reply) => {
                self.session.answer(now, &[reply]);
                self.session.close();
            }
            Answer::HangUp => self.session.hang_up(),
            Answer::Struck(replies, strike) => {
                // Rare, and large: a session that nothing goes wrong with has no room for it.
                return Box::pin(self.strike(Some(&replies), &strike)).await;
            }
        }
        Ok(None)
    }

    async fn send(&mut self, bytes: &[u8], policy: &mut impl Policy) -> Result<(), ServeError> {
        self.record_batch()?;
        self.journal.durable().await?;
        let sent = self.write(bytes).await;
        if matches!(&sent, Err(ServeError::Wire(error)) if error.kind() == io::ErrorKind::TimedOut)
        {
            policy.gave_up(Due::Silence);
        }
        sent
    }
}
