//! MT-PRIORITY: the priority of a message (RFC 6710).

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// From -9 to 9, 0 where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(i8);

impl Priority {
    /// `None` if it is out of range.
    pub const fn new(level: i8) -> Option<Self> {
        if -9 <= level && level <= 9 {
            Some(Self(level))
        } else {
            None
        }
    }

    /// The number.
    pub const fn level(self) -> i8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Priority {
    type Err = ValueError;

    /// `priority-value = (["-"] NZDIGIT) / "0"`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let level = text.parse().ok().and_then(Self::new);
        // There is one way to write each.
        level
            .filter(|level| level.to_string() == text)
            .ok_or(ValueError {
                keyword: "MT-PRIORITY",
                needs: "a number from -9 to 9",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_in_range_are_parsed_and_printed() {
        for level in i8::MIN..=i8::MAX {
            let priority = Priority::new(level);
            assert_eq!(priority.is_some(), (-9..=9).contains(&level));
            assert_eq!(level.to_string().parse().ok(), priority, "{level}");
        }
        for text in ["", "-", "+1", "-0", "01", "1 ", "x"] {
            assert!(text.parse::<Priority>().is_err(), "{text}");
        }
    }
}
