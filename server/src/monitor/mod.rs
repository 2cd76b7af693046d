//! What is known of the running server: its sessions, its counts, what just happened.
//!
//! The monitor follows the recording while it is made ([`driver::tap`]), whether or not
//! there is a file, and so sees nothing that the recording would not show. Who asks it
//! never waits for a session, nor a session for who asks: locks are held for as long as
//! it takes to copy or count.

mod events;
mod followed;
mod limit;
mod lines;
mod metrics;
mod sessions;
mod tally;

use std::fmt;
use std::sync::Arc;

use driver::tap::{Opened, SessionTap, Tap};
use tokio::sync::{broadcast, watch};

use crate::inbox::Received;

pub use events::{Event, Refusal};
pub use limit::Limit;
pub use sessions::{Ended, Snapshot, Summary, Tls};
pub use tally::Tally;

use followed::Followed;
use metrics::Metrics;
use sessions::Sessions;
use tally::Counts;

/// Events that a slow reader may be behind; what is older it is told to have missed.
const EVENTS: usize = 256;

/// A handle on what is known.
#[derive(Clone)]
pub struct Monitor {
    inner: Arc<Inner>,
}

struct Inner {
    /// None are kept where nobody can ask for them.
    sessions: Option<Sessions>,
    metrics: Metrics,
    counts: Counts,
    events: broadcast::Sender<Arc<Event>>,
}

/// What is kept of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They are counted.
    Counts,
    /// The newest of them can be asked for, line by line.
    Sessions,
}

impl Monitor {
    /// Forgets that session after all others.
    pub fn capture(&self, session: u64) {
        if let Some(sessions) = &self.inner.sessions {
            sessions.capture(session);
        }
    }

    /// A monitor of a server that has just begun.
    pub fn new(keep: Keep) -> Self {
        let inner = Inner {
            sessions: (keep == Keep::Sessions).then(Sessions::default),
            metrics: Metrics::default(),
            counts: Counts::default(),
            events: broadcast::channel(EVENTS).0,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A message was kept.
    pub fn kept(&self, received: &Received) {
        self.inner.metrics.kept();
        self.inner.counts.kept(received);
        self.inner
            .tell(|| Event::Kept(Box::new(received.clone().without_content())));
    }

    /// A message was heard out and refused.
    pub fn refused(&self, refusal: impl FnOnce() -> Refusal) {
        self.inner.metrics.refused();
        self.inner.counts.change(|tally| tally.refused += 1);
        self.inner.tell(|| Event::Refused(refusal()));
    }

    /// A client met a limit.
    pub fn tripped(&self, limit: Limit) {
        self.inner.metrics.tripped(limit);
    }

    /// Follows the counts.
    pub fn tally(&self) -> watch::Receiver<Tally> {
        self.inner.counts.follow()
    }

    /// Follows what happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.inner.events.subscribe()
    }

    /// The numbers, in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.inner.metrics.render(&self.tally().borrow())
    }

    /// The sessions after that number for which something holds, oldest first; at most
    /// one more than wanted, to tell whether there are more.
    pub fn sessions(
        &self,
        after: u64,
        most: usize,
        holds: impl Fn(&Summary) -> bool,
    ) -> Vec<Summary> {
        let sessions = self.inner.sessions.as_ref();
        sessions.map_or_else(Vec::new, |sessions| sessions.select(after, most, holds))
    }

    /// The session of that number.
    pub fn session(&self, number: u64) -> Option<Summary> {
        self.inner.sessions.as_ref()?.summary(number)
    }

    /// What was said in the session of that number.
    pub fn snapshot(&self, number: u64) -> Option<Snapshot> {
        self.inner.sessions.as_ref()?.snapshot(number)
    }

    /// Forgets the sessions that are over; the counts go on.
    pub fn forget(&self) {
        if let Some(sessions) = &self.inner.sessions {
            sessions.forget_closed();
        }
    }
}

impl Inner {
    /// Tells it to those who listen; it costs nothing where nobody does.
    fn tell(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            // The last of them may just have gone.
            let _ = self.events.send(Arc::new(event()));
        }
    }
}

impl Tap for Monitor {
    fn opened(&self, opened: Opened<'_>) -> Box<dyn SessionTap> {
        Box::new(Followed::begin(Arc::clone(&self.inner), opened))
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}
