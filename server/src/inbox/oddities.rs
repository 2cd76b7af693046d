//! The verdict on mail data, as an account has it.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::content::{self, Examined, Oddity, Reader, Sequence};

/// What is odd about mail data. Offsets count the octets on the wire, from the first
/// one after the reply to DATA, doubled dots included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Oddities {
    /// Octets of the longest line, its end not counted.
    pub longest_line: u64,
    /// How often what was found, by the names of [`Oddity`].
    pub counts: BTreeMap<&'static str, Tally>,
    /// The sequences that some servers take for the end of the data.
    pub smuggling: BTreeMap<&'static str, Smuggling>,
    /// The first of what was found, in order.
    pub findings: Vec<Finding>,
}

/// How often something was found, and where first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// Where first.
    pub first: u64,
}

/// A sequence that some servers take for the end of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Smuggling {
    /// How often it was found, and where.
    #[serde(flatten)]
    pub tally: Tally,
    /// What each server makes of it.
    pub read_by: BTreeMap<&'static str, &'static str>,
}

/// One thing that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    pub offset: u64,
    /// What, by the names of [`Oddity`].
    pub what: &'static str,
}

impl Oddities {
    /// What is odd: octets above 127 only where the client did not say that it would
    /// send them.
    pub fn of(examined: &Examined, eight_bit: EightBit) -> Self {
        let counted = |oddity: &Oddity| match oddity {
            Oddity::EightBit => eight_bit == EightBit::NotDeclared,
            Oddity::Smuggle(_) => false,
            _ => true,
        };
        let counts = Oddity::all().filter(counted).filter_map(|oddity| {
            let tally = examined.tally(oddity);
            (tally.count > 0).then(|| (oddity.name(), tally.into()))
        });
        let smuggling = examined.smuggling().map(|(sequence, tally)| {
            let read_by = readings(sequence);
            let tally = tally.into();
            (sequence.name(), Smuggling { tally, read_by })
        });
        let findings = examined.findings().iter().map(|finding| Finding {
            offset: finding.offset,
            what: finding.oddity.name(),
        });
        Self {
            longest_line: examined.longest_line(),
            counts: counts.collect(),
            smuggling: smuggling.collect(),
            findings: findings.collect(),
        }
    }

    /// About how many octets of memory it takes.
    pub(super) fn weight(&self) -> usize {
        const NODE: usize = 64;
        self.findings.len() * size_of::<Finding>()
            + self.counts.len() * NODE
            + self.smuggling.len() * (NODE * Reader::ALL.len())
    }
}

/// Whether the client said that there would be octets above 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EightBit {
    /// By `BODY=8BITMIME` (RFC 6152 §3) or `SMTPUTF8` (RFC 6531 §3.4).
    Declared,
    /// It did not.
    NotDeclared,
}

impl From<content::Tally> for Tally {
    fn from(tally: content::Tally) -> Self {
        Self {
            count: tally.count,
            first: tally.first,
        }
    }
}

fn readings(sequence: Sequence) -> BTreeMap<&'static str, &'static str> {
    let readers = Reader::ALL.into_iter();
    readers
        .map(|reader| (reader.name(), sequence.read_by(reader).name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use shared::content::Examiner;

    use super::*;

    #[test]
    fn an_account_says_what_is_odd_and_how_it_is_read() {
        let mut examiner = Examiner::new();
        examiner.examine(b"caf\xe9\n.\r\nx\r\n");
        let oddities = Oddities::of(&examiner.examined(), EightBit::NotDeclared);
        let json = serde_json::to_value(&oddities).unwrap();
        let wanted = serde_json::json!({
            "longest_line": 4,
            "counts": {
                "bare-lf": { "count": 1, "first": 4 },
                "eight-bit": { "count": 1, "first": 3 },
            },
            "smuggling": {
                "LF.CRLF": {
                    "count": 1,
                    "first": 4,
                    "read_by": {
                        "exim": "not-end",
                        "haraka": "end",
                        "mailpit": "end",
                        "opensmtpd": "end",
                        "postfix-no": "end",
                        "postfix-normalize": "not-end",
                        "postfix-reject": "refused",
                        "sendmail": "refused",
                        "smtp4dev": "end",
                        "stalwart": "not-end",
                    },
                },
            },
            "findings": [
                { "offset": 4, "what": "bare-lf" },
                { "offset": 4, "what": "LF.CRLF" },
            ],
        });
        assert_eq!(json, wanted);
        let declared = Oddities::of(&examiner.examined(), EightBit::Declared);
        assert!(!declared.counts.contains_key("eight-bit"));
    }
}
