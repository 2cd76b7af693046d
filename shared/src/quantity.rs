//! Quantities as people write them: periods of time and counts of octets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A period of time: `250ms`, `30s`, `5m`, `1h`, `2d`, or `0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

/// A count of octets: a number, or one with `K`, `M` or `G` (times 1024).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Octets(pub u64);

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// No period of time.
    #[error("a time is written 250ms, 30s, 5m or 1h")]
    Period,
    /// No count of octets.
    #[error("a size is written 1000, 64K, 50M or 1G")]
    Octets,
}

impl Period {
    /// So many seconds.
    pub const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// No time at all: for most limits that means none.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl FromStr for Period {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = split(text).ok_or(QuantityError::Period)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if number == 0 => 1,
            _ => return Err(QuantityError::Period),
        };
        let millis = number.checked_mul(millis).ok_or(QuantityError::Period)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Period {
    /// In the largest unit that is exact; what is less than a millisecond is cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1000, "s"),
        ];
        match units.iter().find(|(size, _)| millis.is_multiple_of(*size)) {
            _ if millis == 0 => f.write_str("0"),
            Some((size, unit)) => write!(f, "{}{unit}", millis / size),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl FromStr for Octets {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = split(text).ok_or(QuantityError::Octets)?;
        let shift = match unit {
            "" => 0,
            "K" | "k" | "KiB" => 10,
            "M" | "MiB" => 20,
            "G" | "GiB" => 30,
            _ => return Err(QuantityError::Octets),
        };
        let octets = number.checked_mul(1 << shift);
        octets.map(Self).ok_or(QuantityError::Octets)
    }
}

impl fmt::Display for Octets {
    /// In the largest unit that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "G"), (20, "M"), (10, "K")];
        match units
            .iter()
            .find(|(shift, _)| self.0.is_multiple_of(1 << shift))
        {
            Some((shift, unit)) if self.0 > 0 => write!(f, "{}{unit}", self.0 >> shift),
            _ => write!(f, "{}", self.0),
        }
    }
}

/// A number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_printed() {
        for (text, millis) in [
            ("0", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.0.as_millis(), millis);
            assert_eq!(period.to_string(), text);
        }
        assert_eq!("90s".parse::<Period>().unwrap().to_string(), "90s");
        assert_eq!("120s".parse::<Period>().unwrap().to_string(), "2m");
        for text in ["", "5", "s", "fast", "-1s", "1.5s", "99999999999999999d"] {
            assert_eq!(text.parse::<Period>(), Err(QuantityError::Period), "{text}");
        }
    }

    #[test]
    fn octets_are_read_and_printed() {
        for (text, octets) in [
            ("0", 0),
            ("1000", 1000),
            ("64K", 65_536),
            ("50M", 52_428_800),
        ] {
            let size: Octets = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (octets, text));
        }
        for text in ["", "K", "5T", "99999999999G", "1.5M"] {
            assert_eq!(text.parse::<Octets>(), Err(QuantityError::Octets), "{text}");
        }
    }
}
