//! What reassembly needs to know of a TCP segment.

use std::net::SocketAddr;

use shared::time::Timestamp;

/// One segment (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// When it was captured.
    pub at: Timestamp,
    /// Its sequence number.
    pub sequence: u32,
    /// What it acknowledges, if anything.
    pub acknowledged: Option<u32>,
    /// What it is beside data.
    pub flags: Flags,
    /// The data, as far as it was captured.
    pub payload: &'a [u8],
    /// Octets of data behind that which were not captured.
    pub missing: usize,
}

/// What a segment is beside data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// It begins a connection.
    pub syn: bool,
    /// It ends one.
    pub end: End,
}

/// How a segment ends its direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It does not.
    #[default]
    None,
    /// FIN.
    Finished,
    /// RST.
    Reset,
}
