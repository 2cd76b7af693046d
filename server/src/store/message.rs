//! A message that has come in whole, and how it is put where it goes: everywhere,
//! or nowhere.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use shared::time::Timestamp;
use uuid::Uuid;

use super::budget::Share;
use super::durable::{Durability, Temporary};
use super::header::HeaderCount;
use super::mbox::{Appended, Gate};
use super::spool::Content;
use super::{Target, eml, maildir};
use crate::inbox::{Place, Received};

/// What is known of a message before its content.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: Uuid,
    /// The reverse-path, brackets included.
    pub(super) sender: String,
    pub(super) at: Timestamp,
    /// The trace header.
    pub(super) trace: String,
    /// Where it goes.
    pub(super) targets: Vec<Target>,
    pub(super) durability: Durability,
}

/// A message that has come in whole. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Whole {
    /// The id that its trace header has.
    pub id: String,
    /// Octets of content.
    pub octets: u64,
    /// Their SHA-256 digest, in hex.
    pub sha256: String,
    /// What its header section has.
    pub header: HeaderCount,
    /// Its Message-ID, if it has one and not far down.
    pub message_id: Option<String>,
    /// Its subject, decoded, if it has one and not far down.
    pub subject: Option<String>,
    pub(super) message: Message,
    pub(super) content: Content,
    /// What its content takes of the memory for messages that come in.
    pub(super) _share: Share,
}

/// What takes back a message that could not be put everywhere.
#[derive(Debug)]
pub(super) enum Undo {
    Remove(PathBuf),
    Truncate(Appended),
}

impl Whole {
    /// How many octets of trace header stand in front of the content where it will be.
    pub fn lead(&self) -> usize {
        match self.message.targets.first() {
            Some(Target::Maildirs(_) | Target::Mbox(_)) => self.message.trace.len(),
            Some(Target::Eml(_) | Target::Memory) | None => 0,
        }
    }

    /// Keeps it: it is safe when this returns, and the `account` beside it where
    /// there is a file for that.
    pub async fn keep(self, account: &Received) -> Result<Place> {
        let files = |target: &Target| !matches!(target, Target::Memory);
        if !self.message.targets.iter().any(files) {
            return self.put(&[], Vec::new());
        }
        let account = serde_json::to_vec_pretty(account).context("writing the account")?;
        let mut gates = Vec::new();
        for target in &self.message.targets {
            if let Target::Mbox(mbox) = target {
                gates.push(mbox.enter().await?);
            }
        }
        let put = tokio::task::spawn_blocking(move || self.put(&account, gates));
        put.await.context("keeping the message")?
    }

    /// Puts it where it goes; where that fails, everything is as before.
    fn put(&self, account: &[u8], gates: Vec<Gate>) -> Result<Place> {
        let mut done = Vec::new();
        let mut gates = gates.into_iter();
        let targets = self.message.targets.iter();
        let places: Result<Vec<Place>> = targets
            .map(|target| match target {
                Target::Memory => Ok(self.in_memory()),
                Target::Maildirs(maildirs) => maildir::deliver(self, maildirs, &mut done),
                Target::Eml(directory) => eml::deliver(self, directory, account, &mut done),
                Target::Mbox(mbox) => mbox.append(self, gates.next(), &mut done),
            })
            .collect();
        if places.is_err() {
            done.into_iter().rev().for_each(Undo::undo);
        }
        Ok(places?.into_iter().next().unwrap_or_default())
    }

    fn in_memory(&self) -> Place {
        match &self.content {
            Content::Memory(octets) => Place::Memory(octets.clone()),
            Content::Nothing | Content::File(_) => Place::Nowhere,
        }
    }

    pub(super) fn trace(&self) -> &[u8] {
        self.message.trace.as_bytes()
    }

    pub(super) fn sender(&self) -> &str {
        &self.message.sender
    }

    pub(super) fn at(&self) -> Timestamp {
        self.message.at
    }

    /// When it came, in seconds since 1970, or somewhat later: its id has it.
    pub(super) fn seconds(&self) -> u64 {
        super::id::millis(self.message.id) / 1000
    }

    pub(super) fn durability(&self) -> Durability {
        self.message.durability
    }

    /// Makes a file of it, after a `lead`, by the name of `target` and in the end no
    /// other.
    pub(super) fn make_file(&self, lead: &[u8], temporary: PathBuf, target: &Path) -> Result<()> {
        let writing = || format!("writing {}", target.display());
        if let Content::File(spilled) = &self.content
            && let Some(file) = spilled.beginning_with(lead)
        {
            self.durability().file(&file.file).with_context(writing)?;
            if fs::hard_link(file.path(), target).is_ok() {
                return Ok(());
            }
        }
        write_file(temporary, target, self.durability(), |out| {
            out.write_all(lead)?;
            self.content.write_to(out)
        })
        .with_context(writing)
    }
}

/// Makes a file that is whole when it has its name.
pub(super) fn write_file(
    temporary: PathBuf,
    target: &Path,
    durability: Durability,
    write: impl FnOnce(&mut BufWriter<Temporary>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(WRITE, Temporary::create(temporary)?);
    write(&mut out)?;
    let file = out.into_inner()?;
    durability.file(&file.file)?;
    file.publish(target)
}

impl Undo {
    fn undo(self) {
        match self {
            Self::Remove(path) => drop(fs::remove_file(path)),
            Self::Truncate(appended) => appended.take_back(),
        }
    }
}

/// How much is written to a file at a time.
const WRITE: usize = 128 * 1024;
