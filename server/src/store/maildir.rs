//! Maildirs: tmp, new, cur; a message appears whole or not at all.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Access, access};
use uuid::Uuid;

use super::id::newest;
use super::message::{Undo, Whole};
use crate::inbox::Place;

/// A directory of Maildirs, one for each user; or one Maildir.
#[derive(Clone, Debug)]
pub struct Maildirs {
    base: PathBuf,
    /// By their file names; none for one Maildir.
    users: Vec<String>,
}

impl Maildirs {
    pub(super) fn new(base: &Path, users: &[String]) -> Self {
        Self {
            base: base.to_owned(),
            users: users.iter().map(|user| file_name(user)).collect(),
        }
    }

    /// Makes them where they are missing, and tells the greatest id in them.
    pub(super) fn prepare(&self) -> Result<Option<Uuid>> {
        let users = self.users.iter().map(|user| self.base.join(user));
        let maildirs = users.chain(self.users.is_empty().then(|| self.base.clone()));
        let mut greatest = None;
        for maildir in maildirs {
            make(&maildir)?;
            for part in ["new", "cur"] {
                let path = maildir.join(part);
                let looking = || format!("cannot read the Maildir {}", path.display());
                greatest = greatest.max(newest(&path).with_context(looking)?);
            }
        }
        Ok(greatest)
    }

    /// The directory that all of them are in.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The Maildirs of users, each once.
    pub(super) fn of(&self, users: &[&str]) -> Vec<PathBuf> {
        if self.users.is_empty() {
            return vec![self.base.clone()];
        }
        let mut names: Vec<String> = users.iter().map(|user| file_name(user)).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| self.base.join(name)).collect()
    }
}

/// A user's name as one that cannot leave the directory.
fn file_name(user: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
    let name: String = user
        .chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    if name.starts_with('.') {
        format!("_{name}")
    } else {
        name
    }
}

fn make(maildir: &Path) -> Result<()> {
    for part in ["tmp", "new", "cur"] {
        let path = maildir.join(part);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| {
                format!(
                    "cannot make the Maildir {} (name a directory of yours)",
                    path.display()
                )
            })?;
        // One that is there already may be somebody else's.
        access(&path, Access::WRITE_OK | Access::EXEC_OK).with_context(|| {
            format!(
                "cannot write to the Maildir {} (name a directory of yours)",
                path.display()
            )
        })?;
    }
    Ok(())
}

/// Puts a message into the `new` of each of them.
pub(super) fn deliver(
    message: &Whole,
    maildirs: &[PathBuf],
    done: &mut Vec<Undo>,
) -> Result<Place> {
    // The name of the day of maildir(5): seconds, what is unique, the host.
    let id = &message.id;
    let name = format!("{}.{id}.heloscope", message.seconds());
    let mut first: Option<PathBuf> = None;
    for maildir in maildirs {
        let new = maildir.join("new");
        let target = new.join(&name);
        let linked = first
            .as_deref()
            .is_some_and(|first| fs::hard_link(first, &target).is_ok());
        if !linked {
            let temporary = maildir.join("tmp").join(&name);
            message.make_file(message.trace(), temporary, &target)?;
        }
        done.push(Undo::Remove(target.clone()));
        message
            .durability()
            .directory(&new)
            .with_context(|| format!("syncing {}", new.display()))?;
        first.get_or_insert(target);
    }
    Ok(first.map_or(Place::Nowhere, Place::File))
}
