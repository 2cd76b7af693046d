//! What the tests of the programs share. Nothing here is part of a program.
//!
//! [`program`] runs one of ours and looks at it from outside, [`watched`] runs one
//! to its end and sees what it costs, [`upstream`] is a server in threads, [`scripted`] one that plays transcripts, [`talk`] is a
//! client's side of a dialogue, [`recorded`] reads what was recorded, [`wire`] is a
//! connection that TLS may come over, [`dice`] are numbers that only look random,
//! and [`wait`] waits for events instead of for a time.
#![allow(
    clippy::print_stdout,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub mod dice;
pub mod program;
pub mod recorded;
pub mod scripted;
pub mod talk;
pub mod upstream;
pub mod wait;
pub mod watched;
pub mod wire;

pub use dice::Dice;
pub use program::{Program, run};
pub use scripted::Scripted;
pub use upstream::Upstream;

/// A directory of its own for a test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
