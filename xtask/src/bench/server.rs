//! A server that is measured: started, looked at from outside, ended.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Setting;
use super::rows::Sink;
use crate::interrupt;
use crate::process::Background;

/// How long a peer may take to listen.
const LIMIT: Duration = Duration::from_secs(30);

/// A server that is running.
pub(super) struct Server {
    process: Background,
    /// It is one of ours, which ends well when it is asked to.
    ours: bool,
    /// Where it listens.
    pub(super) address: String,
}

impl Server {
    /// Starts a sink.
    pub(super) fn start(setting: &Setting, sink: Sink) -> Result<Self> {
        match sink {
            Sink::Ours => Self::start_ours(setting, &["sink"]),
            Sink::OursStoring => {
                let file = setting.directory.path().join("stored");
                // Each run appends to a file of its own.
                let _ = fs::remove_file(&file);
                let store = format!("bsmtp:{}", file.display());
                Self::start_ours(setting, &["sink", "--store", &store])
            }
            Sink::Postfix => {
                let address = free()?;
                let mut command = setting.peers.postfix()?.command("smtp-sink");
                if rustix::process::geteuid().is_root() {
                    command.args(["-u", "nobody"]);
                }
                // It serves 256 at a time unless told otherwise.
                command.args(["-m", "4096", &address, "4096"]);
                Self::start_peer(sink, &mut command, address)
            }
            Sink::Aiosmtpd => {
                let address = free()?;
                let mut command = Command::new(setting.peers.aiosmtpd()?);
                command.args(["-m", "aiosmtpd", "-n", "-s", "0"]);
                command.args(["-c", "aiosmtpd.handlers.Sink", "-l", &address]);
                Self::start_peer(sink, &mut command, address)
            }
        }
    }

    /// Starts `helo-server`, listening on a free port.
    pub(super) fn start_ours(setting: &Setting, arguments: &[&str]) -> Result<Self> {
        let ready = setting.directory.path().join("ready");
        let _ = fs::remove_file(&ready);
        let mut command = Command::new(&setting.server);
        command.args(arguments).args(["--listen", "127.0.0.1:0"]);
        command.arg("--ready-file").arg(&ready);
        let (process, addresses) = Background::start_ready("helo-server", &mut command, &ready)?;
        let address = addresses.into_iter().next();
        Ok(Self {
            process,
            ours: true,
            address: address.context("helo-server listens nowhere")?,
        })
    }

    fn start_peer(sink: Sink, command: &mut Command, address: String) -> Result<Self> {
        let process = Background::start(sink.name(), command)?;
        let begun = Instant::now();
        while TcpStream::connect(&address).is_err() {
            interrupt::check()?;
            if begun.elapsed() > LIMIT {
                bail!("{} does not listen on {address}", sink.name());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            process,
            ours: false,
            address,
        })
    }

    /// Ends it.
    pub(super) fn stop(self) -> Result<()> {
        if self.ours {
            self.process.stop()?;
        }
        Ok(())
    }

    /// The processor time of all its threads, to the nanosecond.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = stat.split_whitespace().next();
            nanos += first.and_then(|on| on.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos).as_secs_f64())
    }

    /// The memory it had resident at most.
    pub(super) fn peak_mib(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
        Ok(f64::from(kib.context("the kernel does not say how much memory it has")?) / 1024.0)
    }
}

/// A port that is free now.
fn free() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}
