//! One connection of the sink: the loop between its dialogue and its socket.
//!
//! All connections of a thread read into one buffer and collect their replies in
//! another, so that a connection that waits owns next to nothing; and the replies
//! to one read are one write.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use driver::socket::Socket;
use driver::stream::Stream;
use tokio::io::ReadBuf;
use tokio::time::{Instant, sleep_until, timeout};

use super::count::Tally;
use super::dialogue::{Desk, Dialogue, Next};
use super::store::Letter;
use super::terms::Terms;
use super::worker::{Phase, Session};
use crate::config::TlsMode;

/// How much is read at once.
const READ: usize = 256 * 1024;

thread_local! {
    /// What all connections of this thread share: it holds nothing between two
    /// polls.
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        input: vec![0; READ],
        out: Vec::new(),
    });
}

struct Buffers {
    input: Vec<u8>,
    out: Vec<u8>,
}

/// One connection.
pub(super) struct Connection {
    stream: Stream,
    dialogue: Dialogue,
    letter: Letter,
    session: Session,
    terms: Arc<Terms>,
    /// Replies that the client has not taken yet.
    unsent: Vec<u8>,
    /// What was read and not looked at, since replies wait to be sent first.
    unread: Vec<u8>,
    /// What follows when all replies are sent.
    next: Next,
    /// TLS has taken what is to be sent, and not passed all of it on.
    flushing: bool,
    /// When something came last.
    heard: Instant,
    /// It ends as soon as nothing is under way.
    ending: bool,
}

/// Why the loop stopped.
enum Pause {
    /// The client has closed its side.
    End,
    /// QUIT was answered.
    Quit,
    /// STARTTLS was answered.
    StartTls,
    /// Nothing is under way, and the sink ends.
    Between,
    /// Nothing came for too long.
    Silence,
}

impl Connection {
    /// A connection that was greeted, unless TLS is to begin at once.
    pub(super) fn new(socket: Socket, session: Session, terms: Arc<Terms>) -> Self {
        Self {
            stream: Stream::Plain(socket),
            dialogue: Dialogue::new(terms.tls == TlsMode::Implicit),
            letter: Letter::of(session.worker.batch.as_ref()),
            session,
            terms,
            unsent: Vec::new(),
            unread: Vec::new(),
            next: Next::Read,
            flushing: false,
            heard: Instant::now(),
            ending: false,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(&mut self) {
        let ended = self.run().await;
        let broken = match ended {
            Ok(Pause::Quit) => false,
            Ok(_) => !self.dialogue.is_between_messages(),
            Err(ref error) => {
                tracing::debug!("a connection broke: {error}");
                true
            }
        };
        let worker = &self.session.worker;
        worker.add(&Tally {
            broken: u64::from(broken),
            ..Tally::default()
        });
        worker.goal.session();
    }

    /// What is done but once is boxed: what it needs is no part of a connection
    /// that waits.
    async fn run(&mut self) -> io::Result<Pause> {
        if self.terms.tls == TlsMode::Implicit {
            Box::pin(self.handshake()).await?;
            self.unsent.extend_from_slice(&self.terms.greeting);
            self.flushing = true;
        }
        loop {
            match self.talk().await? {
                Pause::StartTls => {
                    Box::pin(self.handshake()).await?;
                    self.dialogue.tls_started();
                }
                quit @ Pause::Quit => {
                    if self.dialogue.is_in_tls() {
                        // So that the client can tell this end from an attack.
                        let _ = Box::pin(timeout(LINGER, self.stream.shutdown())).await;
                    }
                    return Ok(quit);
                }
                end @ Pause::End => return Ok(end),
                between @ Pause::Between => {
                    let reply = b"421 4.3.2 Shutting down, closing\r\n";
                    Box::pin(self.bid_farewell(reply)).await;
                    return Ok(between);
                }
                Pause::Silence => {
                    let reply = b"421 4.4.2 Silent for too long, closing\r\n";
                    Box::pin(self.bid_farewell(reply)).await;
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }

    /// Answers the client until something else is to be done.
    async fn talk(&mut self) -> io::Result<Pause> {
        let worker = Arc::clone(&self.session.worker);
        let patience = worker.limits.patience;
        let mut phase = worker.phase.clone();
        let mut ending = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
        let mut silence = pin!(sleep_until(self.heard + patience));
        loop {
            tokio::select! {
                biased;
                pause = poll_fn(|context| self.poll_talk(context)) => return pause,
                () = silence.as_mut() => {
                    // It is set again here alone, not whenever something comes.
                    let until = self.heard + patience;
                    if until <= Instant::now() {
                        return Ok(Pause::Silence);
                    }
                    silence.as_mut().reset(until);
                }
                _ = ending.as_mut(), if !self.ending => self.ending = true,
            }
        }
    }

    fn poll_talk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pause>> {
        loop {
            ready!(self.poll_unsent(context))?;
            match self.next {
                Next::Close => return Poll::Ready(Ok(Pause::Quit)),
                Next::StartTls => {
                    self.next = Next::Read;
                    return Poll::Ready(Ok(Pause::StartTls));
                }
                Next::Read | Next::Again => {}
            }
            if self.ending && self.dialogue.is_between_messages() && self.unread.is_empty() {
                return Poll::Ready(Ok(Pause::Between));
            }
            if ready!(BUFFERS.with_borrow_mut(|buffers| self.poll_input(buffers, context)))? == 0 {
                return Poll::Ready(Ok(Pause::End));
            }
        }
    }

    /// Takes the input that comes next; 0 at its end.
    fn poll_input(
        &mut self,
        buffers: &mut Buffers,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let unread = std::mem::take(&mut self.unread);
        if !unread.is_empty() {
            self.answer(&unread, &mut buffers.out, context)?;
            return Poll::Ready(Ok(unread.len()));
        }
        let mut into = ReadBuf::new(&mut buffers.input);
        ready!(self.stream.poll_read(context, &mut into))?;
        self.heard = Instant::now();
        self.answer(into.filled(), &mut buffers.out, context)?;
        Poll::Ready(Ok(into.filled().len()))
    }

    /// Takes some input, and sends the replies to it. What cannot be sent now is
    /// kept, and what cannot be answered before that.
    fn answer(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        let mut tally = Tally::default();
        let mut rest = input;
        loop {
            out.clear();
            let mut desk = Desk {
                terms: &self.terms,
                out,
                tally: &mut tally,
                letter: &mut self.letter,
            };
            let (used, next) = self.dialogue.take(rest, &mut desk);
            self.next = next;
            rest = rest.get(used..).unwrap_or_default();
            let sent = self.send(out, context)?;
            if sent < out.len() {
                self.unsent
                    .extend_from_slice(out.get(sent..).unwrap_or_default());
                self.unread.extend_from_slice(rest);
                break;
            }
            if next != Next::Again {
                break;
            }
        }
        self.session.worker.add(&tally);
        Ok(())
    }

    /// Sends what can be sent now.
    fn send(&mut self, bytes: &[u8], context: &mut Context<'_>) -> io::Result<usize> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => sent += written?,
                Poll::Pending => break,
            }
            self.flushing = self.dialogue.is_in_tls();
        }
        Ok(sent)
    }

    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let sent = self.send(&unsent, context)?;
            if let Some(rest) = unsent.get(sent..).filter(|rest| !rest.is_empty()) {
                self.unsent.extend_from_slice(rest);
                return Poll::Pending;
            }
        }
        if self.flushing {
            ready!(self.stream.poll_flush(context))?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }

    async fn handshake(&mut self) -> io::Result<()> {
        let handshake = self
            .stream
            .start_tls_as_server(self.session.worker.tls.config()?);
        timeout(self.session.worker.limits.handshake, handshake)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A last word. Closing with unread bytes would reset the connection and take
    /// it with it, so the client is waited for a little.
    async fn bid_farewell(&mut self, reply: &[u8]) {
        let said = async {
            if self.unsent.is_empty() {
                self.stream.write(reply).await?;
            }
            self.stream.shutdown().await?;
            let mut last = BytesMut::new();
            while last.len() < LAST_READ && self.stream.read(&mut last).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(LINGER, said).await;
    }
}

/// How long, and for how many octets, a connection that is to be closed is read.
const LINGER: Duration = Duration::from_secs(2);
const LAST_READ: usize = 256 * 1024;
