//! Where mail is kept: Maildirs, or nowhere.

mod incoming;
mod maildir;

use anyhow::Result;

use crate::config::StoreSpec;

pub use incoming::{Incoming, Kept, Trace};
pub use maildir::Maildirs;

/// A place for mail.
#[derive(Clone, Debug)]
pub enum Store {
    /// It is recorded and discarded.
    Nowhere,
    /// A directory of Maildirs, one for each user; or one Maildir.
    Maildirs(Maildirs),
}

impl Store {
    /// Prepares a place; the Maildirs are those of these users, or without users
    /// the directory is one Maildir itself.
    pub fn open(spec: &StoreSpec, users: &[String]) -> Result<Self> {
        match spec {
            StoreSpec::Null => Ok(Self::Nowhere),
            StoreSpec::Maildir(directory) => Maildirs::open(directory, users).map(Self::Maildirs),
        }
    }
}
