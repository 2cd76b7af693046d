//! The recorder as its tests run it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail, and each of them uses a part of this"
)]

use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use shared::recording::{Record, Recording};
use testkit::{Program, recorded, talk};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_helo-recorder");

/// The recorder, running.
pub struct Recorder {
    program: Program,
    /// Its recording.
    pub file: PathBuf,
}

impl Recorder {
    /// Starts it in a directory, in front of that server.
    pub fn start(dir: &Path, upstream: SocketAddr, options: &[&str]) -> Self {
        Self::start_as(&[PROGRAM], dir, upstream, options)
    }

    /// Starts what that command line, with the recorder's options appended, starts.
    pub fn start_as(program: &[&str], dir: &Path, upstream: SocketAddr, options: &[&str]) -> Self {
        let file = dir.join("t.helo.jsonl");
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(["proxy", "--listen", "127.0.0.1:0"])
            .args(["--upstream", &upstream.to_string()])
            .arg("--record")
            .arg(&file)
            .args(options);
        Self {
            program: Program::start(command, dir),
            file,
        }
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        talk::connect(self.address)
    }

    /// What it has recorded so far.
    pub fn recording(&self) -> Recording {
        recorded::read(&self.file)
    }

    /// Waits for the `close` record of a session.
    pub fn closed(&self, session: u64) -> Record {
        recorded::closed(&self.file, session)
    }
}

impl Deref for Recorder {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Recorder {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

/// Runs the recorder to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    testkit::run(PROGRAM, arguments)
}

/// `check` on a file: its status and what it says.
pub fn check(file: &Path) -> (i32, String) {
    let output = run(&["check".as_ref(), file.as_os_str()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), said)
}
