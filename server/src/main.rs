//! The `helo-server` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    helo_server::run(std::env::args_os())
}
