//! Following what is recorded, while it is recorded.
//!
//! A [`Tap`] is told of every session of a [`Journal`](crate::journal::Journal), in
//! order and with the lines that the recording gets, whether or not there is a file.
//! Nothing secret passes here: the lines are masked, even where the file's are not,
//! and of a unit a tap sees everything but its bytes.

use shared::command::Verb;
use shared::direction::Direction;
use shared::recording::{CloseFacts, OpenFacts, TlsLine};
use shared::session::{Kind, Unit, UnitId};
use shared::time::Timestamp;

/// Whoever follows a journal.
pub trait Tap: Send + Sync {
    /// A session has begun: who is to be told of the rest of it.
    fn opened(&self, opened: Opened<'_>) -> Box<dyn SessionTap>;
}

/// Whoever follows one session. It is dropped when nothing more can come.
pub trait SessionTap: Send + Sync {
    /// A unit was recorded.
    fn unit(&mut self, shown: Shown<'_>);

    /// A TLS handshake was made, or failed.
    fn tls(&mut self, tls: &TlsLine, lines: &[u8]);

    /// Something was noted.
    fn noted(&mut self, lines: &[u8]);

    /// It is over.
    fn closed(&mut self, at: Timestamp, close: CloseFacts, lines: &[u8]);
}

/// A session that begins.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Its number in the recording.
    pub session: u64,
    /// When.
    pub at: Timestamp,
    /// Who, and where.
    pub facts: &'a OpenFacts,
    /// As recorded.
    pub lines: &'a [u8],
}

/// A unit without its bytes.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    unit: &'a Unit,
    lines: &'a [u8],
}

impl<'a> Shown<'a> {
    pub(crate) fn new(unit: &'a Unit, lines: &'a [u8]) -> Self {
        Self { unit, lines }
    }

    /// Its number within the session.
    pub fn id(self) -> UnitId {
        self.unit.id
    }

    /// When its last byte was read.
    pub fn at(self) -> Timestamp {
        self.unit.at
    }

    /// Who sent it.
    pub fn direction(self) -> Direction {
        self.unit.direction
    }

    /// How many octets it has.
    pub fn octets(self) -> u64 {
        self.unit.bytes.len() as u64
    }

    /// It goes on in the next unit of its kind and direction.
    pub fn more(self) -> bool {
        self.unit.more
    }

    /// What it is; an unknown verb is not told, for it may be a secret that was sent
    /// where a verb was due.
    pub fn kind(self) -> Kind {
        match &self.unit.kind {
            Kind::Command {
                verb: Verb::Other(_),
            } => Kind::Command {
                verb: Verb::Other(String::new()),
            },
            kind => kind.clone(),
        }
    }

    /// As recorded, with its line ends: one line, or two with what was noted of it.
    pub fn lines(self) -> &'a [u8] {
        self.lines
    }
}
