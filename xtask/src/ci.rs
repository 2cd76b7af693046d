//! `cargo xtask ci`: what CI runs, and anyone can.

use anyhow::{Result, ensure};
use clap::Args;

use crate::cargo::{cargo, test};
use crate::selftest::unprivileged;
use crate::tally::Tally;
use crate::{full, interrupt, peers, selftest, tidy};

/// How much, and how strictly.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// Take anything that was skipped for a failure
    #[arg(long)]
    no_skip: bool,
    /// Run the longer campaigns too, and write docs/full-ci.md (needs g++; half an hour)
    #[arg(long)]
    full: bool,
}

/// Runs the whole pipeline.
pub(crate) fn run(options: Options) -> Result<()> {
    interrupt::listen()?;
    static_checks()?;
    let mut tally = test()?;
    tally.add(selftest::run(false)?);
    tally.add(selftest::run(true)?);
    tally.add(unprivileged::run()?);
    if options.full {
        tally.add(full::run(None)?);
    } else {
        tally.add(peers::run(None)?);
    }
    finish(&tally, options)
}

/// What needs no program to run.
fn static_checks() -> Result<()> {
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
    ])
}

fn finish(tally: &Tally, options: Options) -> Result<()> {
    tally.print();
    let enough = tally.skipped.is_empty() || !options.no_skip;
    ensure!(
        enough,
        "{} skipped, and nothing may be",
        tally.skipped.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_fails_where_none_is_allowed() {
        let tally = |skipped: &[&str]| Tally {
            passed: 1,
            skipped: skipped.iter().map(|&what| what.to_owned()).collect(),
        };
        let strict = Options {
            no_skip: true,
            full: false,
        };
        let lenient = Options {
            no_skip: false,
            ..strict
        };
        assert!(finish(&tally(&[]), strict).is_ok());
        assert!(finish(&tally(&["test a"]), strict).is_err());
        assert!(finish(&tally(&["test a"]), lenient).is_ok());
    }
}
