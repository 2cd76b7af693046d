//! What comes out of a connection.

use shared::time::Timestamp;

/// One side of a connection: the sender of its first packet is [`First`](Side::First).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who is seen first.
    First,
    /// The other one.
    Second,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    pub(super) const BOTH: [Self; 2] = [Self::First, Self::Second];
}

/// One thing that happened in a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A side sent these octets.
    Bytes {
        /// Who.
        side: Side,
        /// What.
        bytes: Vec<u8>,
        /// When, as far as the capture knows.
        at: Timestamp,
    },
    /// A side sent so many octets here that the capture does not have.
    Gap {
        /// Who.
        side: Side,
        /// How many.
        octets: u64,
        /// When what came behind them was captured.
        at: Timestamp,
    },
    /// Octets were sent again with other values; the first ones were given.
    Conflict {
        /// By whom.
        side: Side,
        /// Where they begin in what that side sent.
        offset: u64,
        /// How many differ.
        octets: u64,
        /// When.
        at: Timestamp,
    },
    /// A side has sent all it will.
    Finished {
        /// Who.
        side: Side,
        /// When.
        at: Timestamp,
    },
    /// A side broke the connection off.
    Reset {
        /// Who.
        side: Side,
        /// When.
        at: Timestamp,
    },
}
