//! What every program needs from its process: signals, and diagnostics.

use std::io::{self, IsTerminal};

use anyhow::{Result, anyhow, bail};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Waits for the signals that ask a program to end: SIGINT and SIGTERM.
#[derive(Debug)]
pub struct Termination {
    interrupt: Signal,
    terminate: Signal,
}

impl Termination {
    /// Starts to listen for them: from now on they do not kill the process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Makes a write beyond a file size limit an error like any other, instead of
/// the end of the process: with a handler installed, SIGXFSZ no longer kills.
pub fn survive_file_size_limit() -> io::Result<()> {
    const SIGXFSZ: i32 = 25;
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// Goes on as another user, with that user's groups, for good; as nobody else if
/// none is named, with a warning to root.
pub fn become_user(user: Option<&str>) -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    match user {
        None if is_root => {
            tracing::info!("running as root; --run-as USER would be safer");
            Ok(())
        }
        None => Ok(()),
        Some(user) if !is_root => bail!("only root can --run-as {user}"),
        Some(user) => privdrop::PrivDrop::default()
            .user(user)
            .apply()
            .map_err(|error| anyhow!("cannot --run-as {user}: {error}")),
    }
}

/// Allows this process as many open files as it may have at all: the soft limit
/// of most systems, 1024, is for programs that use `select(2)`.
pub fn raise_descriptor_limit() {
    let mut limits = getrlimit(Resource::Nofile);
    if limits.current != limits.maximum {
        limits.current = limits.maximum;
        // Without it there is room for fewer connections, and nothing else changes.
        let _ = setrlimit(Resource::Nofile, limits);
    }
}

/// Sends diagnostics to standard error, coloured on a terminal alone. `HELO_LOG`
/// overrides the level with a filter of tracing's syntax.
pub fn log_to_stderr(verbosity: u8) {
    let level = match verbosity {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(is_colourful())
        .with_target(false);
    // The machinery of filters costs more memory than a whole small server, so it
    // is set up for those who ask for it. A second call (in tests) changes nothing.
    let _ = match EnvFilter::try_from_env("HELO_LOG") {
        Ok(filter) => log.with_env_filter(filter).try_init(),
        Err(_) => log.with_max_level(level).try_init(),
    };
}

/// Colours are for people: not for files, nor for who wants none
/// (<https://no-color.org>).
fn is_colourful() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

/// Fills a buffer with random octets.
pub fn random(octets: &mut [u8]) -> io::Result<()> {
    getrandom::fill(octets).map_err(io::Error::other)
}
