//! Drives a `ServerSession`: the one loop between its outputs and the socket.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shared::codec::Limits;
use shared::reply::Reply;
use shared::session::{Asked, ServerOutput, ServerSession, Unit};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::journal::{Ended, SessionJournal, WriteFailed};
use crate::stream::Stream;
use crate::tls::Facts;

/// How long a peer may take for a TLS handshake, or to take our last bytes.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// What to answer.
#[derive(Debug)]
pub enum Answer {
    /// This reply.
    Reply(Reply),
    /// Nothing: close the connection.
    HangUp,
}

/// Whoever decides what a server says.
pub trait Policy: Send {
    /// Answers what the session asks.
    fn asked(
        &mut self,
        asked: Asked,
        session: &ServerSession,
    ) -> impl Future<Output = Answer> + Send;

    /// Takes a piece of message content, dots undone.
    fn content(&mut self, bytes: Bytes) -> impl Future<Output = ()> + Send;

    /// TLS is in force; everything said before is forgotten (RFC 3207 §4.2).
    fn tls_started(&mut self, facts: &Facts);
}

/// What a connection is served with.
#[derive(Clone, Debug)]
pub struct Service {
    /// The time.
    pub clock: Clock,
    /// For STARTTLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What a client may make us keep.
    pub limits: Limits,
    /// How long it may be silent.
    pub patience: Duration,
    /// Becomes true when the server is to end: idle sessions are told so.
    pub shutdown: watch::Receiver<bool>,
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
    let session = ServerSession::new(now, service.limits, service.patience);
    let mut loop_ = Loop {
        session,
        stream: &mut stream,
        service,
        journal,
        batch: Vec::new(),
        received: BytesMut::new(),
    };
    let result = loop_.run(policy).await;
    let ended = match &result {
        Ok(ended) => *ended,
        Err(ServeError::Wire(error)) if error.kind() == io::ErrorKind::TimedOut => Ended::TIMEOUT,
        Err(_) => Ended::CLIENT_RESET,
    };
    let recorded = loop_.record_batch();
    journal.close(service.clock.now(), ended)?;
    recorded?;
    result.map(drop)
}

struct Loop<'a> {
    session: ServerSession,
    stream: &'a mut Stream,
    service: &'a Service,
    journal: &'a mut SessionJournal,
    batch: Vec<Unit>,
    received: BytesMut,
}

impl Loop<'_> {
    async fn run(&mut self, policy: &mut impl Policy) -> Result<Ended, ServeError> {
        let mut ended = Ended::SERVER;
        loop {
            while let Some(output) = self.session.poll() {
                match output {
                    ServerOutput::Record(unit) => self.batch.push(unit),
                    ServerOutput::Content(bytes) => policy.content(bytes).await,
                    ServerOutput::Ask(asked) => match policy.asked(asked, &self.session).await {
                        Answer::Reply(reply) => {
                            self.session.answer(self.service.clock.now(), &reply);
                        }
                        Answer::HangUp => self.session.hang_up(),
                    },
                    ServerOutput::Send(bytes) => self.send(&bytes).await?,
                    ServerOutput::StartTls => self.start_tls(policy).await?,
                    ServerOutput::Close => {
                        self.record_batch()?;
                        self.finish().await;
                        return Ok(ended);
                    }
                }
            }
            self.record_batch()?;
            if self.read().await? == Read::End {
                ended = Ended::CLIENT;
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ServeError> {
        self.record_batch()?;
        self.journal.durable().await?;
        let limit = self.service.patience.max(HANDSHAKE);
        timeout(limit, self.stream.write(bytes))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(())
    }

    /// Waits for the client, its time limit, or the end of the server.
    async fn read(&mut self) -> Result<Read, ServeError> {
        self.received.clear();
        let clock = self.service.clock;
        let deadline = clock.instant(self.session.deadline());
        let mut shutdown = self.service.shutdown.clone();
        tokio::select! {
            read = self.stream.read(&mut self.received) => {
                if read? == 0 {
                    self.session.receive_end();
                    return Ok(Read::End);
                }
                self.session.receive(clock.now(), &self.received);
            }
            () = tokio::time::sleep_until(deadline) => {
                let reply = Reply::of(421, "4.4.2", "silent for too long, closing");
                self.session.give_up(clock.now(), &reply);
            }
            // A session in the middle of a message is let finish it.
            _ = shutdown.wait_for(|&ends| ends), if self.session.may_be_interrupted() => {
                let reply = Reply::of(421, "4.3.2", "shutting down, closing");
                self.session.give_up(clock.now(), &reply);
            }
        }
        Ok(Read::Some)
    }

    async fn start_tls(&mut self, policy: &mut impl Policy) -> Result<(), ServeError> {
        self.record_batch()?;
        let config = self.service.tls.clone();
        let config = config.ok_or_else(|| io::Error::other("STARTTLS without a certificate"))?;
        let handshake = timeout(HANDSHAKE, self.stream.start_tls_as_server(config))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let facts = match &handshake {
            Ok(()) => {
                let sni = self.stream.server_name().map(str::to_owned);
                Facts::of(self.stream, sni, "none".into())
            }
            Err(error) => Facts::failed(None, error),
        };
        let now = self.service.clock.now();
        self.journal.tls(now, 'c', &facts)?;
        handshake?;
        policy.tls_started(&facts);
        self.session.tls_ready(now);
        Ok(())
    }

    fn record_batch(&mut self) -> Result<(), WriteFailed> {
        let written = self.journal.units(&self.batch);
        self.batch.clear();
        written
    }

    /// Says that nothing more will come, and waits a little for the client to
    /// have it: closing with unread bytes would reset the connection and take
    /// our last reply with it.
    async fn finish(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let drained = async {
            for _ in 0..LINGER_READS {
                self.received.clear();
                if !matches!(self.stream.read(&mut self.received).await, Ok(1..)) {
                    break;
                }
            }
        };
        let _ = timeout(LINGER, drained).await;
    }
}

#[derive(PartialEq, Eq)]
enum Read {
    Some,
    End,
}

/// How long, and for how many reads, a closed connection is drained.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 64;
