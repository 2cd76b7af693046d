//! Appends the lines of one recording to another: a leg's stream to a run's file.

use super::{FileLog, Record};

/// One stream being appended. Its lines keep their order and get numbers of
/// their own; what refers to a line goes on referring to it.
#[derive(Debug, Default)]
pub struct Merge {
    /// Their line numbers, and ours.
    lines: std::collections::BTreeMap<u64, u64>,
    sessions: std::collections::BTreeMap<u64, u64>,
}

/// Records of the stream's own file, which mean nothing in another one.
const OF_THE_FILE: &[&str] = &["head", "sync", "clock", "end"];

impl Merge {
    /// Appends one record, renumbered; one that belongs to its own file alone
    /// is left out.
    pub fn append(&mut self, mut record: Record, file: &mut FileLog, out: &mut Vec<u8>) {
        if OF_THE_FILE.contains(&record.kind()) {
            return;
        }
        let (theirs, ours) = (record.n(), file.next_line());
        self.lines.insert(theirs, ours);
        record.set_number("n", ours);
        if let Some(session) = record.session() {
            let number = *self
                .sessions
                .entry(session)
                .or_insert_with(|| file.new_session());
            record.set_number("s", number);
        }
        for reference in ["re", "on"] {
            let Some(line) = record.number(reference).filter(|&line| line > 0) else {
                continue;
            };
            match self.lines.get(&line) {
                Some(&line) => record.set_number(reference, line),
                // The line was lost: its number stands for another one here.
                None => record.remove(reference),
            }
        }
        let start = out.len();
        record.write(out);
        file.appended(1, out.get(start..).unwrap_or_default());
    }
}
