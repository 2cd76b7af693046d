//! The thread that writes what was gathered, or syncs what somebody waits for.

use std::sync::PoisonError;
use std::time::Duration;

use super::Durability;
use super::file::Sink;
use super::writer::Inner;

/// How long [`Durability::Buffered`] gathers.
const GATHER: Duration = Duration::from_millis(10);

impl Inner {
    /// Does what sessions do not do themselves, until the recording has ended.
    pub(super) fn serve_sessions(&self) {
        match self.durability {
            Durability::Synced => self.sync_loop(),
            _ => self.write_loop(),
        }
    }

    /// Writes the buffer out a little after something came into it.
    fn write_loop(&self) {
        loop {
            let mut state = self.lock();
            while state.buffer.is_empty() && !state.ended && state.failure.is_none() {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended || state.failure.is_some() {
                return;
            }
            drop(state);
            std::thread::sleep(GATHER);
            let mut state = self.lock();
            // The failure is kept in the state, where everybody sees it.
            let _ = self.write_out(&mut state);
        }
    }

    /// Syncs when somebody waits for it. While one sync runs the next batch
    /// gathers: group commit without a timer.
    fn sync_loop(&self) {
        loop {
            let mut state = self.lock();
            let done = *self.synced.borrow();
            while state.wanted_sync <= done && !state.ended && state.failure.is_none() {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended || state.failure.is_some() {
                self.synced.send_replace(state.written);
                return;
            }
            let upto = state.written;
            let file = if let Sink::File(file) = &state.sink {
                file.try_clone()
            } else {
                self.synced.send_replace(upto);
                continue;
            };
            drop(state);
            match file.and_then(|file| file.sync_data()) {
                Ok(()) => {
                    self.synced.send_replace(upto);
                }
                Err(error) => {
                    self.fail(&mut self.lock(), &error);
                }
            }
        }
    }
}
