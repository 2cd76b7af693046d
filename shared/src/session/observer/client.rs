//! The client's direction: commands, continuation lines, mail data.

use super::{Awaited, ContentState, Mode, Observer, Peers, Pending, looks_like_tls};
use crate::codec::{DotScanner, Scan};
use crate::command::{Command, Verb, auth_mechanism, bdat_size};
use crate::deviation::Deviation;
use crate::direction::Direction::Client;
use crate::session::unit::{DataForm, Kind, RawReason, Unit};
use crate::stage::Step;

/// A piece of dotted mail data.
const DOT_CONTENT: Kind = Kind::Data {
    form: DataForm::Dot,
    end: false,
    last: false,
};

/// The line with the lone dot.
const DOT_END: Kind = Kind::Data {
    form: DataForm::Dot,
    end: true,
    last: true,
};

/// The largest chunk that a server can count, for who only watches.
const LARGEST_CHUNK: u64 = i64::MAX as u64;

/// How much of a line that comes in pieces is kept to understand it.
const LINE_HEAD: usize = 2048;

impl Observer {
    pub(super) fn poll_client(&mut self) -> Option<Unit> {
        if self.client.is_empty() {
            return None;
        }
        if !self.greeted && self.next_id == 0 && self.peers == Peers::Others {
            self.notice_implicit_tls();
        }
        self.assume_answered();
        match &self.mode {
            Mode::Commands | Mode::Sasl { .. } => self.poll_line(),
            Mode::Undecided(_) => None,
            Mode::Dots(scanner) => self.poll_dots(*scanner),
            Mode::Chunk { left, last } => Some(self.poll_chunk(*left, *last)),
            Mode::Handshake => Some(self.plaintext()),
            Mode::AwaitTls => {
                self.tls_or_not();
                self.poll_client()
            }
            Mode::Opaque => Some(self.raw(Client, RawReason::Tls)),
        }
    }

    pub(super) fn flush_client(&mut self, ended: bool) -> Option<Unit> {
        if self.client.is_empty() {
            return None;
        }
        match &self.mode {
            Mode::Commands | Mode::Sasl { .. } => Some(self.piece_of_line(self.client.len())),
            Mode::Undecided(Pending::StartTls) => Some(self.plaintext()),
            Mode::Undecided(Pending::Data) if ended => {
                self.mode = Mode::Commands;
                self.poll_client().or_else(|| self.flush_client(ended))
            }
            Mode::Undecided(Pending::Data) => {
                self.mode = Mode::Dots(DotScanner::new());
                self.content = ContentState::start(true);
                self.poll_client().or_else(|| self.flush_client(ended))
            }
            Mode::Undecided(Pending::Auth { mechanism }) => {
                let mechanism = mechanism.clone();
                self.mode = Mode::Sasl { mechanism };
                self.poll_client().or_else(|| self.flush_client(ended))
            }
            // Only the beginning of a final dot line is ever held.
            Mode::Dots(_) if ended => {
                let kind = DOT_CONTENT;
                let mut unit = self.unit(Client, self.client.len(), kind);
                unit.more = true;
                Some(unit)
            }
            Mode::Dots(_)
            | Mode::Chunk { .. }
            | Mode::Handshake
            | Mode::AwaitTls
            | Mode::Opaque => None,
        }
    }

    /// A ClientHello where a greeting is awaited: TLS from the first byte.
    fn notice_implicit_tls(&mut self) {
        if looks_like_tls(self.client.bytes()) {
            self.mode = Mode::Opaque;
            self.server_mode = super::ServerMode::Opaque;
        }
    }

    /// The first bytes after the STARTTLS of others was accepted.
    fn tls_or_not(&mut self) {
        (self.mode, self.server_mode) = if looks_like_tls(self.client.bytes()) {
            (Mode::Opaque, super::ServerMode::Opaque)
        } else {
            (Mode::Commands, super::ServerMode::Replies)
        };
    }

    fn poll_line(&mut self) -> Option<Unit> {
        match memchr::memchr(b'\n', self.client.bytes()) {
            Some(end) if end < self.limits.unit => Some(self.whole_line(end + 1)),
            None if self.client.len() < self.limits.unit => None,
            _ => Some(self.piece_of_line(self.limits.unit)),
        }
    }

    fn whole_line(&mut self, length: usize) -> Unit {
        let early = self.deviations_of_timing();
        let line = self.line_so_far(length);
        self.line_head = None;
        let whole = line.len() <= LINE_HEAD;
        if let Mode::Sasl { mechanism } = self.mode.clone() {
            let mut unit = self.unit(
                Client,
                length,
                Kind::Sasl {
                    mechanism: mechanism.clone(),
                },
            );
            unit.deviations = deviations_of_line(&line, whole);
            self.mode = Mode::Undecided(Pending::Auth { mechanism });
            self.await_reply(&unit, Step::Auth, true);
            unit
        } else {
            let heard = Command::parse(&line);
            let verb = heard.verb;
            if std::mem::take(&mut self.after_gap) && matches!(verb, Verb::Other(_)) {
                let why = RawReason::AfterGap;
                return self.unit(Client, length, Kind::Raw { why });
            }
            let mut unit = self.unit(Client, length, Kind::Command { verb: verb.clone() });
            unit.deviations = heard.deviations;
            unit.deviations.extend(early);
            self.command(&verb, &line, &unit);
            unit
        }
    }

    /// Too much for one unit, or kept for too long: yields the beginning.
    fn piece_of_line(&mut self, length: usize) -> Unit {
        let line = self.line_so_far(length);
        let kind = match &self.mode {
            Mode::Sasl { mechanism } => Kind::Sasl {
                mechanism: mechanism.clone(),
            },
            _ => Kind::Command {
                verb: Verb::of(&line),
            },
        };
        self.line_head = Some(line);
        let mut unit = self.unit(Client, length, kind);
        unit.more = true;
        unit
    }

    /// The line up to `length` octets from here, with what was yielded before,
    /// cut to what is needed to understand it.
    pub(super) fn line_so_far(&self, length: usize) -> Vec<u8> {
        let mut line = self.line_head.clone().unwrap_or_default();
        let rest = self.client.bytes().get(..length).unwrap_or_default();
        let room = (LINE_HEAD + 1).saturating_sub(line.len());
        line.extend_from_slice(rest.get(..room).unwrap_or(rest));
        line
    }

    /// What a command changes as soon as it is seen, before its reply.
    pub(super) fn command(&mut self, verb: &Verb, line: &[u8], unit: &Unit) {
        let step = Step::of(verb);
        if verb == &Verb::Bdat {
            match bdat_size(line) {
                Some((0, last)) => self.await_reply(unit, Step::Bdat { last }, false),
                // No server counts so far: it will refuse, and the client will go on.
                Some((left, _)) if self.peers == Peers::Others && left > LARGEST_CHUNK => {
                    self.await_reply(unit, step, false);
                }
                Some((left, last)) => self.mode = Mode::Chunk { left, last },
                None => self.await_reply(unit, step, false),
            }
        } else {
            self.await_reply(unit, step, verb.must_end_group());
            let pending = match verb {
                Verb::Data => Pending::Data,
                Verb::StartTls => Pending::StartTls,
                Verb::Auth => Pending::Auth {
                    mechanism: auth_mechanism(line).unwrap_or_default(),
                },
                _ => return,
            };
            self.mode = Mode::Undecided(pending);
        }
    }

    pub(super) fn await_reply(&mut self, unit: &Unit, step: Step, ends_group: bool) {
        self.awaited.push_back(Awaited {
            id: unit.id,
            at: unit.at,
            step,
            left: None,
            ends_group,
        });
    }

    /// What is odd about a command coming now, whatever it says.
    fn deviations_of_timing(&self) -> Option<Deviation> {
        let came = self.client.first_at()?;
        let before_last_reply =
            !self.awaited.is_empty() || self.last_reply_at.is_some_and(|reply| came <= reply);
        if !self.greeted || (self.next_id == 1 && before_last_reply) {
            return Some(Deviation::TalkBeforeGreeting);
        }
        // Who answers each command before it hears the next one has none that waits.
        let last = self.awaited.back();
        let group_ended = last.map_or(self.group_ended, |awaited| awaited.ends_group);
        (before_last_reply && (!self.pipelining || group_ended))
            .then_some(Deviation::UnannouncedPipelining)
    }

    fn poll_dots(&mut self, mut scanner: DotScanner) -> Option<Unit> {
        let held = self.client.bytes();
        let window = held.get(..self.limits.unit).unwrap_or(held);
        let found = scanner.scan(window);
        self.mode = Mode::Dots(scanner);
        match found {
            Scan::More => None,
            Scan::Content(length) => {
                let kind = DOT_CONTENT;
                Some(self.content_unit(length, kind))
            }
            Scan::End => {
                let kind = DOT_END;
                let unit = self.unit(Client, 3, kind);
                self.mode = Mode::Commands;
                self.await_reply(&unit, Step::EndOfData, false);
                Some(unit)
            }
        }
    }

    fn poll_chunk(&mut self, left: u64, last: bool) -> Unit {
        let held = self.client.len().min(self.limits.unit);
        let length = usize::try_from(left).map_or(held, |left| left.min(held));
        let left = left - length as u64;
        let end = left == 0;
        let kind = Kind::Data {
            form: DataForm::Bdat,
            end,
            last: end && last,
        };
        let unit = self.content_unit(length, kind);
        if end {
            self.mode = Mode::Commands;
            self.await_reply(&unit, Step::Bdat { last }, false);
        } else {
            self.mode = Mode::Chunk { left, last };
        }
        unit
    }

    fn content_unit(&mut self, length: usize, kind: Kind) -> Unit {
        let dots = matches!(
            kind,
            Kind::Data {
                form: DataForm::Dot,
                ..
            }
        );
        let mut unit = self.unit(Client, length, kind);
        if dots {
            self.content.examine(&unit.bytes, &mut unit.deviations);
            if std::mem::take(&mut self.content.early) {
                unit.deviations.push(Deviation::ContentBeforeGoAhead);
            }
        }
        unit
    }

    /// Bytes between STARTTLS and the handshake.
    fn plaintext(&mut self) -> Unit {
        let mut unit = self.raw(Client, RawReason::AfterStartTls);
        unit.deviations.push(Deviation::PlaintextAfterStartTls);
        if self.peers == Peers::Others && self.client.is_empty() {
            self.mode = Mode::AwaitTls;
        }
        unit
    }
}

/// What is odd about a continuation line. The last octets are only looked at if
/// the `whole` line is here.
fn deviations_of_line(line: &[u8], whole: bool) -> Vec<Deviation> {
    let mut found = Vec::new();
    if whole && !line.ends_with(b"\r\n") {
        found.push(Deviation::BareLf);
    }
    if line.contains(&0) {
        found.push(Deviation::Nul);
    }
    found
}
