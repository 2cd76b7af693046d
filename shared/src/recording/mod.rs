//! The recording: the format every program writes and everything reads.
//!
//! Version 1 is JSON Lines: a header, then one record a line, sessions
//! interleaved. `docs/recording-format.md` describes it. Writing:
//! [`SessionLog`] turns the units of a session into lines, [`FileLog`] adds the
//! lines that belong to the file. Reading: [`Reader`] yields [`Record`]s and
//! survives damage, [`Recording`] holds them, [`Dialogue`] is one session in the
//! form in which it is judged.

mod build;
mod dialogue;
mod file;
mod line;
mod log;
mod merge;
mod read;
mod record;
mod redact;
mod transcript;

pub use dialogue::{Answer, Dialogue, Ending, Exchange, Handshake, Said, Transaction};
pub use file::{ClockKind, FileLog, Head};
pub(crate) use log::queue_id;
pub use log::{CloseFacts, FaultFacts, NoteFacts, OpenFacts, SessionLog, TlsLine, Via};
pub use merge::Merge;
pub use read::{Damage, Reader, Recording, Unusable};
pub use record::Record;
pub use redact::{RedactKey, Redaction};
pub use transcript::{Line, Transcript, TranscriptError};

/// The version of the format that is written, and the highest that is read.
pub const VERSION: u64 = 1;

/// The most octets of payload one line carries.
pub const PAYLOAD: usize = 64 * 1024;

/// The most octets one line may have.
pub const LINE: usize = 256 * 1024;
