//! Certificates that are wrong, made when a rule asks for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use driver::tls::ServerConfig;
use shared::fault::Action;
use shared::fault::action::{Profile, Version};

/// What TLS is to be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) profile: Option<Profile>,
    /// TLS 1.2 alone, or TLS 1.3 alone.
    pub(crate) version: Option<u8>,
}

/// Configurations by what is wrong with them.
pub(crate) struct Shelf {
    hosts: Vec<String>,
    made: Mutex<BTreeMap<Wanted, Arc<ServerConfig>>>,
}

impl Wanted {
    /// What these actions ask for.
    pub(crate) fn of<'a>(actions: impl IntoIterator<Item = &'a Action>) -> Self {
        let mut wanted = Self::default();
        for action in actions {
            match action {
                Action::TlsCert(profile) => wanted.profile = Some(*profile),
                Action::TlsVersion(Version::V12) => wanted.version = Some(2),
                Action::TlsVersion(Version::V13) => wanted.version = Some(3),
                _ => {}
            }
        }
        wanted
    }
}

impl Shelf {
    pub(crate) fn new(hosts: Vec<String>) -> Self {
        Self {
            hosts,
            made: Mutex::new(BTreeMap::new()),
        }
    }

    /// Makes what these actions ask for, where it is not there yet.
    pub(crate) fn prepare(&self, actions: &[Action]) -> Result<()> {
        let wanted = Wanted::of(actions);
        if wanted != Wanted::default() && self.get(wanted).is_none() {
            let made = driver::tls::wrong(&self.hosts, wanted.profile, wanted.version)?;
            let mut shelf = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.insert(wanted, made);
        }
        Ok(())
    }

    /// What was made for these.
    pub(crate) fn get(&self, wanted: Wanted) -> Option<Arc<ServerConfig>> {
        let shelf = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.get(&wanted).cloned()
    }
}
