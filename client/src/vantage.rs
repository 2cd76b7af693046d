//! A place that can run `helo-client` and give back its standard output.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Where a leg runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vantage {
    /// On this machine.
    Here,
    /// In a network namespace of this machine, by its name or by the number of a
    /// process in it.
    Netns(String),
    /// Behind a command that runs another one somewhere: `docker exec mx`.
    Exec(String),
    /// On another machine, by the system's ssh.
    Ssh {
        /// `[user@]host`.
        destination: String,
        /// The port, if not ssh's own choice.
        port: Option<u16>,
    },
}

impl FromStr for Vantage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match (kind, rest) {
            ("here", "") => Ok(Self::Here),
            ("netns", name) if !name.is_empty() => Ok(Self::Netns(name.to_owned())),
            ("exec", command) if !command.trim().is_empty() => Ok(Self::Exec(command.to_owned())),
            ("ssh", destination) if !destination.is_empty() && !destination.starts_with('-') => {
                let (host, port) = match destination.rsplit_once(':') {
                    Some((host, port)) => (
                        host,
                        Some(port.parse().map_err(|_| format!("'{port}' is no port"))?),
                    ),
                    None => (destination, None),
                };
                Ok(Self::Ssh {
                    destination: host.to_owned(),
                    port,
                })
            }
            _ => {
                Err("a vantage is here, netns:NAME, exec:COMMAND or ssh:[USER@]HOST[:PORT]".into())
            }
        }
    }
}

impl fmt::Display for Vantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("here"),
            Self::Netns(name) => write!(f, "netns:{name}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
            Self::Ssh { destination, port } => {
                write!(f, "ssh:{destination}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

impl Vantage {
    /// It is on this machine, though perhaps in another network.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Here | Self::Netns(_))
    }

    /// Runs a subcommand of this program there, gives it `input`, and hands its
    /// output to `take` as it comes. If `take` has seen enough of it, or it says
    /// nothing for so long as no work takes, it is ended.
    pub async fn run(
        &self,
        subcommand: &str,
        input: &[u8],
        take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let what = || format!("running helo-client from {self}");
        let mut child = self.spawn(subcommand).with_context(what)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdin = stdin.context("its standard input is a pipe")?;
        let stdout = stdout.context("its standard output is a pipe")?;
        tokio::try_join!(feed(stdin, input), drain(stdout, take)).with_context(what)?;
        let ended = timeout(SILENCE, child.wait()).await;
        let status = ended
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .with_context(what)?;
        if !status.success() {
            bail!(
                "{}: it ended with {status} (its own words are above)",
                what()
            );
        }
        Ok(())
    }

    fn spawn(&self, subcommand: &str) -> Result<Child> {
        let own: OsString = std::env::current_exe()
            .context("finding this program")?
            .into();
        let mut command = match self {
            Self::Here => Command::new(own),
            Self::Netns(name) => {
                let mut command = Command::new(own);
                command.arg("--netns").arg(name);
                command
            }
            Self::Exec(wrapper) => {
                let mut command = Command::new("sh");
                // The words are the user's, for a shell; what is run there is ours.
                command
                    .arg("-c")
                    .arg(format!("exec {wrapper} \"$@\""))
                    .arg("sh");
                if !wrapper.trim_end().ends_with("helo-client") {
                    command.arg("helo-client");
                }
                command
            }
            Self::Ssh { destination, port } => {
                let mut command = Command::new("ssh");
                command.arg("-o").arg("BatchMode=yes");
                if let Some(port) = port {
                    command.arg("-p").arg(port.to_string());
                }
                command.arg("--").arg(destination).arg("helo-client");
                command
            }
        };
        command
            .arg(subcommand)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Ok(command.spawn()?)
    }
}

/// The longest that a leg may say nothing: more than any wait of its own.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Whoever does not read its input has ended, and how is told by its status.
async fn feed(mut stdin: ChildStdin, input: &[u8]) -> Result<()> {
    match stdin.write_all(input).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

async fn drain(mut stdout: ChildStdout, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = timeout(SILENCE, stdout.read(&mut chunk)).await;
        let count = read.context("it said nothing for too long")??;
        if count == 0 {
            return Ok(());
        }
        take(chunk.get(..count).unwrap_or_default())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vantages_are_read_and_printed() {
        for text in [
            "here",
            "netns:remote",
            "exec:docker exec mx",
            "ssh:root@mx",
            "ssh:mx:2222",
        ] {
            assert_eq!(text.parse::<Vantage>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "there",
            "here:x",
            "netns:",
            "exec: ",
            "ssh:",
            "ssh:-oProxyCommand=x",
            "ssh:mx:x",
        ] {
            assert!(text.parse::<Vantage>().is_err(), "{text}");
        }
    }
}
