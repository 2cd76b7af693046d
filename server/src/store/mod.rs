//! Where mail is kept, and how: safe before it is said to be, everywhere it goes or
//! nowhere.
//!
//! A [`Keeper`] knows the places. Of a message that comes in ([`Incoming`]) the
//! content is held in memory while it is small, and then in a file that has no name
//! anybody looks for. When it is [`Whole`] it is put where it goes: `maildir` and
//! `eml` give it files that have their names only when they are whole, `mbox`
//! appends to one, and in memory it is held by the inbox.

mod budget;
mod durable;
mod eml;
mod header;
mod id;
mod incoming;
mod maildir;
pub(crate) mod mbox;
mod message;
mod spool;
mod trace;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use uuid::Uuid;

use self::budget::Budget;
use self::durable::Durability;
use self::id::Ids;
use self::message::Message;
use self::spool::{Spill, Spool};
use crate::config::{Options, StoreSpec};

pub use header::HeaderCount;
pub use incoming::Incoming;
pub use maildir::Maildirs;
pub use mbox::Mbox;
pub use message::Whole;
pub use spool::NoMemory;
pub use trace::Trace;

/// Keeps mail, as the options say.
#[derive(Debug)]
pub struct Keeper {
    /// Where mail for users goes.
    store: Store,
    /// Where mail for foreign domains goes.
    witness: Store,
    ids: Ids,
    durability: Durability,
    /// What all messages that come in may take of memory.
    budget: Budget,
    /// What one may, if it can go to a file.
    spill: usize,
    max_size: u64,
    min_free: u64,
}

/// A place for mail.
#[derive(Clone, Debug)]
enum Store {
    /// It is recorded and discarded.
    Nowhere,
    /// The inbox holds it.
    Memory,
    /// A directory with two files for each message.
    Eml(PathBuf),
    /// A directory of Maildirs, one for each user; or one Maildir.
    Maildirs(Maildirs),
    /// One file.
    Mbox(Arc<Mbox>),
}

/// A place that one message goes to.
#[derive(Clone, Debug)]
enum Target {
    Memory,
    Eml(PathBuf),
    Maildirs(Vec<PathBuf>),
    Mbox(Arc<Mbox>),
}

impl Keeper {
    /// A keeper; `users` have Maildirs of their own. Nothing is made yet.
    pub fn new(options: &Options, users: &[String]) -> Self {
        let limits = options.limits.clone().with_none_as_most();
        Self {
            store: Store::new(&options.store, users),
            witness: Store::new(&options.witness.0, &[]),
            ids: Ids::default(),
            durability: if options.fsync {
                Durability::Synced
            } else {
                Durability::Written
            },
            budget: Budget::new(limits.max_memory.0),
            spill: usize::try_from(limits.spill.0).unwrap_or(usize::MAX),
            max_size: limits.max_size.0,
            min_free: limits.min_free.0,
        }
    }

    /// Makes the places where they are missing, and sees whether they can be
    /// written to and what is there: names are to sort after those.
    pub fn prepare(&self) -> Result<()> {
        for (store, option) in [(&self.store, "--store"), (&self.witness, "--witness")] {
            let what = || format!("preparing {option}");
            let newest = store.prepare().with_context(what)?;
            self.ids.follow(newest.unwrap_or_default());
        }
        Ok(())
    }

    /// There is room on the disk for a message of that size, or of any.
    pub fn has_room(&self, size: u64) -> bool {
        let wanted = self.min_free.saturating_add(size);
        let has = |place: &Path| match rustix::fs::statvfs(place) {
            Ok(system) => system.f_bavail.saturating_mul(system.f_frsize) >= wanted,
            // Whatever is wrong there, writing will tell.
            Err(_) => true,
        };
        let mut places = [&self.store, &self.witness].into_iter();
        self.min_free == 0 || places.all(|store| store.directory().is_none_or(has))
    }

    fn targets(&self, users: &[&str], foreign: bool) -> Vec<Target> {
        let own = (!users.is_empty()).then(|| self.store.target(users));
        let witness = foreign.then(|| self.witness.target(&[]));
        own.into_iter().chain(witness).flatten().collect()
    }

    /// Where the content of a message is held until it is whole.
    fn spool(&self, message: &Message) -> Spool {
        let share = self.budget.share();
        if message.targets.is_empty() {
            return Spool::nowhere(share);
        }
        let in_memory = |target: &Target| matches!(target, Target::Memory);
        if message.targets.iter().any(in_memory) {
            return Spool::new(share, None);
        }
        let first = message.targets.first();
        let place = first.and_then(|target| target.spill(message));
        let spill = place.map(|(path, lead)| Spill {
            above: self.spill,
            path,
            lead,
        });
        Spool::new(share, spill)
    }
}

impl Store {
    fn new(spec: &StoreSpec, users: &[String]) -> Self {
        match spec {
            StoreSpec::Null => Self::Nowhere,
            StoreSpec::Memory(_) => Self::Memory,
            StoreSpec::Eml(directory) => Self::Eml(directory.clone()),
            StoreSpec::Maildir(directory) => Self::Maildirs(Maildirs::new(directory, users)),
            StoreSpec::Mbox(file) => Self::Mbox(Arc::new(Mbox::new(file))),
        }
    }

    /// Makes what is missing, sees whether it can be written to, and tells the
    /// greatest id that is there.
    fn prepare(&self) -> Result<Option<Uuid>> {
        match self {
            Self::Nowhere | Self::Memory => Ok(None),
            Self::Eml(directory) => eml::prepare(directory),
            Self::Maildirs(maildirs) => maildirs.prepare(),
            Self::Mbox(mbox) => mbox.prepare().map(|()| None),
        }
    }

    /// Where it takes room on a disk.
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Nowhere | Self::Memory => None,
            Self::Eml(directory) => Some(directory),
            Self::Maildirs(maildirs) => Some(maildirs.base()),
            Self::Mbox(mbox) => Some(mbox.directory()),
        }
    }

    /// Where a message for these users goes, if it is kept.
    fn target(&self, users: &[&str]) -> Option<Target> {
        match self {
            Self::Nowhere => None,
            Self::Memory => Some(Target::Memory),
            Self::Eml(directory) => Some(Target::Eml(directory.clone())),
            Self::Maildirs(maildirs) => Some(Target::Maildirs(maildirs.of(users))),
            Self::Mbox(mbox) => Some(Target::Mbox(Arc::clone(mbox))),
        }
    }
}

impl Target {
    /// The file for a message that is too big for memory, and what is before its
    /// content if the file itself is to be the one that is kept.
    fn spill(&self, message: &Message) -> Option<(PathBuf, Option<Vec<u8>>)> {
        let id = message.id.simple().to_string();
        match self {
            Self::Memory => None,
            Self::Eml(directory) => Some((eml::hidden(directory, &id, "spool"), Some(Vec::new()))),
            Self::Maildirs(maildirs) => {
                let trace = message.trace.clone().into_bytes();
                Some((maildirs.first()?.join("tmp").join(id), Some(trace)))
            }
            Self::Mbox(mbox) => Some((eml::hidden(mbox.directory(), &id, "spool"), None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::quantity::Octets;
    use shared::time::Timestamp;

    use super::*;
    use crate::inbox::{Place, Received};

    const TRACE: Trace<'_> = Trace {
        reverse_path: String::new(),
        helo: "c.test",
        client: None,
        client_name: None,
        protocol: "ESMTP",
        hostname: String::new(),
        at: Timestamp::from_nanos(1_800_000_000_000_000_000),
    };

    fn keeper(store: &str, spill: u64) -> Keeper {
        let mut options = Options {
            store: store.parse().unwrap(),
            fsync: false,
            ..Options::default()
        };
        options.limits.spill = Octets(spill);
        let keeper = Keeper::new(&options, &["anna".to_owned()]);
        keeper.prepare().unwrap();
        keeper
    }

    async fn keep(keeper: &Keeper, pieces: &[&[u8]]) -> Received {
        let mut incoming = Incoming::begin(keeper, &["anna"], false, &TRACE).unwrap();
        for piece in pieces {
            incoming.write(piece);
        }
        let whole = incoming.finish().unwrap();
        let mut received = Received::sample(1, &pieces.concat());
        assert_eq!(whole.sha256, received.sha256);
        received.lead = whole.lead();
        received.place = whole.keep(&received).await.unwrap();
        received
    }

    /// Keeps some messages, and has them all back.
    async fn come_back(keeper: &Keeper) {
        let messages: [&[&[u8]]; 4] = [
            &[],
            &[b"From a\r\n>From b\r\n"],
            &[b"no e", b"nd From"],
            &[b"x\n", b"From y\n\nFrom z", b"\r\n.\r\n\r\n"],
        ];
        let mut kept = Vec::new();
        for pieces in messages {
            kept.push(keep(keeper, pieces).await);
        }
        for (received, pieces) in kept.iter().zip(messages) {
            let found = received.content().unwrap().unwrap();
            assert_eq!(found, pieces.concat(), "{:?}", keeper.store);
        }
    }

    #[tokio::test]
    async fn content_is_had_back_as_it_came_from_every_place() {
        let dir = testkit::scratch();
        let at = |form: &str| format!("{form}:{}/{form}", dir.path().display());
        for store in [at("eml"), at("maildir"), at("mbox"), "memory".into()] {
            for spill in [0, 10, 1000] {
                come_back(&keeper(&store, spill)).await;
            }
        }
        let nowhere = keep(&keeper("null", 0), &[b"x"]).await;
        assert!(matches!(nowhere.place, Place::Nowhere));
    }

    #[tokio::test]
    async fn message_ids_are_found_wherever_the_pieces_end() {
        let keeper = keeper("null", 0);
        let id = |pieces: &[&[u8]]| {
            let mut incoming = Incoming::begin(&keeper, &["anna"], false, &TRACE).unwrap();
            for piece in pieces {
                incoming.write(piece);
            }
            incoming.finish().unwrap().message_id
        };
        let message = b"A: b\r\nmessage-id: <1@c>\r\n\r\nMessage-ID: <2@c>\r\n";
        for cut in 0..message.len() {
            let pieces = [&message[..cut], &message[cut..]];
            assert_eq!(id(&pieces).as_deref(), Some("<1@c>"), "{cut}");
        }
        assert_eq!(id(&[b"A: b\n\nMessage-ID: <2@c>\n"]), None);
        let far = [b"A: b\r\n".repeat(10_000), message.to_vec()].concat();
        assert_eq!(id(&[&far]), None);
    }

    #[test]
    fn what_comes_in_takes_no_more_memory_than_there_may_be() {
        let dir = testkit::scratch();
        let eml = format!("eml:{}", dir.path().display());
        let most = vec![b'x'; 70_000];
        for (store, falls) in [("memory", true), (&*eml, false)] {
            let mut options = Options {
                store: store.parse().unwrap(),
                ..Options::default()
            };
            options.limits.max_memory = Octets(100_000);
            options.limits.spill = Octets(80_000);
            let keeper = Keeper::new(&options, &[]);
            keeper.prepare().unwrap();
            let begin = || Incoming::begin(&keeper, &["anna"], false, &TRACE).unwrap();
            let (mut first, mut second) = (begin(), begin());
            first.write(&most);
            second.write(&most);
            drop(first);
            // In memory there is no room for both; a file takes what memory cannot.
            assert_eq!(second.finish().is_err(), falls, "{store}");
            let mut third = begin();
            third.write(&most);
            assert!(third.finish().is_ok());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
