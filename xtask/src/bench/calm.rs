//! How much else the machine does while something is measured.

use std::fs;
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result};

/// Runs in which others took more than so many processors do not count, if enough
/// calm ones remain.
pub(super) const CALM: f64 = 0.3;

/// The machine at one moment.
pub(super) struct Moment {
    at: Instant,
    /// Processor time of the whole machine.
    busy: f64,
    /// Of the programs that this one has started and waited for.
    waited_for: f64,
}

impl Moment {
    /// This moment.
    pub(super) fn now() -> Result<Self> {
        let ticks = ticks_per_second();
        let stat = fs::read_to_string("/proc/stat")?;
        let first = stat.lines().next().unwrap_or_default();
        let fields: Vec<f64> = numbers(first.split_whitespace().skip(1));
        // user, nice, system; irq, softirq.
        let busy = |range: Range<usize>| fields.get(range).unwrap_or_default().iter().sum::<f64>();
        let own = fs::read_to_string("/proc/self/stat")?;
        let (_, own) = own.rsplit_once(')').context("/proc/self/stat is odd")?;
        // cutime and cstime are the 16th and 17th field of all.
        let children: Vec<f64> = numbers(own.split_whitespace().skip(13).take(2));
        Ok(Self {
            at: Instant::now(),
            busy: (busy(0..3) + busy(5..7)) / ticks,
            waited_for: children.iter().sum::<f64>() / ticks,
        })
    }

    /// How many processors others have used since then, when we have started
    /// programs that ended, and one that did not, which used that much.
    pub(super) fn others_since(&self, running: f64) -> Result<f64> {
        let now = Self::now()?;
        let ours = now.waited_for - self.waited_for + running;
        let elapsed = (now.at - self.at).as_secs_f64();
        Ok(((now.busy - self.busy - ours) / elapsed).max(0.0))
    }
}

fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Vec<f64> {
    words.filter_map(|word| word.parse().ok()).collect()
}

fn ticks_per_second() -> f64 {
    u32::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f64::from)
}
