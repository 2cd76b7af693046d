//! Drives a `ServerSession`: the one loop between its outputs and the socket.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shared::codec::Limits;
use shared::reply::Reply;
use shared::session::{Asked, ServerOutput, ServerSession, Unit};
use shared::stage::Stage;
use shared::time::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::handshake::Break;
use crate::journal::{Ended, SessionJournal, WriteFailed};
use crate::stream::Stream;
use crate::strike::{Strike, TlsStrike};
use crate::tls::Facts;

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

/// How long a client may do what.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// Be silent. RFC 5321 §4.5.3.2.7 asks for at least five minutes.
    pub command: Duration,
    /// Stay; zero is for as long as it likes.
    pub session: Duration,
    /// Send less than so many octets of content in that time, again and again,
    /// before it is given up; none is as slow as it likes.
    pub pace: Option<(u64, Duration)>,
    /// Take for a TLS handshake.
    pub handshake: Duration,
    /// Be kept waiting for its greeting: a client that speaks first is found out.
    pub greet_pause: Duration,
}

impl Default for Waits {
    /// Five minutes of silence, half an hour in all.
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            session: Duration::from_secs(1800),
            pace: Some((6000, Duration::from_secs(60))),
            handshake: Duration::from_secs(30),
            greet_pause: Duration::ZERO,
        }
    }
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
    let ended = match &result {
        Ok(ended) => *ended,
        Err(ServeError::Wire(error)) => match error.kind() {
            io::ErrorKind::TimedOut => Ended::TIMEOUT,
            io::ErrorKind::Interrupted => Ended::SERVER,
            _ => Ended::CLIENT_RESET,
        },
        Err(ServeError::Journal(_)) => {
            loop_.say_unrecorded().await;
            Ended::SERVER
        }
    };
    loop_.close(ended)?;
    result.map(drop)
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

/// How fast content comes.
#[derive(Clone, Copy)]
struct Pace {
    /// When it is looked at next.
    due: Timestamp,
    /// Octets since it was looked at last.
    octets: u64,
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
                    self.finish().await;
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

    /// What is not recorded is not passed on, but for this: RFC 5321 §3.8 has the
    /// client take a 421 as try again later.
    async fn say_unrecorded(&mut self) {
        let reply = b"421 4.3.0 the session cannot be recorded\r\n";
        let told = async {
            self.stream.write(reply).await?;
            self.stream.shutdown().await
        };
        let _ = timeout(LINGER, told).await;
    }

    /// Waits for the client, its time limits, or the end of the server.
    async fn read(&mut self, idle: Option<Duration>) -> Result<Read, ServeError> {
        let most = self.may_read().await?;
        self.received.clear();
        self.follow_pace();
        let clock = self.service.clock;
        let (deadline, why) = self.deadline(idle);
        let deadline = clock.instant(deadline);
        let between = self.session.may_be_interrupted();
        let mut ending = self.service.ending.clone();
        let mut octets = 0;
        tokio::select! {
            read = self.stream.read_at_most(&mut self.received, most) => {
                let count = read?;
                if count == 0 {
                    self.session.receive_end();
                    return Ok(Read::End);
                }
                if let Some(pace) = &mut self.pace {
                    pace.octets += count as u64;
                }
                self.session.receive(clock.now(), &self.received);
                octets = count;
            }
            () = tokio::time::sleep_until(deadline) => match why {
                Due::Pace if self.is_fast_enough() => {}
                due @ Due::Idle(_) => return Ok(Read::Late(due)),
                due => {
                    let reply = Reply::of(421, "4.4.2", due.text());
                    self.session.give_up(clock.now(), &reply);
                    return Ok(Read::Late(due));
                }
            },
            _ = ending.wait_for(|ending| match ending {
                Ending::Not => false,
                Ending::Soon => between,
                Ending::Now => true,
            }) => {
                self.session.give_up(clock.now(), &shutting_down());
            }
        }
        self.have_read(octets).await?;
        Ok(Read::Some)
    }

    /// What is due first, and when.
    fn deadline(&self, idle: Option<Duration>) -> (Timestamp, Due) {
        let silence = (self.session.deadline(), Due::Silence);
        let session = self.ends.map(|ends| (ends, Due::Session));
        let pace = self.pace.map(|pace| (pace.due, Due::Pace));
        let idle = idle.map(|idle| (self.session.heard() + idle, Due::Idle(idle)));
        let others = [session, pace, idle].into_iter().flatten();
        others.fold(
            silence,
            |first, next| if next.0 < first.0 { next } else { first },
        )
    }

    /// Begins to watch the pace where content begins, and stops where it ends.
    fn follow_pace(&mut self) {
        // What is slow on purpose is not the client's fault.
        let in_content =
            matches!(self.session.stage(), Stage::Data | Stage::Bdat) && self.read_rate.is_none();
        self.pace = match (self.service.waits.pace, self.pace) {
            (Some(_), Some(pace)) if in_content => Some(pace),
            (Some((_, over)), None) if in_content => Some(Pace {
                due: self.service.clock.now() + over,
                octets: 0,
            }),
            _ => None,
        };
    }

    /// Enough content came since the pace was looked at last; looks anew.
    fn is_fast_enough(&mut self) -> bool {
        let least = self.service.waits.pace.map_or(0, |(least, _)| least);
        self.pace.take().is_none_or(|pace| pace.octets >= least)
    }

    async fn start_tls(&mut self, policy: &mut impl Policy) -> Result<Option<Ended>, ServeError> {
        let ended = self.handshake(policy).await?;
        if ended.is_none() {
            self.session.tls_ready(self.service.clock.now());
        }
        Ok(ended)
    }

    async fn handshake(&mut self, policy: &mut impl Policy) -> Result<Option<Ended>, ServeError> {
        self.record_batch()?;
        let mut config = self.service.tls.clone();
        let mut breaks = None;
        if let Some(wrong) = policy.shaking_hands() {
            self.record_strike(&wrong.strike)?;
            Box::pin(self.pause(wrong.strike.delay)).await?;
            if let Some(end) = wrong.strike.end {
                let ended = Box::pin(self.end(end)).await?;
                return Ok(ended.or(Some(Ended::SERVER)));
            }
            config = wrong.config.or(config);
            breaks = wrong.breaks;
        }
        if breaks == Some(Break::Hang) {
            return Box::pin(self.ignore_handshake()).await.map(Some);
        }
        let config = config.ok_or_else(|| io::Error::other("TLS without a certificate"))?;
        let limit = self.service.waits.handshake;
        let handshake = self.stream.shake_hands(config, breaks);
        let handshake = within(limit, &self.service.ending, handshake).await;
        let facts = match &handshake {
            Ok(()) => {
                let sni = self.stream.server_name().map(str::to_owned);
                Facts::of(self.stream, sni, "none".into())
            }
            Err(error) => Facts::failed(None, error),
        };
        self.journal.tls(self.service.clock.now(), 'c', &facts)?;
        if has_timed_out(&handshake) {
            policy.gave_up(Due::Handshake);
        }
        if breaks.is_some() && handshake.is_err() && !has_timed_out(&handshake) {
            return Ok(Some(Ended::SERVER));
        }
        handshake?;
        policy.tls_started(&facts, self.stream);
        Ok(None)
    }

    /// A client must wait for the greeting (RFC 5321 §4.3.1): what it says before
    /// is taken in first, and so is known for what it is.
    async fn notice_early_talk(&mut self) -> Result<(), ServeError> {
        let pause = self.service.waits.greet_pause;
        if pause.is_zero() {
            self.stream.take_waiting(&mut self.received);
        } else {
            let read = self.stream.read(&mut self.received);
            match within(pause, &self.service.ending, read).await {
                Ok(0) => self.session.receive_end(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(error.into()),
            }
        }
        let received = std::mem::take(&mut self.received);
        self.session.receive(self.service.clock.now(), &received);
        Ok(())
    }

    pub(crate) fn note(&mut self, unit: Unit) -> Result<(), WriteFailed> {
        self.batch.push(unit);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.record_batch()
    }

    pub(crate) fn record_batch(&mut self) -> Result<(), WriteFailed> {
        let written = self.journal.units(&self.batch);
        self.batch.clear();
        written
    }

    /// Records what is not yet recorded, and the end.
    fn close(&mut self, ended: Ended) -> Result<(), WriteFailed> {
        self.closed = true;
        let recorded = self.record_batch();
        self.journal.close(self.service.clock.now(), ended)?;
        recorded
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

/// Waits for something within a time limit, and while the server may wait. What
/// can be done without waiting is done: the last 421 is said.
pub(crate) async fn within<T>(
    limit: Duration,
    ending: &watch::Receiver<Ending>,
    done: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut ending = ending.clone();
    tokio::select! {
        biased;
        done = timeout(limit, done) => done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        _ = ending.wait_for(|&ending| ending == Ending::Now) => {
            Err(io::Error::new(io::ErrorKind::Interrupted, "the server ends"))
        }
    }
}

/// What is said to a client that could still say something.
fn shutting_down() -> Reply {
    Reply::of(421, "4.3.2", "shutting down, closing")
}

fn has_timed_out<T>(done: &io::Result<T>) -> bool {
    matches!(done, Err(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// What a time limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The client says nothing, or does not take its replies.
    Silence,
    /// The session has lasted too long.
    Session,
    /// Content comes too slowly.
    Pace,
    /// The TLS handshake takes too long.
    Handshake,
    /// The client says nothing, which is no limit but a time to do something at.
    Idle(Duration),
}

impl Due {
    fn text(self) -> &'static str {
        match self {
            Self::Silence | Self::Idle(_) => "silent for too long, closing",
            Self::Session => "this session has lasted too long, closing",
            Self::Pace => "content comes too slowly, closing",
            Self::Handshake => "the TLS handshake took too long, closing",
        }
    }
}

#[derive(PartialEq, Eq)]
enum Read {
    Some,
    End,
    Late(Due),
}

/// So many units are recorded in one write, at most.
const BATCH: usize = 256;

/// How long, and for how many reads, a closed connection is drained.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 64;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use tokio::sync::Notify;

    use super::*;
    use crate::journal::{Durability, Journal, Settings};
    use shared::recording::OpenFacts;

    /// Greets, says that it was asked for something, and is not heard of again.
    struct Slow {
        asked: Arc<Notify>,
        panics: bool,
    }

    impl Policy for Slow {
        async fn asked(&mut self, asked: Asked, _: &ServerSession) -> Answer {
            if matches!(asked, Asked::Greeting) {
                return Answer::Reply(Reply::of(220, "", "mx"));
            }
            assert!(!self.panics, "as it was told");
            self.asked.notify_one();
            std::future::pending().await
        }

        async fn content(&mut self, _: Bytes) -> Option<Box<Strike>> {
            None
        }

        fn tls_started(&mut self, _: &Facts, _: &Stream) {}
    }

    /// A session that has said a command to that policy.
    async fn session(file: &Path, mut policy: Slow) -> Result<(), ServeError> {
        let clock = Clock::start();
        let settings = Settings {
            tool: "test",
            durability: Durability::Written,
            record_secrets: false,
        };
        let journal = Journal::create(file, &settings, clock).unwrap();
        let mut journal = journal.session(OpenFacts::default()).unwrap();
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(b"AUTH PLAIN\r\n").await.unwrap();
        let (_end, ending) = watch::channel(Ending::Not);
        let service = Service {
            clock,
            tls: None,
            implicit_tls: false,
            limits: Limits::DEFAULT,
            waits: Waits::default(),
            ending,
        };
        serve(Stream::new(server), &service, &mut policy, &mut journal).await
    }

    fn recorded(file: &Path, what: &str) -> usize {
        std::fs::read_to_string(file).unwrap().matches(what).count()
    }

    #[tokio::test]
    async fn a_session_that_is_waited_for_no_longer_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.helo.jsonl");
        let asked = Arc::new(Notify::new());
        let policy = Slow {
            asked: Arc::clone(&asked),
            panics: false,
        };
        tokio::select! {
            _ = session(&file, policy) => panic!("it waits for its policy"),
            () = asked.notified() => {}
        }
        assert_eq!(recorded(&file, "AUTH PLAIN"), 1);
        assert_eq!(recorded(&file, r#""k":"close""#), 1);
    }

    #[tokio::test]
    async fn a_session_that_panics_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.helo.jsonl");
        let policy = Slow {
            asked: Arc::default(),
            panics: true,
        };
        let path = file.clone();
        let ended = tokio::spawn(async move { session(&path, policy).await.is_ok() }).await;
        assert!(ended.unwrap_err().is_panic());
        assert_eq!(recorded(&file, r#""k":"close""#), 0);
    }
}
