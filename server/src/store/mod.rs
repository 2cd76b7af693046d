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
    /// A place; the Maildirs are those of these users, or without users the
    /// directory is one Maildir itself. Nothing is made yet.
    pub fn new(spec: &StoreSpec, users: &[String]) -> Self {
        match spec {
            StoreSpec::Null => Self::Nowhere,
            StoreSpec::Maildir(directory) => Self::Maildirs(Maildirs::new(directory, users)),
        }
    }

    /// Makes what is missing, and sees whether it can be written to.
    pub fn prepare(&self) -> Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Maildirs(maildirs) => maildirs.prepare(),
        }
    }
}
