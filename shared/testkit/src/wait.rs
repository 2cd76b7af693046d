//! Waiting for an event: never for a time.

use std::time::{Duration, Instant};

/// The longest any event may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Polls until there is something.
pub fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Polls until something holds.
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}
