//! `helo-client`: tests mail servers by speaking SMTP to them.
//!
//! [`cli`] is what the user may say and [`command`] does it. [`leg`] runs a part
//! of the procedure from one place, [`vantage`] is such a place, [`arrival`]
//! finds what was delivered, [`player`] says what a script says, [`report`] and
//! [`screen`] print, and [`exit`] is the table of exit statuses.

pub mod arrival;
pub mod cli;
pub mod command;
pub mod exit;
pub mod leg;
pub mod player;
pub mod report;
pub mod screen;
pub mod target;
pub mod vantage;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use driver::process::Termination;

use crate::cli::{Cli, Command};
use crate::exit::{Failure, Status};

/// The program: parses, resolves, runs, and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // Before any thread exists: threads made later are in the same namespace.
    if let Some(Err(error)) = cli.netns.as_deref().map(driver::net::enter_namespace) {
        screen::tell(format_args!("helo-client: {error:#}"));
        return Status::NoVerdict.into();
    }
    driver::process::log_to_stderr(cli.verbose);
    let result = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(Status::NoVerdict, error))
        .and_then(|runtime| runtime.block_on(dispatch(cli.command)));
    if let Err(failure) = &result {
        screen::tell(format_args!("helo-client: {:#}", failure.error));
    }
    if let Some(error) = screen::lost() {
        screen::tell(format_args!(
            "helo-client: standard output could not be written: {error}"
        ));
        return Status::Output.into();
    }
    match result {
        Ok(status) => status.into(),
        Err(failure) => failure.status.into(),
    }
}

async fn dispatch(command: Command) -> Result<Status, Failure> {
    driver::process::survive_file_size_limit().map_err(Failure::with(Status::NoVerdict))?;
    match command {
        Command::Test(options) => unless_ended(command::test::run(*options)).await,
        Command::Send(options) => command::send::run(*options).await,
        Command::Replay(options) => command::replay::run(*options).await,
        Command::Judge(options) => command::judge::run(&options),
        Command::Checks => {
            command::checks::run();
            Ok(Status::AsAsked)
        }
        Command::Leg => leg::serve_stdin().await,
        Command::Arrive => arrival::serve_stdin().await,
    }
}

/// A signal that ends only this process would leave its legs to themselves,
/// wherever they run: dropping the procedure ends them.
async fn unless_ended(
    procedure: impl Future<Output = Result<Status, Failure>>,
) -> Result<Status, Failure> {
    let mut termination = Termination::listen()
        .context("listening for signals")
        .map_err(Failure::with(Status::NoVerdict))?;
    tokio::select! {
        status = procedure => status,
        () = termination.recv() => Err(Failure::new(
            Status::NoVerdict,
            anyhow::anyhow!("interrupted: the recording has no end"),
        )),
    }
}
