//! What is odd about mail data, octet by octet as on the wire.
//!
//! An [`Examiner`] is fed with what a client sends after 354, before any dots are
//! undone, and tells what a strict reader of RFC 5321 finds in it and where. It
//! changes nothing and refuses nothing. Of a sequence that some servers take for
//! the end of the data, [`Sequence::read_by`] tells how each of them reads it.

mod examined;
mod examiner;
mod oddity;
mod reader;
mod sequence;

pub use examined::{Examined, Finding, Tally};
pub use examiner::Examiner;
pub use oddity::Oddity;
pub use reader::{Reader, Reading};
pub use sequence::Sequence;
