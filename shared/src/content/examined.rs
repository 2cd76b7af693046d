//! What was found.

use super::{Oddity, Sequence};

/// An oddity, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Octets of mail data before it; of a line too long, before the octet that is
    /// too many. What began before the data is at 0.
    pub offset: u64,
    /// What it is.
    pub oddity: Oddity,
}

/// How often an oddity was found, and where first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// The offset of the first one, if there is one.
    pub first: u64,
}

/// What was found in mail data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    pub(super) octets: u64,
    pub(super) longest_line: u64,
    pub(super) tallies: [Tally; Oddity::COUNT],
    pub(super) findings: Vec<Finding>,
}

impl Examined {
    /// As many findings are kept, the first ones; all are counted.
    pub const MOST: usize = 100;

    /// Octets of mail data, dots not undone.
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// Octets of the longest line, neither its end nor a doubled dot counted.
    pub const fn longest_line(&self) -> u64 {
        self.longest_line
    }

    /// How often something was found, and where first.
    pub fn tally(&self, oddity: Oddity) -> Tally {
        let tally = self.tallies.get(oddity.index());
        tally.copied().unwrap_or_default()
    }

    /// What was found, in the order of the offsets: the first [`MOST`](Self::MOST),
    /// without octets above 127, which are only counted.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How often each sequence was found that somebody takes for the end of the data.
    pub fn smuggling(&self) -> impl Iterator<Item = (Sequence, Tally)> {
        Sequence::ALL.into_iter().filter_map(|sequence| {
            let tally = self.tally(Oddity::Smuggle(sequence));
            (tally.count > 0).then_some((sequence, tally))
        })
    }

    pub(super) fn note(&mut self, oddity: Oddity, offset: u64) {
        self.count(oddity, offset, 1);
        if self.findings.len() < Self::MOST {
            self.findings.push(Finding { offset, oddity });
        }
    }

    pub(super) fn count(&mut self, oddity: Oddity, first: u64, count: u64) {
        if let Some(tally) = self.tallies.get_mut(oddity.index()) {
            if tally.count == 0 {
                tally.first = first;
            }
            tally.count += count;
        }
    }
}
