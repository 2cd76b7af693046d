//! The selftest by a user who is not root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::ground::run_elsewhere;
use crate::cargo::Programs;
use crate::process;
use crate::tally::Tally;

/// Gives up root and runs the selftest: once in a user namespace, once emulated.
/// Whoever is not root has run both already.
pub(crate) fn run() -> Result<Tally> {
    let mut tally = Tally::default();
    if !rustix::process::geteuid().is_root() {
        return Ok(tally);
    }
    // The workspace may be where only root may go.
    let directory = tempfile::Builder::new().prefix("helo-nobody-").tempdir()?;
    let place = directory.path();
    fs::set_permissions(place, Permissions::from_mode(0o777))?;
    let programs = Programs::build()?;
    let own = process::own()?;
    for program in [&programs.client, &programs.recorder, &programs.server, &own] {
        let name = program.file_name().context("a program has a name")?;
        fs::copy(program, place.join(name))
            .with_context(|| format!("copying {}", program.display()))?;
    }
    let own = own.file_name().context("a program has a name")?;
    for options in [&[][..], &["--emulated"]] {
        let mut command = nobody(place);
        command.arg(place.join(own)).arg("selftest").args(options);
        tally.add(run_elsewhere(&mut command).context("the selftest without root")?);
    }
    Ok(tally)
}

fn nobody(place: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .current_dir(place)
        .env("HELO_PROGRAMS", place)
        .env("TMPDIR", place);
    command
}
