//! Sequences that are not the end of mail data, and that somebody takes for it.

use std::fmt;

/// A lone dot between line ends, at least one of which is not CRLF.
///
/// Only CRLF dot CRLF ends mail data (RFC 5321 §4.1.1.4). Where a server lets one
/// of these through and the next one ends the data at it, what follows is smuggled:
/// CVE-2023-51764, CVE-2023-51765, CVE-2023-51766, VU#302671.
///
/// A sequence that ends in CR is one only if what follows does not make it another.
/// CR CRLF dot CRLF is none of them: it has the true end of data in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sequence {
    /// `\n.\n`
    LfDotLf,
    /// `\n.\r\n`: what Exchange Online and GMX passed on in 2023.
    LfDotCrlf,
    /// `\r\n.\n`
    CrlfDotLf,
    /// `\n.\r`
    LfDotCr,
    /// `\r.\n`
    CrDotLf,
    /// `\r.\r`
    CrDotCr,
    /// `\r.\r\n`
    CrDotCrlf,
    /// `\r\n.\r`
    CrlfDotCr,
    /// `\r\n.\r\r\n`
    CrlfDotCrCrlf,
    /// `\r\r\n.\r\r\n`
    CrCrlfDotCrCrlf,
    /// `\n.\r\r\n`
    LfDotCrCrlf,
    /// `\n\n.\r\n`
    LfLfDotCrlf,
    /// `\r\n\0.\r\n`
    CrlfNulDotCrlf,
    /// `\r\n.\0\r\n`
    CrlfDotNulCrlf,
    /// `\r\n .\r\n`
    CrlfSpDotCrlf,
    /// `\r\n. \r\n`
    CrlfDotSpCrlf,
}

impl Sequence {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::LfDotLf,
        Self::LfDotCrlf,
        Self::CrlfDotLf,
        Self::LfDotCr,
        Self::CrDotLf,
        Self::CrDotCr,
        Self::CrDotCrlf,
        Self::CrlfDotCr,
        Self::CrlfDotCrCrlf,
        Self::CrCrlfDotCrCrlf,
        Self::LfDotCrCrlf,
        Self::LfLfDotCrlf,
        Self::CrlfNulDotCrlf,
        Self::CrlfDotNulCrlf,
        Self::CrlfSpDotCrlf,
        Self::CrlfDotSpCrlf,
    ];

    /// Its octets.
    pub const fn octets(self) -> &'static [u8] {
        match self {
            Self::LfDotLf => b"\n.\n",
            Self::LfDotCrlf => b"\n.\r\n",
            Self::CrlfDotLf => b"\r\n.\n",
            Self::LfDotCr => b"\n.\r",
            Self::CrDotLf => b"\r.\n",
            Self::CrDotCr => b"\r.\r",
            Self::CrDotCrlf => b"\r.\r\n",
            Self::CrlfDotCr => b"\r\n.\r",
            Self::CrlfDotCrCrlf => b"\r\n.\r\r\n",
            Self::CrCrlfDotCrCrlf => b"\r\r\n.\r\r\n",
            Self::LfDotCrCrlf => b"\n.\r\r\n",
            Self::LfLfDotCrlf => b"\n\n.\r\n",
            Self::CrlfNulDotCrlf => b"\r\n\0.\r\n",
            Self::CrlfDotNulCrlf => b"\r\n.\0\r\n",
            Self::CrlfSpDotCrlf => b"\r\n .\r\n",
            Self::CrlfDotSpCrlf => b"\r\n. \r\n",
        }
    }

    /// Its name: what stands before and after the dot.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LfDotLf => "LF.LF",
            Self::LfDotCrlf => "LF.CRLF",
            Self::CrlfDotLf => "CRLF.LF",
            Self::LfDotCr => "LF.CR",
            Self::CrDotLf => "CR.LF",
            Self::CrDotCr => "CR.CR",
            Self::CrDotCrlf => "CR.CRLF",
            Self::CrlfDotCr => "CRLF.CR",
            Self::CrlfDotCrCrlf => "CRLF.CRCRLF",
            Self::CrCrlfDotCrCrlf => "CRCRLF.CRCRLF",
            Self::LfDotCrCrlf => "LF.CRCRLF",
            Self::LfLfDotCrlf => "LFLF.CRLF",
            Self::CrlfNulDotCrlf => "CRLF-NUL.CRLF",
            Self::CrlfDotNulCrlf => "CRLF.NUL-CRLF",
            Self::CrlfSpDotCrlf => "CRLF-SP.CRLF",
            Self::CrlfDotSpCrlf => "CRLF.SP-CRLF",
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
