//! Maildirs: tmp, new, cur; a message appears whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Access, access};

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

    /// Makes them where they are missing.
    pub(super) fn prepare(&self) -> Result<()> {
        if self.users.is_empty() {
            return make(&self.base);
        }
        self.users
            .iter()
            .try_for_each(|user| make(&self.base.join(user)))
    }

    /// The Maildir of a user.
    pub(super) fn of(&self, user: &str) -> PathBuf {
        if self.users.is_empty() {
            self.base.clone()
        } else {
            self.base.join(file_name(user))
        }
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

/// Gives a message that is whole and on the disk its place in `new`; returns that
/// place. After an error nothing is left of it.
pub(super) fn publish(tmp: &Path, maildir: &Path, name: &str) -> Result<PathBuf> {
    let new = maildir.join("new");
    let target = new.join(name);
    if fs::hard_link(tmp, &target).is_err() {
        // Another file system: copy, and then give it its name.
        let copy = maildir.join("tmp").join(name);
        let moved = copy_whole(tmp, &copy).and_then(|()| {
            fs::rename(&copy, &target).with_context(|| format!("writing {}", target.display()))
        });
        moved.inspect_err(|_| remove(&copy))?;
    }
    File::open(&new)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("syncing {}", new.display()))
        .inspect_err(|_| remove(&target))?;
    Ok(target)
}

fn copy_whole(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .and_then(|_| File::open(to)?.sync_all())
        .with_context(|| format!("writing {}", to.display()))
}

/// Takes a message away that is not to be kept, as well as that can be done.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}
