//! One lab: a real mail server on a host of its own, and a remote host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::root;
use crate::process::capture;

/// A running lab. Dropping it takes it down.
pub(super) struct Lab {
    directory: tempfile::TempDir,
    names: BTreeMap<String, String>,
}

impl Lab {
    /// Fetches what labs need, once.
    pub(super) fn install() -> Result<()> {
        must(Command::new(script()).arg("install")).map(drop)
    }

    /// Starts one, with names of its own or those of another lab.
    pub(super) fn up(mta: &str, variant: &str, names: Option<&Path>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("helo-lab-").tempdir()?;
        let mut lab = Self {
            directory,
            names: BTreeMap::new(),
        };
        let mut command = lab.command();
        command.args(["up", mta, variant]);
        if let Some(names) = names {
            command.env("LAB_NAMES", names);
        }
        must(&mut command)?;
        let text = must(lab.command().arg("names"))?;
        lab.names = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(lab)
    }

    /// `DOMAIN`, `FOREIGN`, `PROBE`, `USER` or `PASSWORD`.
    pub(super) fn name(&self, name: &str) -> &str {
        self.names
            .get(&format!("LAB_{name}"))
            .map_or("", String::as_str)
    }

    /// The mailbox that exists.
    pub(super) fn mailbox(&self) -> String {
        format!("{}@{}", self.name("USER"), self.name("DOMAIN"))
    }

    /// The file with the names, to give another lab the same.
    pub(super) fn names_file(&self) -> PathBuf {
        self.path().join("names")
    }

    /// Where the user's mail is.
    pub(super) fn maildir(&self) -> PathBuf {
        self.path()
            .join("mx/var/spool/home")
            .join(self.name("USER"))
            .join("Maildir")
    }

    /// A process in the network namespace of a host.
    pub(super) fn pid(&self, host: &str) -> Result<String> {
        Ok(must(self.command().args(["pid", host]))?.trim().to_owned())
    }

    /// A program in the network of a host, with the machine's own files.
    pub(super) fn on(&self, host: &str, program: impl AsRef<Path>) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid(host)?, "--net", "--"]);
        command.arg(program.as_ref());
        Ok(command)
    }

    /// A program on a host, with the host's own files: the rest of its command line is
    /// to be added, its own name first.
    pub(super) fn inside(&self, host: &str) -> Command {
        let mut command = self.command();
        command.args(["exec", host]);
        command
    }

    /// A place for files.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("lab")
    }

    /// A place for files that the lab itself does not know.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(script());
        command.env("LAB_DIR", self.path());
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whatever is left of it ends by itself, too.
        let _ = self.command().arg("down").status();
    }
}

fn script() -> PathBuf {
    root().join("tests/lab/lab")
}

/// Runs a command that must succeed; what it prints.
pub(super) fn must(command: &mut Command) -> Result<String> {
    let output = capture(command)?;
    if !output.status.success() {
        bail!("{command:?} failed ({})", output.status);
    }
    String::from_utf8(output.stdout).context("its output is no text")
}
