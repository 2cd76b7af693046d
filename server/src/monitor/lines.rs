//! The recording lines of one session, as far as they are kept.
//!
//! A session may go on for ever and a message be as big as it likes: of its lines so
//! much is kept, and of those of mail data only half as much, so that what was said
//! around a big message is there. What is left out is said in a `gap`, or the session
//! is marked as cut.

use shared::direction::Direction;
use shared::recording::{Record, Redaction, SessionLog};

/// The most octets that are kept.
pub(super) const MOST: usize = 256 * 1024;

/// The most octets of mail data among them.
const CONTENT: usize = MOST / 2;

/// What is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// How much of them is mail data.
    content: usize,
    /// Mail data that was left out where the next line goes.
    missing: Option<Missing>,
    cut: bool,
}

/// Mail data that was left out.
#[derive(Clone, Debug)]
struct Missing {
    /// The first of its records.
    first: Record,
    octets: u64,
}

impl Lines {
    /// Takes lines of anything but mail data.
    pub(super) fn push(&mut self, lines: &[u8]) {
        if let Some(missing) = self.missing.take() {
            self.append(&missing.line());
        }
        self.append(lines);
    }

    /// Takes lines of mail data, of so many octets.
    pub(super) fn push_content(&mut self, lines: &[u8], octets: u64) {
        if self.missing.is_none() && self.content + lines.len() <= CONTENT {
            self.content += lines.len();
            self.append(lines);
            return;
        }
        match &mut self.missing {
            Some(missing) => missing.octets += octets,
            none => *none = Record::parse(lines).map(|first| Missing { first, octets }),
        }
    }

    /// Something was left out that no `gap` tells of.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// All that is there.
    pub(super) fn all(&self) -> Vec<u8> {
        let mut all = self.bytes.clone();
        if let Some(missing) = &self.missing {
            all.extend_from_slice(&missing.line());
        }
        all
    }

    /// Keeps nothing any more.
    pub(super) fn drop_all(&mut self) {
        *self = Self {
            cut: true,
            ..Self::default()
        };
    }

    fn append(&mut self, lines: &[u8]) {
        self.cut |= self.bytes.len() + lines.len() > MOST;
        if !self.cut {
            self.bytes.extend_from_slice(lines);
        }
    }
}

impl Missing {
    fn line(&self) -> Vec<u8> {
        let first = &self.first;
        let mut log = SessionLog::new(first.session().unwrap_or_default(), Redaction::Nothing);
        let mut line = Vec::new();
        let (n, at) = (first.n(), first.at());
        log.gap(n, at, Direction::Client, self.octets, "not-kept", &mut line);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize, kind: &str, octets: usize) -> Vec<u8> {
        let text = "x".repeat(octets);
        format!("{{\"n\":{n},\"s\":1,\"k\":\"{kind}\",\"b\":\"{text}\"}}\n").into_bytes()
    }

    fn kinds(lines: &Lines) -> Vec<String> {
        let all = lines.all();
        let records = all.split_inclusive(|&octet| octet == b'\n');
        let records = records.map(|line| Record::parse(line).unwrap());
        records
            .map(|record| match record.number("len") {
                Some(octets) => format!("{} {octets}", record.kind()),
                None => record.kind().to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_big_message_leaves_a_gap_and_what_follows_is_kept() {
        let mut lines = Lines::default();
        lines.push(&line(0, "cmd", 5));
        for n in 1..10 {
            lines.push_content(&line(n, "data", 50_000), 50_000);
        }
        assert_eq!(kinds(&lines), ["cmd", "data", "data", "gap 350000"]);
        lines.push(&line(10, "rep", 5));
        assert_eq!(kinds(&lines), ["cmd", "data", "data", "gap 350000", "rep"]);
        assert!(!lines.is_cut());
    }

    #[test]
    fn no_session_keeps_more_than_the_limit() {
        let mut lines = Lines::default();
        for n in 0..10_000 {
            lines.push(&line(n, "cmd", 100));
        }
        assert!(lines.is_cut());
        assert!(lines.all().len() <= MOST);
        assert!(lines.all().len() > MOST - 1000);
    }
}
