//! A program run to its end, and what it cost.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest that any program may run here.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What it said, and its exit status.
    pub output: Output,
    /// How long it took.
    pub took: Duration,
    /// The most memory that it, or a program it started, had resident, in KiB; 0
    /// on a system that does not tell.
    pub resident_at_most: u64,
}

impl Ended {
    /// Its exit status; none if it was killed, as by a panic that aborts.
    pub fn status(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// What it said on standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said on standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// Runs a program to its end and looks at it all the while. One that does not end
/// is killed, and that is a failure.
pub fn watch(command: &mut Command) -> Ended {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let mut resident_at_most = 0;
    let status = loop {
        resident_at_most = resident_at_most.max(resident(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ended {
        output: Output {
            status,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        },
        took: begun.elapsed(),
        resident_at_most,
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

/// The most that a process, or one below it, had resident so far.
fn resident(root: u32) -> u64 {
    let (mut most, mut left, mut seen) = (0, vec![root], BTreeSet::new());
    while let Some(pid) = left.pop() {
        if !seen.insert(pid) {
            continue;
        }
        // Before a new process becomes the program it is a copy of this one.
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
        if program.is_none() || program == std::env::current_exe().ok() {
            continue;
        }
        // Processes and threads may end while they are looked at.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        most = most.max(size.unwrap_or(0));
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            left.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    most
}
