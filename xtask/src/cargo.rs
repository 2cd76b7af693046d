//! Calls to cargo, and where it puts what it builds.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Runs cargo, and says which call it was if it fails.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    let shown = format!("cargo {}", arguments.join(" "));
    println!("$ {shown}");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .env("RUSTDOCFLAGS", "--deny warnings")
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// All tests, with nothing installed but Rust and a C compiler.
pub(crate) fn test() -> Result<()> {
    cargo(&["test", "--workspace", "--locked"])
}

/// The programs, built.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) client: PathBuf,
    pub(crate) recorder: PathBuf,
    pub(crate) server: PathBuf,
}

impl Programs {
    /// Builds them.
    pub(crate) fn build() -> Result<Self> {
        cargo(&["build", "--workspace", "--bins", "--locked"])?;
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from);
        let program = |name: &str| {
            let path = target.join("debug").join(name);
            if path.exists() {
                Ok(path)
            } else {
                bail!("cargo did not build {}", path.display())
            }
        };
        Ok(Self {
            client: program("helo-client")?,
            recorder: program("helo-recorder")?,
            server: program("helo-server")?,
        })
    }
}
