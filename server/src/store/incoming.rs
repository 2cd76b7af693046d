//! A message while it comes in.

use std::io;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use shared::escape::hex;
use shared::message::header;
use uuid::Uuid;

use super::header::HeaderCount;
use super::message::{Message, Whole};
use super::spool::Spool;
use super::{Keeper, Trace};

/// A message that is being received. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    id: Uuid,
    message: Message,
    spool: Spool,
    head: Head,
    header: HeaderCount,
    octets: u64,
    digest: Sha256,
    most: u64,
    failure: Option<io::Error>,
}

impl Incoming {
    /// Begins a message for these users, and for the witness if it is `foreign`.
    pub fn begin(
        keeper: &Keeper,
        users: &[&str],
        foreign: bool,
        trace: &Trace<'_>,
    ) -> Result<Self> {
        let id = keeper.ids.next(trace.at).context("making an id")?;
        let message = Message {
            id,
            sender: trace.reverse_path.clone(),
            at: trace.at,
            trace: trace.header(&id.simple().to_string()),
            targets: keeper.targets(users, foreign),
            durability: keeper.durability,
        };
        let spool = keeper.spool(&message);
        Ok(Self {
            id,
            message,
            spool,
            head: Head::default(),
            header: HeaderCount::default(),
            octets: 0,
            digest: Sha256::new(),
            most: keeper.max_size,
            failure: None,
        })
    }

    /// It goes to some of those alone for whom it was begun.
    pub fn retarget(&mut self, keeper: &Keeper, users: &[&str], foreign: bool) {
        self.message.targets = keeper.targets(users, foreign);
    }

    /// Takes a piece of content. An error is kept for the end: the client is to
    /// be heard out before it is answered.
    pub fn write(&mut self, bytes: &[u8]) {
        self.octets = self.octets.saturating_add(bytes.len() as u64);
        if self.is_too_big() || self.failure.is_some() {
            // It will be refused: what came of it is in the way.
            self.spool.let_go();
            return;
        }
        self.digest.update(bytes);
        self.head.take(bytes);
        self.header.take(bytes);
        self.failure = self.spool.write(bytes).err();
    }

    /// How many octets have come.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// It has more octets than the limit.
    pub fn is_too_big(&self) -> bool {
        self.octets > self.most
    }

    /// What its header section has, so far.
    pub fn header(&self) -> HeaderCount {
        self.header
    }

    /// All of it has come.
    pub fn finish(self) -> Result<Whole> {
        if let Some(error) = self.failure {
            return Err(error).context("taking in a message");
        }
        let (content, share) = self.spool.finish().context("taking in a message")?;
        Ok(Whole {
            id: self.id.simple().to_string(),
            octets: self.octets,
            header: self.header,
            sha256: hex(&self.digest.finalize()),
            message_id: self.head.message_id(),
            subject: crate::subject::decode(&self.head.octets),
            message: self.message,
            content,
            _share: share,
        })
    }
}

/// The header section, as far as it is looked at.
#[derive(Debug, Default)]
struct Head {
    octets: Vec<u8>,
    done: bool,
}

/// The most that is looked at of a header section.
const HEAD: usize = 16 * 1024;

impl Head {
    fn message_id(&self) -> Option<String> {
        let id = header(&self.octets, "Message-ID").pop()?;
        Some(id.trim().to_owned())
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.done {
            return;
        }
        let from = self.octets.len().saturating_sub(3);
        let room = HEAD - self.octets.len();
        self.octets
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let new = self.octets.get(from..).unwrap_or_default();
        let ends = memchr::memmem::find(new, b"\n\r\n").is_some()
            || memchr::memmem::find(new, b"\n\n").is_some();
        self.done = ends || self.octets.len() >= HEAD;
    }
}
