//! What is not of Debian: fetched and built into `target/clients`, in versions that
//! are named here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::{root, target};
use crate::peers::lab::must;

/// From PyPI.
const AIOSMTPLIB: &str = "5.1.3";
/// From npm.
const NODEMAILER: &str = "7.0.11";

/// Where they are.
pub(super) struct Installed {
    directory: PathBuf,
}

impl Installed {
    /// Fetches and builds what is missing.
    pub(super) fn ready() -> Result<Self> {
        let directory = target().join("clients");
        std::fs::create_dir_all(&directory)?;
        let installed = Self { directory };
        installed
            .fetch_aiosmtplib()
            .context("fetching aiosmtplib")?;
        installed
            .fetch_nodemailer()
            .context("fetching nodemailer")?;
        must(
            Command::new("go")
                .args(["build", "-o"])
                .arg(installed.net_smtp())
                .arg(program("with_net_smtp.go")),
        )?;
        Ok(installed)
    }

    fn fetch_aiosmtplib(&self) -> Result<()> {
        let packages = self.directory.join("venv/lib");
        if !self.python().exists() {
            must(
                Command::new("python3")
                    .args(["-m", "venv"])
                    .arg(self.directory.join("venv")),
            )?;
        }
        let wanted = format!("aiosmtplib-{AIOSMTPLIB}.dist-info");
        let mut pythons = std::fs::read_dir(&packages)?.flatten();
        if pythons.any(|python| python.path().join("site-packages").join(&wanted).exists()) {
            return Ok(());
        }
        must(
            Command::new(self.python())
                .args(["-m", "pip", "install", "--quiet"])
                .arg(format!("aiosmtplib=={AIOSMTPLIB}")),
        )?;
        Ok(())
    }

    fn fetch_nodemailer(&self) -> Result<()> {
        let about = self.modules().join("nodemailer/package.json");
        let there = std::fs::read_to_string(about)
            .is_ok_and(|text| text.contains(&format!("\"version\": \"{NODEMAILER}\"")));
        if there {
            return Ok(());
        }
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ]);
        npm.arg(&self.directory);
        must(npm.arg(format!("nodemailer@{NODEMAILER}"))).map(drop)
    }

    /// Python, with aiosmtplib.
    pub(super) fn python(&self) -> PathBuf {
        self.directory.join("venv/bin/python")
    }

    /// The folder of nodemailer.
    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("node_modules")
    }

    /// The program around Go's net/smtp.
    pub(super) fn net_smtp(&self) -> PathBuf {
        self.directory.join("net-smtp")
    }

    /// The version of each client, in the order of the table.
    pub(super) fn versions(&self) -> Result<Vec<String>> {
        let said = |program: &Path, argument: &str| must(Command::new(program).arg(argument));
        let word = |text: &str, number: usize| -> Result<String> {
            let word = text.split_whitespace().nth(number);
            Ok(word
                .context("a version that is not there")?
                .trim_matches(',')
                .to_owned())
        };
        let path = |name: &str| PathBuf::from(name);
        let python = word(&said(&self.python(), "--version")?, 1)?;
        let node = said(&path("node"), "--version")?;
        let go = word(&said(&path("go"), "version")?, 2)?;
        Ok(vec![
            word(&said(&path("swaks"), "--version")?, 2)?,
            word(&said(&path("curl"), "--version")?, 1)?,
            word(&said(&path("msmtp"), "--version")?, 2)?,
            word(&said(&path("s-nail"), "--version")?, 1)?,
            format!("Python {python}"),
            AIOSMTPLIB.to_owned(),
            format!(
                "{NODEMAILER} (Node.js {})",
                node.trim().trim_start_matches('v')
            ),
            go.trim_start_matches("go").to_owned(),
        ])
    }
}

/// A program of ours around a library.
pub(super) fn program(name: &str) -> PathBuf {
    root().join("xtask/src/peers/clients/programs").join(name)
}
