//! Calls to cargo, and where it puts what it builds.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

use crate::process::{run, watch};
use crate::tally::Tally;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs cargo, and says which call it was if it fails.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    cargo_with(arguments, &[])
}

/// The same, with some environment.
pub(crate) fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = command(arguments);
    command.envs(environment.iter().copied());
    let status = run(&mut command).with_context(|| shown(arguments))?;
    succeeded(arguments, status)
}

fn shown(arguments: &[&str]) -> String {
    format!("cargo {}", arguments.join(" "))
}

fn command(arguments: &[&str]) -> Command {
    println!("$ {}", shown(arguments));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .env("RUSTDOCFLAGS", "--deny warnings")
        .current_dir(root());
    command
}

fn succeeded(arguments: &[&str], status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{} failed ({status})", shown(arguments));
    }
    Ok(())
}

/// All tests, with nothing installed but Rust and a C compiler.
pub(crate) fn test() -> Result<Tally> {
    test_with(&["--workspace"], &[]).map(|(tally, _)| tally)
}

/// The tests of some packages, with some environment, and what they print.
pub(crate) fn test_with(which: &[&str], environment: &[(&str, &str)]) -> Result<(Tally, String)> {
    let arguments = [&["test", "--locked"], which].concat();
    let mut command = command(&arguments);
    command.envs(environment.iter().copied());
    let mut said = Vec::new();
    let status = watch(&mut command, &mut |chunk| {
        // A person looks on, who should not have to wait for the end of a line.
        let _ = std::io::stdout().write_all(chunk);
        let _ = std::io::stdout().flush();
        said.extend_from_slice(chunk);
    });
    let status = status.with_context(|| shown(&arguments))?;
    succeeded(&arguments, status)?;
    let (mut tally, said) = (
        Tally::default(),
        String::from_utf8_lossy(&said).into_owned(),
    );
    for line in said.lines() {
        count(line, &mut tally);
    }
    if tally.passed == 0 {
        bail!("{} ran no test", shown(&arguments));
    }
    Ok((tally, said))
}

/// Reads what a test program says of a test it leaves out, and at its end.
fn count(line: &str, tally: &mut Tally) {
    let line = line.trim();
    let ignored = line.strip_prefix("test ").and_then(|test| {
        let (name, how) = test.rsplit_once(" ... ")?;
        how.starts_with("ignored").then_some(name)
    });
    tally
        .skipped
        .extend(ignored.map(|name| format!("test {name}")));
    let Some(counts) = line.strip_prefix("test result: ") else {
        return;
    };
    for count in counts.split([';', '.']) {
        let mut words = count.split_whitespace();
        let number = words.next().and_then(|number| number.parse().ok());
        match (number, words.next()) {
            (Some(number), Some("passed")) => tally.passed += number,
            (Some(number @ 1..), Some("filtered")) => {
                tally.skipped.push(format!("{number} tests, filtered out"));
            }
            _ => {}
        }
    }
}

/// The programs, built.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) client: PathBuf,
    pub(crate) recorder: PathBuf,
    pub(crate) server: PathBuf,
}

impl Programs {
    /// Builds them, unless `HELO_PROGRAMS` is a directory where they are.
    pub(crate) fn build() -> Result<Self> {
        let directory = if let Some(directory) = std::env::var_os("HELO_PROGRAMS") {
            PathBuf::from(directory)
        } else {
            cargo(&["build", "--workspace", "--bins", "--locked"])?;
            target().join("debug")
        };
        let program = |name: &str| {
            let path = directory.join(name);
            if path.exists() {
                Ok(path)
            } else {
                bail!("there is no {}", path.display())
            }
        };
        Ok(Self {
            client: program("helo-client")?,
            recorder: program("helo-recorder")?,
            server: program("helo-server")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_is_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests\n",
            "test a::b ... ok\n",
            "test a::c ... ignored\n",
            "test a::d ... ignored, because\n",
            "test result: ok. 73 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.02s\n",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.52s\n",
        ] {
            count(line, &mut tally);
        }
        assert_eq!(tally.passed, 74);
        let skipped = ["test a::c", "test a::d", "4 tests, filtered out"];
        assert_eq!(tally.skipped, skipped);
    }
}
