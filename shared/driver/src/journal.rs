//! The recording on disk.
//!
//! One file, many sessions. A session encodes its lines under the file's lock,
//! which gives them their numbers, and writes them itself: one `write` for each
//! batch of units. What that promises is the step of the [`Durability`] ladder.
//! A write error is final for the file: what follows could not be trusted.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use shared::recording::{
    CloseFacts, FileLog, Head, Merge, NoteFacts, OpenFacts, Reader, Record, RedactKey, Redaction,
    SessionLog, TlsLine,
};
use shared::session::Unit;
use shared::time::Timestamp;
use tokio::sync::watch;

use crate::clock::{Clock, wall};
use crate::tap::{Opened, SessionTap, Shown, Tap};
use crate::tls::{Facts, fingerprint};

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

/// Where the lines go.
enum Sink {
    File(File),
    Stdout(io::Stdout),
    Nowhere,
}

/// A recording being written.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    redaction: Redaction,
    durability: Durability,
    path: Option<PathBuf>,
    state: Mutex<State>,
    /// Wakes the thread that writes or syncs.
    work: Condvar,
    synced: watch::Sender<u64>,
    failed: watch::Sender<Option<String>>,
    tap: OnceLock<Arc<dyn Tap>>,
    /// With it a tap's lines are masked where the file's are not.
    key: RedactKey,
}

struct State {
    sink: Sink,
    log: FileLog,
    buffer: Vec<u8>,
    /// Octets given to the sink so far.
    written: u64,
    wanted_sync: u64,
    last_mark: Timestamp,
    last_clock: Timestamp,
    failure: Option<String>,
    ended: bool,
}

/// The recording could not be written, now or earlier.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the recording{} cannot be written: {error}", Of(.path.as_ref()))]
pub struct WriteFailed {
    path: Option<PathBuf>,
    error: String,
}

struct Of<'a>(Option<&'a PathBuf>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " {}", path.display()),
            None => Ok(()),
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended(CloseFacts);

impl Ended {
    /// The client closed.
    pub const CLIENT: Self = Self(CloseFacts {
        by: "client",
        how: "fin",
    });
    /// The client's connection was reset.
    pub const CLIENT_RESET: Self = Self(CloseFacts {
        by: "client",
        how: "rst",
    });
    /// The server closed.
    pub const SERVER: Self = Self(CloseFacts {
        by: "server",
        how: "fin",
    });
    /// The server's connection was reset.
    pub const SERVER_RESET: Self = Self(CloseFacts {
        by: "server",
        how: "rst",
    });
    /// We closed, standing between them.
    pub const PROXY: Self = Self(CloseFacts {
        by: "proxy",
        how: "fin",
    });
    /// Nothing came for too long.
    pub const TIMEOUT: Self = Self(CloseFacts {
        by: "timeout",
        how: "fin",
    });
}

/// A durability mark is written at most this often.
const MARK: Duration = Duration::from_secs(1);
/// A `clock` line is written this often, and when the wall clock jumped.
const CLOCK: Duration = Duration::from_secs(3600);
/// So far may the wall clock move away from ours.
const DRIFT: Duration = Duration::from_millis(50);
/// How long [`Durability::Buffered`] gathers.
const GATHER: Duration = Duration::from_millis(10);
/// The most that [`Durability::Buffered`] gathers.
const BUFFER: usize = 256 * 1024;

impl Journal {
    /// A recording in a new file, which nobody else may read.
    pub fn create(path: &Path, settings: &Settings, clock: Clock) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .with_context(|| match fs::symlink_metadata(path) {
                Ok(_) => format!(
                    "cannot record to {}: it exists (name another file)",
                    path.display()
                ),
                Err(_) => format!("cannot record to {}", path.display()),
            })?;
        sync_directory(path)?;
        Self::begin(Sink::File(file), Some(path), settings, clock)
    }

    /// Goes on with a file of ours: a torn last line is cut off, and said so.
    pub fn append(path: &Path, settings: &Settings, clock: Clock) -> Result<Self> {
        let what = || format!("cannot go on recording to {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .with_context(what)?;
        if file.metadata().with_context(what)?.permissions().mode() & 0o077 != 0 {
            bail!("{}: others can read it (chmod 600 it first)", what());
        }
        let found = survey(&mut file).with_context(what)?;
        file.set_len(found.whole).with_context(what)?;
        file.seek(SeekFrom::End(0)).with_context(what)?;
        let log = FileLog::resume(found.lines, found.sessions, &found.reader);
        let journal = Self::with(Sink::File(file), Some(path), settings, clock, log);
        let torn = found.torn;
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
            state: Mutex::new(State {
                sink,
                log,
                buffer: Vec::new(),
                written: 0,
                wanted_sync: 0,
                last_mark: now,
                last_clock: now,
                failure: None,
                ended: false,
            }),
            work: Condvar::new(),
            synced: watch::channel(0).0,
            failed: watch::channel(None).0,
            tap: OnceLock::new(),
            key,
        });
        if settings.durability != Durability::Written {
            let worker = Arc::clone(&inner);
            std::thread::spawn(move || match worker.durability {
                Durability::Synced => worker.sync_loop(),
                _ => worker.write_loop(),
            });
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
        let synced = match &mut state.sink {
            Sink::File(file) => file.sync_data(),
            Sink::Stdout(stdout) => stdout.flush(),
            Sink::Nowhere => Ok(()),
        };
        synced.map_err(|error| self.inner.fail(&mut state, &error))
    }
}

/// One session of a [`Journal`].
pub struct SessionJournal {
    inner: Arc<Inner>,
    log: SessionLog,
    /// Where its last line ends in the file.
    position: u64,
    tapped: Option<Tapped>,
}

/// Who follows a session.
struct Tapped {
    tap: Box<dyn SessionTap>,
    /// Writes the lines once more, masked, where the file's are not.
    masking: Option<SessionLog>,
}

/// Lines that were appended, as a tap may see them.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Where those of each unit end.
    ends: Vec<usize>,
}

impl SessionJournal {
    /// Records units. When it returns, what the file's durability promises
    /// (short of syncing, see [`durable`](Self::durable)) holds for them.
    pub fn units(&mut self, units: &[Unit]) -> Result<(), WriteFailed> {
        if units.is_empty() {
            return Ok(());
        }
        let lines = self.append(|log, mut n, lines| {
            let first = n;
            for unit in units {
                n += log.unit(n, unit, &mut lines.bytes);
                lines.ends.push(lines.bytes.len());
            }
            n - first
        })?;
        if let Some(tapped) = &mut self.tapped {
            let mut from = 0;
            for (unit, &end) in units.iter().zip(&lines.ends) {
                let own = lines.bytes.get(from..end).unwrap_or_default();
                tapped.tap.unit(Shown::new(unit, own));
                from = end;
            }
        }
        Ok(())
    }

    /// Records the result of a TLS handshake: `leg` is `c` or `u`.
    pub fn tls(&mut self, at: Timestamp, leg: char, facts: &Facts) -> Result<(), WriteFailed> {
        let tls = TlsLine {
            leg,
            ok: facts.ok,
            version: facts.version.clone(),
            cipher: facts.cipher.clone(),
            kx: facts.kx.clone(),
            sni: facts.sni.clone(),
            chain: facts.chain.iter().map(|der| fingerprint(der)).collect(),
            verify: facts.verify.clone(),
            alert: facts.alert.clone(),
        };
        let chain = &facts.chain;
        let lines = self.append(|log, n, lines| {
            let mut count = log.tls(n, at, &tls, &mut lines.bytes);
            for (der, digest) in chain.iter().zip(&tls.chain) {
                count += log.certificate(n + count, at, digest, der, &mut lines.bytes);
            }
            count
        })?;
        if let Some(tapped) = &mut self.tapped {
            tapped.tap.tls(&tls, &lines.bytes);
        }
        Ok(())
    }

    /// Annotates the session.
    pub fn note(&mut self, note: &NoteFacts) -> Result<(), WriteFailed> {
        let now = self.inner.clock.now();
        let lines = self.append(|log, n, lines| log.note(n, now, note, &mut lines.bytes))?;
        if let Some(tapped) = &mut self.tapped {
            tapped.tap.noted(&lines.bytes);
        }
        Ok(())
    }

    /// Records the end.
    pub fn close(&mut self, at: Timestamp, ended: Ended) -> Result<(), WriteFailed> {
        let lines = self.append(|log, n, lines| log.close(n, at, ended.0, &mut lines.bytes))?;
        if let Some(tapped) = &mut self.tapped {
            tapped.tap.closed(at, ended.0, &lines.bytes);
        }
        Ok(())
    }

    /// Its number in the file.
    pub fn session(&self) -> u64 {
        self.log.session()
    }

    /// With [`Durability::Synced`], waits until all that was recorded is on the
    /// disk: sessions that wait together share one sync.
    pub async fn durable(&self) -> Result<(), WriteFailed> {
        if self.inner.durability != Durability::Synced {
            return Ok(());
        }
        let position = self.position;
        {
            let mut state = self.inner.lock();
            self.inner.check(&state)?;
            state.wanted_sync = state.wanted_sync.max(position);
            self.inner.work.notify_all();
        }
        let mut synced = self.inner.synced.subscribe();
        let mut failed = self.inner.failed.subscribe();
        tokio::select! {
            done = synced.wait_for(|&synced| synced >= position) => {
                done.map(drop).map_err(|error| self.inner.failure(error.to_string()))
            }
            failure = failed.wait_for(Option::is_some) => {
                let error = failure.ok().and_then(|failure| failure.clone());
                Err(self.inner.failure(error.unwrap_or_default()))
            }
        }
    }

    /// Appends lines to the file, and returns them as a tap may see them.
    fn append(
        &mut self,
        write: impl Fn(&mut SessionLog, u64, &mut Lines) -> u64,
    ) -> Result<Lines, WriteFailed> {
        let inner = Arc::clone(&self.inner);
        let mut state = inner.lock();
        inner.check(&state)?;
        let mut lines = Lines::default();
        let n = state.log.next_line();
        let count = write(&mut self.log, n, &mut lines);
        state.log.appended(count, &lines.bytes);
        self.position = inner.put(&mut state, &lines.bytes)?;
        drop(state);
        if let Some(masking) = self.tapped.as_mut().and_then(|one| one.masking.as_mut()) {
            lines = Lines::default();
            write(masking, n, &mut lines);
        }
        Ok(lines)
    }
}

impl Inner {
    /// A thread that panicked while it held the lock left whole lines or a torn
    /// one behind: the file is as good as after a crash, so go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, state: &State) -> Result<(), WriteFailed> {
        match &state.failure {
            Some(error) => Err(self.failure(error.clone())),
            None => Ok(()),
        }
    }

    /// Gives lines to the sink, or to the buffer before it; returns where they end.
    fn put(&self, state: &mut State, lines: &[u8]) -> Result<u64, WriteFailed> {
        self.check(state)?;
        state.buffer.extend_from_slice(lines);
        self.mark(state);
        if self.durability != Durability::Buffered || state.buffer.len() > BUFFER {
            self.write_out(state)?;
        } else {
            self.work.notify_all();
        }
        Ok(state.written + state.buffer.len() as u64)
    }

    fn write_out(&self, state: &mut State) -> Result<(), WriteFailed> {
        let buffer = std::mem::take(&mut state.buffer);
        let result = match &mut state.sink {
            Sink::File(file) => file.write_all(&buffer),
            Sink::Stdout(stdout) => stdout.write_all(&buffer).and_then(|()| stdout.flush()),
            Sink::Nowhere => Ok(()),
        };
        state.written += buffer.len() as u64;
        state.buffer = buffer;
        state.buffer.clear();
        result.map_err(|error| self.fail(state, &error))
    }

    /// Adds the marks that are due: durability, and the wall clock's time.
    fn mark(&self, state: &mut State) {
        let now = self.clock.now();
        if now.since(state.last_mark) < MARK || state.log.is_synced() {
            return;
        }
        state.last_mark = now;
        let mut lines = Vec::new();
        if now.since(state.last_clock) > CLOCK || self.clock.drift() > DRIFT {
            state.last_clock = now;
            state.log.clock(now, wall(), &mut lines);
        }
        state.log.sync(now, &mut lines);
        state.buffer.extend_from_slice(&lines);
    }

    fn fail(&self, state: &mut State, error: &io::Error) -> WriteFailed {
        let text = error.to_string();
        state.failure.get_or_insert_with(|| text.clone());
        self.failed.send_replace(Some(text.clone()));
        self.work.notify_all();
        self.failure(text)
    }

    fn failure(&self, error: String) -> WriteFailed {
        WriteFailed {
            path: self.path.clone(),
            error,
        }
    }

    /// Writes the buffer out a little after something came into it.
    fn write_loop(&self) {
        loop {
            let mut state = self.lock();
            while state.buffer.is_empty() && !state.ended && state.failure.is_none() {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended || state.failure.is_some() {
                return;
            }
            drop(state);
            std::thread::sleep(GATHER);
            let mut state = self.lock();
            // The failure is kept in the state, where everybody sees it.
            let _ = self.write_out(&mut state);
        }
    }

    /// Syncs when somebody waits for it. While one sync runs the next batch
    /// gathers: group commit without a timer.
    fn sync_loop(&self) {
        loop {
            let mut state = self.lock();
            let done = *self.synced.borrow();
            while state.wanted_sync <= done && !state.ended && state.failure.is_none() {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended || state.failure.is_some() {
                self.synced.send_replace(state.written);
                return;
            }
            let upto = state.written;
            let file = if let Sink::File(file) = &state.sink {
                file.try_clone()
            } else {
                self.synced.send_replace(upto);
                continue;
            };
            drop(state);
            match file.and_then(|file| file.sync_data()) {
                Ok(()) => {
                    self.synced.send_replace(upto);
                }
                Err(error) => {
                    self.fail(&mut self.lock(), &error);
                }
            }
        }
    }
}

/// What is in a file that is to be gone on with.
struct Survey {
    lines: u64,
    sessions: u64,
    whole: u64,
    torn: u64,
    reader: Reader,
}

fn survey(file: &mut File) -> Result<Survey> {
    let (mut reader, mut chunk) = (Reader::new(), vec![0; 64 * 1024]);
    let (mut lines, mut sessions, mut header) = (0, 0, false);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        reader.push(chunk.get(..count).unwrap_or_default(), |record| {
            header |= record.kind() == "head";
            lines = record.n().saturating_add(1);
            sessions = sessions.max(record.session().unwrap_or_default());
        });
    }
    if !header {
        bail!("it is no recording");
    }
    let whole = reader.whole_octets();
    let torn = file.metadata()?.len().saturating_sub(whole);
    Ok(Survey {
        lines,
        sessions,
        whole,
        torn,
        reader,
    })
}

/// A new file is on the disk only when its directory is.
fn sync_directory(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("syncing the directory {}", parent.display()))
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
