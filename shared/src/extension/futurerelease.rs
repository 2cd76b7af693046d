//! FUTURERELEASE: delivery not before a given time (RFC 4865).

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use crate::time::Timestamp;

/// How long a message is to be held: HOLDFOR or HOLDUNTIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// HOLDFOR: so many seconds, one at least and of nine digits at most.
    For(u32),
    /// HOLDUNTIL: a time.
    Until(Timestamp),
}

/// What stands after the EHLO keyword: for how long messages are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HoldLimits {
    /// In seconds.
    pub interval: u32,
    /// Up to which time.
    pub until: Timestamp,
}

impl Hold {
    /// Reads the value of HOLDFOR.
    pub fn parse_for(text: &str) -> Result<Self, ValueError> {
        seconds(text).map(Self::For).ok_or(ValueError {
            keyword: "HOLDFOR",
            needs: "a number of seconds of nine digits at most",
        })
    }

    /// Reads the value of HOLDUNTIL.
    pub fn parse_until(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self::Until).map_err(|_| ValueError {
            keyword: "HOLDUNTIL",
            needs: "a time such as 2026-11-23T12:00:00Z",
        })
    }

    /// Which of the two parameters it is the value of.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::For(_) => "HOLDFOR",
            Self::Until(_) => "HOLDUNTIL",
        }
    }
}

impl HoldLimits {
    /// Messages are held for so long.
    pub fn allow(self, hold: Hold) -> bool {
        match hold {
            Hold::For(seconds) => seconds <= self.interval,
            Hold::Until(time) => time <= self.until,
        }
    }
}

/// `future-release-integer = %x31-39 *8DIGIT`.
fn seconds(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    let sound = digits && text.len() <= 9 && !text.starts_with('0');
    text.parse().ok().filter(|_| sound)
}

impl fmt::Display for Hold {
    /// The value, without the keyword.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(seconds) => write!(f, "{seconds}"),
            Self::Until(time) => write_time(f, *time),
        }
    }
}

impl fmt::Display for HoldLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.interval)?;
        write_time(f, self.until)
    }
}

/// Without a fraction, where there is none.
fn write_time(f: &mut fmt::Formatter<'_>, time: Timestamp) -> fmt::Result {
    let text = time.to_string();
    match text.strip_suffix(".000000000Z") {
        Some(whole) => write!(f, "{whole}Z"),
        None => f.write_str(&text),
    }
}

impl FromStr for HoldLimits {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = ValueError {
            keyword: "FUTURERELEASE",
            needs: "a number of seconds and a time",
        };
        let (interval, until) = text.split_once(' ').ok_or(error)?;
        Ok(Self {
            interval: seconds(interval).ok_or(error)?,
            until: until.parse().map_err(|_| error)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_read_and_printed() {
        let until = Hold::parse_until("2026-11-23T13:00:00+01:00").unwrap();
        assert_eq!(until.to_string(), "2026-11-23T12:00:00Z");
        assert_eq!(
            Hold::parse_for("999999999").unwrap().to_string(),
            "999999999"
        );
        for text in ["", "0", "01", "+1", "-1", "1000000000", "1s"] {
            assert!(Hold::parse_for(text).is_err(), "{text}");
        }
        for text in ["", "tomorrow", "2026-11-23", "2026-11-23T12:00:00"] {
            assert!(Hold::parse_until(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_read_printed_and_kept() {
        let text = "86400 2026-12-31T00:00:00Z";
        let limits: HoldLimits = text.parse().unwrap();
        assert_eq!(limits.to_string(), text);
        for (hold, allowed) in [
            (Hold::For(86_400), true),
            (Hold::For(86_401), false),
            (Hold::Until(limits.until), true),
            (
                Hold::parse_until("2026-12-31T00:00:00.000000001Z").unwrap(),
                false,
            ),
        ] {
            assert_eq!(limits.allow(hold), allowed, "{hold}");
        }
        for text in ["", "86400", "86400 soon", "x 2026-12-31T00:00:00Z"] {
            assert!(text.parse::<HoldLimits>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(seconds in 1u32..1_000_000_000, nanos in 0..i64::MAX as u64) {
            let hold = Hold::For(seconds);
            proptest::prop_assert_eq!(Hold::parse_for(&hold.to_string()), Ok(hold));
            let hold = Hold::Until(Timestamp::from_nanos(nanos));
            proptest::prop_assert_eq!(Hold::parse_until(&hold.to_string()), Ok(hold));
        }
    }
}
