//! Bytes of a file, as many at a time as are asked for, with their place in it.

use std::io::{self, Read};

use super::{Damage, Fault};

/// A reader with what was read ahead.
pub(super) struct Source<R> {
    input: R,
    held: Vec<u8>,
    /// How much of `held` was taken already.
    taken: usize,
    /// The place in the file of what comes next.
    offset: u64,
    ended: bool,
}

/// So much is read at once, and memory grows by it: a length that a damaged file
/// claims is never believed before the octets are there.
const STEP: usize = 64 << 10;

impl<R: Read> Source<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            held: Vec::new(),
            taken: 0,
            offset: 0,
            ended: false,
        }
    }

    /// What was read and not taken yet.
    pub(super) fn held(&self) -> &[u8] {
        self.held.get(self.taken..).unwrap_or_default()
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads until so much is held, or the file ends.
    pub(super) fn fill(&mut self, wanted: usize) -> io::Result<()> {
        while self.held().len() < wanted && !self.ended {
            if self.taken > 0 {
                self.held.drain(..self.taken);
                self.taken = 0;
            }
            let before = self.held.len();
            self.held.resize(before + STEP, 0);
            let room = self.held.get_mut(before..).unwrap_or_default();
            let result = self.input.read(room);
            let count = *result.as_ref().unwrap_or(&0);
            self.held.truncate(before + count);
            match result {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether there is nothing more; otherwise so many octets are held now.
    pub(super) fn at_end_or(&mut self, wanted: usize) -> Result<bool, Damage> {
        let at = self.offset;
        self.fill(wanted).map_err(|error| Damage {
            at,
            fault: error.into(),
        })?;
        let held = self.held().len();
        if held >= wanted {
            return Ok(false);
        }
        if held == 0 {
            return Ok(true);
        }
        Err(Damage {
            at,
            fault: Fault::CutOff {
                missing: (wanted - held) as u64,
            },
        })
    }

    /// Takes octets that are held, and gives them.
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        let from = self.taken;
        self.taken = (from + count).min(self.held.len());
        self.offset += (self.taken - from) as u64;
        self.held.get(from..self.taken).unwrap_or_default()
    }
}
