//! Ids of messages: no two alike, and each greater than the one before.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::time::Timestamp;
use uuid::{Builder, Uuid, Variant, Version};

/// Makes ids: UUIDs of version 7 (RFC 9562 §5.7), in hex, so that names made of
/// them sort as the messages came, whatever the clock does.
#[derive(Debug, Default)]
pub(super) struct Ids {
    last: Mutex<Uuid>,
}

impl Ids {
    /// Every id from now on is greater than that one.
    pub(super) fn follow(&self, earlier: Uuid) {
        let mut last = self.lock();
        *last = (*last).max(earlier);
    }

    /// The next one.
    pub(super) fn next(&self, at: Timestamp) -> io::Result<Uuid> {
        let mut random = [0; 10];
        driver::process::random(&mut random)?;
        let millis = at.nanos() / 1_000_000;
        let mut last = self.lock();
        let new = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        *last = if new > *last {
            new
        } else {
            after(*last, &random)
        };
        Ok(*last)
    }

    /// A thread that panicked while it held the lock left a whole id behind.
    fn lock(&self) -> MutexGuard<'_, Uuid> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The milliseconds since 1970 in an id.
pub(super) fn millis(id: Uuid) -> u64 {
    u64::try_from(id.as_u128() >> 80).unwrap_or(u64::MAX)
}

/// The id in a file's name, if it is one of ours.
fn in_name(name: &str) -> Option<Uuid> {
    let part = name.split('.').find(|part| part.len() == 32)?;
    let id = Uuid::try_parse(part).ok()?;
    let ours = id.get_version() == Some(Version::SortRand)
        && id.get_variant() == Variant::RFC4122
        && millis(id) < YEAR_2200;
    ours.then_some(id)
}

/// The greatest id in the names of a directory's files.
pub(super) fn newest(directory: &Path) -> io::Result<Option<Uuid>> {
    let mut newest = None;
    for entry in fs::read_dir(directory)? {
        newest = newest.max(entry?.file_name().to_str().and_then(in_name));
    }
    Ok(newest)
}

/// The next id of the same millisecond, or the first of the next one.
fn after(last: Uuid, random: &[u8; 10]) -> Uuid {
    const COUNTER: u128 = (1 << 62) - 1;
    if last.as_u128() & COUNTER == COUNTER {
        Builder::from_unix_timestamp_millis(millis(last) + 1, random).into_uuid()
    } else {
        Uuid::from_u128(last.as_u128() + 1)
    }
}

/// No clock that was ever right has made a later id.
const YEAR_2200: u64 = 7_258_118_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_though_the_clock_stands_or_steps_back() {
        let ids = Ids::default();
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let times = [
            1_800_000_000,
            1_800_000_000,
            1_700_000_000,
            0,
            1_800_000_001,
        ];
        let mut made = Vec::new();
        for time in times {
            for _ in 0..1000 {
                made.push(ids.next(at(time)).unwrap());
            }
        }
        assert!(made.is_sorted_by(|a, b| a < b));
        let names: Vec<String> = made.iter().map(|id| id.simple().to_string()).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        for (id, name) in made.iter().zip(&names) {
            assert_eq!(in_name(&format!("{name}.eml")), Some(*id), "{name}");
        }
    }

    #[test]
    fn a_full_counter_goes_on_in_the_next_millisecond() {
        let full = Builder::from_unix_timestamp_millis(7, &[0xff; 10]).into_uuid();
        let next = after(full, &[0; 10]);
        assert!(next > full);
        assert_eq!(millis(next), 8);
    }

    #[test]
    fn ids_follow_those_of_an_earlier_run() {
        let ids = Ids::default();
        let future = Builder::from_unix_timestamp_millis(4_000_000_000_000, &[7; 10]).into_uuid();
        ids.follow(future);
        ids.follow(Uuid::nil());
        assert!(ids.next(Timestamp::from_nanos(1)).unwrap() > future);
    }

    #[test]
    fn what_is_no_id_of_ours_is_not_followed() {
        for name in [
            "",
            "note.eml",
            "ffffffffffffffffffffffffffffffff.eml",
            "ffffffffffff7fffbfffffffffffffff.eml",
            "0123456789abcdef0123456789abcdeg.json",
        ] {
            assert_eq!(in_name(name), None, "{name}");
        }
    }
}
