//! What is to go wrong on purpose with one answer.
//!
//! Whoever decides what a server says gives a [`Strike`] along with it; the loop around
//! the session does what it says: late, in pieces, something else, or nothing at all.
//! What it does is recorded like everything else, before it is done.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use shared::recording::{FaultFacts, NoteFacts};

use crate::handshake::Break;

/// What is to go wrong.
#[derive(Clone, Debug, Default)]
pub struct Strike {
    /// What is recorded about it.
    pub faults: Vec<FaultFacts>,
    /// What is noted besides.
    pub notes: Vec<NoteFacts>,
    /// How long nothing is said.
    pub delay: Duration,
    /// What is said in place of the replies; none for the replies themselves.
    pub octets: Option<Vec<u8>>,
    /// What is said in clear behind the reply to STARTTLS.
    pub injected: Vec<u8>,
    /// How it is said.
    pub manner: Manner,
    /// Octets a second that are read from now on.
    pub read_rate: Option<u64>,
    /// Octets a second that are written from now on.
    pub write_rate: Option<u64>,
    /// How long nothing is read afterwards.
    pub stall: Duration,
    /// How the connection ends then.
    pub end: Option<End>,
}

/// How a reply is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// In one write, with the others of its group.
    #[default]
    Whole,
    /// In two writes.
    Split {
        /// The first has so many octets.
        at: usize,
        /// Between them.
        pause: Duration,
    },
    /// So many octets at a time.
    Drip {
        /// So many.
        octets: usize,
        /// A time.
        every: Duration,
    },
}

/// How a connection ends on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
    /// Our side is closed, and the client heard out.
    HalfClose,
    /// It is left open in silence.
    Hang,
}

/// What is to go wrong with a TLS handshake.
#[derive(Clone, Debug, Default)]
pub struct TlsStrike {
    /// What comes before it; how it is said, and what, does not matter here.
    pub strike: Strike,
    /// In place of the server's own.
    pub config: Option<Arc<ServerConfig>>,
    /// Where it breaks off.
    pub breaks: Option<Break>,
}

impl Strike {
    /// And what another one does besides saying something.
    pub fn join(&mut self, mut other: Self) {
        self.delay = self.delay.saturating_add(other.delay);
        other.faults.append(&mut self.faults);
        self.faults = other.faults;
        other.notes.append(&mut self.notes);
        self.notes = other.notes;
        self.read_rate = self.read_rate.or(other.read_rate);
        self.write_rate = self.write_rate.or(other.write_rate);
        self.stall = self.stall.max(other.stall);
    }

    /// It is not done along with the other replies of its group.
    pub(crate) fn is_apart(&self) -> bool {
        !self.delay.is_zero()
            || !self.stall.is_zero()
            || !self.injected.is_empty()
            || self.manner != Manner::Whole
            || self.end.is_some()
    }
}
