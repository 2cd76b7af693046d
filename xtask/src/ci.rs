//! `cargo xtask ci`: what CI runs, and anyone can.

use anyhow::Result;

use crate::cargo::{cargo, test};
use crate::{peers, selftest, tidy};

/// Runs the whole pipeline.
pub(crate) fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ])?;
    tidy::run()?;
    cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--locked",
        "--document-private-items",
    ])?;
    test()?;
    selftest::run(false)?;
    selftest::run(true)?;
    peers::run(None).map(drop)
}
