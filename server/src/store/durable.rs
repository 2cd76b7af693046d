//! Files that are there when we say so, and under their names only when whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// When a file counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// When the system has it: it outlives us.
    Written,
    /// When the disk has it: it outlives the system, too.
    Synced,
}

impl Durability {
    /// Waits for the disk to have a file's content.
    pub(super) fn file(self, file: &File) -> io::Result<()> {
        match self {
            Self::Written => Ok(()),
            Self::Synced => file.sync_all(),
        }
    }

    /// Waits for the disk to have the names in a directory.
    pub(super) fn directory(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Written => Ok(()),
            Self::Synced => File::open(path)?.sync_all(),
        }
    }
}

/// A file of ours under a name that nobody looks for; removed when dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    path: PathBuf,
}

impl Temporary {
    /// Makes one that only we may read.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { file, path })
    }

    /// Where it is; nowhere, if it has no name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes its name away: it is gone when it is closed, whatever becomes of us.
    pub(super) fn unlink(&mut self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        self.path = PathBuf::new();
        Ok(())
    }

    /// Gives it its name.
    pub(super) fn publish(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Write for Temporary {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
