//! A selftest that is interrupted, at whatever moment, leaves nothing behind: no
//! program, no namespace, no directory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and says where"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use testkit::wait::until;
use testkit::{Dice, scratch};

/// Octets that a selftest has written into its directory once it has been through
/// everything with its first server, and well before its end.
const FIRST_SERVER: usize = 1_000_000;

/// What is in the environment of everything that a selftest starts.
const MARK: &str = "HELO_SELFTEST_MARK";

/// How the selftest is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    /// By whoever runs this test.
    Oneself,
    /// On loopback alone.
    Emulated,
    /// By a user who is not root, and so in a user namespace where that is allowed.
    Nobody,
}

/// Who gets the signal.
#[derive(Clone, Copy, Debug)]
enum To {
    /// The selftest alone, as from a supervisor.
    Process,
    /// Everything in its group, as from a terminal.
    Group,
}

#[test]
fn an_interrupted_selftest_leaves_nothing_behind() {
    let programs = programs();
    let mut dice = Dice::new();
    for (how, signal, to) in [
        (As::Oneself, Signal::INT, To::Process),
        (As::Oneself, Signal::TERM, To::Process),
        (As::Oneself, Signal::INT, To::Group),
        (As::Emulated, Signal::INT, To::Process),
        (As::Emulated, Signal::TERM, To::Group),
        (As::Nobody, Signal::TERM, To::Process),
        (As::Nobody, Signal::INT, To::Group),
    ] {
        let moment = dice.below(FIRST_SERVER);
        println!("{how:?}: {signal:?} to {to:?} after {moment} octets");
        let selftest = Selftest::start(programs.path(), how, dice.roll());
        selftest.reach(moment);
        selftest.interrupt(signal, to);
    }
}

/// Builds the programs, so that it is not cargo that is interrupted, and puts them
/// where anybody may run them.
fn programs() -> TempDir {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let xtask = PathBuf::from(env!("CARGO_BIN_EXE_xtask"));
    let built = xtask.parent().unwrap();
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--locked", "--workspace", "--bins"])
        .arg("--target-dir")
        .arg(built.parent().unwrap());
    assert!(build.status().unwrap().success(), "the build failed");
    let directory = scratch();
    for program in ["helo-client", "helo-recorder", "helo-server", "xtask"] {
        fs::copy(built.join(program), directory.path().join(program)).unwrap();
    }
    open_to_all(directory.path());
    directory
}

fn open_to_all(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
}

/// A selftest that runs, with a directory for temporary files of its own.
struct Selftest {
    child: Child,
    directory: TempDir,
    stderr: PathBuf,
    mark: String,
}

impl Selftest {
    fn start(programs: &Path, how: As, mark: u64) -> Self {
        let (directory, mark) = (scratch(), format!("{mark:016x}"));
        open_to_all(directory.path());
        let stderr = programs.join(format!("{mark}.stderr"));
        let mut command = Command::new("setpriv");
        if how == As::Nobody && rustix::process::geteuid().is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        let child = command
            .arg(programs.join("xtask"))
            .arg("selftest")
            .args((how == As::Emulated).then_some("--emulated"))
            .env("HELO_PROGRAMS", programs)
            .env("TMPDIR", directory.path())
            .env(MARK, &mark)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            directory,
            stderr,
            mark: format!("{MARK}={mark}"),
        }
    }

    /// Waits until so many octets are written.
    fn reach(&self, moment: usize) {
        until("the moment to interrupt it", || {
            (octets(self.directory.path()) >= moment).then_some(())
        });
    }

    /// Sends the signal, and looks at what is left once it has ended.
    fn interrupt(mut self, signal: Signal, to: To) {
        let pid = Pid::from_child(&self.child);
        match to {
            To::Process => kill_process(pid, signal),
            To::Group => kill_process_group(pid, signal),
        }
        .unwrap();
        let status = until("its end", || self.child.try_wait().unwrap());
        let ended = Instant::now();
        assert!(!status.success(), "it went on to its end");
        // Without a status it was over before it began.
        if matches!(to, To::Process) && status.code().is_some() {
            let said = fs::read_to_string(&self.stderr).unwrap();
            assert!(said.contains("interrupted"), "{said}");
        }
        let left = names(self.directory.path());
        assert!(left.is_empty(), "left behind: {left:?}");
        // What was killed a moment ago may still be on its way out.
        let mut running = processes_with(&self.mark);
        while ended.elapsed() < Duration::from_secs(2) && !running.is_empty() {
            running = processes_with(&self.mark);
        }
        assert!(running.is_empty(), "still running: {running:?}");
    }
}

impl Drop for Selftest {
    /// A test that fails leaves nothing behind either.
    fn drop(&mut self) {
        for (pid, _) in processes_with(&self.mark) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// How much is in a directory.
fn octets(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => octets(&entry.path()),
            Ok(data) => usize::try_from(data.len()).unwrap(),
            Err(_) => 0,
        })
        .sum()
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// All processes with that in their environment, and their command lines. Those
/// that only wait to be buried have none any more.
fn processes_with(mark: &str) -> Vec<(Pid, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut found = Vec::new();
    for entry in processes {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|&octet| octet == 0);
        if variables.any(|variable| variable == mark.as_bytes()) {
            let words = fs::read(path.join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            found.extend(Pid::from_raw(pid).map(|pid| (pid, words)));
        }
    }
    found
}
