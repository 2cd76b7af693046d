//! A recorder that breaks the promise of `--durability written`: the test of the
//! promise builds it, and must see it fail.

use std::process::ExitCode;

fn main() -> ExitCode {
    helo_recorder::run(std::env::args_os())
}
