//! How far the reading of a large file has come, for a person who waits.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

/// A file that shows on a terminal how much of it was read.
pub(super) struct Progress {
    file: File,
    bar: ProgressBar,
}

/// Smaller files are read before anyone could wonder.
const LARGE: u64 = 16 << 20;

impl Progress {
    pub(super) fn of(file: File, size: u64, path: &Path) -> Self {
        let bar = if size >= LARGE && io::stderr().is_terminal() {
            let bar = ProgressBar::new(size);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            bar.set_message(shared::escape::escape(name.as_bytes()));
            let style =
                ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { file, bar }
    }
}

impl Read for Progress {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
