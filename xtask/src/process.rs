//! Programs that are started and always ended.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt;

/// How long a program may take to say that it is ready, or to end.
const LIMIT: Duration = Duration::from_secs(30);

/// A program in the background. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Background {
    child: Child,
    name: String,
}

impl Background {
    /// Starts it.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
        })
    }

    /// Starts it, and waits for the addresses it writes into its ready file.
    pub(crate) fn start_ready(
        name: &str,
        command: &mut Command,
        ready: &Path,
    ) -> Result<(Self, Vec<String>)> {
        let mut started = Self::start(name, command)?;
        let begun = Instant::now();
        loop {
            interrupt::check()?;
            if let Ok(text) = std::fs::read_to_string(ready) {
                return Ok((started, text.lines().map(str::to_owned).collect()));
            }
            if let Some(status) = started.child.try_wait()? {
                bail!("{name} ended at once ({status})");
            }
            if begun.elapsed() > LIMIT {
                bail!("{name} is not ready after {} s", LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has; it must end well.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let status = self.wait()?;
        if !status.success() {
            bail!("{} ended with {status}", self.name);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    fn wait(&mut self) -> Result<std::process::ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > LIMIT {
                bail!("{} does not end", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::TERM);
        if self.wait().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a program to its end and takes what it prints.
pub(crate) fn capture(command: &mut Command) -> Result<Output> {
    interrupt::check()?;
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    interrupt::check()?;
    Ok(output)
}

/// The exit status as a number; 255 after a signal.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(255)
}

/// A program found in PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let with_sbin =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    with_sbin
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}
