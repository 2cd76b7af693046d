//! Which messages are meant.

use shared::time::Timestamp;

use super::parameters::{LARGEST, Parameters};
use super::problem::Problem;
use crate::inbox::Received;

/// What a message must have; by default anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// A part of the reverse-path, in lower case; brackets belong to it.
    from: Option<String>,
    /// A part of one forward-path.
    to: Option<String>,
    /// A part of the subject.
    subject: Option<String>,
    session: Option<u64>,
    since: Option<Timestamp>,
}

impl Filter {
    /// The parameters that it is made of.
    pub(super) const PARAMETERS: [&str; 5] = ["from", "to", "subject", "session", "since"];

    pub(super) fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let part = |name| parameters.text(name).map(str::to_lowercase);
        Ok(Self {
            from: part("from"),
            to: part("to"),
            subject: part("subject"),
            session: parameters.number("session", 1..=LARGEST)?,
            since: parameters.parsed("since")?,
        })
    }

    /// The message is meant.
    pub(super) fn holds(&self, message: &Received) -> bool {
        let envelope = &message.envelope;
        let recipients = || envelope.recipients.iter();
        self.session
            .is_none_or(|session| session == message.session)
            && self.since.is_none_or(|since| message.at >= since)
            && has(Some(&envelope.reverse_path), self.from.as_deref())
            && has(message.subject.as_deref(), self.subject.as_deref())
            && (self.to.is_none()
                || recipients().any(|one| has(Some(&one.forward_path), self.to.as_deref())))
    }
}

/// The text is there and has the part, in any case; or no part is asked for.
fn has(text: Option<&str>, part: Option<&str>) -> bool {
    match (text, part) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(text), Some(part)) => text.to_lowercase().contains(part),
    }
}
