//! Counting the times that a rule's conditions held, apart for each key.

use std::collections::{BTreeMap, VecDeque};

use super::rule::{Count, Which};
use crate::time::Timestamp;

/// The most keys of one rule that are remembered: the one that was met longest ago is
/// forgotten first.
pub(super) const MOST: usize = 10_000;

/// The most times of all keys of one rule that are remembered.
const MOST_TIMES: u64 = 1_000_000;

/// The counts of one rule.
#[derive(Debug, Default)]
pub(super) struct Counter {
    entries: BTreeMap<u64, Entry>,
    /// The keys in the order in which they were met last.
    order: BTreeMap<u64, u64>,
    clock: u64,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Entry {
    met: u64,
    count: u64,
    /// When it was met, the last few times, where only a time counts.
    times: VecDeque<Timestamp>,
    /// It fires until then.
    until: Option<Timestamp>,
}

/// Which time this is for a key, and whether it still fires from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Met {
    /// From 1.
    pub(super) ordinal: u64,
    /// It fired before, for so long that it still does.
    pub(super) still: bool,
}

impl Counter {
    /// Counts one time of a key.
    pub(super) fn meet(&mut self, key: u64, count: &Count, now: Timestamp) -> Met {
        self.clock += 1;
        let clock = self.clock;
        let known = self.entries.get(&key).map(|entry| entry.met);
        match known {
            Some(met) => self.order.remove(&met),
            None => self.make_room(count),
        };
        self.order.insert(clock, key);
        let entry = self.entries.entry(key).or_default();
        entry.met = clock;
        entry.count = entry.count.saturating_add(1);
        let ordinal = match count.within {
            None => entry.count,
            Some(within) => {
                let most = remembered(count);
                while entry.times.len() as u64 >= most {
                    entry.times.pop_front();
                }
                entry.times.push_back(now);
                while entry
                    .times
                    .front()
                    .is_some_and(|&first| first + within.0 <= now)
                {
                    entry.times.pop_front();
                }
                entry.times.len() as u64
            }
        };
        Met {
            ordinal,
            still: entry.until.is_some_and(|until| now < until),
        }
    }

    /// The rule fires for a key, and from now on for as long as it says.
    pub(super) fn fired(&mut self, key: u64, count: &Count, now: Timestamp) {
        if let (Some(entry), Some(lasts)) = (self.entries.get_mut(&key), count.lasts) {
            entry.until = Some(now + lasts.0);
        }
    }

    fn make_room(&mut self, count: &Count) -> Option<u64> {
        let most = match count.within {
            Some(_) => (MOST_TIMES / remembered(count)).min(MOST as u64),
            None => MOST as u64,
        };
        if (self.entries.len() as u64) < most {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.entries.remove(&key);
        Some(key)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

/// How many times must be remembered to know the ordinal as far as it matters.
fn remembered(count: &Count) -> u64 {
    match count.which {
        Which::First(most) | Which::Nth(most) | Which::After(most) => most.saturating_add(1),
        Which::Every(_) | Which::Chance(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

    fn count(text: &str) -> Count {
        text.parse().unwrap()
    }

    #[test]
    fn times_slide_out_of_the_window() {
        let count = count("after 2 within 10s");
        let mut counter = Counter::default();
        let ordinals: Vec<u64> = [0, 1, 2, 9, 10, 11, 40]
            .map(|second| {
                let now = START + Duration::from_secs(second);
                counter.meet(1, &count, now).ordinal
            })
            .to_vec();
        // Only three are remembered: more than two is all that matters.
        assert_eq!(ordinals, [1, 2, 3, 3, 3, 3, 1]);
    }

    #[test]
    fn the_key_met_longest_ago_is_forgotten_first() {
        let count = count("first 1");
        let mut counter = Counter::default();
        for key in 0..MOST as u64 {
            counter.meet(key, &count, START);
        }
        // 0 is met again, so 1 is the one to go.
        assert_eq!(counter.meet(0, &count, START).ordinal, 2);
        counter.meet(u64::MAX, &count, START);
        assert_eq!(counter.len(), MOST);
        assert_eq!(counter.meet(0, &count, START).ordinal, 3);
        assert_eq!(counter.meet(1, &count, START).ordinal, 1);
        assert_eq!(counter.order.len(), MOST);
    }

    #[test]
    fn remembered_times_are_bounded_too() {
        let count = count("after 1000 within 1h");
        let mut counter = Counter::default();
        for key in 0..2000 {
            counter.meet(key, &count, START);
        }
        assert_eq!(counter.len(), 999);
    }

    #[test]
    fn what_fired_goes_on_for_its_time() {
        let count = count("first 1 for 5s");
        let mut counter = Counter::default();
        assert!(!counter.meet(1, &count, START).still);
        counter.fired(1, &count, START);
        let at = |seconds| START + Duration::from_secs(seconds);
        assert!(counter.meet(1, &count, at(4)).still);
        assert!(!counter.meet(2, &count, at(4)).still);
        assert!(!counter.meet(1, &count, at(5)).still);
    }
}
