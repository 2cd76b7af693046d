//! The recording: the format every program writes and everything reads.

mod dialogue;

pub use dialogue::{Answer, Dialogue, Ending, Exchange, Handshake, Said, Transaction};
