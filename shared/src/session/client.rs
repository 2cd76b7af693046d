//! The client's side of a session, without IO.
//!
//! The owner says lines ([`ClientSession::say`]) and hears what is answered
//! ([`ClientOutput::Heard`]). Nothing is checked: a tool that tests servers must
//! be able to say anything.

use std::collections::VecDeque;

use bytes::Bytes;

use super::observer::{Observer, Peers};
use super::unit::{Answers, Kind, RawReason, Unit, UnitId};
use crate::codec::Limits;
use crate::deviation::Deviation;
use crate::direction::Direction;
use crate::extension::Offered;
use crate::reply::Reply;
use crate::time::Timestamp;

/// What the owner of a [`ClientSession`] is to do next.
#[derive(Debug)]
pub enum ClientOutput {
    /// Write this unit to the recording. It comes before the bytes it describes
    /// are sent, and before what was heard is acted on.
    Record(Unit),
    /// Send these bytes.
    Send(Bytes),
    /// Something came from the server.
    Heard(Heard),
}

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// What it answers.
    pub answers: Answers,
    /// The bytes.
    pub wire: Bytes,
    /// The value; `None` if the bytes are no well-formed reply.
    pub reply: Option<Reply>,
    /// When its last byte was read.
    pub at: Timestamp,
    /// Nanoseconds since the last byte of what it answers was sent.
    pub took: Option<u64>,
}

/// One session, on the client's side.
#[derive(Debug)]
pub struct ClientSession {
    observer: Observer,
    ready: VecDeque<ClientOutput>,
    /// A reply of which some pieces have come.
    pieces: Vec<u8>,
    /// That reply is too long: it was heard as none, and the rest is recorded only.
    overlong: bool,
    last_said: Option<UnitId>,
}

impl ClientSession {
    /// A session on a new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            observer: Observer::new(Peers::Ours, limits),
            ready: VecDeque::new(),
            pieces: Vec::new(),
            overlong: false,
            last_said: None,
        }
    }

    /// Says some bytes: a command line, several of them, mail data.
    pub fn say(&mut self, now: Timestamp, bytes: &[u8]) {
        self.observer.push(Direction::Client, bytes, now);
        self.drain();
        // We know what we mean: nothing is held back to see what it becomes.
        while self.observer.held(Direction::Client) > 0 {
            match self.observer.flush(Direction::Client) {
                Some(unit) => self.take(unit),
                None => break,
            }
            self.drain();
        }
        self.ready
            .push_back(ClientOutput::Send(Bytes::copy_from_slice(bytes)));
    }

    /// Takes what was read.
    pub fn receive(&mut self, now: Timestamp, bytes: &[u8]) {
        self.observer.push(Direction::Server, bytes, now);
        self.drain();
    }

    /// The server has closed its side.
    pub fn receive_end(&mut self) {
        while let Some(unit) = self.observer.finish(Direction::Server) {
            self.take(unit);
        }
    }

    /// The TLS handshake after STARTTLS has been done.
    pub fn tls_ready(&mut self) {
        self.observer.tls_started();
    }

    /// STARTTLS was accepted: the handshake is due.
    pub fn awaits_handshake(&self) -> bool {
        self.observer.awaits_handshake()
    }

    /// The unit that was said last.
    pub fn last_said(&self) -> Option<UnitId> {
        self.last_said
    }

    /// What is to be done next; `None` means: read, or say something.
    pub fn poll(&mut self) -> Option<ClientOutput> {
        self.ready.pop_front()
    }

    fn drain(&mut self) {
        while let Some(unit) = self.observer.poll() {
            self.take(unit);
        }
    }

    fn take(&mut self, unit: Unit) {
        if unit.direction == Direction::Client {
            self.last_said = Some(unit.id);
            self.ready.push_back(ClientOutput::Record(unit));
            return;
        }
        let (answers, took) = match unit.kind {
            Kind::Reply { answers, took, .. } => (answers, took),
            _ => (Answers::Nothing, None),
        };
        let after_starttls = matches!(
            unit.kind,
            Kind::Raw {
                why: RawReason::AfterStartTls
            }
        );
        let cut_short = unit.deviations.contains(&Deviation::CutShort);
        let (at, more, bytes) = (unit.at, unit.more, unit.bytes.clone());
        self.ready.push_back(ClientOutput::Record(unit));
        if after_starttls || cut_short {
            // RFC 3207 §4.2: recorded, and never taken for an answer. Nor is a reply
            // of which the end never came.
            return;
        }
        let Some((wire, whole)) = self.gather(bytes, more) else {
            return;
        };
        self.ready.push_back(ClientOutput::Heard(Heard {
            answers,
            reply: if whole { Reply::parse(&wire) } else { None },
            wire,
            at,
            took,
        }));
    }

    /// Puts the pieces of a reply together; says whether it is all of it. One that
    /// is too long is heard of once, and its rest is recorded only.
    fn gather(&mut self, bytes: Bytes, more: bool) -> Option<(Bytes, bool)> {
        if self.overlong {
            self.overlong = more;
            return None;
        }
        let room = MAX_REPLY.saturating_sub(self.pieces.len());
        if bytes.len() > room {
            self.overlong = more;
            self.pieces.clear();
            return Some((bytes, false));
        }
        if !more && self.pieces.is_empty() {
            return Some((bytes, true));
        }
        self.pieces.extend_from_slice(&bytes);
        (!more).then(|| (std::mem::take(&mut self.pieces).into(), true))
    }
}

/// A reply beyond this is taken for none: it may never end. RFC 5321 §4.5.3.1.5
/// allows 512 octets a line; no honest reply comes near this.
const MAX_REPLY: usize = 256 * 1024;

impl Heard {
    /// The extensions, if this is the reply to an EHLO.
    pub fn offered(&self) -> Offered {
        Offered::parse(self.reply.iter().flat_map(Reply::lines).skip(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard of a server's bytes, given in reads of 64 KiB.
    fn heard(bytes: &[u8]) -> Vec<Option<u16>> {
        let mut session = ClientSession::new(Limits::DEFAULT);
        let mut heard = Vec::new();
        for read in bytes.chunks(64 * 1024) {
            session.receive(Timestamp::from_nanos(1), read);
            while let Some(output) = session.poll() {
                if let ClientOutput::Heard(one) = output {
                    heard.push(one.reply.map(|reply| reply.code().number()));
                }
            }
        }
        heard
    }

    #[test]
    fn a_long_reply_is_heard_whole_and_an_endless_one_as_none() {
        let lines = |count: usize| b"220-and so on, and so on\r\n".repeat(count);
        let mut long = lines(5000);
        long.extend_from_slice(b"220 at last\r\n421 bye\r\n");
        assert_eq!(heard(&long), [Some(220), Some(421)]);
        assert_eq!(heard(&lines(100_000)), [None]);
        // Once it has ended after all, the next reply is one again.
        let mut endless = lines(100_000);
        endless.extend_from_slice(b"220 at last\r\n421 bye\r\n");
        assert_eq!(heard(&endless), [None, Some(421)]);
    }
}
