//! `helo-server`: an SMTP server to test with.
//!
//! It is honest unless asked to be otherwise, and it never relays: there is no
//! code in it that opens an SMTP connection. What it accepts for foreign domains
//! is recorded, and kept by the witness if there is one.
//!
//! [`cli`] and [`config`] are what the user may say, [`settings`] what it means,
//! [`listener`] accepts connections, [`policy`] decides what each command is
//! answered, [`store`] keeps what was received, and [`inbox`] knows of it. [`monitor`]
//! follows the sessions, [`api`] shows both over HTTP, and [`expect`] is what there must
//! have been at the end.
//! [`script`] is for a server that decides nothing itself.
//! [`sink`] is a server of its own that accepts everything and keeps nothing.

pub mod api;
pub mod cli;
pub mod config;
mod connection;
mod exit;
pub mod expect;
pub mod fault;
pub mod inbox;
pub mod listener;
pub mod monitor;
pub mod policy;
mod rate;
pub mod script;
pub mod settings;
pub mod sink;
pub mod store;
mod subject;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command, Run};
use crate::settings::Settings;

/// The program: parses, resolves, runs, and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = Cli::command()
        .try_get_matches_from(with_default_command(arguments))
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    driver::process::log_to_stderr(cli.verbose);
    match cli.command {
        Command::Personas => {
            policy::persona::list();
            ExitCode::SUCCESS
        }
        Command::Faults { name } => {
            if fault::list(name.as_deref()) {
                return ExitCode::SUCCESS;
            }
            let name = name.unwrap_or_default();
            let error = anyhow::anyhow!("there is no '{name}' (see: helo-server faults)");
            fail(&error, 2)
        }
        Command::Sink(options) => finish(sink::run(&options).map(|()| Vec::new())),
        Command::Run(run) => serve(*run, matches.subcommand_matches("run")),
    }
}

fn serve(run: Run, matches: Option<&ArgMatches>) -> ExitCode {
    let options = match (&run.config, matches) {
        (Some(path), Some(matches)) => run.options.over_file(path, matches),
        _ => Ok(run.options),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return fail(&error, 2),
    };
    if run.print_config {
        return match options.expanded().to_toml() {
            Ok(text) => {
                anstream::print!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, 2),
        };
    }
    match Settings::resolve(options) {
        Ok(_) if run.check_config => ExitCode::SUCCESS,
        Ok(settings) => finish(listener::run(&settings)),
        Err(error) => fail(&error, 2),
    }
}

/// `run` is what is meant when no subcommand is named.
fn with_default_command(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let first = arguments.get(1).and_then(|first| first.to_str());
    let named = [
        "run",
        "sink",
        "personas",
        "faults",
        "help",
        "-h",
        "--help",
        "-V",
        "--version",
    ];
    if !first.is_some_and(|first| named.contains(&first)) {
        let at = arguments.len().min(1);
        arguments.insert(at, "run".into());
    }
    arguments
}

fn finish(result: Result<Vec<expect::Unmet>, listener::Stopped>) -> ExitCode {
    match result {
        Ok(unmet) if unmet.is_empty() => ExitCode::SUCCESS,
        Ok(unmet) => {
            for one in unmet {
                anstream::eprintln!("helo-server: {one}");
            }
            ExitCode::from(1)
        }
        Err(stopped) => fail(&stopped.error, stopped.status),
    }
}

fn fail(error: &anyhow::Error, status: u8) -> ExitCode {
    anstream::eprintln!("helo-server: {error:#}");
    ExitCode::from(status)
}
