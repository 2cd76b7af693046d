//! Developer tasks: `cargo xtask selftest`, `test`, `ci`, `peers`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task runner talks to the person who runs it"
)]

mod cargo;
mod ci;
mod interrupt;
mod peers;
mod process;
mod selftest;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// What developers of Heloscope do every day.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Run the whole procedure on this machine: server, recorder, client, both legs
    Selftest {
        /// Use real mail servers and clients too (Debian, root)
        #[arg(long)]
        peers: bool,
    },
    /// Run all tests
    Test {
        /// Use real mail servers and clients too (Debian, root)
        #[arg(long)]
        peers: bool,
    },
    /// Run the suite against real mail servers and clients (Debian, root)
    Peers,
    /// Check the house rules that no compiler checks
    Tidy,
    /// Run what CI runs: format, clippy, tidy, docs, tests, selftest, peers
    Ci,
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Selftest { peers } => selftest::run().and_then(|()| also(peers)),
        Task::Test { peers } => cargo::test().and_then(|()| also(peers)),
        Task::Peers => peers::run(),
        Task::Tidy => tidy::run(),
        Task::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn also(peers: bool) -> Result<()> {
    if peers { peers::run() } else { Ok(()) }
}
