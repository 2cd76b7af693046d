//! The kinds of oddity.

use std::fmt;

use super::Sequence;

/// One way in which mail data departs from what RFC 5321 has clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Oddity {
    /// A CR that no LF follows (RFC 5321 §2.3.8).
    BareCr,
    /// An LF that no CR precedes (RFC 5321 §2.3.8).
    BareLf,
    /// An octet above 127. It is counted whoever sends it: whether it is odd, too,
    /// depends on the parameters of MAIL (RFC 6152 §3).
    EightBit,
    /// A line of more than 1000 octets, its end included and a doubled dot not
    /// (RFC 5321 §4.5.3.1.6): 998 octets of text with CRLF.
    LongLine,
    /// A NUL octet (RFC 5321 §2.3.8).
    Nul,
    /// What some servers take for the end of the data (RFC 5321 §4.1.1.4).
    Smuggle(Sequence),
}

impl Oddity {
    /// How many there are.
    pub const COUNT: usize = 5 + Sequence::ALL.len();

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = [
            Self::BareCr,
            Self::BareLf,
            Self::EightBit,
            Self::LongLine,
            Self::Nul,
        ];
        plain
            .into_iter()
            .chain(Sequence::ALL.into_iter().map(Self::Smuggle))
    }

    /// Its place in [`all`](Self::all).
    pub(super) const fn index(self) -> usize {
        match self {
            Self::BareCr => 0,
            Self::BareLf => 1,
            Self::EightBit => 2,
            Self::LongLine => 3,
            Self::Nul => 4,
            Self::Smuggle(sequence) => 5 + sequence as usize,
        }
    }

    /// Its name in an account of a message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareCr => "bare-cr",
            Self::BareLf => "bare-lf",
            Self::EightBit => "eight-bit",
            Self::LongLine => "line-too-long",
            Self::Nul => "nul",
            Self::Smuggle(sequence) => sequence.name(),
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_oddity_has_a_place_and_a_name_of_its_own() {
        let all: Vec<Oddity> = Oddity::all().collect();
        assert_eq!(all.len(), Oddity::COUNT);
        for (place, oddity) in all.iter().enumerate() {
            assert_eq!(oddity.index(), place);
            let namesakes = all.iter().filter(|other| other.name() == oddity.name());
            assert_eq!(namesakes.count(), 1, "{oddity}");
        }
    }
}
