//! The server's side of a session, without IO and without opinions.
//!
//! What a command is answered is for a policy to say: the session asks
//! ([`ServerOutput::Ask`]) and waits for [`ServerSession::answer`], so a policy
//! may be slow, look things up, or lie. What the protocol itself demands is
//! offered by [`ServerSession::objection`].

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::observer::{Observer, Peers};
use super::unit::{DataForm, Kind, Unit};
use crate::codec::{DotDecoder, Limits};
use crate::command::{Command, Heard, Verb, bdat_size};
use crate::content::Examined;
use crate::deviation::Deviation;
use crate::direction::Direction;
use crate::reply::{Reply, ReplyCode, Severity};
use crate::stage::{Stage, Step, allowed};
use crate::time::Timestamp;

/// What the owner of a [`ServerSession`] is to do next.
#[derive(Debug)]
pub enum ServerOutput {
    /// Write this unit to the recording. It comes before the bytes it describes
    /// go anywhere.
    Record(Unit),
    /// Message content as it comes, dots undone.
    Content(Bytes),
    /// Call [`ServerSession::answer`].
    Ask(Asked),
    /// Send these bytes: the replies to a whole group of commands at once.
    Send(Bytes),
    /// Perform the TLS handshake, then call [`ServerSession::tls_ready`].
    StartTls,
    /// Close the connection.
    Close,
}

/// What the session wants an answer to.
#[derive(Debug)]
pub enum Asked {
    /// A connection: the answer is the greeting.
    Greeting,
    /// A command.
    Command(Box<Heard>),
    /// A line of an AUTH exchange, without its line end.
    Sasl(Bytes),
    /// The content is complete; the answer is the verdict on the message.
    EndOfData {
        /// More BDAT chunks follow: the answer acknowledges this one.
        last: bool,
    },
}

/// So many octets of replies wait for more to be sent with them, at most: a group
/// of a thousand recipients has half of that.
const GROUP: usize = 64 * 1024;

/// A line that has no end after so many octets will have none: all that can be done
/// about it is to close.
const ENDLESS: usize = 1 << 20;

/// A line that comes in pieces, because it is longer than any that is understood.
#[derive(Debug)]
struct Overlong {
    /// The beginning, from which it is told what it is.
    beginning: Bytes,
    octets: usize,
}

/// One session, on the server's side.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each changes by itself")]
pub struct ServerSession {
    observer: Observer,
    ready: VecDeque<ServerOutput>,
    /// What was said and is to be recorded before anything else happens.
    said: VecDeque<Unit>,
    outgoing: Vec<u8>,
    asking: bool,
    /// The command that is asked about, as it came.
    line: Bytes,
    /// The last command was one whose positive reply changes the connection.
    last_verb: Option<Verb>,
    dots: DotDecoder,
    overlong: Option<Overlong>,
    /// How the content came that came last.
    form: Option<DataForm>,
    in_tls: bool,
    handshake_due: bool,
    /// Nothing is answered any more: what comes is recorded.
    deaf: bool,
    closing: bool,
    closed: bool,
    now: Timestamp,
    patience: Duration,
}

impl ServerSession {
    /// A session on a new connection. `patience` is how long the client may be
    /// silent; RFC 5321 §4.5.3.2.7 asks for at least five minutes.
    pub fn new(now: Timestamp, limits: Limits, patience: Duration) -> Self {
        Self {
            observer: Observer::new(Peers::Ours, limits),
            ready: VecDeque::from([ServerOutput::Ask(Asked::Greeting)]),
            said: VecDeque::new(),
            outgoing: Vec::new(),
            asking: true,
            line: Bytes::new(),
            last_verb: None,
            dots: DotDecoder::default(),
            overlong: None,
            form: None,
            in_tls: false,
            handshake_due: false,
            deaf: false,
            closing: false,
            closed: false,
            now,
            patience,
        }
    }

    /// The connection is inside TLS from its first byte.
    #[must_use]
    pub fn inside_tls(mut self) -> Self {
        self.in_tls = true;
        self
    }

    /// Takes what was read.
    pub fn receive(&mut self, now: Timestamp, bytes: &[u8]) {
        self.now = now;
        self.observer.push(Direction::Client, bytes, now);
    }

    /// The client has closed its side.
    pub fn receive_end(&mut self) {
        self.closing = true;
    }

    /// The handshake asked for by [`ServerOutput::StartTls`] has been done.
    pub fn tls_ready(&mut self, now: Timestamp) {
        self.observer.tls_started();
        self.in_tls = true;
        self.handshake_due = false;
        self.now = now;
    }

    /// The client has been silent for too long, or the server shuts down: says
    /// so and closes.
    pub fn give_up(&mut self, now: Timestamp, reply: &Reply) {
        self.send(now, reply);
        self.closing = true;
    }

    /// Closes when everything said so far has been sent, and hears no more.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// The command that is asked about, as it came; empty when none is.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// When the client was heard last, or answered.
    pub fn heard(&self) -> Timestamp {
        self.now
    }

    /// When to call [`give_up`](Self::give_up).
    pub fn deadline(&self) -> Timestamp {
        self.now + self.patience
    }

    /// What is odd about the content, at the end of data. Only dotted data is
    /// examined: in BDAT chunks no octet is more than content (RFC 3030 §2).
    pub fn examined(&self) -> Option<Examined> {
        (self.form == Some(DataForm::Dot)).then(|| self.observer.examined())
    }

    /// How the content came that came last.
    pub fn form(&self) -> Option<DataForm> {
        self.form
    }

    /// TLS is in force.
    pub fn in_tls(&self) -> bool {
        self.in_tls
    }

    /// Where the session stands.
    pub fn stage(&self) -> Stage {
        self.observer.stage()
    }

    /// Nothing is under way that the client would have to do again: no
    /// transaction, no exchange, no unanswered command.
    pub fn may_be_interrupted(&self) -> bool {
        let between = matches!(
            self.stage(),
            Stage::Connected | Stage::Greeted | Stage::Ready | Stage::Closed
        );
        between && !self.asking && self.ready.is_empty() && self.outgoing.is_empty()
    }

    /// The answer to what [`ServerOutput::Ask`] asked: one reply, but for content
    /// in LMTP, which gets one for each recipient that was accepted (RFC 2033 §4.2).
    pub fn answer(&mut self, now: Timestamp, replies: &[Reply]) {
        self.asked();
        for reply in replies {
            self.send(now, reply);
        }
        if let Some(code) = replies.first().map(Reply::code) {
            self.settle(code);
        }
    }

    /// Answers with octets of any kind where these replies were meant. The session goes
    /// on by the replies that are among the octets, and where there are too few, as if
    /// the ones that were meant had been said.
    pub fn answer_otherwise(&mut self, now: Timestamp, meant: &[Reply], octets: &[u8]) {
        self.asked();
        self.now = self.now.max(now);
        let due = self.observer.due();
        let said = self.say(now, octets);
        let left = meant
            .len()
            .saturating_sub(due.saturating_sub(self.observer.due()));
        let mut unsaid = Vec::new();
        for reply in meant.iter().skip(meant.len() - left) {
            reply.encode(&mut unsaid);
        }
        self.observer.push(Direction::Server, &unsaid, now);
        // It was not said, so it is not recorded.
        while self.observer.poll_said().is_some() {}
        if let Some(code) = said.or_else(|| meant.first().map(Reply::code)) {
            self.settle(code);
        }
    }

    /// Says octets of any kind, asked or not; returns the code of the first reply
    /// among them.
    pub fn say(&mut self, now: Timestamp, octets: &[u8]) -> Option<ReplyCode> {
        self.outgoing.extend_from_slice(octets);
        self.observer.push(Direction::Server, octets, now);
        let mut said = None;
        while let Some(unit) = self.observer.poll_said() {
            if let Kind::Reply { code, .. } = unit.kind {
                said = said.or(Some(code));
            }
            self.said.push_back(unit);
        }
        self.said.extend(self.observer.cut_off());
        said
    }

    /// What is to be recorded before what was said may be sent.
    pub fn poll_record(&mut self) -> Option<Unit> {
        match self.ready.pop_front() {
            Some(ServerOutput::Record(unit)) => Some(unit),
            other => {
                if let Some(other) = other {
                    self.ready.push_front(other);
                }
                self.said.pop_front()
            }
        }
    }

    /// The replies that wait to be sent together, to be sent now.
    pub fn take_outgoing(&mut self) -> Bytes {
        std::mem::take(&mut self.outgoing).into()
    }

    /// Answers nothing any more: whatever comes is recorded.
    pub fn fall_silent(&mut self) {
        self.ask_no_more();
        self.deaf = true;
    }

    fn asked(&mut self) {
        self.asking = false;
        self.line = Bytes::new();
    }

    /// What was to be asked, or passed on, is left.
    fn ask_no_more(&mut self) {
        self.asked();
        self.ready
            .retain(|output| matches!(output, ServerOutput::Record(_)));
    }

    /// So much waits to be understood that no more should be read.
    pub fn is_full(&self) -> bool {
        self.observer.held(Direction::Client) >= GROUP || self.observer.is_full()
    }

    /// What a reply changes for the session.
    fn settle(&mut self, code: ReplyCode) {
        match self.last_verb.take() {
            Some(Verb::StartTls) if code.is_positive() => self.handshake_due = true,
            Some(Verb::Quit) if code.is_positive() => self.closing = true,
            Some(Verb::Data) if code.severity() == Severity::Intermediate => {
                self.dots = DotDecoder::default();
            }
            _ if code.number() == 421 => self.closing = true,
            _ => {}
        }
    }

    /// Closes instead of answering.
    pub fn hang_up(&mut self) {
        self.ask_no_more();
        self.closing = true;
    }

    /// What the protocol itself has against a command: a syntax error, or that
    /// it may not come now. `None` leaves the answer to policy.
    pub fn objection(&self, heard: &Heard) -> Option<Reply> {
        let command = match &heard.command {
            Ok(command) => command,
            Err(error) => return Some(error.reply()),
        };
        if let Command::StartTls = command
            && self.in_tls
        {
            return Some(Reply::of(503, "5.5.1", "TLS is already in force"));
        }
        let step = Step::of(&heard.verb);
        (!allowed(self.stage(), step)).then(|| {
            let text = match self.stage() {
                Stage::Greeted => "say EHLO first",
                Stage::Ready => "MAIL first",
                Stage::Mail => "RCPT first",
                _ => "not now",
            };
            Reply::of(503, "5.5.1", text)
        })
    }

    /// What is to be done next; `None` means: read, or answer.
    pub fn poll(&mut self) -> Option<ServerOutput> {
        loop {
            if let Some(unit) = self.poll_record() {
                return Some(ServerOutput::Record(unit));
            }
            if let Some(output) = self.ready.pop_front() {
                return Some(output);
            }
            if self.asking || self.closed {
                return None;
            }
            if !self.closing
                && !self.handshake_due
                && self.outgoing.len() < GROUP
                && let Some(unit) = self.observer.poll()
            {
                if self.deaf {
                    return Some(ServerOutput::Record(unit));
                }
                self.hear(unit);
                continue;
            }
            if !self.outgoing.is_empty() {
                return Some(ServerOutput::Send(
                    std::mem::take(&mut self.outgoing).into(),
                ));
            }
            if self.closing {
                return Some(self.before_close());
            }
            if self.handshake_due {
                return Some(self.before_handshake());
            }
            return None;
        }
    }

    /// What came behind the last command that was answered is recorded, too.
    fn before_close(&mut self) -> ServerOutput {
        if let Some(unit) = self.observer.finish(Direction::Client) {
            return ServerOutput::Record(unit);
        }
        self.closed = true;
        ServerOutput::Close
    }

    /// Plaintext that came with STARTTLS is recorded and goes no further
    /// (RFC 3207 §4.2).
    fn before_handshake(&mut self) -> ServerOutput {
        if let Some(unit) = self.observer.poll() {
            return ServerOutput::Record(unit);
        }
        self.handshake_due = false;
        ServerOutput::StartTls
    }

    fn send(&mut self, now: Timestamp, reply: &Reply) {
        self.now = self.now.max(now);
        let start = self.outgoing.len();
        reply.encode(&mut self.outgoing);
        let bytes = self.outgoing.get(start..).unwrap_or_default();
        self.observer.push(Direction::Server, bytes, now);
        while self.observer.held(Direction::Server) > 0 {
            let Some(unit) = self.observer.poll() else {
                break;
            };
            self.ready.push_back(ServerOutput::Record(unit));
        }
    }

    /// Passes on what a unit of the client means.
    fn hear(&mut self, unit: Unit) {
        let mut bytes = unit.bytes.clone();
        let (kind, more) = (unit.kind.clone(), unit.more);
        if !more && let Some(overlong) = self.overlong.take() {
            // Too long by itself, so that it is refused for that (RFC 5321 §4.5.3.1.9).
            bytes = overlong.beginning;
        }
        let deviations = unit.deviations.clone();
        self.ready.push_back(ServerOutput::Record(unit));
        match kind {
            Kind::Command { .. } | Kind::Sasl { .. } if more => self.hear_more_of_line(&bytes),
            Kind::Command { verb: Verb::Bdat } => match bdat_size(&bytes) {
                // The reply comes after the chunk: RFC 3030 §2.
                Some((1.., _)) => {}
                Some((0, last)) => {
                    self.form = Some(DataForm::Bdat);
                    self.ask(Asked::EndOfData { last });
                }
                None => self.ask_about(&bytes, deviations),
            },
            Kind::Command { verb } => {
                self.last_verb = Some(verb);
                self.line = bytes.clone();
                self.ask_about(&bytes, deviations);
            }
            Kind::Sasl { .. } => {
                let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                self.ask(Asked::Sasl(bytes.slice_ref(line)));
            }
            Kind::Data { form, end, last } => {
                self.content(form, &bytes, end);
                if end {
                    self.ask(Asked::EndOfData { last });
                }
            }
            Kind::Reply { .. } | Kind::Raw { .. } => {}
        }
    }

    /// A line that fills the buffer without ending. That is no reason to close (RFC 5321
    /// §3.8): it is heard to its end, and answered then. One without an end is not.
    fn hear_more_of_line(&mut self, bytes: &Bytes) {
        let overlong = self.overlong.get_or_insert_with(|| Overlong {
            beginning: bytes.clone(),
            octets: 0,
        });
        overlong.octets = overlong.octets.saturating_add(bytes.len());
        if overlong.octets >= ENDLESS {
            let text = "this line has no end, closing";
            self.send(self.now, &Reply::of(421, "4.7.0", text));
            self.closing = true;
        }
    }

    fn content(&mut self, form: DataForm, bytes: &Bytes, end: bool) {
        self.form = Some(form);
        match form {
            DataForm::Bdat => self.ready.push_back(ServerOutput::Content(bytes.clone())),
            // The end of dotted data is the final line, which is no content.
            DataForm::Dot if end => {}
            DataForm::Dot => {
                let ready = &mut self.ready;
                self.dots.decode(bytes, |range| {
                    ready.push_back(ServerOutput::Content(bytes.slice(range)));
                });
            }
        }
    }

    /// What was odd about the command's time is known to the observer alone.
    fn ask_about(&mut self, line: &[u8], deviations: Vec<Deviation>) {
        let heard = Command::parse(line);
        self.ask(Asked::Command(Box::new(Heard {
            deviations,
            ..heard
        })));
    }

    fn ask(&mut self, asked: Asked) {
        self.asking = true;
        self.ready.push_back(ServerOutput::Ask(asked));
    }
}
