//! DELIVERBY: a time by which to deliver (RFC 2852).

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use crate::grammar::Cursor;

/// `by-value = by-time ";" by-mode [by-trace]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    mode: ByMode,
    trace: bool,
}

/// What happens to a message that is not delivered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// `N`: its sender is notified, and delivery goes on.
    Notify,
    /// `R`: it is returned.
    Return,
}

impl DeliverBy {
    /// `None` if the time has more than nine digits, or if a message is to be
    /// returned when it has passed already (RFC 2852 §4).
    pub const fn new(seconds: i32, mode: ByMode, trace: bool) -> Option<Self> {
        let in_range = -MOST <= seconds && seconds <= MOST;
        let can_be_met = matches!(mode, ByMode::Notify) || seconds > 0;
        if in_range && can_be_met {
            Some(Self {
                seconds,
                mode,
                trace,
            })
        } else {
            None
        }
    }

    /// Seconds from the arrival of MAIL; negative if the time has passed.
    pub const fn seconds(self) -> i32 {
        self.seconds
    }

    /// What happens then.
    pub const fn mode(self) -> ByMode {
        self.mode
    }

    /// `T`: relays that do not know the extension are to be reported.
    pub const fn trace(self) -> bool {
        self.trace
    }

    fn read(text: &str) -> Option<Self> {
        let mut cursor = Cursor::new(text);
        let negative = cursor.literal("-").is_some();
        if !negative {
            cursor.literal("+");
        }
        let digits = cursor.run(|c| c.is_ascii_digit())?;
        let seconds: i32 = digits
            .parse()
            .ok()
            .filter(|_| digits.len() <= MOST_DIGITS)?;
        cursor.literal(";")?;
        let mode = match cursor.keyword("N") {
            Some(()) => ByMode::Notify,
            None => cursor.keyword("R").map(|()| ByMode::Return)?,
        };
        let trace = cursor.keyword("T").is_some();
        if !cursor.is_at_end() {
            return None;
        }
        Self::new(if negative { -seconds } else { seconds }, mode, trace)
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ByMode::Notify => "N",
            ByMode::Return => "R",
        };
        let trace = if self.trace { "T" } else { "" };
        write!(f, "{};{mode}{trace}", self.seconds)
    }
}

impl FromStr for DeliverBy {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::read(text).ok_or(ValueError {
            keyword: "BY",
            needs: "seconds, ;N or ;R (and then more than none), and T or nothing",
        })
    }
}

/// `by-time = ["-" / "+"] 1*9digit`.
const MOST_DIGITS: usize = 9;
const MOST: i32 = 999_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_values_are_read_and_printed() {
        for (text, printed) in [
            ("120;R", "120;R"),
            ("+120;rt", "120;RT"),
            ("-1;N", "-1;N"),
            ("0;NT", "0;NT"),
            ("-0;N", "0;N"),
            ("000000007;R", "7;R"),
            ("999999999;N", "999999999;N"),
            ("-999999999;N", "-999999999;N"),
        ] {
            let by: DeliverBy = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(by.to_string(), printed);
        }
    }

    #[test]
    fn a_time_that_has_passed_is_no_reason_to_return() {
        for text in [
            "",
            ";N",
            "1",
            "1;",
            "1;T",
            "1;NR",
            "1;RTT",
            "0;R",
            "-0;R",
            "-5;RT",
            "1000000000;N",
            "0000000001;N",
            "+-1;N",
            "--1;N",
            "1 ;N",
            "1;N ",
        ] {
            assert!(text.parse::<DeliverBy>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(seconds in -MOST..=MOST, returned: bool, trace: bool) {
            let mode = if returned { ByMode::Return } else { ByMode::Notify };
            let by = DeliverBy::new(seconds, mode, trace);
            proptest::prop_assert_eq!(by.is_some(), !returned || seconds > 0);
            if let Some(by) = by {
                proptest::prop_assert_eq!(by.to_string().parse(), Ok(by));
            }
        }
    }
}
