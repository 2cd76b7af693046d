//! What is odd about mail data, and whether its end was a matter of opinion.

use crate::deviation::Deviation;

/// What must be remembered from one piece of mail data to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ContentState {
    /// The last octets, oldest first; zero where there were none.
    tail: [u8; 4],
    /// Octets of the line so far.
    line: usize,
    /// The data came before the server asked for it.
    pub(super) early: bool,
    /// A line with a lone dot ended in something other than CRLF, and nothing
    /// has come after it.
    lenient_end: bool,
}

/// RFC 5321 §4.5.3.1.6: a text line has at most 1000 octets, CRLF included.
const TEXT_LINE: usize = 1000;

impl ContentState {
    /// The state at the start of mail data.
    pub(super) fn start(early: bool) -> Self {
        Self {
            tail: [0, 0, b'\r', b'\n'],
            early,
            ..Self::default()
        }
    }

    /// Looks at the next piece, and notes what is odd about it.
    pub(super) fn examine(&mut self, content: &[u8], deviations: &mut Vec<Deviation>) {
        let before = self.tail;
        let last_before = before.last().copied();
        let note = |found: bool, deviation, deviations: &mut Vec<Deviation>| {
            if found {
                deviations.push(deviation);
            }
        };
        let previous = |at: usize| {
            at.checked_sub(1)
                .map_or(last_before, |before| content.get(before).copied())
        };
        let bare_cr = (last_before == Some(b'\r')
            && content.first().is_some_and(|&octet| octet != b'\n'))
            || memchr::memchr_iter(b'\r', content)
                .any(|at| content.get(at + 1).is_some_and(|&octet| octet != b'\n'));
        note(bare_cr, Deviation::BareCr, deviations);
        let (mut bare_lf, mut too_long, mut start) = (false, false, 0);
        for at in memchr::memchr_iter(b'\n', content) {
            bare_lf |= previous(at) != Some(b'\r');
            too_long |= self.line + (at + 1 - start) > TEXT_LINE;
            self.line = 0;
            start = at + 1;
        }
        self.line += content.len() - start;
        too_long |= self.line > TEXT_LINE;
        note(bare_lf, Deviation::BareLf, deviations);
        note(too_long, Deviation::LineTooLong, deviations);
        let nul = memchr::memchr(0, content).is_some();
        note(nul, Deviation::Nul, deviations);
        self.remember(content);
    }

    /// The server answered as if the data had ended: had it, for a reader that
    /// takes other line ends than CRLF around the dot?
    pub(super) const fn ended_leniently(&self) -> bool {
        self.lenient_end
    }

    fn remember(&mut self, content: &[u8]) {
        let keep = content.len().min(self.tail.len());
        self.tail.rotate_left(keep);
        let (tail, from) = (&mut self.tail, content.len() - keep);
        for (slot, &octet) in tail
            .iter_mut()
            .rev()
            .zip(content.get(from..).unwrap_or_default().iter().rev())
        {
            *slot = octet;
        }
        self.lenient_end = matches!(
            self.tail,
            [.., b'\n' | b'\r', b'.', b'\n' | b'\r'] | [b'\n' | b'\r', b'.', b'\r', b'\n']
        );
    }
}
