//! DSN: delivery status notifications on request (RFC 3461), but for ORCPT.

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use crate::parameter::{decode_xtext, encode_xtext};

/// RET: how much of the message a notification of failure returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    /// All of it.
    Full,
    /// Its headers.
    Headers,
}

/// ENVID: what the sender calls this transaction, xtext undone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeId(String);

/// NOTIFY: when to notify the sender about a recipient; never, if of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notify(u8);

/// What a sender may be notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The message was delivered.
    Success,
    /// It could not be delivered.
    Failure,
    /// It is late.
    Delay,
}

impl EnvelopeId {
    /// `None` if it is empty, too long, or holds more than the printable
    /// characters of US-ASCII (RFC 3461 §4.4).
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && encode_xtext(text.as_bytes()).len() <= LONGEST_ENVID;
        (fits && is_printable(text)).then(|| Self(text.to_owned()))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Notify {
    /// Whatever happens.
    pub const NEVER: Self = Self(0);

    /// Of these.
    pub fn of(events: &[Event]) -> Self {
        Self(events.iter().fold(0, |all, event| all | event.bit()))
    }

    /// Whether to notify of that.
    pub const fn includes(self, event: Event) -> bool {
        self.0 & event.bit() != 0
    }
}

impl Event {
    /// In the order in which they are printed.
    const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Delay];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Delay => "DELAY",
        }
    }
}

pub(super) fn is_printable(text: &str) -> bool {
    text.chars().all(|c| matches!(c, ' '..='~'))
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_xtext(self.0.as_bytes()))
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("NEVER");
        }
        let mut separator = "";
        for event in Event::ALL.into_iter().filter(|&event| self.includes(event)) {
            write!(f, "{separator}{}", event.name())?;
            separator = ",";
        }
        Ok(())
    }
}

impl FromStr for Return {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        [Self::Full, Self::Headers]
            .into_iter()
            .find(|ret| ret.to_string().eq_ignore_ascii_case(text))
            .ok_or(ValueError {
                keyword: "RET",
                needs: "FULL or HDRS",
            })
    }
}

impl FromStr for EnvelopeId {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        decode_xtext(text)
            .filter(|_| text.len() <= LONGEST_ENVID)
            .and_then(|octets| String::from_utf8(octets).ok())
            .filter(|id| !id.is_empty() && is_printable(id))
            .map(Self)
            .ok_or(ValueError {
                keyword: "ENVID",
                needs: "printable US-ASCII as xtext, 100 octets at most",
            })
    }
}

impl FromStr for Notify {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::NEVER);
        }
        let event = |word: &str| {
            Event::ALL
                .into_iter()
                .find(|event| event.name().eq_ignore_ascii_case(word))
        };
        text.split(',')
            .map(event)
            .collect::<Option<Vec<_>>>()
            .map(|events| Self::of(&events))
            .ok_or(ValueError {
                keyword: "NOTIFY",
                needs: "NEVER, or a list of SUCCESS, FAILURE and DELAY",
            })
    }
}

/// RFC 3461 §4.4.
const LONGEST_ENVID: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn never_stands_alone() {
        for (text, printed) in [
            ("NEVER", "NEVER"),
            ("never", "NEVER"),
            ("delay,success", "SUCCESS,DELAY"),
            ("FAILURE,FAILURE", "FAILURE"),
        ] {
            assert_eq!(text.parse::<Notify>().unwrap().to_string(), printed);
        }
        for text in [
            "",
            "NEVER,FAILURE",
            "FAILURE,NEVER",
            "FAILURE,",
            ",FAILURE",
            "ALWAYS",
            "FAILURE;DELAY",
        ] {
            assert!(text.parse::<Notify>().is_err(), "{text}");
        }
    }

    #[test]
    fn returns_are_full_or_headers() {
        assert_eq!("hdrs".parse(), Ok(Return::Headers));
        assert_eq!(Return::Full.to_string().parse(), Ok(Return::Full));
        assert!("".parse::<Return>().is_err());
        assert!("BODY".parse::<Return>().is_err());
    }

    #[test]
    fn envelope_ids_have_their_limits() {
        let id: EnvelopeId = "QQ314159+2B+20x".parse().unwrap();
        assert_eq!(id.as_str(), "QQ314159+ x");
        assert!("a".repeat(100).parse::<EnvelopeId>().is_ok());
        assert!("a".repeat(101).parse::<EnvelopeId>().is_err());
        for text in ["", "a=b", "a+2", "a+2b", "a+0A", "a+C3+A9", "é"] {
            assert!(text.parse::<EnvelopeId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_print(
            id in "[ -~]{1,40}",
            events in prop::collection::vec(prop::sample::select(&Event::ALL[..]), 0..4),
        ) {
            if let Some(id) = EnvelopeId::new(&id) {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
            let notify = Notify::of(&events);
            prop_assert_eq!(notify.to_string().parse(), Ok(notify));
        }

    }
}
