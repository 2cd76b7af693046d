//! The recording on disk.
//!
//! One file, many sessions. A session encodes its lines under the file's lock,
//! which gives them their numbers, and writes them itself: one `write` for each
//! batch of units. What that promises is the step of the [`Durability`] ladder.
//! A write error is final for the file: what follows could not be trusted.
//!
//! `file` is where the lines go, `writer` the lock and the buffer before it, `worker` the
//! thread that writes or syncs behind the sessions, `session` one of these.

mod file;
mod session;
mod worker;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use anyhow::{Context, Result};
use shared::recording::{
    ClockKind, FileLog, Head, Merge, NoteFacts, OpenFacts, Record, RedactKey, Redaction, SessionLog,
};
use shared::time::Timestamp;
use tokio::sync::watch;

use self::file::{Resumed, Sink};
use self::session::Tapped;
use self::writer::{Inner, State};
use crate::clock::Clock;
use crate::tap::{Opened, Tap};

pub use self::file::create;
pub use self::session::{Ended, SessionJournal};
pub use self::writer::WriteFailed;

/// What is promised about the recording when the program or the machine dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What is older than about 10 ms survives the program.
    Buffered,
    /// Nothing is passed on before its record is in the operating system.
    #[default]
    Written,
    /// No reply is passed on before it is on the disk.
    Synced,
}

/// How a recording is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program and its version.
    pub tool: &'static str,
    /// What is promised.
    pub durability: Durability,
    /// Secrets are recorded as they are.
    pub record_secrets: bool,
}

/// A recording being written.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

impl Journal {
    /// A recording in a new file, which nobody else may read.
    pub fn create(path: &Path, settings: &Settings, clock: Clock) -> Result<Self> {
        Self::begin(Sink::create(path)?, Some(path), settings, clock)
    }

    /// Goes on with a file of ours: a torn last line is cut off, and said so.
    pub fn append(path: &Path, settings: &Settings, clock: Clock) -> Result<Self> {
        let Resumed { sink, log, torn } = Sink::resume(path)?;
        let journal = Self::with(sink, Some(path), settings, clock, log);
        journal.note(&NoteFacts {
            by: "helo".into(),
            message: Some(format!(
                "resumed; {torn} octets of a torn line were cut off"
            )),
            tag: Some("resumed".into()),
            ..NoteFacts::default()
        })?;
        Ok(journal)
    }

    /// A recording as a stream of lines on standard output.
    pub fn stdout(settings: &Settings, clock: Clock) -> Result<Self> {
        Self::begin(Sink::Stdout(io::stdout()), None, settings, clock)
    }

    /// No recording: everything is accepted and dropped.
    pub fn nowhere(settings: &Settings, clock: Clock) -> Result<Self> {
        Self::begin(Sink::Nowhere, None, settings, clock)
    }

    fn begin(sink: Sink, path: Option<&Path>, settings: &Settings, clock: Clock) -> Result<Self> {
        let head = Head {
            id: uuid(clock.anchor())?,
            at: clock.anchor(),
            tool: settings.tool.to_owned(),
            redacted: !settings.record_secrets,
            clock: ClockKind::Monotonic,
        };
        let mut lines = Vec::new();
        let log = FileLog::begin(&head, &mut lines);
        let journal = Self::with(sink, path, settings, clock, log);
        let mut state = journal.inner.lock();
        journal.inner.put(&mut state, &lines)?;
        // Whoever looks at the file from now on can tell what it is.
        journal.inner.write_out(&mut state)?;
        drop(state);
        Ok(journal)
    }

    fn with(
        sink: Sink,
        path: Option<&Path>,
        settings: &Settings,
        clock: Clock,
        log: FileLog,
    ) -> Self {
        let mut key = [0; 32];
        let seeded = getrandom::fill(&mut key);
        debug_assert!(seeded.is_ok(), "the system gives random numbers");
        let key = RedactKey(key);
        let redaction = if settings.record_secrets {
            Redaction::Nothing
        } else {
            Redaction::Auth(key)
        };
        let now = clock.now();
        let inner = Arc::new(Inner {
            clock,
            redaction,
            durability: settings.durability,
            path: path.map(Path::to_owned),
            state: Mutex::new(State::new(sink, log, now)),
            work: Condvar::new(),
            synced: watch::channel(0).0,
            failed: watch::channel(None).0,
            tap: OnceLock::new(),
            key,
        });
        if settings.durability != Durability::Written {
            let worker = Arc::clone(&inner);
            std::thread::spawn(move || worker.serve_sessions());
        }
        Self { inner }
    }

    /// The clock whose times it records.
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// Has somebody follow the sessions that begin from now on; the first one who
    /// asks.
    pub fn tap(&self, tap: Arc<dyn Tap>) {
        // A second one is not listened to.
        let _ = self.inner.tap.set(tap);
    }

    /// Begins a session.
    pub fn session(&self, mut facts: OpenFacts) -> Result<SessionJournal, WriteFailed> {
        let now = self.inner.clock.now();
        facts.id = uuid(now).unwrap_or_default();
        let mut state = self.inner.lock();
        let number = state.log.new_session();
        let mut session = SessionJournal {
            inner: Arc::clone(&self.inner),
            log: SessionLog::new(number, self.inner.redaction),
            position: 0,
            tapped: None,
        };
        let (log, lines) = (&mut session.log, &mut Vec::new());
        let count = log.open(state.log.next_line(), now, &facts, lines);
        state.log.appended(count, lines);
        session.position = self.inner.put(&mut state, lines)?;
        drop(state);
        session.tapped = self.inner.tap.get().map(|tap| Tapped {
            tap: tap.opened(Opened {
                session: number,
                at: now,
                facts: &facts,
                lines,
            }),
            masking: matches!(self.inner.redaction, Redaction::Nothing)
                .then(|| SessionLog::new(number, Redaction::Auth(self.inner.key))),
        });
        Ok(session)
    }

    /// Appends a note of the file.
    pub fn note(&self, note: &NoteFacts) -> Result<(), WriteFailed> {
        let mut state = self.inner.lock();
        let mut lines = Vec::new();
        note.write(state.log.next_line(), self.inner.clock.now(), &mut lines);
        state.log.appended(1, &lines);
        self.inner.put(&mut state, &lines)?;
        Ok(())
    }

    /// Appends a record of another recording, renumbered.
    pub fn merge(&self, record: Record, merge: &mut Merge) -> Result<(), WriteFailed> {
        let mut state = self.inner.lock();
        let mut lines = Vec::new();
        merge.append(record, &mut state.log, &mut lines);
        self.inner.put(&mut state, &lines)?;
        Ok(())
    }

    /// Waits until the recording fails.
    pub async fn failed(&self) -> WriteFailed {
        let mut failed = self.inner.failed.subscribe();
        let error = match failed.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or_default(),
            Err(_) => String::new(),
        };
        self.inner.failure(error)
    }

    /// Writes the clean end, to the disk.
    pub fn finish(&self) -> Result<(), WriteFailed> {
        let mut state = self.inner.lock();
        if state.ended {
            return Ok(());
        }
        let mut lines = Vec::new();
        state.log.end(self.inner.clock.now(), &mut lines);
        self.inner.put(&mut state, &lines)?;
        self.inner.write_out(&mut state)?;
        state.ended = true;
        self.inner.work.notify_all();
        let synced = state.sink.sync();
        synced.map_err(|error| self.inner.fail(&mut state, &error))
    }
}

/// A UUID of version 7, whose first half is the time (RFC 9562 §5.7).
fn uuid(at: Timestamp) -> Result<String> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    let millis = at.nanos() / 1_000_000;
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random)
        .into_uuid()
        .to_string())
}
