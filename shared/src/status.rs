//! Enhanced status codes (RFC 3463, RFC 2034).

use std::fmt;
use std::str::FromStr;

/// `class.subject.detail`, such as `5.1.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedStatusCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedStatusCode {
    /// The code with these parts, if they are in range: class 2, 4 or 5, subject
    /// and detail up to 999 (RFC 3463 §2).
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        if matches!(class, 2 | 4 | 5) && subject <= 999 && detail <= 999 {
            Some(Self {
                class,
                subject,
                detail,
            })
        } else {
            None
        }
    }

    /// 2, 4 or 5.
    pub const fn class(self) -> u8 {
        self.class
    }

    /// What it is about: 1 addressing, 2 mailbox, 3 system, 4 network, 5
    /// protocol, 6 content, 7 security (RFC 3463 §3).
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The detail within the subject.
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// The code at the start of a reply line's text, if the text begins with one
    /// that is followed by a space or the end (RFC 2034 §4).
    pub fn leading(text: &[u8]) -> Option<Self> {
        let end = text
            .iter()
            .position(|&octet| octet == b' ')
            .unwrap_or(text.len());
        let word = text.get(..end.min(10))?;
        std::str::from_utf8(word).ok()?.parse().ok()
    }
}

impl fmt::Display for EnhancedStatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Why a text is not an enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code such as 5.1.1")]
pub struct NotAStatusCode;

impl FromStr for EnhancedStatusCode {
    type Err = NotAStatusCode;

    fn from_str(text: &str) -> Result<Self, NotAStatusCode> {
        let mut parts = text.split('.').map(|part| {
            let plain = !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
            let minimal = part == "0" || !part.starts_with('0');
            (plain && minimal && part.len() <= 3)
                .then(|| part.parse::<u16>().ok())
                .flatten()
        });
        let mut next = || parts.next().flatten().ok_or(NotAStatusCode);
        let (class, subject, detail) = (next()?, next()?, next()?);
        let class = u8::try_from(class).map_err(|_| NotAStatusCode)?;
        match parts.next() {
            None => Self::new(class, subject, detail).ok_or(NotAStatusCode),
            Some(_) => Err(NotAStatusCode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_parsed_and_printed() {
        for text in ["2.0.0", "4.7.1", "5.1.10", "5.7.999"] {
            assert_eq!(
                text.parse::<EnhancedStatusCode>().map(|c| c.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in [
            "", "5", "5.1", "3.1.1", "5.1.1.1", "5.1.x", "5.1.1000", "5.01.1", "5..1", " 5.1.1",
        ] {
            assert_eq!(
                text.parse::<EnhancedStatusCode>(),
                Err(NotAStatusCode),
                "{text}"
            );
        }
    }

    #[test]
    fn only_a_leading_word_counts() {
        let found = |text: &[u8]| EnhancedStatusCode::leading(text).map(|code| code.to_string());
        assert_eq!(found(b"5.1.1 no such user"), Some("5.1.1".into()));
        assert_eq!(found(b"2.0.0"), Some("2.0.0".into()));
        assert_eq!(found(b"5.1.1: no"), None);
        assert_eq!(found(b"see 5.1.1"), None);
    }
}
