//! What is wrong with a parameter, and the reply it deserves.

use crate::escape::excerpt;
use crate::reply::Reply;

/// A value that its parameter cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{keyword} needs {needs}")]
pub struct ValueError {
    /// The parameter.
    pub keyword: &'static str,
    /// What its value has to be.
    pub needs: &'static str,
}

impl ValueError {
    /// The reply it deserves.
    pub fn reply(&self) -> Reply {
        Reply::of(501, "5.5.4", self.to_string())
    }
}

/// Why the parameters of MAIL or RCPT are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// HOLDFOR and HOLDUNTIL in one command (RFC 4865 §4.2).
    #[error("HOLDFOR and HOLDUNTIL exclude each other")]
    BothHolds,
    /// Held for longer than is offered (RFC 4865 §4.2).
    #[error("no message is held for so long")]
    HoldTooLong,
    /// A parameter, or a value of it, that no extension on offer has; its
    /// keyword, cut.
    #[error("{0} is not offered here")]
    NotOffered(String),
    /// A larger message than is offered to be taken (RFC 1870 §6.1).
    #[error("a message may have {limit} octets at most")]
    TooBig {
        /// The limit that was offered.
        limit: u64,
    },
    /// A message is to be returned sooner than is offered (RFC 2852 §4).
    #[error("a message is returned after {least} seconds at least")]
    TooSoon {
        /// The least that was offered.
        least: u64,
    },
    /// A value for a parameter that takes none.
    #[error("{0} takes no value")]
    UnexpectedValue(&'static str),
    /// A value that its parameter cannot have.
    #[error("{0}")]
    Value(#[from] ValueError),
}

impl EnvelopeError {
    /// Of a parameter that no extension on offer has.
    pub(super) fn not_offered(parameter: &str) -> Self {
        // It goes into a reply, which is ASCII: RFC 5321 §4.2.
        Self::NotOffered(excerpt(parameter.as_bytes(), LONGEST_KEYWORD).replace('…', "..."))
    }

    /// The reply it deserves.
    pub fn reply(&self) -> Reply {
        let text = self.to_string();
        match self {
            Self::BothHolds | Self::HoldTooLong | Self::UnexpectedValue(_) => {
                Reply::of(501, "5.5.4", text)
            }
            // RFC 5321 §4.1.1.11.
            Self::NotOffered(_) | Self::TooSoon { .. } => Reply::of(555, "5.5.4", text),
            // RFC 1870 §6.1, with the code of RFC 3463 §3.4.
            Self::TooBig { .. } => Reply::of(552, "5.3.4", text),
            Self::Value(error) => error.reply(),
        }
    }
}

/// How much of a keyword a reply repeats: a reply line has 512 octets at most
/// (RFC 5321 §4.5.3.1.5).
const LONGEST_KEYWORD: usize = 64;
