//! Maildirs: tmp, new, cur; a message appears whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A directory of Maildirs.
#[derive(Clone, Debug)]
pub struct Maildirs {
    base: PathBuf,
    single: bool,
}

impl Maildirs {
    /// Makes them where they are missing.
    pub(super) fn open(base: &Path, users: &[String]) -> Result<Self> {
        let single = users.is_empty();
        if single {
            make(base)?;
        }
        for user in users {
            make(&base.join(file_name(user)))?;
        }
        Ok(Self {
            base: base.to_owned(),
            single,
        })
    }

    /// The Maildir of a user.
    pub(super) fn of(&self, user: &str) -> PathBuf {
        if self.single {
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
            .with_context(|| format!("cannot make the Maildir {}", path.display()))?;
    }
    Ok(())
}

/// Gives a message that is whole and on the disk its place in `new`.
pub(super) fn publish(tmp: &Path, maildir: &Path, name: &str) -> Result<PathBuf> {
    let new = maildir.join("new");
    let target = new.join(name);
    if fs::hard_link(tmp, &target).is_err() {
        // Another file system: copy, and then give it its name.
        let copy = maildir.join("tmp").join(name);
        fs::copy(tmp, &copy).with_context(|| format!("writing {}", copy.display()))?;
        File::open(&copy).and_then(|file| file.sync_all())?;
        fs::rename(&copy, &target).with_context(|| format!("writing {}", target.display()))?;
    }
    File::open(&new)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("syncing {}", new.display()))?;
    Ok(target)
}
