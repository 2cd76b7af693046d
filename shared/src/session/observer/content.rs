//! What is odd about mail data, and whether its end was a matter of opinion.

use crate::content::{Examined, Examiner, Oddity};
use crate::deviation::Deviation;

/// What must be remembered from one piece of mail data to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct ContentState {
    examiner: Examiner,
    /// The data came before the server asked for it.
    pub(super) early: bool,
    /// Bytes of it were lost, its end perhaps among them.
    gap: bool,
}

/// What an oddity is called on a unit.
const NAMES: [(Oddity, Deviation); 4] = [
    (Oddity::BareCr, Deviation::BareCr),
    (Oddity::BareLf, Deviation::BareLf),
    (Oddity::LongLine, Deviation::LineTooLong),
    (Oddity::Nul, Deviation::Nul),
];

impl ContentState {
    /// The state at the start of mail data.
    pub(super) fn start(early: bool) -> Self {
        Self {
            examiner: Examiner::new(),
            early,
            gap: false,
        }
    }

    /// Looks at the next piece, and notes what is odd about it.
    pub(super) fn examine(&mut self, content: &[u8], deviations: &mut Vec<Deviation>) {
        let before = NAMES.map(|(oddity, _)| self.examiner.count(oddity));
        self.examiner.examine(content);
        for ((oddity, deviation), before) in NAMES.into_iter().zip(before) {
            if self.examiner.count(oddity) > before {
                deviations.push(deviation);
            }
        }
    }

    /// Bytes of it were lost.
    pub(super) fn has_gap(&mut self) {
        self.gap = true;
    }

    /// Its end may have been lost.
    pub(super) fn may_have_ended(&self) -> bool {
        self.gap
    }

    /// What was found in the data so far.
    pub(super) fn examined(&self) -> Examined {
        self.examiner.examined()
    }

    /// The server answered as if the data had ended: had it, for a reader that
    /// takes other line ends than CRLF around the dot?
    pub(super) fn ended_leniently(&self) -> bool {
        self.examiner.ends_in_sequence()
    }
}
