//! `--store bsmtp:FILE`: every message appended to one file as it came, for those
//! who want to look at it after all.
//!
//! Batch SMTP (RFC 2442) is what the client said, without the dialogue around it:
//! the envelope stays with the message, dots stay doubled, and a program that
//! speaks SMTP can read it. A message is collected while it comes in and written
//! before it is answered; what cannot be written is refused, and leaves nothing
//! behind.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use shared::codec::encode_dots;

use super::dialogue::Framing;

/// What becomes of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// They are gone.
    #[default]
    Nothing,
    /// They are appended to this file.
    BatchSmtp(PathBuf),
}

/// Why a text does not say what becomes of messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no place for mail: null or bsmtp:FILE")]
pub struct NoKeep(String);

impl FromStr for Keep {
    type Err = NoKeep;

    fn from_str(text: &str) -> Result<Self, NoKeep> {
        match text.split_once(':') {
            None if text == "null" => Ok(Self::Nothing),
            Some(("bsmtp", path)) if !path.is_empty() => Ok(Self::BatchSmtp(path.into())),
            _ => Err(NoKeep(text.to_owned())),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("null"),
            Self::BatchSmtp(path) => write!(f, "bsmtp:{}", path.display()),
        }
    }
}

/// The file that messages are appended to.
#[derive(Debug)]
pub(super) struct Batch {
    file: Mutex<File>,
    path: PathBuf,
    /// Octets of all messages that are coming in.
    held: AtomicU64,
    limits: Limits,
}

/// How much may be in memory until it is written.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Octets of one message, envelope included.
    message: u64,
    /// Octets of all that are coming in at a time.
    all: u64,
}

impl Limits {
    const DEFAULT: Self = Self {
        message: 50 << 20,
        all: 1 << 30,
    };
}

impl Batch {
    /// Opens a file to append to it, and makes it where it is missing.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        Ok(Arc::new(Self {
            file: Mutex::new(file),
            path: path.to_owned(),
            held: AtomicU64::new(0),
            limits: Limits::DEFAULT,
        }))
    }

    fn append(&self, message: &[u8]) -> io::Result<()> {
        // A thread that panicked while it held the lock has written nothing by halves.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = message;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(written @ 1..) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                failed => {
                    let written = (message.len() - rest.len()) as u64;
                    let length = file.metadata()?.len();
                    file.set_len(length.saturating_sub(written))?;
                    return failed.and_then(|_| Err(io::ErrorKind::WriteZero.into()));
                }
            }
        }
        Ok(())
    }
}

/// The message that a session is sending, if messages are kept.
#[derive(Debug)]
pub(super) struct Letter(Option<Box<Draft>>);

#[derive(Debug)]
struct Draft {
    batch: Arc<Batch>,
    /// The envelope, and from `begun` on the content.
    text: Vec<u8>,
    content: usize,
    framing: Framing,
    /// Why it cannot be kept.
    refusal: Option<&'static [u8]>,
}

impl Letter {
    /// For a session whose messages are appended to a file, or not kept.
    pub(super) fn of(batch: Option<&Arc<Batch>>) -> Self {
        let draft = |batch| {
            Box::new(Draft {
                batch: Arc::clone(batch),
                text: Vec::new(),
                content: 0,
                framing: Framing::Dots,
                refusal: None,
            })
        };
        Self(batch.map(draft))
    }

    /// A transaction begins.
    pub(super) fn mail(&mut self, line: &[u8]) {
        if let Some(draft) = &mut self.0 {
            draft.clear();
            draft.command(line);
        }
    }

    /// A recipient was accepted.
    pub(super) fn rcpt(&mut self, line: &[u8]) {
        if let Some(draft) = &mut self.0 {
            draft.command(line);
        }
    }

    /// Content begins.
    pub(super) fn begin(&mut self, framing: Framing) {
        if let Some(draft) = &mut self.0 {
            draft.push(b"DATA\r\n");
            draft.framing = framing;
            draft.content = draft.text.len();
        }
    }

    /// A piece of it, as on the wire.
    pub(super) fn content(&mut self, piece: &[u8]) {
        if let Some(draft) = &mut self.0 {
            draft.push(piece);
        }
    }

    /// The content is complete: it is in the file when this returns, or the reply
    /// says why it is not.
    pub(super) fn keep(&mut self) -> Result<(), &'static [u8]> {
        match &mut self.0 {
            Some(draft) => draft.keep(),
            None => Ok(()),
        }
    }
}

impl Draft {
    fn command(&mut self, line: &[u8]) {
        self.push(line.trim_ascii_end());
        self.push(b"\r\n");
    }

    fn push(&mut self, piece: &[u8]) {
        let more = piece.len() as u64;
        if self.refusal.is_some() {
            return;
        }
        let all = self.batch.held.fetch_add(more, Ordering::Relaxed) + more;
        self.text.extend_from_slice(piece);
        let limits = self.batch.limits;
        let refusal: Option<&[u8]> = if self.text.len() as u64 > limits.message {
            Some(b"552 5.3.4 Too big to be kept\r\n")
        } else if all > limits.all {
            Some(b"452 4.3.1 Too much mail at a time\r\n")
        } else {
            None
        };
        if refusal.is_some() {
            self.clear();
            self.refusal = refusal;
        }
    }

    fn keep(&mut self) -> Result<(), &'static [u8]> {
        if self.framing == Framing::Octets && self.refusal.is_none() {
            let content = self.text.split_off(self.content);
            encode_dots(&content, &mut self.text);
            let (before, after) = (content.len(), self.text.len() - self.content);
            self.batch
                .held
                .fetch_add((after - before) as u64, Ordering::Relaxed);
        } else {
            self.push(b".\r\n");
        }
        let done = match self.refusal {
            Some(refusal) => Err(refusal),
            None => self.batch.append(&self.text).map_err(|error| {
                tracing::error!("writing {}: {error}", self.batch.path.display());
                &b"452 4.3.1 It cannot be written\r\n"[..]
            }),
        };
        self.clear();
        done
    }

    fn clear(&mut self) {
        let held = self.text.len() as u64;
        self.batch.held.fetch_sub(held, Ordering::Relaxed);
        self.refusal = None;
        self.content = 0;
        if self.text.capacity() > KEPT_CAPACITY {
            self.text = Vec::new();
        } else {
            self.text.clear();
        }
    }
}

/// A buffer that has grown beyond this is given back after the message.
const KEPT_CAPACITY: usize = 64 * 1024;

impl Drop for Draft {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn batch(limits: Limits) -> (tempfile::TempDir, Arc<Batch>) {
        let directory = tempfile::tempdir().unwrap();
        let batch = Batch::open(&directory.path().join("mail.bsmtp")).unwrap();
        let mut batch = Arc::into_inner(batch).unwrap();
        batch.limits = limits;
        (directory, Arc::new(batch))
    }

    fn message(
        letter: &mut Letter,
        framing: Framing,
        pieces: &[&[u8]],
    ) -> Result<(), &'static [u8]> {
        letter.mail(b"MAIL FROM:<a@x.test>\n");
        letter.rcpt(b"rcpt to:<b@x.test>\r\n");
        letter.begin(framing);
        for piece in pieces {
            letter.content(piece);
        }
        letter.keep()
    }

    #[test]
    fn messages_are_appended_whole_as_they_came() {
        let (_directory, batch) = batch(Limits::DEFAULT);
        let mut letter = Letter::of(Some(&batch));
        message(&mut letter, Framing::Dots, &[b"..one\r\n", b"two\r\n"]).unwrap();
        // This one is never finished.
        letter.mail(b"MAIL FROM:<>\r\n");
        message(&mut letter, Framing::Octets, &[b".three\r", b"\n.four"]).unwrap();
        let envelope = "MAIL FROM:<a@x.test>\r\nrcpt to:<b@x.test>\r\nDATA\r\n";
        assert_eq!(
            fs::read_to_string(&batch.path).unwrap(),
            format!("{envelope}..one\r\ntwo\r\n.\r\n{envelope}..three\r\n..four\r\n.\r\n")
        );
        drop(letter);
        assert_eq!(batch.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_too_much_is_refused_and_forgotten() {
        let (_directory, batch) = batch(Limits {
            message: 100,
            all: 150,
        });
        let (mut one, mut two) = (Letter::of(Some(&batch)), Letter::of(Some(&batch)));
        let big = [b'x'; 100];
        let refusal = message(&mut one, Framing::Dots, &[&big, b"\r\n"]).unwrap_err();
        assert!(refusal.starts_with(b"552 "));
        one.mail(&[b'x'; 90]);
        two.mail(&[b'x'; 90]);
        two.begin(Framing::Octets);
        assert!(two.keep().unwrap_err().starts_with(b"452 "));
        assert_eq!(fs::read(&batch.path).unwrap(), b"");
        message(&mut two, Framing::Dots, &[b"small\r\n"]).unwrap();
        drop((one, two));
        assert_eq!(batch.held.load(Ordering::Relaxed), 0);
    }
}
