//! Reads a recording, damaged or not.

use super::{LINE, Record, VERSION};
use crate::direction::Direction;

/// What a damaged recording lacks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A line that is no record was skipped.
    #[error("line {line} (octet {offset}) is no record: {octets} octets skipped")]
    NotARecord {
        /// The line in the file, from 1.
        line: u64,
        /// Where it begins.
        offset: u64,
        /// Its length.
        octets: u64,
    },
    /// Numbers of lines are missing.
    #[error("lines n={from} to n={to} are missing before line {line}")]
    Missing {
        /// The line in the file, from 1.
        line: u64,
        /// The first number missing.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The checksum of a `sync` record does not fit what precedes it.
    #[error("the checksum at n={n} does not fit: something before it was changed")]
    Checksum {
        /// The `sync` record.
        n: u64,
    },
    /// The end was cut off: what is left of the last line is dropped.
    #[error("the last {octets} octets are a torn line")]
    Torn {
        /// How many.
        octets: u64,
    },
}

/// Why a recording cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It does not begin with a header.
    #[error("not a recording: the first line is no header of one")]
    NoHeader,
    /// A later version wrote it.
    #[error("the recording has version {0}; this program reads up to {VERSION}")]
    Version(u64),
    /// It has a feature that must be known to read it.
    #[error("the recording needs '{0}', which this program does not know")]
    Need(String),
}

/// Reads records from bytes as they come.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
    /// Octets of a line beyond any limit that were let go, and their checksum.
    skipping: u64,
    skipped: crc32fast::Hasher,
    line: u64,
    offset: u64,
    expected: u64,
    checksum: crc32fast::Hasher,
    octets: u64,
    damage: Vec<Damage>,
}

impl Reader {
    /// A reader at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, and gives each record that is now whole.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Record)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if self.held.is_empty() && self.skipping == 0 {
                self.line(line, &mut take);
            } else {
                let mut whole = std::mem::take(&mut self.held);
                whole.extend_from_slice(line);
                self.line(&whole, &mut take);
                whole.clear();
                self.held = whole;
            }
        }
        self.held.extend_from_slice(rest);
        if self.held.len() > LINE {
            self.skipping += self.held.len() as u64;
            self.skipped.update(&self.held);
            self.held.clear();
        }
    }

    /// The end of the file: whatever is held is torn.
    pub fn finish(mut self) -> Vec<Damage> {
        let octets = self.skipping + self.held.len() as u64;
        if octets > 0 {
            self.damage.push(Damage::Torn { octets });
        }
        self.damage
    }

    /// What is damaged so far.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Octets up to the end of the last whole line.
    pub fn whole_octets(&self) -> u64 {
        self.offset
    }

    /// The checksum and the number of the octets since the last durability mark.
    pub(super) fn since_mark(&self) -> (crc32fast::Hasher, u64) {
        (self.checksum.clone(), self.octets)
    }

    fn line(&mut self, line: &[u8], take: &mut impl FnMut(Record)) {
        self.line += 1;
        let (offset, octets) = (self.offset, self.skipping + line.len() as u64);
        self.offset += octets;
        let skipped = self.account_skipped();
        let record = (!skipped && line.len() <= LINE)
            .then(|| Record::parse(line))
            .flatten();
        let Some(record) = record else {
            self.account(line);
            self.damage.push(Damage::NotARecord {
                line: self.line,
                offset,
                octets,
            });
            return;
        };
        let n = record.n();
        if n > self.expected {
            self.damage.push(Damage::Missing {
                line: self.line,
                from: self.expected,
                to: n - 1,
            });
        }
        self.expected = n.saturating_add(1);
        if record.kind() == "sync" {
            self.check(&record);
        } else {
            self.account(line);
        }
        take(record);
    }

    /// Takes into account what was let go of a line whose end is here now.
    fn account_skipped(&mut self) -> bool {
        let octets = std::mem::take(&mut self.skipping);
        self.checksum.combine(&std::mem::take(&mut self.skipped));
        self.octets += octets;
        octets > 0
    }

    fn account(&mut self, line: &[u8]) {
        self.checksum.update(line);
        self.octets += line.len() as u64;
    }

    fn check(&mut self, record: &Record) {
        let found = format!("{:08x}", std::mem::take(&mut self.checksum).finalize());
        let octets = std::mem::take(&mut self.octets);
        if record.text("crc32") != Some(&found) || record.number("bytes") != Some(octets) {
            self.damage.push(Damage::Checksum { n: record.n() });
        }
    }
}

/// The kinds of which the payloads, in order, are what a side sent.
const SENT: &[&str] = &["cmd", "sasl", "data", "rep", "raw"];

/// A whole recording in memory.
#[derive(Clone, Debug)]
pub struct Recording {
    records: Vec<Record>,
    damage: Vec<Damage>,
}

impl Recording {
    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let (mut reader, mut records) = (Reader::new(), Vec::new());
        reader.push(bytes, |record| records.push(record));
        Self::of(records, reader.finish())
    }

    /// A recording of these records, if they begin with a header we can read.
    pub fn of(records: Vec<Record>, damage: Vec<Damage>) -> Result<Self, Unusable> {
        let head = records.first().ok_or(Unusable::NoHeader)?;
        if head.text("helo") != Some("rec") {
            return Err(Unusable::NoHeader);
        }
        match head.number("v") {
            Some(1..=VERSION) => {}
            Some(version) => return Err(Unusable::Version(version)),
            None => return Err(Unusable::NoHeader),
        }
        if let Some(need) = head.texts("need").next() {
            return Err(Unusable::Need(need.to_owned()));
        }
        Ok(Self { records, damage })
    }

    /// Its records, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What is damaged.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Its last record is the clean end of a file.
    pub fn is_finished(&self) -> bool {
        self.records
            .last()
            .is_some_and(|record| record.kind() == "end")
    }

    /// The numbers of its sessions, in order of their beginning.
    pub fn sessions(&self) -> Vec<u64> {
        let mut found = Vec::new();
        for session in self.records.iter().filter_map(Record::session) {
            if !found.contains(&session) {
                found.push(session);
            }
        }
        found
    }

    /// Everything one side of a session sent, as recorded. Only the kinds that
    /// hold what was sent count: a later version's may hold other bytes.
    pub fn payload(&self, session: u64, direction: Direction) -> Vec<u8> {
        self.records
            .iter()
            .filter(|record| {
                record.session() == Some(session)
                    && record.direction() == Some(direction)
                    && SENT.contains(&record.kind())
            })
            .filter_map(Record::payload)
            .flatten()
            .collect()
    }

    /// The file's own notes with that tag.
    pub fn notes<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| {
            record.kind() == "note" && record.session().is_none() && record.text("tag") == Some(tag)
        })
    }
}
