//! `helo-recorder`: a proxy between SMTP clients and servers that records what
//! they say, and shows recordings.
//!
//! [`cli`] is what the user may say, [`proxy`] accepts connections, [`relay`]
//! stands between one client and its server, [`import`] makes a recording of packet
//! captures, and [`show`] prints a recording.

pub mod check;
pub mod cli;
pub mod import;
pub mod proxy;
pub mod relay;
pub mod show;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Why the program ended otherwise than asked.
#[derive(Debug)]
pub struct Stopped {
    /// Why.
    pub error: anyhow::Error,
    /// The exit status that says so.
    pub status: u8,
}

impl Stopped {
    /// For `map_err`: stops with that status.
    pub fn with<E: Into<anyhow::Error>>(status: u8) -> impl FnOnce(E) -> Self {
        move |error| Self {
            error: error.into(),
            status,
        }
    }
}

/// The program: parses, resolves, runs, and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    driver::process::log_to_stderr(cli.verbose);
    let result = match cli.command {
        Command::Proxy(arguments) => proxy::run(*arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(stopped) => {
            anstream::eprintln!("helo-recorder: {:#}", stopped.error);
            ExitCode::from(stopped.status)
        }
    }
}
