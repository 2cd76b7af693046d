//! How servers read what is not quite the end of mail data.

use Reading::{End as E, NotEnd as N, Refused as R, Unknown as U};

use super::Sequence;

/// A server, as it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reader {
    /// Postfix with `smtpd_forbid_bare_newline = normalize`, the default from 3.9.
    /// Clients of `smtpd_forbid_bare_newline_exclusions` (by default `mynetworks`)
    /// are read as with `no`.
    PostfixNormalize,
    /// Postfix with `smtpd_forbid_bare_newline = reject`: 550 5.5.2.
    PostfixReject,
    /// Postfix with `smtpd_forbid_bare_newline = no`, the default before 3.9.
    PostfixNo,
    /// Exim from 4.97.1. A message whose first header line ends in LF is read by
    /// other rules: there LF dot LF ends it, by design.
    Exim,
    /// Sendmail from 8.18: 421.
    Sendmail,
    /// OpenSMTPD 6.8.
    OpenSmtpd,
    /// Haraka 3.1: 451 where a dot stands before a bare LF.
    Haraka,
    /// Mailpit.
    Mailpit,
    /// smtp4dev, which drops every CR.
    Smtp4dev,
    /// Stalwart, which takes a doubled CR for one.
    Stalwart,
}

/// What a server makes of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// It ends the data there: what follows are commands.
    End,
    /// It does not end the data there.
    NotEnd,
    /// It refuses the message.
    Refused,
    /// Nobody has tried.
    Unknown,
}

impl Reader {
    /// All of them, in the order of the columns of the table.
    pub const ALL: [Self; 10] = [
        Self::PostfixNormalize,
        Self::PostfixReject,
        Self::PostfixNo,
        Self::Exim,
        Self::Sendmail,
        Self::OpenSmtpd,
        Self::Haraka,
        Self::Mailpit,
        Self::Smtp4dev,
        Self::Stalwart,
    ];

    /// Its name in an account of a message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PostfixNormalize => "postfix-normalize",
            Self::PostfixReject => "postfix-reject",
            Self::PostfixNo => "postfix-no",
            Self::Exim => "exim",
            Self::Sendmail => "sendmail",
            Self::OpenSmtpd => "opensmtpd",
            Self::Haraka => "haraka",
            Self::Mailpit => "mailpit",
            Self::Smtp4dev => "smtp4dev",
            Self::Stalwart => "stalwart",
        }
    }
}

impl Reading {
    /// Its name in an account of a message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::NotEnd => "not-end",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl Sequence {
    /// What that server makes of it.
    pub fn read_by(self, reader: Reader) -> Reading {
        let row = READINGS.get(self as usize);
        row.and_then(|row| row.get(reader as usize).copied())
            .unwrap_or(Reading::Unknown)
    }
}

/// A row for each sequence, a column for each reader.
///
/// Postfix 3.7.11, Exim 4.96 with the patch of 4.97.1, Sendmail 8.17 with that of
/// 8.18, and OpenSMTPD 6.8.0p2 were tried, each sequence by itself and with a pause
/// after it, from an address they do not trust. The others were read in source:
/// Haraka 3.1.6, Mailpit of 2026-07, smtp4dev of 2026-03, Stalwart 0.16.19; what
/// their source was not read for is unknown.
#[rustfmt::skip]
const READINGS: [[Reading; Reader::ALL.len()]; Sequence::ALL.len()] = [
    // Postfix: normalize, reject, no; Exim, Sendmail, OpenSMTPD; Haraka, Mailpit, smtp4dev, Stalwart
    /* LF.LF         */ [N, R, E, N, R, E, R, U, E, N],
    /* LF.CRLF       */ [N, R, E, N, R, E, E, E, E, N],
    /* CRLF.LF       */ [N, R, E, N, R, E, R, U, E, N],
    /* LF.CR         */ [N, R, N, N, R, N, U, U, N, N],
    /* CR.LF         */ [N, R, N, N, R, N, U, U, N, N],
    /* CR.CR         */ [N, N, N, N, R, N, U, U, N, N],
    /* CR.CRLF       */ [N, N, N, N, R, N, U, U, N, N],
    /* CRLF.CR       */ [N, N, N, N, R, N, U, U, N, N],
    /* CRLF.CRCRLF   */ [N, N, E, N, R, N, U, U, E, E],
    /* CRCRLF.CRCRLF */ [N, N, E, N, R, N, U, U, E, E],
    /* LF.CRCRLF     */ [N, R, E, N, R, N, U, U, E, N],
    /* LFLF.CRLF     */ [N, R, E, N, R, E, E, E, E, N],
    /* CRLF-NUL.CRLF */ [N, N, N, N, N, N, U, U, N, N],
    /* CRLF.NUL-CRLF */ [N, N, N, N, N, E, U, U, N, N],
    /* CRLF-SP.CRLF  */ [N, N, N, N, U, N, U, U, N, N],
    /* CRLF.SP-CRLF  */ [N, N, N, N, U, N, U, U, N, N],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_in_the_order_of_the_readers() {
        for (place, reader) in Reader::ALL.into_iter().enumerate() {
            assert_eq!(reader as usize, place);
        }
        assert_eq!(Sequence::LfDotLf.read_by(Reader::PostfixNo), E);
        assert_eq!(Sequence::LfDotLf.read_by(Reader::PostfixReject), R);
        assert_eq!(Sequence::CrlfDotNulCrlf.read_by(Reader::OpenSmtpd), E);
        assert_eq!(Sequence::CrlfDotCrCrlf.read_by(Reader::Stalwart), E);
    }

    /// What Postfix refuses with `reject` is what has a bare LF, and what Sendmail
    /// refuses is what has a bare CR or LF.
    #[test]
    fn refusals_follow_from_the_octets() {
        for sequence in Sequence::ALL {
            let octets = sequence.octets();
            let before = |at: usize| at.checked_sub(1).map(|before| octets[before]);
            let bare_lf =
                (0..octets.len()).any(|at| octets[at] == b'\n' && before(at) != Some(b'\r'));
            let bare_cr = (0..octets.len())
                .any(|at| octets[at] == b'\r' && octets.get(at + 1) != Some(&b'\n'));
            let refuses = |reader| sequence.read_by(reader) == R;
            assert_eq!(refuses(Reader::PostfixReject), bare_lf, "{sequence}");
            assert_eq!(refuses(Reader::Sendmail), bare_lf || bare_cr, "{sequence}");
        }
    }

    /// smtp4dev drops every CR: it ends the data where a lone dot is left.
    #[test]
    fn smtp4dev_ends_where_a_lone_dot_is_left_without_cr() {
        for sequence in Sequence::ALL {
            let octets = sequence.octets().iter().copied();
            let left: Vec<u8> = octets.filter(|&octet| octet != b'\r').collect();
            let ends = sequence.read_by(Reader::Smtp4dev) == E;
            assert_eq!(ends, left.ends_with(b"\n.\n"), "{sequence}");
        }
    }
}
