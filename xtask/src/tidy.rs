//! House rules that no compiler checks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cargo::root;
use crate::process::capture;

/// Checks them.
pub(crate) fn run() -> Result<()> {
    println!("$ tidy");
    let mut wrong = Vec::new();
    let mut sources = Vec::new();
    for place in ["client", "recorder", "server", "shared", "xtask"] {
        collect(&root().join(place), &mut sources)?;
    }
    for path in &sources {
        let text = std::fs::read_to_string(path)?;
        // Written in two parts, so that this file does not find itself.
        if text.contains(concat!("#[ign", "ore")) {
            wrong.push(format!("{}: a test is skipped", path.display()));
        }
        if text.contains(concat!("todo", "!(")) || text.contains(concat!("unimplement", "ed!(")) {
            wrong.push(format!("{}: something is unfinished", path.display()));
        }
    }
    wrong.extend(dependencies()?);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("tidy: {}", wrong.join("; "))
}

/// helo-shared does no IO, and no program links OpenSSL or another one's code.
fn dependencies() -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let forbidden: [(&str, &[&str]); 5] = [
        ("helo-shared", &["tokio", "rustls", "clap", "helo-driver"]),
        (
            "helo-client",
            &["helo-server", "helo-recorder", "openssl-sys", "native-tls"],
        ),
        (
            "helo-recorder",
            &["helo-server", "helo-client", "openssl-sys", "native-tls"],
        ),
        (
            "helo-server",
            &[
                "helo-client",
                "helo-recorder",
                "openssl-sys",
                "native-tls",
                "lettre",
            ],
        ),
        (
            "xtask",
            &["helo-client", "helo-server", "helo-recorder", "helo-shared"],
        ),
    ];
    for (package, names) in forbidden {
        let mut command = Command::new("cargo");
        command.args([
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--package",
            package,
        ]);
        let output = capture(command.current_dir(root()))?;
        if !output.status.success() {
            bail!("cargo tree of {package} failed");
        }
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        let used = |name: &str| {
            tree.lines()
                .any(|line| line.split(' ').next() == Some(name))
        };
        let found = names.iter().filter(|name| used(name));
        wrong.extend(found.map(|name| format!("{package} depends on {name}")));
    }
    Ok(wrong)
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}
