//! How long a client is waited for, and what ends the waiting: it said something, it went,
//! a time limit, the end of the server.

use std::future::Future;
use std::io;
use std::time::Duration;

use shared::reply::Reply;
use shared::stage::Stage;
use shared::time::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Ending, Loop, ServeError};

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
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Silence | Self::Idle(_) => "silent for too long, closing",
            Self::Session => "this session has lasted too long, closing",
            Self::Pace => "content comes too slowly, closing",
            Self::Handshake => "the TLS handshake took too long, closing",
        }
    }
}

/// How fast content comes.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// When it is looked at next.
    due: Timestamp,
    /// Octets since it was looked at last.
    octets: u64,
}

#[derive(PartialEq, Eq)]
pub(super) enum Read {
    Some,
    End,
    Late(Due),
}

impl Loop<'_> {
    /// Waits for the client, its time limits, or the end of the server.
    pub(super) async fn read(&mut self, idle: Option<Duration>) -> Result<Read, ServeError> {
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
    pub(super) fn deadline(&self, idle: Option<Duration>) -> (Timestamp, Due) {
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
    pub(super) fn follow_pace(&mut self) {
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
    pub(super) fn is_fast_enough(&mut self) -> bool {
        let least = self.service.waits.pace.map_or(0, |(least, _)| least);
        self.pace.take().is_none_or(|pace| pace.octets >= least)
    }

    /// A client must wait for the greeting (RFC 5321 §4.3.1): what it says before
    /// is taken in first, and so is known for what it is.
    pub(super) async fn notice_early_talk(&mut self) -> Result<(), ServeError> {
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
}

/// Waits for something within a time limit, and while the server may wait. What
/// can be done without waiting is done: the last 421 is said.
pub(super) async fn within<T>(
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
pub(super) fn shutting_down() -> Reply {
    Reply::of(421, "4.3.2", "shutting down, closing")
}

pub(super) fn has_timed_out<T>(done: &io::Result<T>) -> bool {
    matches!(done, Err(error) if error.kind() == io::ErrorKind::TimedOut)
}
