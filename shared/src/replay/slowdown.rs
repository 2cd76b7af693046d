//! How much slower a reply may come than it was recorded.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Difference, Level, difference, shown};
use crate::quantity::Period;

/// So many times the recorded time, and some time more: `3x+250ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowdown {
    times: f64,
    more: Duration,
}

/// Why a text is no slowdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a slowdown is written 3x or 3x+250ms")]
pub struct NotASlowdown;

impl Slowdown {
    /// Compares how long a reply took; times that are not known are not compared.
    pub fn compare(self, want: Option<u64>, got: Option<u64>) -> Option<Difference> {
        let (want, got) = (want?, got?);
        let most = Duration::from_nanos(want).as_secs_f64() * self.times + self.more.as_secs_f64();
        if Duration::from_nanos(got).as_secs_f64() <= most {
            return None;
        }
        let want = format!("{} times {self}", shown(Some(want)));
        Some(difference("took", &want, &shown(Some(got)), Level::Fail))
    }
}

impl FromStr for Slowdown {
    type Err = NotASlowdown;

    fn from_str(text: &str) -> Result<Self, NotASlowdown> {
        let (times, more) = text.split_once('x').ok_or(NotASlowdown)?;
        let plain = times
            .bytes()
            .all(|octet| octet.is_ascii_digit() || octet == b'.');
        let times: f64 = times.parse().map_err(|_| NotASlowdown)?;
        let more = match more.strip_prefix('+') {
            Some(more) => more.parse().map_err(|_| NotASlowdown)?,
            None if more.is_empty() => Period::default(),
            None => return Err(NotASlowdown),
        };
        if !plain || !times.is_finite() {
            return Err(NotASlowdown);
        }
        Ok(Self {
            times,
            more: more.0,
        })
    }
}

impl fmt::Display for Slowdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x+{}", self.times, Period(self.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_may_be_slower_by_so_much() {
        let slowdown: Slowdown = "3x+250ms".parse().unwrap();
        let millis = |count: u64| Some(count * 1_000_000);
        assert_eq!(slowdown.compare(millis(10), millis(280)), None);
        let found = slowdown.compare(millis(10), millis(281)).unwrap();
        assert_eq!((found.field, found.level), ("took", Level::Fail));
        assert_eq!(slowdown.compare(None, millis(281)), None);
        assert_eq!(slowdown.compare(millis(10), None), None);
        assert!(
            "1.5x"
                .parse::<Slowdown>()
                .unwrap()
                .compare(millis(2), millis(4))
                .is_some()
        );
        for wrong in [
            "", "3", "x", "-1x", "NaNx", "infx", "3x250ms", "3x+", "1e9x",
        ] {
            assert_eq!(wrong.parse::<Slowdown>(), Err(NotASlowdown), "{wrong}");
        }
    }
}
