//! Names that nobody can have been told before.

use anyhow::{Context, Result};

/// Words that no program can have been told before.
pub(super) struct RandomWords(std::fs::File);

impl RandomWords {
    pub(super) fn new() -> Result<Self> {
        std::fs::File::open("/dev/urandom")
            .map(Self)
            .context("opening /dev/urandom")
    }

    /// Eight letters.
    pub(super) fn next(&mut self) -> String {
        use std::io::Read;
        let mut octets = [0; 8];
        // An unread word is still a word.
        let _ = self.0.read_exact(&mut octets);
        octets
            .iter()
            .map(|octet| char::from(b'a' + octet % 26))
            .collect()
    }
}
