//! What has happened, counted without getting in each other's way: each thread
//! has counters of its own, and they are added up when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

/// What has happened since the last time it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sessions: u64,
    pub(super) messages: u64,
    pub(super) recipients: u64,
    pub(super) octets: u64,
    pub(super) errors: u64,
    pub(super) broken: u64,
}

/// The counters of one thread. Only that thread adds to them, so that a load and
/// a store do: nothing is locked, and no two threads share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    sessions: AtomicU64,
    messages: AtomicU64,
    recipients: AtomicU64,
    octets: AtomicU64,
    errors: AtomicU64,
    broken: AtomicU64,
}

impl Counters {
    /// Adds what has happened, in the thread that owns them.
    pub(super) fn add(&self, tally: &Tally) {
        for (counter, more) in [
            (&self.sessions, tally.sessions),
            (&self.messages, tally.messages),
            (&self.recipients, tally.recipients),
            (&self.octets, tally.octets),
            (&self.errors, tally.errors),
            (&self.broken, tally.broken),
        ] {
            if more > 0 {
                let before = counter.load(Ordering::Relaxed);
                counter.store(before + more, Ordering::Relaxed);
            }
        }
    }
}

/// Ends the sink when it has seen enough.
#[derive(Debug)]
pub(super) struct Goal {
    messages: Option<AtomicU64>,
    sessions: Option<AtomicU64>,
    pub(super) reached: Notify,
}

impl Goal {
    /// To be reached after so many messages or sessions, whichever comes first.
    pub(super) fn new(messages: Option<u64>, sessions: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            messages: messages.map(AtomicU64::new),
            sessions: sessions.map(AtomicU64::new),
            reached: Notify::new(),
        })
    }

    /// These many messages more.
    pub(super) fn messages(&self, count: u64) {
        self.count_down(self.messages.as_ref(), count);
    }

    /// One session more has ended.
    pub(super) fn session(&self) {
        self.count_down(self.sessions.as_ref(), 1);
    }

    fn count_down(&self, left: Option<&AtomicU64>, count: u64) {
        let Some(left) = left else { return };
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(count))
        });
        if before.is_ok_and(|before| before <= count) {
            self.reached.notify_one();
        }
    }
}

/// What has happened, for people and programs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    /// `counts` while it goes on, `end` at the end.
    pub(super) event: &'static str,
    /// Since it began to listen.
    pub(super) seconds: f64,
    pub(super) sessions: u64,
    pub(super) messages: u64,
    pub(super) recipients: u64,
    /// Of content, as on the wire.
    pub(super) octets: u64,
    /// Commands that were refused.
    pub(super) errors: u64,
    /// Sessions that ended in the middle of something.
    pub(super) broken: u64,
}

impl Report {
    /// Adds up the counters of all threads.
    pub(super) fn of(event: &'static str, counters: &[Arc<Counters>], elapsed: Duration) -> Self {
        let sum = |counter: fn(&Counters) -> &AtomicU64| -> u64 {
            let each = counters
                .iter()
                .map(|one| counter(one).load(Ordering::Relaxed));
            each.sum()
        };
        Self {
            event,
            seconds: elapsed.as_secs_f64(),
            sessions: sum(|one| &one.sessions),
            messages: sum(|one| &one.messages),
            recipients: sum(|one| &one.recipients),
            octets: sum(|one| &one.octets),
            errors: sum(|one| &one.errors),
            broken: sum(|one| &one.broken),
        }
    }

    /// In one line, for people.
    pub(super) fn line(&self) -> String {
        format!(
            "{:.1} s: {} sessions ({} broken), {} messages, {} recipients, {} octets, {} errors",
            self.seconds,
            self.sessions,
            self.broken,
            self.messages,
            self.recipients,
            self.octets,
            self.errors,
        )
    }
}
