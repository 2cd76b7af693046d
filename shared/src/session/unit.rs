//! What the observer yields: a session in its smallest meaningful pieces.

use bytes::Bytes;

use crate::command::Verb;
use crate::deviation::Deviation;
use crate::direction::Direction;
use crate::reply::ReplyCode;
use crate::status::EnhancedStatusCode;
use crate::time::Timestamp;

/// Counts the units of one session, from 1; both directions share the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub u64);

/// One piece of a session.
///
/// The bytes of all units of one direction, in order, are exactly the bytes
/// that direction sent: nothing is dropped, normalised or added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its number within the session.
    pub id: UnitId,
    /// Who sent it.
    pub direction: Direction,
    /// When its last byte was read.
    pub at: Timestamp,
    /// When its first byte was read, if that was in an earlier read.
    pub began: Option<Timestamp>,
    /// The number of the read (per direction, from 1) that brought its last
    /// byte, if that read brought bytes of other units too.
    pub read: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// The unit goes on in the next one of the same kind and direction.
    pub more: bool,
    /// The bytes, as received.
    pub bytes: Bytes,
    /// What is odd about it.
    pub deviations: Vec<Deviation>,
}

/// The meaning of a [`Unit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A command line.
    Command {
        /// Its verb.
        verb: Verb,
    },
    /// A client's line inside an AUTH exchange (RFC 4954 §4).
    Sasl {
        /// The mechanism named in the AUTH command, in upper case.
        mechanism: String,
    },
    /// Mail data as on the wire, dots not undone.
    Data {
        /// How it is framed.
        form: DataForm,
        /// This is the end: the line with the lone dot, or the last octets of
        /// a BDAT chunk.
        end: bool,
        /// The end of the whole content: always so for a final dot, only with
        /// `LAST` for BDAT.
        last: bool,
    },
    /// A whole reply, all its lines.
    Reply {
        /// The reply code.
        code: ReplyCode,
        /// The enhanced status code of its first line, if it fits the code.
        status: Option<EnhancedStatusCode>,
        /// What it answers.
        answers: Answers,
        /// Nanoseconds since the last byte of what it answers.
        took: Option<u64>,
    },
    /// Bytes that are not SMTP, or that cannot be understood as such.
    Raw {
        /// Why they were not understood.
        why: RawReason,
    },
}

/// How mail data is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataForm {
    /// By octet counts (RFC 3030).
    Bdat,
    /// By a line with a lone dot (RFC 5321 §4.1.1.4).
    Dot,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answers {
    /// The connection: it is the greeting.
    Greeting,
    /// That command, continuation line or end of data.
    Unit(UnitId),
    /// Nothing the client sent.
    Nothing,
}

/// Why bytes are raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RawReason {
    /// Where a reply was due, something else came.
    NotAReply,
    /// Plaintext between STARTTLS and the handshake, which never enters the
    /// TLS session (RFC 3207 §4.2).
    AfterStartTls,
    /// TLS records that are passed through unread.
    Tls,
    /// The rest of a line of which the beginning was lost.
    AfterGap,
}

impl RawReason {
    /// The word a recording uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAReply => "not-a-reply",
            Self::AfterStartTls => "after-starttls",
            Self::Tls => "tls",
            Self::AfterGap => "after-gap",
        }
    }

    /// The reason of that name.
    pub fn named(name: &str) -> Option<Self> {
        [
            Self::NotAReply,
            Self::AfterStartTls,
            Self::Tls,
            Self::AfterGap,
        ]
        .into_iter()
        .find(|reason| reason.name() == name)
    }
}
