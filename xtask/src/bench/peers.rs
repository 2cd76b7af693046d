//! The programs ours are measured against: those of the machine, or fetched where
//! this project fetches things. What is missing is said in its rows.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::cargo::{root, target};
use crate::process::{capture, find};

/// The peers, found when they are needed, or why they are not there.
#[derive(Debug, Default)]
pub(super) struct Peers {
    postfix: OnceCell<Result<Postfix, String>>,
    aiosmtpd: OnceCell<Result<PathBuf, String>>,
}

/// Postfix's test programs. No part of it is run as a mail server.
#[derive(Clone, Debug)]
pub(super) struct Postfix {
    directory: PathBuf,
    /// Where its libraries are, if it is unpacked and not installed.
    libraries: Option<OsString>,
}

impl Peers {
    /// Where `smtp-sink` and `smtp-source` are.
    pub(super) fn postfix(&self) -> Result<&Postfix> {
        let found = self.postfix.get_or_init(|| kept(find_postfix()));
        found.as_ref().map_err(|why| anyhow!("{why}"))
    }

    /// A Python that has aiosmtpd.
    pub(super) fn aiosmtpd(&self) -> Result<&PathBuf> {
        let found = self.aiosmtpd.get_or_init(|| kept(find_aiosmtpd()));
        found.as_ref().map_err(|why| anyhow!("{why}"))
    }
}

impl Postfix {
    /// One of its programs.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.directory.join(program));
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

fn kept<T>(found: Result<T>) -> Result<T, String> {
    found.map_err(|error| format!("{error:#}"))
}

/// Postfix as it is installed, or as the lab of `tests/lab` unpacks it.
fn find_postfix() -> Result<Postfix> {
    let installed = find("smtp-sink").zip(find("smtp-source"));
    if let Some(directory) = installed.and_then(|(sink, _)| Some(sink.parent()?.to_owned())) {
        return Ok(Postfix {
            directory,
            libraries: None,
        });
    }
    let layer = lab_home()?.join("layers/postfix/usr");
    let directory = layer.join("sbin");
    if !directory.join("smtp-sink").exists() {
        let lab = root().join("tests/lab/lab");
        let fetched = capture(Command::new(lab).args(["install", "postfix"]));
        if !fetched.is_ok_and(|output| output.status.success()) {
            bail!("smtp-sink is missing (Debian: the package postfix)");
        }
    }
    let parts = [
        "lib/postfix",
        "lib/x86_64-linux-gnu",
        "lib/aarch64-linux-gnu",
    ];
    let libraries = std::env::join_paths(parts.map(|part| layer.join(part)))?;
    Ok(Postfix {
        directory,
        libraries: Some(libraries),
    })
}

/// Where the lab keeps what it unpacks; `tests/lab/lab` says the same.
fn lab_home() -> Result<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    of("LAB_HOME")
        .or_else(|| Some(cache()?.join("smtp-lab")))
        .context("there is no HOME")
}

/// A virtual environment with aiosmtpd, made once.
fn find_aiosmtpd() -> Result<PathBuf> {
    let home = target().join("bench/aiosmtpd");
    let python = home.join("bin/python");
    if imports_aiosmtpd(&python) {
        return Ok(python);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&home);
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "--quiet", "install", "aiosmtpd==1.4.6"]);
    for command in [&mut make, &mut install] {
        if !capture(command)?.status.success() {
            bail!("aiosmtpd is missing, and cannot be installed from PyPI");
        }
    }
    Ok(python)
}

fn imports_aiosmtpd(python: &PathBuf) -> bool {
    let imported = capture(Command::new(python).args(["-c", "import aiosmtpd"]));
    imported.is_ok_and(|output| output.status.success())
}
