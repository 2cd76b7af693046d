//! Points in time, given from outside: this crate never asks a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, up to the year 2262.
///
/// Within one recording, timestamps are the file's wall-clock anchor plus
/// monotonic time elapsed, so they never run backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time so many nanoseconds after the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Writes the 30 octets of the RFC 3339 form, as [`Display`](fmt::Display) does: by
    /// hand, since every line of a recording has one.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let (seconds, nanos) = (self.0 / NANOS, self.0 % NANOS);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil_from_days(days);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut put = |at: usize, width: usize, mut value: u64| {
            for slot in text.iter_mut().skip(at).take(width).rev() {
                *slot = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, day);
        put(11, 2, second / 3_600);
        put(14, 2, second / 60 % 60);
        put(17, 2, second % 60);
        put(20, 9, nanos);
        out.extend_from_slice(&text);
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with nine decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.write_rfc3339(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// A later time; stays at the end of the range instead of overflowing.
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Why a text is not a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time in UTC such as 2026-11-23T12:00:00.000000000Z")]
pub struct NotATimestamp;

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    /// Reads RFC 3339, in any offset from UTC.
    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| NotATimestamp)?;
        let nanos = time.timestamp_nanos_opt().ok_or(NotATimestamp)?;
        u64::try_from(nanos).map(Self).map_err(|_| NotATimestamp)
    }
}

/// Year, month and day of the day so many days after 1970-01-01, by counting in
/// 400-year eras that begin in March, so that the leap day is the last of its year.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_printed_and_parsed() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_795_521_600_001_204_000, "2026-11-24T12:00:00.001204000Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
        ] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
    }

    #[test]
    fn offsets_are_read() {
        let east = "2026-11-23T13:00:00+01:00".parse::<Timestamp>().unwrap();
        assert_eq!(east.to_string(), "2026-11-23T12:00:00.000000000Z");
    }

    #[test]
    fn short_fractions_are_read() {
        let half = "2026-11-23T12:00:00.5Z".parse::<Timestamp>().unwrap();
        assert_eq!(half.to_string(), "2026-11-23T12:00:00.500000000Z");
        let none = "2026-11-23T12:00:00Z".parse::<Timestamp>().unwrap();
        assert_eq!(half - none, Duration::from_millis(500));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T12:00:00",
            "1969-12-31T23:59:59Z",
            "2026-13-23T12:00:00Z",
            "2026-11-23T12:00:00.Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(nanos in 0..i64::MAX as u64) {
            let time = Timestamp::from_nanos(nanos);
            proptest::prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
