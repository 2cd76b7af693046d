//! One mbox: messages one after the other in a file, each appended whole or not at
//! all.
//!
//! The form is mboxrd: a `From ` line, the message, an empty line; and a `>` more
//! in front of every line that begins with any number of `>` and `From `, so that
//! it can be taken away again. Line ends are those that came, CRLF as a rule: so
//! the content can be had back octet by octet.

mod lock;
mod quote;

use std::fs::{self, File, OpenOptions};
#[cfg(test)]
use std::io::Read as _;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shared::message::asctime;
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::lock::{DotLock, lock_file};
use self::quote::Quoting;
pub(crate) use self::quote::Unquoting;
use super::message::{Undo, Whole};
use crate::inbox::Place;

/// An mbox.
#[derive(Debug)]
pub struct Mbox {
    path: PathBuf,
    /// Our own sessions take turns, so that none waits for a lock that we hold.
    gate: Arc<Mutex<()>>,
}

/// The right to try to lock the file.
pub(super) type Gate = OwnedMutexGuard<()>;

/// A message that was appended to a file that is still locked.
#[derive(Debug)]
pub(super) struct Appended {
    path: PathBuf,
    before: u64,
    // In the order in which they are to be let go.
    _dot: DotLock,
    file: File,
    _gate: Option<Gate>,
}

/// How long to wait for our turn, and as long again for the locks of others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is written at a time.
const WRITE: usize = 128 * 1024;

impl Mbox {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            gate: Arc::default(),
        }
    }

    /// The directory it is in.
    pub(super) fn directory(&self) -> &Path {
        let parent = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        parent.unwrap_or_else(|| Path::new("."))
    }

    /// Sees that there can be such a file.
    pub(super) fn prepare(&self) -> Result<()> {
        let what = || format!("cannot write to the mbox {}", self.path.display());
        // Opening a pipe would wait for its other end.
        if fs::metadata(&self.path).is_ok_and(|there| !there.is_file()) {
            bail!("{} is no file", self.path.display());
        }
        self.open().with_context(what).map(drop)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
    }

    /// Waits for our turn.
    pub(super) async fn enter(&self) -> Result<Gate> {
        let gate = Arc::clone(&self.gate).lock_owned();
        let entered = tokio::time::timeout(PATIENCE, gate).await;
        entered.with_context(|| format!("waiting for the mbox {}", self.path.display()))
    }

    /// Puts a message at its end.
    pub(super) fn append(
        &self,
        message: &Whole,
        gate: Option<Gate>,
        done: &mut Vec<Undo>,
    ) -> Result<Place> {
        let deadline = Instant::now() + PATIENCE;
        let locking = || format!("locking the mbox {}", self.path.display());
        let file = lock_file(&self.path, deadline, || self.open()).with_context(locking)?;
        let dot = DotLock::take(&self.path, deadline).with_context(locking)?;
        let writing = || format!("writing to the mbox {}", self.path.display());
        let before = file.metadata().with_context(writing)?.len();
        let appended = Appended {
            path: self.path.clone(),
            before,
            _dot: dot,
            file,
            _gate: gate,
        };
        match self.write(&appended.file, before, message) {
            Ok(place) => {
                done.push(Undo::Truncate(appended));
                Ok(place)
            }
            Err(error) => {
                appended.take_back();
                Err(error).with_context(writing)
            }
        }
    }

    fn write(&self, file: &File, before: u64, message: &Whole) -> io::Result<Place> {
        let separator = separator(file, before)?;
        let first_line = format!("From {} {}\n", sender(message), asctime(message.at()));
        let mut out = BufWriter::with_capacity(WRITE, file);
        out.seek(SeekFrom::Start(before))?;
        out.write_all(separator)?;
        out.write_all(first_line.as_bytes())?;
        let at = before + (separator.len() + first_line.len()) as u64;
        let mut quoting = Quoting::new(&mut out);
        quoting.write_all(message.trace())?;
        message.content.write_to(&mut quoting)?;
        let (length, end) = quoting.finish()?;
        out.write_all(end)?;
        out.flush()?;
        drop(out);
        message.durability().file(file)?;
        if before == 0 {
            message.durability().directory(self.directory())?;
        }
        Ok(Place::Mbox {
            path: self.path.clone(),
            at,
            length,
        })
    }
}

impl Appended {
    /// Makes the file what it was.
    pub(super) fn take_back(self) {
        if let Err(error) = self.file.set_len(self.before) {
            let path = self.path.display();
            tracing::error!("{path}: cannot take back what was appended: {error}");
        }
    }
}

/// Reads what is between two places of an mbox, unquoted.
#[cfg(test)]
pub(crate) fn read(path: &Path, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut quoted = Vec::new();
    file.take(length).read_to_end(&mut quoted)?;
    let mut unquoting = Unquoting::new();
    let mut plain = unquoting.take(&quoted);
    plain.extend(unquoting.finish());
    Ok(plain)
}

/// What must come first for an empty line to be before the message: a writer that
/// was killed, or another program, may have left none.
fn separator(file: &File, length: u64) -> io::Result<&'static [u8]> {
    let mut tail = [0; 2];
    if length >= 2 {
        file.read_exact_at(&mut tail, length - 2)?;
    } else if length == 1 {
        file.read_exact_at(tail.split_at_mut(1).1, 0)?;
    }
    Ok(match tail {
        _ if length == 0 => b"",
        [b'\n', b'\n'] => b"",
        [_, b'\n'] => b"\n",
        _ => b"\n\n",
    })
}

/// The reverse-path as one word.
fn sender(message: &Whole) -> String {
    let path = message.sender().trim_matches(['<', '>']);
    if path.is_empty() {
        return "MAILER-DAEMON".into();
    }
    let odd = |c: char| c.is_whitespace() || c.is_control();
    path.replace(odd, "_")
}
