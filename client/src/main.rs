//! The `helo-client` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    helo_client::run(std::env::args_os())
}
