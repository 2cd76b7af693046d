//! The `helo-recorder` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    helo_recorder::run(std::env::args_os())
}
