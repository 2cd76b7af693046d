//! What a capture may make us keep in memory.

/// Limits of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections followed at a time. Beyond it the one that was silent for
    /// longest ends as far as it was seen.
    pub connections: usize,
    /// Octets of one connection that wait for something missing before them; then
    /// that is given up.
    pub waiting: usize,
    /// Segments of one connection that wait so.
    pub segments: usize,
    /// Octets that wait in all connections together.
    pub waiting_in_all: usize,
    /// Packets of a connection after which something is given up that its receiver
    /// has acknowledged, and that will not be sent again.
    pub patience: u64,
    /// IP datagrams that are being put together from fragments.
    pub datagrams: usize,
    /// Octets of each side that are kept to know the protocol.
    pub unknown: usize,
    /// Octets of each direction that are kept to compare what is sent again.
    pub history: usize,
    /// Octets of mail data that wait for the reply that says what they are.
    pub undecided: usize,
}

impl Limits {
    /// What is used unless told otherwise.
    pub const DEFAULT: Self = Self {
        connections: 16_384,
        waiting: 4 << 20,
        segments: 4096,
        waiting_in_all: 64 << 20,
        patience: 256,
        datagrams: 256,
        unknown: 4096,
        history: 8192,
        undecided: 256 << 10,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
