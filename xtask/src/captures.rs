//! `cargo xtask captures DIR`: imports captures of which the truth is known.
//!
//! The tests do it with `tests/captures`; larger collections of the same kind may lie
//! elsewhere.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cargo::test_with;
use crate::interrupt;

/// Imports every capture of a folder, and compares.
pub(crate) fn run(directory: &Path) -> Result<()> {
    interrupt::listen()?;
    let directory = std::path::absolute(directory).context("there is no such folder")?;
    let directory = directory.to_string_lossy();
    let which = [
        "--package",
        "helo-recorder",
        "--test",
        "captures",
        "--",
        "--nocapture",
    ];
    test_with(&which, &[("HELO_CAPTURES", &directory)]).map(drop)
}
