//! SIZE: the size of a message, declared before it is sent (RFC 1870).

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// `size-value = 1*20DIGIT`, in octets. What is more than 64 bits hold is as good
/// as the most they hold: nobody takes either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many octets.
    pub const fn new(octets: u64) -> Self {
        Self(octets)
    }

    /// How many octets.
    pub const fn octets(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let digits = text.bytes().all(|octet| octet.is_ascii_digit());
        if !digits || !(1..=20).contains(&text.len()) {
            return Err(ValueError {
                keyword: "SIZE",
                needs: "a number of 20 digits at most",
            });
        }
        Ok(Self(text.parse().unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_digits_are_the_most() {
        assert_eq!("0".parse(), Ok(Size::new(0)));
        assert_eq!("00000000000000000010".parse(), Ok(Size::new(10)));
        assert_eq!("99999999999999999999".parse(), Ok(Size::new(u64::MAX)));
        for text in ["", "+1", "-1", "1k", "0x10", "000000000000000000010"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(octets: u64) {
            let size = Size::new(octets);
            proptest::prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
