//! Counts that something can wait for, or be expected of.

use tokio::sync::watch;

use crate::inbox::Received;

/// How much of everything there was since the server began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions that are under way.
    pub open: u64,
    /// Sessions that are over.
    pub sessions: u64,
    /// Of them, those that ended because a time limit was met.
    pub timeouts: u64,
    /// Of them, those that broke off: the connection was reset, or cut by us.
    pub broken: u64,
    /// Messages that were kept.
    pub messages: u64,
    /// Of them, those whose content had been kept before.
    pub duplicates: u64,
    /// The recipients of those that were kept.
    pub recipients: u64,
    /// Their octets.
    pub octets: u64,
    /// Messages that were refused after their content.
    pub refused: u64,
    /// Replies that refused something.
    pub refusals: u64,
}

/// The tally as it grows.
#[derive(Debug)]
pub(super) struct Counts {
    tally: watch::Sender<Tally>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            tally: watch::channel(Tally::default()).0,
        }
    }
}

impl Counts {
    pub(super) fn change(&self, change: impl FnOnce(&mut Tally)) {
        self.tally.send_modify(change);
    }

    pub(super) fn follow(&self) -> watch::Receiver<Tally> {
        self.tally.subscribe()
    }

    pub(super) fn kept(&self, received: &Received) {
        self.change(|tally| {
            tally.messages += 1;
            tally.duplicates += u64::from(received.duplicate_of.is_some());
            tally.recipients += received.envelope.recipients.len() as u64;
            tally.octets += received.octets;
        });
    }
}
