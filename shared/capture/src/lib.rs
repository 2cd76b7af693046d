//! Captures: packets on disk, turned into the sessions they hold.
//!
//! ```text
//! container → packet → tcp → import
//! ```
//!
//! [`container`] reads pcap and pcapng, compressed or not, and says at which byte a
//! file is damaged. [`packet`] finds the TCP segment in a frame, through tunnels and
//! fragments. [`tcp`] puts the segments of each connection in order, as they were
//! caused, and tells what is missing. [`import`] knows the mail dialogues among the
//! connections by what is said, and writes them as a recording; [`summary`] counts
//! what a recording holds.
//!
//! Nothing here opens a file, asks a clock or draws a random number: bytes come from
//! any [`Read`](std::io::Read), lines go to any [`Write`](std::io::Write). Memory is
//! bounded by [`Limits`], not by the file.

pub mod container;
pub mod import;
mod limits;
pub mod packet;
pub mod summary;
pub mod tcp;

pub use limits::Limits;
