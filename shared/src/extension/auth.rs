//! The AUTH parameter of MAIL: who submitted the message (RFC 4954 §5).

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use crate::address::Mailbox;
use crate::parameter::{decode_xtext, encode_xtext};

/// Who submitted a message, as a client that is trusted passes it on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Submitter {
    /// `<>`: nobody knows, or nobody vouches for it.
    Unknown,
    /// The identity, as a mailbox.
    Mailbox(Mailbox),
}

impl fmt::Display for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("<>"),
            Self::Mailbox(mailbox) => f.write_str(&encode_xtext(mailbox.to_string().as_bytes())),
        }
    }
}

impl FromStr for Submitter {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "<>" {
            return Ok(Self::Unknown);
        }
        decode_xtext(text)
            .and_then(|octets| String::from_utf8(octets).ok())
            .and_then(|mailbox| mailbox.parse().ok())
            .map(Self::Mailbox)
            .ok_or(ValueError {
                keyword: "AUTH",
                needs: "<>, or a mailbox as xtext",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submitters_are_parsed_and_printed() {
        for text in [
            "<>",
            "e+3Dmc2@example.com",
            "+22a+20b+22@example.com",
            "gr+C3+BCn@example.com",
        ] {
            let submitter: Submitter = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(submitter.to_string().parse(), Ok(submitter), "{text}");
        }
        assert_eq!(
            "e+3Dmc2@example.com".parse(),
            Ok(Submitter::Mailbox("e=mc2@example.com".parse().unwrap()))
        );
        for text in ["", "a", "<a@b>", "e=mc2@b", "a+@b", "a+0D@b", "grün@b"] {
            assert!(text.parse::<Submitter>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(local in "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}") {
            let submitter = Submitter::Mailbox(format!("{local}@b.test").parse().unwrap());
            proptest::prop_assert_eq!(submitter.to_string().parse(), Ok(submitter));
        }
    }
}
