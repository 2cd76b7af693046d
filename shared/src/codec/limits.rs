//! What one peer may make us keep in memory.

/// Limits of one session. Every buffer that a peer can fill has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one unit that are kept together; a longer line or reply is
    /// yielded in pieces of this size. RFC 5321 §4.5.3.1 asks for 512 octets of
    /// command line or reply line and 1000 of text line.
    pub unit: usize,
    /// Commands that may wait for their replies. A client that sends more
    /// without waiting is read no further until a reply comes.
    pub unanswered: usize,
}

impl Limits {
    /// 64 KiB a unit, 1000 unanswered commands: far above what RFC 5321
    /// §4.5.3.1 demands, with room for 100 recipients in one group.
    pub const DEFAULT: Self = Self {
        unit: 64 * 1024,
        unanswered: 1000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
