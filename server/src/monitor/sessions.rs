//! The newest sessions: a summary of each, and its lines.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_with::{DisplayFromStr, serde_as};
use shared::recording::{ClockKind, FileLog, Head, Merge, Record, Recording, Transcript, Unusable};
use shared::time::Timestamp;

use super::lines::Lines;

/// So many sessions are remembered.
const MOST: usize = 1000;

/// A session in short.
#[serde_as]
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Its number in the recording.
    pub id: u64,
    /// Its id in the recording.
    pub uuid: String,
    /// The listener it came in by.
    pub listener: Option<String>,
    /// The address it came in by.
    pub local: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// The name in its last EHLO, HELO or LHLO.
    pub helo: Option<String>,
    /// When it began.
    #[serde_as(as = "DisplayFromStr")]
    pub start: Timestamp,
    /// When it ended.
    #[serde_as(as = "Option<DisplayFromStr>")]
    pub end: Option<Timestamp>,
    /// How it ended.
    pub ended: Option<Ended>,
    /// Commands that the client gave.
    pub commands: u64,
    /// Messages that were taken.
    pub messages: u64,
    /// Commands and messages that were refused.
    pub refusals: u64,
    /// Octets from the client, above TLS.
    pub octets_in: u64,
    /// Octets to the client, above TLS.
    pub octets_out: u64,
    /// The last handshake.
    pub tls: Option<Tls>,
    /// Not all that was recorded is remembered.
    pub cut: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// `client`, `server`, `timeout`, or `crash` if nobody closed it.
    pub by: &'static str,
    /// `fin` or `rst`.
    pub how: &'static str,
}

/// A TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// It succeeded.
    pub ok: bool,
    /// Such as `1.3`.
    pub version: Option<String>,
    /// By its IANA name.
    pub cipher: Option<String>,
    /// The server name asked for.
    pub sni: Option<String>,
    /// Why it failed.
    pub alert: Option<String>,
}

/// One session, as it is remembered.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) summary: Summary,
    pub(super) lines: Lines,
    /// It is among the newest.
    remembered: bool,
    /// It is forgotten after those that are not.
    captured: bool,
}

/// An entry that its session and the list share.
pub(super) type Shared = Arc<Mutex<Entry>>;

/// The newest sessions, by number.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    list: Mutex<VecDeque<(u64, Shared)>>,
}

/// Locks; what a thread that panicked has left is whole enough to be shown.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// Takes a new one; the oldest goes, over or not.
    pub(super) fn add(&self, summary: Summary) -> Shared {
        let number = summary.id;
        let entry = Arc::new(Mutex::new(Entry {
            summary,
            lines: Lines::default(),
            remembered: true,
            captured: false,
        }));
        let mut list = lock(&self.list);
        let forgotten = (list.len() >= MOST).then(|| oldest(&mut list)).flatten();
        // Sessions begin at the same time: their numbers may come out of order.
        let at = list.partition_point(|(other, _)| *other < number);
        list.insert(at, (number, Arc::clone(&entry)));
        drop(list);
        if let Some((_, forgotten)) = forgotten {
            lock(&forgotten).forget();
        }
        entry
    }

    pub(super) fn select(
        &self,
        after: u64,
        most: usize,
        holds: impl Fn(&Summary) -> bool,
    ) -> Vec<Summary> {
        let list = lock(&self.list);
        let from = list.partition_point(|(number, _)| *number <= after);
        let entries: Vec<Shared> = list.range(from..).map(|(_, entry)| entry.clone()).collect();
        drop(list);
        let summaries = entries.iter().map(|entry| lock(entry).shown());
        summaries.filter(holds).take(most).collect()
    }

    pub(super) fn summary(&self, number: u64) -> Option<Summary> {
        self.find(number).map(|entry| lock(&entry).shown())
    }

    pub(super) fn snapshot(&self, number: u64) -> Option<Snapshot> {
        let entry = self.find(number)?;
        let entry = lock(&entry);
        Some(Snapshot {
            summary: entry.shown(),
            lines: entry.lines.all(),
        })
    }

    /// It is forgotten after those that are not captured.
    pub(super) fn capture(&self, number: u64) {
        if let Some(entry) = self.find(number) {
            lock(&entry).captured = true;
        }
    }

    pub(super) fn forget_closed(&self) {
        lock(&self.list).retain(|(_, entry)| lock(entry).summary.end.is_none());
    }

    fn find(&self, number: u64) -> Option<Shared> {
        let list = lock(&self.list);
        let at = list.partition_point(|(other, _)| *other < number);
        let (found, entry) = list.get(at)?;
        (*found == number).then(|| Arc::clone(entry))
    }
}

/// Takes out the oldest that nobody captured; the oldest of all if all are.
fn oldest(list: &mut VecDeque<(u64, Shared)>) -> Option<(u64, Shared)> {
    let free = list.iter().position(|(_, entry)| !lock(entry).captured);
    list.remove(free.unwrap_or(0))
}

impl Entry {
    /// Keeps lines, while it is remembered.
    pub(super) fn push(&mut self, lines: &[u8]) {
        if self.remembered {
            self.lines.push(lines);
        }
    }

    /// Keeps lines of mail data, while it is remembered.
    pub(super) fn push_content(&mut self, lines: &[u8], octets: u64) {
        if self.remembered {
            self.lines.push_content(lines, octets);
        }
    }

    fn forget(&mut self) {
        self.remembered = false;
        self.lines.drop_all();
    }

    fn shown(&self) -> Summary {
        Summary {
            cut: self.lines.is_cut(),
            ..self.summary.clone()
        }
    }
}

/// What was said in a session so far.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The session.
    pub summary: Summary,
    /// Its lines in the recording, as far as they are remembered.
    lines: Vec<u8>,
}

impl Snapshot {
    /// A recording of this session alone.
    pub fn recording(&self) -> Vec<u8> {
        let head = Head {
            id: self.summary.uuid.clone(),
            at: self.summary.start,
            tool: concat!("helo-server ", env!("CARGO_PKG_VERSION")).to_owned(),
            redacted: true,
            clock: ClockKind::Monotonic,
        };
        let mut out = Vec::new();
        let mut file = FileLog::begin(&head, &mut out);
        let mut merge = Merge::default();
        let lines = self.lines.split_inclusive(|&octet| octet == b'\n');
        for record in lines.filter_map(Record::parse) {
            merge.append(record, &mut file, &mut out);
        }
        if let Some(end) = self.summary.end {
            file.end(end, &mut out);
        }
        out
    }

    /// The transcript of it.
    pub fn transcript(&self) -> Result<String, Unusable> {
        let recording = Recording::parse(&self.recording())?;
        let dialogues = recording.dialogues();
        let mut text = dialogues
            .first()
            .map_or_else(String::new, |dialogue| Transcript::of(dialogue).to_string());
        if self.summary.cut {
            text.push_str("# The rest is not remembered: the session was too long.\n");
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: u64) -> Summary {
        Summary {
            id,
            ..Summary::default()
        }
    }

    #[test]
    fn the_newest_are_remembered_and_nothing_of_the_others() {
        let sessions = Sessions::default();
        let first = sessions.add(summary(1));
        lock(&first).push(b"{\"n\":1}\n");
        for number in (2..=1001).rev() {
            sessions.add(summary(number));
        }
        assert!(sessions.summary(1).is_none());
        lock(&first).push(b"{\"n\":2}\n");
        assert!(lock(&first).lines.all().is_empty(), "it goes on keeping");
        let page = sessions.select(500, 3, |_| true);
        assert_eq!(
            page.iter().map(|one| one.id).collect::<Vec<_>>(),
            [501, 502, 503]
        );
        assert_eq!(sessions.select(0, 2000, |_| true).len(), 1000);
    }

    #[test]
    fn those_under_way_are_not_forgotten() {
        let sessions = Sessions::default();
        sessions.add(summary(1));
        let over = sessions.add(summary(2));
        lock(&over).summary.end = Some(Timestamp::from_nanos(1));
        sessions.forget_closed();
        assert!(sessions.summary(1).is_some());
        assert!(sessions.summary(2).is_none());
    }
}
