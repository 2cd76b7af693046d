//! Every departure from an RFC that we can name.
//!
//! A deviation is noted beside what was heard, and the session goes on: whether
//! to tolerate it is a policy of the server, or a verdict of a check.

use std::fmt;

/// One way in which a peer's bytes depart from the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Deviation {
    /// A CR that is not followed by LF (RFC 5321 §2.3.8).
    BareCr,
    /// An LF that is not preceded by CR (RFC 5321 §2.3.8).
    BareLf,
    /// A second code inside one multi-line reply (RFC 5321 §4.2.1).
    CodeChanged,
    /// Mail data sent before the 354 that asks for it (RFC 2920 §3.1).
    ContentBeforeGoAhead,
    /// Mail data ended by something other than CRLF dot CRLF, and the server
    /// took it for the end (RFC 5321 §4.1.1.4).
    EndOfDataNotCrlf,
    /// An octet above 127 in a line of the dialogue (RFC 5321 §2.4).
    EightBit,
    /// The connection ended in the middle of a unit.
    CutShort,
    /// A line over the limit (RFC 5321 §4.5.3.1).
    LineTooLong,
    /// No angle brackets around a path (RFC 5321 §4.1.2).
    NoAngleBrackets,
    /// A NUL octet (RFC 5321 §2.3.8).
    Nul,
    /// Bytes where a reply was due that are no reply (RFC 5321 §4.2).
    NotAReply,
    /// A command at a stage where the transition table has no row for it
    /// (RFC 5321 §4.1.4).
    OutOfOrder,
    /// Plaintext between STARTTLS and the handshake (RFC 3207 §4.2).
    PlaintextAfterStartTls,
    /// White space between `FROM:` or `TO:` and the path (RFC 5321 §3.3).
    SpaceAfterColon,
    /// The client spoke before the greeting (RFC 5321 §4.3.1).
    TalkBeforeGreeting,
    /// White space before the end of a command line (RFC 5321 §4.1.1).
    TrailingSpace,
    /// Several commands at once without PIPELINING in the last EHLO reply
    /// (RFC 2920 §3.1), or a command after one that must end its group.
    UnannouncedPipelining,
    /// A reply that answers nothing (RFC 5321 §4.2).
    UnsolicitedReply,
}

impl Deviation {
    /// All of them, in alphabetical order of their names.
    pub const ALL: [Self; 18] = [
        Self::BareCr,
        Self::BareLf,
        Self::CodeChanged,
        Self::ContentBeforeGoAhead,
        Self::CutShort,
        Self::EightBit,
        Self::EndOfDataNotCrlf,
        Self::LineTooLong,
        Self::NoAngleBrackets,
        Self::NotAReply,
        Self::Nul,
        Self::OutOfOrder,
        Self::PlaintextAfterStartTls,
        Self::SpaceAfterColon,
        Self::TalkBeforeGreeting,
        Self::TrailingSpace,
        Self::UnannouncedPipelining,
        Self::UnsolicitedReply,
    ];

    /// The name used in recordings, transcripts and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareCr => "bare-cr",
            Self::BareLf => "bare-lf",
            Self::CodeChanged => "code-changed",
            Self::ContentBeforeGoAhead => "content-before-go-ahead",
            Self::CutShort => "cut-short",
            Self::EightBit => "eight-bit",
            Self::EndOfDataNotCrlf => "end-of-data-not-crlf",
            Self::LineTooLong => "line-too-long",
            Self::NoAngleBrackets => "no-angle-brackets",
            Self::NotAReply => "not-a-reply",
            Self::Nul => "nul",
            Self::OutOfOrder => "out-of-order",
            Self::PlaintextAfterStartTls => "plaintext-after-starttls",
            Self::SpaceAfterColon => "space-after-colon",
            Self::TalkBeforeGreeting => "talk-before-greeting",
            Self::TrailingSpace => "trailing-space",
            Self::UnannouncedPipelining => "unannounced-pipelining",
            Self::UnsolicitedReply => "unsolicited-reply",
        }
    }

    /// The deviation of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_unique_and_found_again() {
        let names = Deviation::ALL.map(Deviation::name);
        assert!(names.is_sorted_by(|a, b| a < b));
        assert!(
            Deviation::ALL
                .iter()
                .all(|&d| Deviation::named(d.name()) == Some(d))
        );
    }
}
