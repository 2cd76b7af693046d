//! BODY: what octets the content has (RFC 6152 §4, RFC 3030 §3).

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// What octets the content has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Body {
    /// Lines of US-ASCII.
    #[default]
    SevenBit,
    /// Lines with octets above 127.
    EightBitMime,
    /// Any octets, lines or not: only BDAT can carry them.
    BinaryMime,
}

impl Body {
    /// DATA cannot carry it (RFC 3030 §3).
    pub const fn needs_bdat(self) -> bool {
        matches!(self, Self::BinaryMime)
    }

    const ALL: [Self; 3] = [Self::SevenBit, Self::EightBitMime, Self::BinaryMime];

    const fn name(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Body {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::ALL
            .into_iter()
            .find(|body| body.name().eq_ignore_ascii_case(text))
            .ok_or(ValueError {
                keyword: "BODY",
                needs: "7BIT, 8BITMIME or BINARYMIME",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_parsed_in_any_case_and_printed() {
        for body in Body::ALL {
            assert_eq!(body.to_string().parse(), Ok(body));
            assert_eq!(body.to_string().to_lowercase().parse(), Ok(body));
        }
        assert!("8BIT".parse::<Body>().is_err());
        assert!("".parse::<Body>().is_err());
    }
}
