//! One of our programs, running, looked at from outside.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// A program that listens, and says where in a ready file.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stderr: PathBuf,
    /// Where it listens first, if that is an address.
    pub address: SocketAddr,
    /// Everywhere it listens, as it says.
    pub endpoints: Vec<String>,
}

/// For a program that listens at no address.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Program {
    /// Starts it, with its ready file and its standard error in that directory.
    pub fn start(mut command: Command, dir: &Path) -> Self {
        let (ready, stderr) = (dir.join("ready"), dir.join("stderr"));
        let _ = fs::remove_file(&ready);
        let mut child = command
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let listening = until("the ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                let said = fs::read_to_string(&stderr).unwrap_or_default();
                panic!("the program ended at once, {status}: {said}");
            }
            fs::read_to_string(&ready).ok()
        });
        let endpoints: Vec<String> = listening.lines().map(str::to_owned).collect();
        Self {
            child,
            stderr,
            address: endpoints[0].parse().unwrap_or(NOWHERE),
            endpoints,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, without a chance to do anything about it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) {
        self.send(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        until("the end of the program", || self.child.try_wait().unwrap())
    }

    /// What it said on standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// How much memory it has resident, in KiB.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// How much memory it had resident at most, in KiB.
    pub fn resident_at_most(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// How much of the processors it has used.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // What follows the name, which may hold anything: utime and stime are the
        // 14th and 15th of all.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .map(|n| n.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The exit status of a program that failed, and the one line it said about it.
pub fn complaint(output: &Output) -> (i32, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "not one line: {said}");
    (output.status.code().unwrap(), said)
}
