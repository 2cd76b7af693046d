//! Developer tasks: `cargo xtask selftest`, `test`, `peers`, `fuzz`, `ci`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task runner talks to the person who runs it"
)]

mod bench;
mod captures;
mod cargo;
mod ci;
mod full;
mod fuzz;
mod interrupt;
mod peers;
mod process;
mod selftest;
mod tally;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// What developers of Heloscope do every day.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Run the whole procedure on this machine: server, recorder, client, both legs
    Selftest {
        /// Emulate the remote leg by a second loopback address even where network
        /// namespaces could be made
        #[arg(long)]
        emulated: bool,
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
    Peers {
        /// Only what has these words in its name
        #[arg(value_name = "WORDS")]
        only: Option<String>,
    },
    /// Import the captures of a folder, and compare with the truth about them
    Captures {
        /// Captures, each with its truth in NAME.json (the format is in
        /// tests/captures/README.md)
        #[arg(value_name = "DIR", default_value = "tests/captures")]
        directory: PathBuf,
    },
    /// Fuzz helo-shared (needs g++)
    Fuzz {
        /// Only this target
        #[arg(value_name = "TARGET")]
        only: Option<String>,
        /// How long for each target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Measure our programs beside those people know, and print the ratios
    Bench(bench::Bench),
    /// The load client of `bench`, in a process of its own
    #[command(hide = true)]
    BenchLoad(bench::load::Load),
    /// Run the longer campaigns alone, and write docs/full-ci.md (Debian, root, g++)
    Campaigns {
        /// Only those with these words in their names
        #[arg(value_name = "WORDS")]
        only: Option<String>,
    },
    /// Check the house rules that no compiler checks
    Tidy,
    /// Run what CI runs: format, clippy, tidy, docs, tests, selftest, peers
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Selftest { emulated, peers } => selftest::run(emulated).and_then(|_| also(peers)),
        Task::Bench(bench) => bench::run(&bench),
        Task::BenchLoad(load) => bench::load::run(&load),
        Task::Test { peers } => test().and_then(|()| also(peers)),
        Task::Peers { only } => peers::run(only.as_deref()).map(drop),
        Task::Captures { directory } => captures::run(&directory),
        Task::Fuzz { only, seconds } => fuzz::run(only.as_deref(), seconds).map(drop),
        Task::Campaigns { only } => campaigns(only.as_deref()),
        Task::Tidy => tidy::run(),
        Task::Ci(options) => ci::run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<()> {
    interrupt::listen()?;
    cargo::test()?.print();
    Ok(())
}

fn campaigns(only: Option<&str>) -> Result<()> {
    interrupt::listen()?;
    full::run(only).map(drop)
}

fn also(peers: bool) -> Result<()> {
    if peers {
        peers::run(None).map(drop)
    } else {
        Ok(())
    }
}
