//! The file, or what else the lines go to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use shared::recording::{FileLog, Reader};

/// Where the lines go.
pub(super) enum Sink {
    File(File),
    Stdout(io::Stdout),
    Nowhere,
}

/// A file of ours that is gone on with.
pub(super) struct Resumed {
    pub(super) sink: Sink,
    pub(super) log: FileLog,
    /// Octets of a torn line that were cut off.
    pub(super) torn: u64,
}

/// A new file for a recording, which nobody else may read.
pub fn create(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .with_context(|| match fs::symlink_metadata(path) {
            Ok(_) => format!(
                "cannot record to {}: it exists (name another file)",
                path.display()
            ),
            Err(_) => format!("cannot record to {}", path.display()),
        })?;
    sync_directory(path)?;
    Ok(file)
}

impl Sink {
    /// A new file, which nobody else may read.
    pub(super) fn create(path: &Path) -> Result<Self> {
        create(path).map(Self::File)
    }

    /// A file of ours, without its torn last line.
    pub(super) fn resume(path: &Path) -> Result<Resumed> {
        let what = || format!("cannot go on recording to {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .with_context(what)?;
        if file.metadata().with_context(what)?.permissions().mode() & 0o077 != 0 {
            bail!("{}: others can read it (chmod 600 it first)", what());
        }
        let found = survey(&mut file).with_context(what)?;
        file.set_len(found.whole).with_context(what)?;
        file.seek(SeekFrom::End(0)).with_context(what)?;
        let log = FileLog::resume(found.lines, found.sessions, &found.reader);
        Ok(Resumed {
            sink: Self::File(file),
            log,
            torn: found.torn,
        })
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(lines),
            Self::Stdout(stdout) => stdout.write_all(lines).and_then(|()| stdout.flush()),
            Self::Nowhere => Ok(()),
        }
    }

    /// Has all that was written on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            Self::Stdout(stdout) => stdout.flush(),
            Self::Nowhere => Ok(()),
        }
    }
}

/// What is in a file that is to be gone on with.
struct Survey {
    lines: u64,
    sessions: u64,
    whole: u64,
    torn: u64,
    reader: Reader,
}

fn survey(file: &mut File) -> Result<Survey> {
    let (mut reader, mut chunk) = (Reader::new(), vec![0; 64 * 1024]);
    let (mut lines, mut sessions, mut header) = (0, 0, false);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        reader.push(chunk.get(..count).unwrap_or_default(), |record| {
            header |= record.kind() == "head";
            lines = record.n().saturating_add(1);
            sessions = sessions.max(record.session().unwrap_or_default());
        });
    }
    if !header {
        bail!("it is no recording");
    }
    let whole = reader.whole_octets();
    let torn = file.metadata()?.len().saturating_sub(whole);
    Ok(Survey {
        lines,
        sessions,
        whole,
        torn,
        reader,
    })
}

/// A new file is on the disk only when its directory is.
fn sync_directory(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("syncing the directory {}", parent.display()))
}
