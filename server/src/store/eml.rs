//! A directory with two files for each message: `NAME.eml`, the content octet by
//! octet, and `NAME.json`, what is known about it.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Access, access};
use uuid::Uuid;

use super::id::newest;
use super::message::{Undo, Whole, write_file};
use crate::inbox::Place;

/// Puts a message there. The account comes first, so that there is never a message
/// without one.
pub(super) fn deliver(
    message: &Whole,
    directory: &Path,
    account: &[u8],
    done: &mut Vec<Undo>,
) -> Result<Place> {
    let name = |suffix: &str| directory.join(format!("{}.{suffix}", message.id));
    let hidden = |suffix: &str| hidden(directory, &message.id, suffix);
    let (json, eml) = (name("json"), name("eml"));
    let durability = message.durability();
    write_file(hidden("json"), &json, durability, |out| {
        out.write_all(account)?;
        out.write_all(b"\n")
    })
    .with_context(|| format!("writing {}", json.display()))?;
    done.push(Undo::Remove(json));
    message.make_file(b"", hidden("eml"), &eml)?;
    done.push(Undo::Remove(eml.clone()));
    durability
        .directory(directory)
        .with_context(|| format!("syncing {}", directory.display()))?;
    Ok(Place::File(eml))
}

/// A name that nobody looks for.
pub(super) fn hidden(directory: &Path, id: &str, suffix: &str) -> PathBuf {
    directory.join(format!(".{id}.{suffix}.tmp"))
}

/// Makes the directory if it is missing, and tells the greatest id that is in it.
pub(super) fn prepare(directory: &Path) -> Result<Option<Uuid>> {
    let what = || format!("cannot write to {}", directory.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(what)?;
    access(directory, Access::WRITE_OK | Access::EXEC_OK).with_context(what)?;
    newest(directory).with_context(what)
}
