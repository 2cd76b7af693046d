//! Time: a wall-clock anchor plus monotonic time elapsed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;

/// A clock whose times never run backwards, whatever happens to the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock anchored at the wall clock's present time.
    pub fn start() -> Self {
        Self {
            anchor: wall(),
            started: Instant::now(),
        }
    }

    /// The wall-clock time at which it was started.
    pub fn anchor(&self) -> Timestamp {
        self.anchor
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.anchor + self.started.elapsed()
    }

    /// The instant of one of this clock's times, for waiting until it.
    pub fn instant(&self, time: Timestamp) -> tokio::time::Instant {
        (self.started + time.since(self.anchor)).into()
    }

    /// How far the wall clock has moved away from this one since it was started.
    pub fn drift(&self) -> Duration {
        let (wall, now) = (wall(), self.now());
        wall.since(now).max(now.since(wall))
    }
}

/// The wall clock.
pub fn wall() -> Timestamp {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::default() + elapsed
}
