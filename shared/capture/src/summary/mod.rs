//! What a recording holds, counted: sessions, commands, codes, envelopes, digests of
//! messages.
//!
//! It is made from the lines of a recording, so from what is left when secrets were
//! taken out; of mail data only sizes and digests are kept.

mod message;
mod session;

use std::collections::BTreeMap;
use std::io::{self, Write};

use shared::recording::{Reader, Record};

pub use self::message::Message;
pub use self::session::{Gap, Session};

/// Commands and codes of one session that are listed; the rest is counted.
pub const LISTED: usize = 10_000;

/// Reads the lines of a recording, and gives each session when it is over.
#[derive(Default)]
pub struct Summary {
    open: BTreeMap<u64, Session>,
}

impl Summary {
    /// Takes a record; the session that it ends, if it does.
    pub fn take(&mut self, record: &Record) -> Option<Session> {
        let number = record.session()?;
        let session = self
            .open
            .entry(number)
            .or_insert_with(|| Session::new(number));
        session.take(record);
        if record.kind() == "close" {
            return self.open.remove(&number);
        }
        None
    }

    /// The sessions that did not end.
    pub fn finish(self) -> impl Iterator<Item = Session> {
        self.open.into_values()
    }
}

/// A sink for the lines of a recording that sums them up instead of keeping them.
pub struct SummaryWriter<F> {
    reader: Reader,
    summary: Summary,
    tell: F,
}

impl<F: FnMut(Session) -> io::Result<()>> SummaryWriter<F> {
    /// Tells of each session when it is over.
    pub fn new(tell: F) -> Self {
        Self {
            reader: Reader::new(),
            summary: Summary::default(),
            tell,
        }
    }

    /// Tells of those that are not over.
    pub fn finish(mut self) -> io::Result<()> {
        self.summary.finish().try_for_each(&mut self.tell)
    }
}

impl<F: FnMut(Session) -> io::Result<()>> Write for SummaryWriter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self {
            reader,
            summary,
            tell,
        } = self;
        let mut result = Ok(());
        reader.push(bytes, |record| {
            if let (Some(session), Ok(())) = (summary.take(&record), &result) {
                result = tell(session);
            }
        });
        result.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
