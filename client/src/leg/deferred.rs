//! What greylisting put off, and when it may be asked again.

use std::time::Duration;

use shared::check::Script;
use tokio::time::Instant;

/// Beyond the announced time, for clocks that are not the same.
const GRACE: Duration = Duration::from_secs(1);

/// The scripts of one address that are to be played again, together.
#[derive(Debug)]
pub(super) struct Deferred {
    patience: Duration,
    scripts: Vec<Script>,
    ready: Option<Instant>,
}

impl Deferred {
    /// Nothing yet. What would have to wait longer than `patience` is let be.
    pub(super) const fn new(patience: Duration) -> Self {
        Self {
            patience,
            scripts: Vec::new(),
            ready: None,
        }
    }

    /// When the answer can be had, if that is soon enough.
    pub(super) fn after(&self, wait: Duration) -> Option<Instant> {
        (wait <= self.patience).then(|| Instant::now() + wait + GRACE)
    }

    /// Remembers a script that was answered by greylisting just now.
    pub(super) fn add(&mut self, script: Script, wait: Duration) {
        if let Some(ready) = self.after(wait) {
            self.ready = self.ready.max(Some(ready));
            self.scripts.push(script);
        }
    }

    /// The scripts, and when to begin with them; `None` if there are none.
    pub(super) fn take(self) -> Option<(Instant, Vec<Script>)> {
        Some((self.ready?, self.scripts))
    }
}
