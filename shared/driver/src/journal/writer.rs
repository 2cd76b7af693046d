//! What all sessions write through, one at a time: the lock, what is gathered before
//! it is written, and the failure that is the last of the file.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use shared::recording::{FileLog, RedactKey, Redaction};
use shared::time::Timestamp;
use tokio::sync::watch;

use super::Durability;
use super::file::Sink;
use crate::clock::{Clock, wall};
use crate::tap::Tap;

/// What all handles on a recording share.
pub(super) struct Inner {
    pub(super) clock: Clock,
    pub(super) redaction: Redaction,
    pub(super) durability: Durability,
    pub(super) path: Option<PathBuf>,
    pub(super) state: Mutex<State>,
    /// Wakes the thread that writes or syncs.
    pub(super) work: Condvar,
    pub(super) synced: watch::Sender<u64>,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) tap: OnceLock<Arc<dyn Tap>>,
    /// With it a tap's lines are masked where the file's are not.
    pub(super) key: RedactKey,
}

/// What is changed under the lock.
pub(super) struct State {
    pub(super) sink: Sink,
    pub(super) log: FileLog,
    pub(super) buffer: Vec<u8>,
    /// Octets given to the sink so far.
    pub(super) written: u64,
    pub(super) wanted_sync: u64,
    last_mark: Timestamp,
    last_clock: Timestamp,
    pub(super) failure: Option<String>,
    pub(super) ended: bool,
}

/// The recording could not be written, now or earlier.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the recording{} cannot be written: {error}", Of(.path.as_ref()))]
pub struct WriteFailed {
    path: Option<PathBuf>,
    error: String,
}

struct Of<'a>(Option<&'a PathBuf>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " {}", path.display()),
            None => Ok(()),
        }
    }
}

/// A durability mark is written at most this often.
const MARK: Duration = Duration::from_secs(1);
/// A `clock` line is written this often, and when the wall clock jumped.
const CLOCK: Duration = Duration::from_secs(3600);
/// So far may the wall clock move away from ours.
const DRIFT: Duration = Duration::from_millis(50);
/// The most that [`Durability::Buffered`] gathers.
const BUFFER: usize = 256 * 1024;

impl State {
    pub(super) fn new(sink: Sink, log: FileLog, now: Timestamp) -> Self {
        Self {
            sink,
            log,
            buffer: Vec::new(),
            written: 0,
            wanted_sync: 0,
            last_mark: now,
            last_clock: now,
            failure: None,
            ended: false,
        }
    }
}

impl Inner {
    /// A thread that panicked while it held the lock left whole lines or a torn
    /// one behind: the file is as good as after a crash, so go on.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check(&self, state: &State) -> Result<(), WriteFailed> {
        match &state.failure {
            Some(error) => Err(self.failure(error.clone())),
            None => Ok(()),
        }
    }

    /// Gives lines to the sink, or to the buffer before it; returns where they end.
    pub(super) fn put(&self, state: &mut State, lines: &[u8]) -> Result<u64, WriteFailed> {
        self.check(state)?;
        state.buffer.extend_from_slice(lines);
        self.mark(state);
        if self.durability != Durability::Buffered || state.buffer.len() > BUFFER {
            self.write_out(state)?;
        } else {
            self.work.notify_all();
        }
        Ok(state.written + state.buffer.len() as u64)
    }

    pub(super) fn write_out(&self, state: &mut State) -> Result<(), WriteFailed> {
        let buffer = std::mem::take(&mut state.buffer);
        let result = state.sink.write(&buffer);
        state.written += buffer.len() as u64;
        state.buffer = buffer;
        state.buffer.clear();
        result.map_err(|error| self.fail(state, &error))
    }

    /// Adds the marks that are due: durability, and the wall clock's time.
    fn mark(&self, state: &mut State) {
        let now = self.clock.now();
        if now.since(state.last_mark) < MARK || state.log.is_synced() {
            return;
        }
        state.last_mark = now;
        let mut lines = Vec::new();
        if now.since(state.last_clock) > CLOCK || self.clock.drift() > DRIFT {
            state.last_clock = now;
            state.log.clock(now, wall(), &mut lines);
        }
        state.log.sync(now, &mut lines);
        state.buffer.extend_from_slice(&lines);
    }

    pub(super) fn fail(&self, state: &mut State, error: &io::Error) -> WriteFailed {
        let text = error.to_string();
        state.failure.get_or_insert_with(|| text.clone());
        self.failed.send_replace(Some(text.clone()));
        self.work.notify_all();
        self.failure(text)
    }

    pub(super) fn failure(&self, error: String) -> WriteFailed {
        WriteFailed {
            path: self.path.clone(),
            error,
        }
    }
}
