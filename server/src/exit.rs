//! Ending by itself: after so many messages or sessions, or when nobody comes.

use std::time::Duration;

use tokio::sync::watch;

use crate::config;
use crate::monitor::Tally;

/// Waits until the server is to end by itself; for ever if it is not.
pub(crate) async fn due(options: &config::Exit, mut tally: watch::Receiver<Tally>) {
    loop {
        let now = tally.borrow_and_update().clone();
        if reached(options.exit_after_messages, now.messages)
            || reached(options.exit_after_sessions, now.sessions)
        {
            return;
        }
        let idle = options
            .exit_idle
            .filter(|idle| now.open == 0 && !idle.is_zero());
        tokio::select! {
            changed = tally.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
            () = tokio::time::sleep(idle.map_or(Duration::MAX, |idle| idle.0)), if idle.is_some() => {
                return;
            }
        }
    }
}

fn reached(wanted: Option<u64>, count: u64) -> bool {
    wanted.is_some_and(|wanted| count >= wanted)
}
