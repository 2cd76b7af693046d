//! What follows bytes that nobody saw: a capture loses packets, begins late, or
//! holds one direction only.
//!
//! The owner of the observer knows where bytes are missing, and how many. It
//! [`cut`](Observer::cut)s what is held before them, tells of the
//! [`gap`](Observer::gap), and goes on. What the lost bytes said is guessed from
//! what the peers do next, never invented.

use super::{Mode, Observer, PartialReply, Pending, ServerMode, looks_like_tls};
use crate::codec::DotScanner;
use crate::command::Verb;
use crate::deviation::Deviation;
use crate::direction::Direction;
use crate::reply::ReplyLine;
use crate::session::observer::ContentState;
use crate::session::unit::{Kind, Unit, UnitId};
use crate::stage::Step;

/// How much is known of the replies that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    /// All of them.
    #[default]
    Seen,
    /// Some were lost since the client spoke last.
    SomeLost,
    /// None will ever be seen.
    NeverSeen,
}

impl Observer {
    /// The session was joined after its beginning: there is no greeting to come.
    pub fn joined_late(&mut self) {
        self.greeted = true;
    }

    /// Nothing of what the server says will be seen: what the client's bytes mean
    /// is told from themselves.
    pub fn server_is_unseen(&mut self) {
        self.greeted = true;
        self.replies = Replies::NeverSeen;
    }

    /// Replies were lost, nobody knows where: what was asked before the client's
    /// next word counts as answered.
    pub fn replies_are_lost(&mut self) {
        self.greeted = true;
        if self.replies == Replies::Seen {
            self.replies = Replies::SomeLost;
        }
    }

    /// Yields what is held of a direction before bytes that are missing, as often
    /// as it is called, until there is nothing.
    pub fn cut(&mut self, direction: Direction) -> Option<Unit> {
        if let Some(unit) = self.poll() {
            return Some(unit);
        }
        match direction {
            Direction::Client => self.cut_client(),
            Direction::Server => self.cut_server(),
        }
    }

    /// So many bytes of that direction are missing here. What was held of it must
    /// have been [`cut`](Self::cut).
    pub fn gap(&mut self, direction: Direction, octets: u64) {
        match direction {
            Direction::Client => self.client_gap(octets),
            Direction::Server => {
                self.reply = PartialReply::default();
                self.replies_are_lost();
            }
        }
    }

    fn cut_client(&mut self) -> Option<Unit> {
        let in_line = matches!(self.mode, Mode::Commands);
        let (line, length) = (
            self.line_so_far(self.client.len()),
            self.client.len().min(self.limits.unit),
        );
        let whole = length == self.client.len();
        let mut unit = self
            .flush_client(false)
            .or_else(|| self.flush_client(true))?;
        if unit.more && whole {
            unit.more = false;
            unit.deviations.push(Deviation::CutShort);
            self.line_head = None;
            // It was a command to the server, and will be answered.
            match &unit.kind {
                Kind::Command { verb: Verb::Bdat } => self.await_reply(&unit, Step::Other, true),
                Kind::Command { verb } if in_line => {
                    let verb = verb.clone();
                    self.command(&verb, &line, &unit);
                }
                Kind::Sasl { mechanism } => {
                    let mechanism = mechanism.clone();
                    self.await_reply(&unit, Step::Auth, true);
                    self.mode = Mode::Undecided(Pending::Auth { mechanism });
                }
                _ => {}
            }
        }
        Some(unit)
    }

    /// The end of a reply is missing: if its last line has begun, it counts as whole.
    fn cut_server(&mut self) -> Option<Unit> {
        if self.server_mode == ServerMode::Replies && self.server.len() <= self.limits.unit {
            let tail = self.server.bytes().get(self.reply.scanned..)?;
            let last = ReplyLine::parse(tail).filter(|line| !line.continues && tail.len() > 3);
            let fits = |line: &ReplyLine<'_>| self.reply.code.is_none_or(|code| code == line.code);
            if let Some(code) = last.filter(fits).map(|line| line.code) {
                self.reply.scanned = self.server.len();
                let mut unit = self.whole_reply(code);
                unit.deviations.push(Deviation::CutShort);
                return Some(unit);
            }
        }
        let mut unit = self.flush_server(true)?;
        if unit.more && self.server.is_empty() {
            unit.more = false;
            unit.deviations.push(Deviation::CutShort);
        }
        Some(unit)
    }

    fn client_gap(&mut self, octets: u64) {
        self.line_head = None;
        match &mut self.mode {
            Mode::Commands | Mode::Sasl { .. } | Mode::Undecided(_) | Mode::AwaitTls => {
                self.after_gap = true;
            }
            Mode::Dots(scanner) => {
                *scanner = DotScanner::within_line();
                self.content.has_gap();
            }
            Mode::Chunk { left, last } => {
                let (rest, last) = (left.saturating_sub(octets), *last);
                *left = rest;
                if rest == 0 {
                    self.mode = Mode::Commands;
                    self.after_gap = octets > 0;
                    self.await_lost_end(Step::Bdat { last });
                }
            }
            Mode::Handshake | Mode::Opaque => {}
        }
    }

    /// A unit that was lost will be answered.
    fn await_lost_end(&mut self, step: Step) {
        self.awaited.push_back(super::Awaited {
            id: UnitId(self.next_id),
            at: self.last_reply_at.unwrap_or_default(),
            step,
            left: None,
            ends_group: false,
        });
    }

    /// The client goes on though replies were lost: then they had come.
    pub(super) fn assume_answered(&mut self) {
        if self.replies == Replies::Seen {
            return;
        }
        if let Mode::Undecided(pending) = self.mode.clone() {
            let line = self.client.bytes();
            let mode = match pending {
                Pending::StartTls if looks_like_tls(line) => Mode::Opaque,
                Pending::Data if !begins_like_a_command(line) => {
                    self.content = ContentState::start(false);
                    Mode::Dots(DotScanner::new())
                }
                Pending::Auth { mechanism } if !begins_like_a_command(line) => {
                    Mode::Sasl { mechanism }
                }
                _ => Mode::Commands,
            };
            if mode == Mode::Opaque {
                self.server_mode = ServerMode::Opaque;
            }
            self.mode = mode;
        }
        self.awaited.clear();
        if self.replies == Replies::SomeLost {
            self.replies = Replies::Seen;
        }
    }
}

/// What no client says inside mail data or AUTH, at the start of a line: guessed
/// only where the reply that would tell is missing.
fn begins_like_a_command(line: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"MAIL FROM:",
        b"RCPT TO:",
        b"EHLO ",
        b"HELO ",
        b"LHLO ",
        b"RSET\r",
        b"QUIT\r",
        b"NOOP\r",
        b"AUTH ",
        b"STARTTLS\r",
    ];
    WORDS.iter().any(|word| {
        line.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    })
}
