//! The server's direction: replies, and what they make of the client's bytes.

use super::{
    Awaited, ContentState, Mode, Observer, PartialReply, Peers, Pending, ServerMode, looks_like_tls,
};
use crate::codec::DotScanner;
use crate::deviation::Deviation;
use crate::direction::Direction::Server;
use crate::reply::{ReplyCode, ReplyLine, Severity, status_of};
use crate::session::unit::{Answers, Kind, RawReason, Unit};
use crate::stage::{Outcome, Stage, Step, advance};

/// How much of a line that comes in pieces is kept to understand it.
const LINE_HEAD: usize = 512;

impl Observer {
    pub(super) fn poll_server(&mut self) -> Option<Unit> {
        if self.server.is_empty() {
            return None;
        }
        match self.server_mode {
            ServerMode::Opaque => return Some(self.raw(Server, RawReason::Tls)),
            ServerMode::Handshake => return Some(self.server_plaintext()),
            ServerMode::Replies => {}
        }
        while let Some(line) = self.next_reply_line() {
            let (end, parsed) = line;
            match parsed {
                None if self.reply.scanned > 0 => {
                    return Some(self.broken_reply(Deviation::NotAReply));
                }
                None => return Some(self.not_a_reply(self.end_of_rubbish(end))),
                Some((code, _)) if self.reply.code.is_some_and(|first| first != code) => {
                    if self.reply.scanned > 0 {
                        return Some(self.broken_reply(Deviation::CodeChanged));
                    }
                    // Its earlier lines went out as pieces: nothing to break off.
                    self.reply = PartialReply::default();
                }
                Some((code, continues)) => {
                    self.reply.code = Some(code);
                    self.reply.scanned = end;
                    if !continues {
                        return Some(self.whole_reply(code));
                    }
                    if end >= self.limits.unit {
                        return self.piece_of_reply(end);
                    }
                }
            }
        }
        if self.server.len() >= self.limits.unit {
            return self.piece_of_reply(self.limits.unit).or_else(|| {
                let unit = self.not_a_reply(self.limits.unit);
                Some(unit)
            });
        }
        None
    }

    pub(super) fn flush_server(&mut self, ended: bool) -> Option<Unit> {
        if self.server.is_empty() {
            return None;
        }
        let length = self.server.len().min(self.limits.unit);
        if self.server.len() < 3 && !ended && self.reply.code.is_none() {
            return None;
        }
        self.piece_of_reply(length)
            .or_else(|| Some(self.not_a_reply(length)))
    }

    /// The next line of the server: where it ends in the buffer, and its code
    /// and whether it continues if it is a reply line. Takes note of its text.
    fn next_reply_line(&mut self) -> Option<(usize, Option<(ReplyCode, bool)>)> {
        let rest = self.server.bytes().get(self.reply.scanned..)?;
        let length = memchr::memchr(b'\n', rest)? + 1;
        let end = self.reply.scanned + length;
        // The beginning of the line may have gone out as a piece.
        let mut whole = std::mem::take(&mut self.reply.line_head);
        let line = if whole.is_empty() {
            rest.get(..length)?
        } else {
            whole.extend_from_slice(rest.get(..length)?);
            &whole
        };
        let Some(parsed) = ReplyLine::parse(line) else {
            return Some((end, None));
        };
        if self.reply.code.is_none() {
            self.reply.status = status_of(parsed.code, parsed.text);
        }
        if parsed.text.eq_ignore_ascii_case(b"PIPELINING") {
            self.reply.announces_pipelining = true;
        }
        let found = (parsed.code, parsed.continues);
        note_line(line, &mut self.reply.deviations);
        Some((end, Some(found)))
    }

    /// Too much for one unit, or kept for too long: yields the beginning of a
    /// reply, if its code can be told.
    fn piece_of_reply(&mut self, length: usize) -> Option<Unit> {
        let piece = self.server.bytes().get(..length)?;
        let code = self.reply.code.or_else(|| code_of_prefix(piece))?;
        let line_start = memchr::memrchr(b'\n', piece).map_or(0, |end| end + 1);
        if line_start > 0 {
            self.reply.line_head.clear();
        }
        let room = LINE_HEAD.saturating_sub(self.reply.line_head.len());
        let begun = piece.get(line_start..)?;
        let begun = begun.get(..room).unwrap_or(begun);
        self.reply.line_head.extend_from_slice(begun);
        self.reply.code = Some(code);
        self.reply.scanned = 0;
        let answers = match self.awaited.front() {
            _ if !self.greeted => Answers::Greeting,
            Some(awaited) => Answers::Unit(awaited.id),
            None => Answers::Nothing,
        };
        let kind = Kind::Reply {
            code,
            status: self.reply.status,
            answers,
            took: None,
        };
        let mut unit = self.unit(Server, length, kind);
        unit.more = true;
        Some(unit)
    }

    pub(super) fn whole_reply(&mut self, code: ReplyCode) -> Unit {
        let reply = std::mem::take(&mut self.reply);
        let answered = self.answered(code);
        let kind = Kind::Reply {
            code,
            status: reply.status,
            answers: answered.answers,
            took: None,
        };
        let mut unit = self.unit(Server, reply.scanned, kind);
        unit.deviations = reply.deviations;
        if let (Kind::Reply { took, .. }, Some(awaited)) = (&mut unit.kind, answered.awaited) {
            let nanos = unit.at.nanos().saturating_sub(awaited.at.nanos());
            *took = Some(nanos);
        }
        self.greeted = true;
        self.last_reply_at = Some(unit.at);
        let out_of_order = self.conclude(code, &answered, reply.announces_pipelining);
        unit.deviations.extend(out_of_order);
        unit
    }

    /// What a reply with that code answers.
    fn answered(&mut self, code: ReplyCode) -> Answered {
        if !self.greeted {
            return Answered {
                answers: Answers::Greeting,
                awaited: None,
            };
        }
        let (to_content, recipients) = (self.replies_to_content(), self.accepted_recipients);
        let Some(front) = self.awaited.front_mut() else {
            return Answered {
                answers: Answers::Nothing,
                awaited: None,
            };
        };
        let all = match front.step {
            // PRDR (draft-hall-prdr): one reply for each recipient follows, and one
            // for the message.
            Step::EndOfData if code.number() == 353 => recipients.saturating_add(2),
            Step::EndOfData | Step::Bdat { last: true } => to_content,
            _ => 1,
        };
        let left = front.left.unwrap_or(all).saturating_sub(1);
        front.left = Some(left);
        let awaited = *front;
        // A 421 closes the session: no further replies of a group follow.
        if left == 0 || code.number() == 421 {
            self.awaited.pop_front();
            self.group_ended = awaited.ends_group;
        }
        Answered {
            answers: Answers::Unit(awaited.id),
            awaited: Some(awaited),
        }
    }

    /// RFC 2033 §4.2: LMTP answers the content once for each accepted recipient. They
    /// are known when all that came before the content has been answered.
    pub(super) fn replies_to_content(&self) -> usize {
        if self.lmtp {
            self.accepted_recipients.max(1)
        } else {
            1
        }
    }

    /// What a whole reply changes.
    fn conclude(
        &mut self,
        code: ReplyCode,
        answered: &Answered,
        pipelining: bool,
    ) -> Option<Deviation> {
        let Some(awaited) = answered.awaited else {
            return self.unasked(code, answered.answers);
        };
        // The last reply to the content settles it: RFC 2033 §4.2.
        if awaited.left != Some(0) && code.number() != 421 {
            return None;
        }
        let outcome = Outcome::of(code);
        self.decide(awaited.step, code);
        match awaited.step {
            Step::Rcpt if outcome == Outcome::Accepted => self.accepted_recipients += 1,
            Step::Hello { lmtp } if outcome == Outcome::Accepted => {
                self.pipelining = pipelining;
                self.lmtp = lmtp;
            }
            _ => {}
        }
        match advance(self.stage, awaited.step, outcome) {
            Ok(stage) => {
                self.stage = stage;
                // They belong to the transaction, and end with it.
                if !matches!(stage, Stage::Rcpt | Stage::Data | Stage::Bdat) {
                    self.accepted_recipients = 0;
                }
                None
            }
            Err(_) => Some(Deviation::OutOfOrder),
        }
    }

    /// A reply that nothing asked for: the greeting, a 421, or a server that took
    /// something for the end of the data that was not.
    fn unasked(&mut self, code: ReplyCode, answers: Answers) -> Option<Deviation> {
        if answers == Answers::Greeting {
            if let Ok(stage) = advance(self.stage, Step::Greeting, Outcome::of(code)) {
                self.stage = stage;
            }
            return None;
        }
        if matches!(self.mode, Mode::Dots(_)) && self.content.may_have_ended() {
            self.mode = Mode::Commands;
            self.stage = Stage::Ready;
            return None;
        }
        if matches!(self.mode, Mode::Dots(_))
            && self.content.ended_leniently()
            && code.number() != 421
        {
            self.mode = Mode::Commands;
            self.stage = Stage::Ready;
            return Some(Deviation::EndOfDataNotCrlf);
        }
        (code.number() != 421).then_some(Deviation::UnsolicitedReply)
    }

    /// Settles what the client's bytes after DATA, STARTTLS or AUTH are.
    fn decide(&mut self, step: Step, code: ReplyCode) {
        let go_on = code.severity() == Severity::Intermediate;
        match (&self.mode, step) {
            (Mode::Undecided(Pending::Data), Step::Data) if go_on => {
                self.content = ContentState::start(!self.client.is_empty());
                self.mode = Mode::Dots(if std::mem::take(&mut self.after_gap) {
                    self.content.has_gap();
                    DotScanner::within_line()
                } else {
                    DotScanner::new()
                });
            }
            // The guess of `flush` was wrong: what follows are commands.
            (Mode::Dots(_), Step::Data) if !go_on => self.mode = Mode::Commands,
            (Mode::Undecided(Pending::StartTls), Step::StartTls) if code.is_positive() => {
                self.start_tls();
            }
            (Mode::Undecided(Pending::Auth { mechanism }), Step::Auth) if go_on => {
                self.mode = Mode::Sasl {
                    mechanism: mechanism.clone(),
                };
            }
            (Mode::Undecided(_), Step::Data | Step::StartTls | Step::Auth) => {
                self.mode = Mode::Commands;
            }
            (Mode::Sasl { .. }, Step::Auth) if !go_on => self.mode = Mode::Commands,
            _ => {}
        }
    }

    fn start_tls(&mut self) {
        match self.peers {
            Peers::Ours => {
                self.mode = Mode::Handshake;
                self.server_mode = ServerMode::Handshake;
            }
            Peers::Others => {
                self.mode = if self.client.is_empty() {
                    Mode::AwaitTls
                } else if looks_like_tls(self.client.bytes()) {
                    Mode::Opaque
                } else {
                    Mode::Handshake
                };
                self.server_mode = ServerMode::Opaque;
            }
        }
    }

    fn server_plaintext(&mut self) -> Unit {
        let mut unit = self.raw(Server, RawReason::AfterStartTls);
        unit.deviations.push(Deviation::PlaintextAfterStartTls);
        unit
    }

    /// The lines of a reply that is broken off by a line that cannot belong to it.
    fn broken_reply(&mut self, why: Deviation) -> Unit {
        let reply = std::mem::take(&mut self.reply);
        let mut unit = self.not_a_reply(reply.scanned);
        unit.deviations = vec![why];
        unit
    }

    /// Where a run of lines that are no replies ends, which begins with one up to
    /// `end`: who sends nothing but empty lines makes one unit of them, not thousands.
    fn end_of_rubbish(&self, mut end: usize) -> usize {
        let held = self.server.bytes();
        let window = held.get(..self.limits.unit).unwrap_or(held);
        while let Some(rest) = window.get(end..) {
            let line = memchr::memchr(b'\n', rest).and_then(|at| rest.get(..=at));
            match line {
                Some(line) if ReplyLine::parse(line).is_none() => end += line.len(),
                _ => break,
            }
        }
        end
    }

    pub(super) fn not_a_reply(&mut self, length: usize) -> Unit {
        self.reply = PartialReply::default();
        let why = RawReason::NotAReply;
        let mut unit = self.unit(Server, length, Kind::Raw { why });
        unit.deviations.push(Deviation::NotAReply);
        unit
    }
}

/// The code at the start of a line of which the end has not come.
fn code_of_prefix(piece: &[u8]) -> Option<ReplyCode> {
    let digits = piece.get(..3)?;
    let follows = piece.get(3);
    matches!(follows, None | Some(b' ' | b'-' | b'\r' | b'\n'))
        .then(|| ReplyLine::parse(digits))
        .flatten()
        .map(|line| line.code)
}

/// What a reply answers, and what is known of that.
struct Answered {
    answers: Answers,
    awaited: Option<Awaited>,
}

fn note_line(line: &[u8], deviations: &mut Vec<Deviation>) {
    let mut note = |found: bool, deviation| {
        if found && !deviations.contains(&deviation) {
            deviations.push(deviation);
        }
    };
    note(!line.ends_with(b"\r\n"), Deviation::BareLf);
    note(line.contains(&0), Deviation::Nul);
    // RFC 5321 §4.5.3.1.5; real servers exceed 512, so clients must cope.
    note(line.len() > 512, Deviation::LineTooLong);
}
