//! Examines mail data as it comes.

use super::{Examined, Oddity, Sequence};

/// RFC 5321 §4.5.3.1.6: a text line has at most 1000 octets, CRLF included and a
/// doubled dot not.
const TEXT_LINE: u64 = 1000;

/// Examines mail data as on the wire, without the final line, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct Examiner {
    found: Examined,
    place: Place,
    /// Octets of the line so far, without a dot in front of it.
    line: u64,
    /// The offset after the last sequence that was whole.
    after_sequence: Option<u64>,
}

/// What was seen of something that may become the end of the data to somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Within a line.
    Text,
    /// After a CR within a line.
    Cr,
    /// After several.
    Crs,
    /// After a line end.
    Start(Before),
    /// After a filler at the start of a line.
    Filled(Filler),
    /// After a dot at the start of a line.
    Dot(Lead),
    /// After a CR after that dot.
    DotCr(Lead),
    /// After two CRs after that dot.
    DotCrs(Lead),
    /// At the start of the data: the line with the command has just ended.
    #[default]
    Data,
}

/// The line end before the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Cr,
    CrCrlf,
    Crlf,
    Lf,
    LfLf,
}

/// What is no part of the final line, and is overlooked by some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filler {
    Nul,
    Sp,
}

/// What stands before the line end after the dot, the dot included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    Dot(Before),
    DotFiller(Filler),
    FillerDot(Filler),
}

/// The line end after the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Cr,
    CrCrlf,
    Crlf,
    Lf,
}

impl Examiner {
    /// An examiner at the start of the data, which is the start of a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next octets.
    pub fn examine(&mut self, piece: &[u8]) {
        self.count_eight_bit(piece);
        let mut rest = piece;
        while !rest.is_empty() {
            if self.place == Place::Text {
                let end = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                self.pass(end as u64);
                rest = rest.get(end..).unwrap_or_default();
            }
            if let Some((&octet, after)) = rest.split_first() {
                self.step(octet);
                rest = after;
            }
        }
    }

    /// What was found so far, as if the data ended here.
    pub fn examined(&self) -> Examined {
        let mut at_end = self.clone();
        if at_end.place.is_after_cr() {
            at_end.note(Oddity::BareCr, 1);
        }
        at_end.end_dot_cr();
        let mut found = at_end.found;
        found.longest_line = found.longest_line.max(self.line);
        found.findings.sort_unstable();
        found
    }

    /// How often something was found so far.
    pub fn count(&self, oddity: Oddity) -> u64 {
        self.found.tally(oddity).count
    }

    /// What came last are the octets of a [`Sequence`].
    pub fn ends_in_sequence(&self) -> bool {
        matches!(self.place, Place::DotCr(_) | Place::DotCrs(_))
            || self.after_sequence == Some(self.found.octets)
    }

    fn count_eight_bit(&mut self, piece: &[u8]) {
        // Nearly all mail passes here: it is checked in large steps.
        if piece.is_ascii() {
            return;
        }
        let high = |octet: &&u8| !octet.is_ascii();
        if let Some(first) = piece.iter().position(|octet| !octet.is_ascii()) {
            let count = piece.iter().filter(high).count() as u64;
            let first = self.found.octets + first as u64;
            self.found.count(Oddity::EightBit, first, count);
        }
    }

    /// Passes octets that are only text.
    fn pass(&mut self, count: u64) {
        let line = self.line + count;
        if self.line <= TEXT_LINE && line > TEXT_LINE {
            let into = TEXT_LINE - self.line;
            self.found.note(Oddity::LongLine, self.found.octets + into);
        }
        self.line = line;
        self.found.octets += count;
    }

    fn step(&mut self, octet: u8) {
        if self.place.is_after_cr() && octet != b'\n' {
            self.note(Oddity::BareCr, 1);
        }
        if !matches!(octet, b'\r' | b'\n') {
            self.end_dot_cr();
        }
        // A dot in front of a line is undone, and not counted: RFC 5321 §4.5.2.
        let stuffing = octet == b'.' && self.place.is_after_crlf();
        self.pass(u64::from(!stuffing));
        self.found.octets += u64::from(stuffing);
        match octet {
            b'\r' => self.place = self.after_cr(),
            b'\n' => self.line_feed(),
            0 => {
                self.note(Oddity::Nul, 1);
                self.place = self.place.after_filler(Filler::Nul);
            }
            b' ' => self.place = self.place.after_filler(Filler::Sp),
            b'.' => self.place = self.place.after_dot(),
            _ => self.place = Place::Text,
        }
    }

    fn after_cr(&mut self) -> Place {
        match self.place {
            Place::Dot(lead) => Place::DotCr(lead),
            Place::DotCr(lead) => Place::DotCrs(lead),
            Place::DotCrs(lead) => {
                // The CR that ends it, and two more.
                self.sequence(lead, After::Cr, 2);
                Place::Crs
            }
            Place::Cr | Place::Crs => Place::Crs,
            _ => Place::Cr,
        }
    }

    fn line_feed(&mut self) {
        let after_cr = self.place.is_after_cr();
        if !after_cr {
            self.note(Oddity::BareLf, 1);
        }
        match self.place {
            Place::Dot(lead) => self.sequence(lead, After::Lf, 0),
            Place::DotCr(lead) => self.sequence(lead, After::Crlf, 0),
            // No row of its own: the first CR after the dot ends it.
            Place::DotCrs(lead @ Lead::Dot(Before::Cr)) => self.sequence(lead, After::Cr, 2),
            Place::DotCrs(lead) => self.sequence(lead, After::CrCrlf, 0),
            _ => {}
        }
        self.place = Place::Start(match self.place {
            Place::Cr | Place::DotCr(_) => Before::Crlf,
            Place::Crs | Place::DotCrs(_) => Before::CrCrlf,
            Place::Start(_) | Place::Data => Before::LfLf,
            _ => Before::Lf,
        });
        let text = self.line.saturating_sub(1 + u64::from(after_cr));
        self.found.longest_line = self.found.longest_line.max(text);
        self.line = 0;
    }

    /// A CR after the dot that has become no other line end is one itself.
    fn end_dot_cr(&mut self) {
        match self.place {
            Place::DotCr(lead) => {
                self.sequence(lead, After::Cr, 0);
                self.place = Place::Cr;
            }
            Place::DotCrs(lead) => {
                self.sequence(lead, After::Cr, 1);
                self.place = Place::Crs;
            }
            _ => {}
        }
    }

    /// Notes a sequence that ended so many octets ago, if it is one.
    fn sequence(&mut self, lead: Lead, after: After, ago: u64) {
        if let Some(sequence) = sequence(lead, after) {
            self.note(
                Oddity::Smuggle(sequence),
                sequence.octets().len() as u64 + ago,
            );
            self.after_sequence = Some(self.found.octets - ago);
        }
    }

    /// Notes what began so many octets ago.
    fn note(&mut self, oddity: Oddity, ago: u64) {
        self.found
            .note(oddity, self.found.octets.saturating_sub(ago));
    }
}

impl Place {
    const fn is_after_cr(self) -> bool {
        matches!(
            self,
            Self::Cr | Self::Crs | Self::DotCr(_) | Self::DotCrs(_)
        )
    }

    const fn is_after_crlf(self) -> bool {
        matches!(
            self,
            Self::Data | Self::Start(Before::Crlf | Before::CrCrlf)
        )
    }

    const fn after_filler(self, filler: Filler) -> Self {
        match self {
            _ if self.is_after_crlf() => Self::Filled(filler),
            Self::Dot(Lead::Dot(Before::Crlf | Before::CrCrlf)) => {
                Self::Dot(Lead::DotFiller(filler))
            }
            _ => Self::Text,
        }
    }

    const fn after_dot(self) -> Self {
        match self {
            Self::Data => Self::Dot(Lead::Dot(Before::Crlf)),
            Self::Start(before) => Self::Dot(Lead::Dot(before)),
            Self::Cr | Self::Crs => Self::Dot(Lead::Dot(Before::Cr)),
            Self::Filled(filler) => Self::Dot(Lead::FillerDot(filler)),
            _ => Self::Text,
        }
    }
}

/// The sequence, if it is one: CRLF dot CRLF is not.
const fn sequence(lead: Lead, after: After) -> Option<Sequence> {
    Some(match (lead, after) {
        (Lead::Dot(Before::Lf | Before::LfLf), After::Lf) => Sequence::LfDotLf,
        (Lead::Dot(Before::Lf | Before::LfLf), After::Cr) => Sequence::LfDotCr,
        (Lead::Dot(Before::Lf | Before::LfLf), After::CrCrlf) => Sequence::LfDotCrCrlf,
        (Lead::Dot(Before::Lf), After::Crlf) => Sequence::LfDotCrlf,
        (Lead::Dot(Before::LfLf), After::Crlf) => Sequence::LfLfDotCrlf,
        (Lead::Dot(Before::Crlf | Before::CrCrlf), After::Lf) => Sequence::CrlfDotLf,
        (Lead::Dot(Before::Crlf | Before::CrCrlf), After::Cr) => Sequence::CrlfDotCr,
        (Lead::Dot(Before::Crlf), After::CrCrlf) => Sequence::CrlfDotCrCrlf,
        (Lead::Dot(Before::CrCrlf), After::CrCrlf) => Sequence::CrCrlfDotCrCrlf,
        (Lead::Dot(Before::Crlf | Before::CrCrlf), After::Crlf) => return None,
        (Lead::Dot(Before::Cr), After::Lf) => Sequence::CrDotLf,
        (Lead::Dot(Before::Cr), After::Cr) => Sequence::CrDotCr,
        (Lead::Dot(Before::Cr), After::Crlf) => Sequence::CrDotCrlf,
        (Lead::FillerDot(Filler::Nul), After::Crlf) => Sequence::CrlfNulDotCrlf,
        (Lead::FillerDot(Filler::Sp), After::Crlf) => Sequence::CrlfSpDotCrlf,
        (Lead::DotFiller(Filler::Nul), After::Crlf) => Sequence::CrlfDotNulCrlf,
        (Lead::DotFiller(Filler::Sp), After::Crlf) => Sequence::CrlfDotSpCrlf,
        (Lead::Dot(Before::Cr), After::CrCrlf) | (Lead::FillerDot(_) | Lead::DotFiller(_), _) => {
            return None;
        }
    })
}
