//! Which processors the two sides of a contest run on.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::rows::Pins;

/// The processors of each side; none for all that there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processors {
    server: Option<usize>,
    client: Option<usize>,
    all: CpuSet,
}

impl Processors {
    /// Chooses among those that this process may use. Where there is but one, the
    /// two sides share it.
    pub(super) fn of(pins: Pins) -> Result<Self> {
        let all = sched_getaffinity(None).context("asking for the processors")?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu));
        let first = usable.next();
        let (server, client) = match pins {
            Pins::Free => (None, None),
            Pins::Same => (first, first),
            Pins::Split => (usable.next().or(first), first),
        };
        Ok(Self {
            server,
            client,
            all,
        })
    }

    /// Does something on the processor of the server: what is started then stays
    /// there.
    pub(super) fn server<T>(&self, start: impl FnOnce() -> T) -> Result<T> {
        self.on(self.server, start)
    }

    /// The same for the client.
    pub(super) fn client<T>(&self, start: impl FnOnce() -> T) -> Result<T> {
        self.on(self.client, start)
    }

    fn on<T>(&self, processor: Option<usize>, start: impl FnOnce() -> T) -> Result<T> {
        let Some(processor) = processor else {
            return Ok(start());
        };
        let mut one = CpuSet::new();
        one.set(processor);
        sched_setaffinity(None, &one).context("moving to a processor")?;
        let done = start();
        sched_setaffinity(None, &self.all).context("moving back to all processors")?;
        Ok(done)
    }
}
