//! Where mail is kept: Maildirs, or nowhere.

mod incoming;
mod maildir;

use std::path::Path;

use anyhow::Result;

pub use incoming::{Incoming, Trace};
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
    /// Prepares the Maildirs of these users in a directory; without users the
    /// directory is one Maildir itself. No directory is nowhere.
    pub fn open(directory: Option<&Path>, users: &[String]) -> Result<Self> {
        match directory {
            None => Ok(Self::Nowhere),
            Some(directory) => Maildirs::open(directory, users).map(Self::Maildirs),
        }
    }
}
