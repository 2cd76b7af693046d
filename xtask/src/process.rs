//! Programs that are started and always ended.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt;

/// How long a program may take to say that it is ready, or to end.
const LIMIT: Duration = Duration::from_secs(30);

/// How often to look whether a program has ended, or we are to.
const LOOK: Duration = Duration::from_millis(2);

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
            std::thread::sleep(LOOK);
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

    /// Waits until it has ended by itself, or we are to.
    fn end(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            interrupt::check()?;
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until it has ended, but not for ever.
    fn wait(&mut self) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > LIMIT {
                bail!("{} does not end", self.name);
            }
            std::thread::sleep(LOOK);
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

/// Runs a program to its end, or to an interruption, and takes what it prints.
pub(crate) fn capture(command: &mut Command) -> Result<Output> {
    let mut stdout = Vec::new();
    let status = watch(command, &mut |chunk| stdout.extend_from_slice(chunk))?;
    Ok(Output {
        status,
        stdout,
        stderr: Vec::new(),
    })
}

/// Runs a program to its end, or to an interruption, and gives away what it prints
/// as it comes.
pub(crate) fn watch(command: &mut Command, take: &mut dyn FnMut(&[u8])) -> Result<ExitStatus> {
    interrupt::check()?;
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let stdout = child.stdout.take();
    let mut running = Background { child, name };
    let (sender, chunks) = mpsc::channel();
    std::thread::spawn(move || stdout.map(|stdout| pass_on(stdout, &sender)));
    loop {
        match chunks.recv_timeout(LOOK) {
            Ok(chunk) => take(&chunk),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        interrupt::check()?;
    }
    let status = running.end()?;
    interrupt::check()?;
    Ok(status)
}

fn pass_on(mut stdout: impl Read, to: &mpsc::Sender<Vec<u8>>) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = stdout.read(&mut chunk) {
        let read = chunk.get(..count).unwrap_or_default();
        if to.send(read.to_vec()).is_err() {
            return;
        }
    }
}

/// Runs a program to its end, or to an interruption; it prints for itself.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    interrupt::check()?;
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    Background { child, name }.end()
}

/// This program's own file. Cargo may have built it anew while it ran, with other
/// features of its dependencies; then it is the new file in the old one's place.
pub(crate) fn own() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let rebuilt = own
        .to_str()
        .and_then(|own| own.strip_suffix(" (deleted)"))
        .map(PathBuf::from);
    Ok(rebuilt.filter(|new| new.is_file()).unwrap_or(own))
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
