//! The content of a message while it comes in: in memory while it is small, and
//! else in a file.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::budget::Share;
use super::durable::Temporary;

/// All the memory for messages that come in is taken (`--max-memory`).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no memory is left for messages")]
pub struct NoMemory;

/// Takes content as it comes.
#[derive(Debug)]
pub(super) struct Spool {
    wanted: bool,
    held: Vec<u8>,
    share: Share,
    /// Where to go with more; none to stay in memory.
    spill: Option<Spill>,
    spilled: Option<BufWriter<Spilled>>,
}

/// Where content goes that is too much for memory.
#[derive(Clone, Debug)]
pub(super) struct Spill {
    /// The most octets that stay in memory.
    pub(super) above: usize,
    /// The file to make.
    pub(super) path: PathBuf,
    /// What the file begins with if it is to be given a name as it is; without that,
    /// it has no name from the beginning.
    pub(super) lead: Option<Vec<u8>>,
}

/// A file with content in it.
#[derive(Debug)]
pub(super) struct Spilled {
    file: Temporary,
    lead: Option<Vec<u8>>,
}

/// All the content of a message.
#[derive(Debug)]
pub(super) enum Content {
    /// Nobody wants it.
    Nothing,
    /// In memory.
    Memory(Bytes),
    /// In a file.
    File(Spilled),
}

impl Spool {
    /// One that lets everything go.
    pub(super) fn nowhere(share: Share) -> Self {
        Self {
            wanted: false,
            held: Vec::new(),
            share,
            spill: None,
            spilled: None,
        }
    }

    /// One that keeps everything: in memory, or from some size on in a file.
    pub(super) fn new(share: Share, spill: Option<Spill>) -> Self {
        Self {
            wanted: true,
            held: Vec::new(),
            share,
            spill,
            spilled: None,
        }
    }

    /// Takes a piece.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.wanted {
            return Ok(());
        }
        if let Some(spilled) = &mut self.spilled {
            return spilled.write_all(bytes);
        }
        if self.make_room(bytes.len()) {
            self.held.extend_from_slice(bytes);
            return Ok(());
        }
        let Some(spill) = self.spill.take() else {
            return Err(io::Error::other(NoMemory));
        };
        let mut spilled = BufWriter::with_capacity(WRITE, spill.begin()?);
        spilled.write_all(&self.held)?;
        spilled.write_all(bytes)?;
        self.held = Vec::new();
        self.spilled = Some(spilled);
        Ok(())
    }

    /// Takes no more, and forgets what came.
    pub(super) fn let_go(&mut self) {
        self.wanted = false;
        self.held = Vec::new();
        self.spilled = None;
    }

    /// All that came.
    pub(super) fn finish(self) -> io::Result<(Content, Share)> {
        let content = match self.spilled {
            _ if !self.wanted => Content::Nothing,
            Some(spilled) => Content::File(spilled.into_inner()?),
            None => {
                // What is kept is to take no more memory than it has octets. It is
                // copied, not shrunk: the end of a shrunk buffer is taken by what
                // stays, and then nothing as big fits there again.
                Content::Memory(Bytes::copy_from_slice(&self.held))
            }
        };
        Ok((content, self.share))
    }

    /// Makes room in memory for so many octets more, if it may.
    fn make_room(&mut self, more: usize) -> bool {
        let length = self.held.len().saturating_add(more);
        let most = self.spill.as_ref().map_or(usize::MAX, |spill| spill.above);
        let capacity = self.held.capacity();
        if length > most {
            return false;
        }
        if length <= capacity {
            return true;
        }
        let doubled = length.max(capacity.saturating_mul(2));
        // Where there is no room to grow well, just enough may still do.
        let wanted = [doubled.clamp(LEAST, most.max(LEAST)), length];
        let mut wanted = wanted.into_iter();
        let wanted = wanted.find(|wanted| self.share.grow((wanted - capacity) as u64));
        if let Some(wanted) = wanted {
            self.held.reserve_exact(wanted - self.held.len());
        }
        wanted.is_some()
    }
}

impl Spill {
    fn begin(self) -> io::Result<Spilled> {
        let mut file = Temporary::create(self.path)?;
        match &self.lead {
            Some(lead) => file.write_all(lead)?,
            None => file.unlink()?,
        }
        let lead = self.lead;
        Ok(Spilled { file, lead })
    }
}

impl Spilled {
    /// The file, if it is just that and content, so that it may be given a name.
    pub(super) fn beginning_with(&self, lead: &[u8]) -> Option<&Temporary> {
        (self.lead.as_deref() == Some(lead)).then_some(&self.file)
    }
}

impl Write for Spilled {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Content {
    /// Writes all of it.
    pub(super) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Memory(octets) => out.write_all(octets),
            Self::File(spilled) => {
                let mut file = &spilled.file.file;
                let lead = spilled.lead.as_ref().map_or(0, Vec::len);
                file.seek(SeekFrom::Start(lead as u64))?;
                io::copy(&mut file, out).map(drop)
            }
        }
    }
}

/// The least memory that is taken for content.
const LEAST: usize = 4096;

/// How much is written to a file at a time.
const WRITE: usize = 128 * 1024;
