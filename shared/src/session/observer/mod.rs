//! Follows both directions of one session and cuts them into units.
//!
//! SMTP moves on the reply: whether the line after `DATA` is a command or mail
//! data is for the server to say. So the observer holds what the client sends
//! after DATA, STARTTLS or AUTH until it has seen the answer, and then knows.
//! Who cannot wait (a proxy whose peer stalls) calls [`Observer::flush`].
//!
//! It copies nothing, tolerates everything, and refuses nothing: what is odd is
//! noted on the unit as a [`Deviation`].

mod client;
mod content;
mod missing;
mod server;

use std::collections::VecDeque;

use self::content::ContentState;
use self::missing::Replies;
use super::buffer::{Buffer, Taken};
use super::unit::{Kind, RawReason, Unit, UnitId};
use crate::codec::{DotScanner, Limits};
use crate::content::Examined;
use crate::deviation::Deviation;
use crate::direction::Direction;
use crate::reply::ReplyCode;
use crate::stage::{Stage, Step};
use crate::time::Timestamp;

/// Whether the observer's owner takes part in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// It is one of the peers: after STARTTLS it performs the handshake, and
    /// calls [`Observer::tls_started`].
    Ours,
    /// It stands between them: after STARTTLS it sees TLS records.
    Others,
}

/// One session, seen from outside. See the [module](super) for its place.
///
/// Call [`push`](Self::push) with what was read, then [`poll`](Self::poll) until
/// it yields nothing.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known by itself")]
pub struct Observer {
    limits: Limits,
    peers: Peers,
    client: Buffer,
    server: Buffer,
    next_id: u64,
    stage: Stage,
    mode: Mode,
    /// What waits for its reply, oldest first.
    awaited: VecDeque<Awaited>,
    greeted: bool,
    last_reply_at: Option<Timestamp>,
    /// What was answered last ended its group.
    group_ended: bool,
    lmtp: bool,
    pipelining: bool,
    accepted_recipients: usize,
    /// The beginning of a client line that is yielded in pieces, enough of it to
    /// know what it asks for.
    line_head: Option<Vec<u8>>,
    content: ContentState,
    reply: PartialReply,
    server_mode: ServerMode,
    /// How much is known of the replies.
    replies: Replies,
    /// Bytes of the client were lost: its next line may lack its beginning.
    after_gap: bool,
}

/// How the client's next bytes are to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Commands,
    /// The reply to the last command decides.
    Undecided(Pending),
    Sasl {
        mechanism: String,
    },
    Dots(DotScanner),
    Chunk {
        left: u64,
        last: bool,
    },
    /// Plaintext after STARTTLS was accepted, until the handshake is done.
    Handshake,
    /// STARTTLS of others was accepted: what comes next is TLS, or (servers exist
    /// that say 220 and go on) plaintext.
    AwaitTls,
    /// TLS records of others.
    Opaque,
}

/// What the reply that [`Mode::Undecided`] waits for will decide.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pending {
    Data,
    StartTls,
    Auth { mechanism: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerMode {
    Replies,
    /// After STARTTLS was accepted, until the handshake is done.
    Handshake,
    Opaque,
}

/// A unit of the client that waits for its reply.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    id: UnitId,
    at: Timestamp,
    step: Step,
    /// How many replies are to come, once the first one has: more than one only in
    /// LMTP (RFC 2033 §4.2). Until then nobody knows: in a pipelined group the
    /// content is sent before its recipients are answered.
    left: Option<usize>,
    /// Nothing may follow it before its reply (RFC 2920 §3.1).
    ends_group: bool,
}

/// A reply of which some lines have come.
#[derive(Debug, Default)]
struct PartialReply {
    code: Option<ReplyCode>,
    status: Option<crate::status::EnhancedStatusCode>,
    /// Octets in the buffer that are whole lines of this reply.
    scanned: usize,
    /// PIPELINING was among its lines.
    announces_pipelining: bool,
    /// The beginning of a line that is yielded in pieces.
    line_head: Vec<u8>,
    deviations: Vec<Deviation>,
}

impl Observer {
    /// An observer of a session that begins with the server's greeting.
    pub fn new(peers: Peers, limits: Limits) -> Self {
        Self {
            limits,
            peers,
            client: Buffer::default(),
            server: Buffer::default(),
            next_id: 0,
            stage: Stage::Connected,
            mode: Mode::Commands,
            awaited: VecDeque::new(),
            greeted: false,
            last_reply_at: None,
            group_ended: false,
            lmtp: false,
            pipelining: false,
            accepted_recipients: 0,
            line_head: None,
            content: ContentState::default(),
            reply: PartialReply::default(),
            server_mode: ServerMode::Replies,
            replies: Replies::Seen,
            after_gap: false,
        }
    }

    /// Takes what one read brought from that side, and when.
    pub fn push(&mut self, direction: Direction, bytes: &[u8], at: Timestamp) {
        self.buffer(direction).push(bytes, at);
    }

    /// The next unit that is known to be whole.
    ///
    /// The server's bytes are looked at first: they decide what the client's mean.
    /// But when all is answered, they can only answer what the client has said
    /// meanwhile and what had to wait for its meaning.
    pub fn poll(&mut self) -> Option<Unit> {
        if self.greeted && self.awaited.is_empty() {
            return self.poll_client().or_else(|| self.poll_server());
        }
        self.poll_server().or_else(|| self.poll_client())
    }

    /// Yields as a piece (`more`) what is held of a unit that is not whole yet,
    /// so that a proxy need not keep it from the other peer any longer.
    ///
    /// What was held because its meaning is undecided is taken for what the
    /// client must believe it to be: mail data after DATA, SASL after AUTH.
    /// Nothing comes out while there is nothing to be said about the bytes at
    /// all (less than a reply code).
    pub fn flush(&mut self, direction: Direction) -> Option<Unit> {
        match direction {
            Direction::Client => self.flush_client(false),
            Direction::Server => self.flush_server(false),
        }
    }

    /// Yields what is left of a direction that has ended, as often as it is
    /// called, until there is nothing.
    pub fn finish(&mut self, direction: Direction) -> Option<Unit> {
        let mut unit = self.poll().or_else(|| match direction {
            Direction::Client => self.flush_client(true),
            Direction::Server => self.flush_server(true),
        })?;
        if unit.more && self.held(unit.direction) == 0 {
            unit.more = false;
            unit.deviations.push(Deviation::CutShort);
        }
        Some(unit)
    }

    /// How many bytes of that direction have not become units yet.
    pub fn held(&self, direction: Direction) -> usize {
        match direction {
            Direction::Client => self.client.len(),
            Direction::Server => self.server.len(),
        }
    }

    /// When the oldest of the [`held`](Self::held) bytes was read.
    pub fn held_since(&self, direction: Direction) -> Option<Timestamp> {
        match direction {
            Direction::Client => self.client.first_at(),
            Direction::Server => self.server.first_at(),
        }
    }

    /// The TLS handshake of our own STARTTLS has been done. Everything said
    /// before is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        self.mode = Mode::Commands;
        self.server_mode = ServerMode::Replies;
        self.pipelining = false;
        self.accepted_recipients = 0;
        self.line_head = None;
    }

    /// STARTTLS was accepted and the handshake is due: bytes that come now are
    /// plaintext that must not enter the TLS session.
    pub fn awaits_handshake(&self) -> bool {
        self.mode == Mode::Handshake
    }

    /// The session became TLS records that nobody reads here.
    pub fn is_opaque(&self) -> bool {
        self.mode == Mode::Opaque
    }

    /// Where the session stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What was found in the dotted mail data that came last, or is coming.
    pub fn examined(&self) -> Examined {
        self.content.examined()
    }

    /// PIPELINING was in the last EHLO reply.
    pub fn pipelining_offered(&self) -> bool {
        self.pipelining
    }

    /// As many commands wait for replies as the limits allow: read no more from
    /// the client until one came.
    pub fn is_full(&self) -> bool {
        self.awaited.len() >= self.limits.unanswered
    }

    /// The next unit of the server alone, whole.
    pub(crate) fn poll_said(&mut self) -> Option<Unit> {
        self.poll_server()
    }

    /// What the server has said so far of a reply that will not become whole.
    pub(crate) fn cut_off(&mut self) -> Option<Unit> {
        let held = self.server.len();
        (held > 0).then(|| self.not_a_reply(held))
    }

    /// How many replies are due; the greeting is one.
    pub(crate) fn due(&self) -> usize {
        let awaited = self.awaited.iter().map(|one| match (one.left, one.step) {
            (Some(left), _) => left,
            (None, Step::EndOfData | Step::Bdat { last: true }) => self.replies_to_content(),
            (None, _) => 1,
        });
        awaited.sum::<usize>() + usize::from(!self.greeted)
    }

    fn buffer(&mut self, direction: Direction) -> &mut Buffer {
        match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        }
    }

    /// Makes a unit of the first `count` bytes of a direction.
    fn unit(&mut self, direction: Direction, count: usize, kind: Kind) -> Unit {
        let taken = self.buffer(direction).take(count);
        self.unit_of(direction, taken, kind)
    }

    fn unit_of(&mut self, direction: Direction, taken: Taken, kind: Kind) -> Unit {
        self.next_id += 1;
        Unit {
            id: UnitId(self.next_id),
            direction,
            at: taken.at,
            began: taken.began,
            read: taken.read,
            kind,
            more: false,
            bytes: taken.bytes,
            deviations: Vec::new(),
        }
    }

    /// All that is held of a direction (up to the limit) as raw bytes.
    fn raw(&mut self, direction: Direction, why: RawReason) -> Unit {
        let count = self.limits.unit;
        self.unit(direction, count, Kind::Raw { why })
    }
}

/// A TLS record or an SSL 3 one: type 20 to 23, version 3.
fn looks_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x17, 3, ..] | [0x14..=0x17])
}
