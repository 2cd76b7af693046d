//! What happens, as those who follow it are told.

use serde::Serialize;
use serde_with::{DisplayFromStr, serde_as};
use shared::time::Timestamp;

use super::Summary;
use crate::inbox::Received;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A session began.
    Opened(Summary),
    /// It is over.
    Closed(Summary),
    /// A message was kept.
    Kept(Box<Received>),
    /// A message was heard out and refused.
    Refused(Refusal),
}

impl Event {
    /// What sort of event it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Opened(_) => "session-opened",
            Self::Closed(_) => "session-closed",
            Self::Kept(_) => "message-kept",
            Self::Refused(_) => "message-refused",
        }
    }
}

/// A message that was refused after its content.
#[serde_as]
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// The session in the recording.
    pub session: u64,
    /// The listener it came in by.
    pub listener: String,
    /// When.
    #[serde_as(as = "DisplayFromStr")]
    pub at: Timestamp,
    /// What the client was told.
    pub reply: String,
}
