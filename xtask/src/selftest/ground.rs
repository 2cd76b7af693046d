//! Where the selftest runs: in two network namespaces of its own, joined by a
//! link, where that is possible; else on loopback, with a second loopback
//! address for the remote leg.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Background, capture, find};

/// The two ends of the procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// The server's own machine.
    Server,
    /// Another one.
    Remote,
}

/// Where things run. Dropping it removes all of it.
pub(super) struct Ground {
    directory: tempfile::TempDir,
    namespaces: Option<Namespaces>,
    why_not: Option<String>,
}

/// Addresses for documentation (RFC 5737), inside the namespaces alone.
const SERVER: &str = "192.0.2.1";
const REMOTE: &str = "192.0.2.2";

/// Two namespaces. Each lives as long as a process in it.
struct Namespaces {
    server: Background,
    remote: Background,
}

/// Set for the run inside the user namespace, so that it is tried once.
const INSIDE: &str = "HELO_SELFTEST_INSIDE";

/// Without root, runs the selftest again as root of a user namespace, where the
/// system lets us make one; `None` if there is no need or no way.
pub(super) fn become_root() -> Option<Result<()>> {
    if rustix::process::geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let inside = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--"]);
        command
    };
    let possible = inside()
        .args(["unshare", "--net", "true"])
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let status = inside()
        .arg(program)
        .arg("selftest")
        .env(INSIDE, "yes")
        .status();
    Some(match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(anyhow::anyhow!(
            "the selftest in a user namespace ended with {status}"
        )),
        Err(error) => Err(error).context("running the selftest in a user namespace"),
    })
}

impl Ground {
    pub(super) fn prepare(emulated: bool) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("helo-selftest-")
            .tempdir()?;
        let made = if emulated {
            Err(anyhow::anyhow!("as asked"))
        } else {
            Namespaces::make()
        };
        let (namespaces, why_not) = match made {
            Ok(namespaces) => (Some(namespaces), None),
            Err(error) => {
                crate::interrupt::check()?;
                (None, Some(format!("{error:#}")))
            }
        };
        Ok(Self {
            directory,
            namespaces,
            why_not,
        })
    }

    pub(super) fn describe(&self) -> String {
        match &self.why_not {
            None => format!("server and remote host are network namespaces, {SERVER} and {REMOTE}"),
            Some(why) => {
                format!("the remote leg is emulated by 127.0.0.2 (no network namespaces: {why})")
            }
        }
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A program on one of the hosts.
    pub(super) fn command(&self, host: Host, program: &Path) -> Command {
        match self.namespace(host) {
            Some(id) => {
                let mut command = Command::new("nsenter");
                command
                    .args(["--target", &id.to_string(), "--net", "--"])
                    .arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Where the server listens: loopback first, then its public address.
    pub(super) fn server_addresses(&self) -> &'static [&'static str] {
        match self.namespaces {
            Some(_) => &["127.0.0.1:0", "192.0.2.1:0"],
            None => &["127.0.0.1:0"],
        }
    }

    /// The clients the server trusts.
    pub(super) fn trusted(&self) -> &'static str {
        match self.namespaces {
            Some(_) => "127.0.0.0/8,::1",
            None => "127.0.0.1/32,::1",
        }
    }

    /// Makes a program connect as its host does.
    pub(super) fn source(&self, host: Host) -> &'static [&'static str] {
        match (&self.namespaces, host) {
            (None, Host::Remote) => &["--source", "127.0.0.2"],
            _ => &[],
        }
    }

    /// Where the client runs the legs.
    pub(super) fn vantages(&self) -> Vec<String> {
        match (self.namespace(Host::Server), self.namespace(Host::Remote)) {
            (Some(server), Some(remote)) => vec![
                "--localhost-from".into(),
                format!("netns:{server}"),
                "--remote-from".into(),
                format!("netns:{remote}"),
            ],
            _ => vec!["--emulate-from".into(), "127.0.0.2".into()],
        }
    }

    fn namespace(&self, host: Host) -> Option<u32> {
        self.namespaces.as_ref().map(|namespaces| match host {
            Host::Server => namespaces.server.id(),
            Host::Remote => namespaces.remote.id(),
        })
    }
}

impl Namespaces {
    fn make() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("not root");
        }
        for tool in ["ip", "nsenter", "unshare"] {
            if find(tool).is_none() {
                bail!("there is no {tool}");
            }
        }
        let (server, remote) = (holder()?, holder()?);
        let (s, r) = (server.id().to_string(), remote.id().to_string());
        ip(
            &s,
            &[
                "link", "add", "helo0", "type", "veth", "peer", "name", "helo0", "netns", &r,
            ],
        )?;
        for (id, address) in [(&s, SERVER), (&r, REMOTE)] {
            ip(
                id,
                &["address", "add", &format!("{address}/24"), "dev", "helo0"],
            )?;
            ip(id, &["link", "set", "lo", "up"])?;
            ip(id, &["link", "set", "helo0", "up"])?;
        }
        Ok(Self { server, remote })
    }
}

/// A process that does nothing in a network namespace of its own, and ends by
/// itself if we are killed.
fn holder() -> Result<Background> {
    let ours = namespace_of("self")?;
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--", "sleep", "600"])
        .stderr(Stdio::null());
    let holder = Background::start("a network namespace", &mut command)?;
    let begun = Instant::now();
    while namespace_of(&holder.id().to_string()).is_ok_and(|theirs| theirs == ours) {
        if begun.elapsed() > Duration::from_secs(5) {
            bail!("no network namespace could be made");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    namespace_of(&holder.id().to_string()).context("no network namespace could be made")?;
    Ok(holder)
}

fn namespace_of(process: &str) -> Result<std::path::PathBuf> {
    Ok(std::fs::read_link(format!("/proc/{process}/ns/net"))?)
}

fn ip(namespace: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("nsenter");
    command
        .args(["--target", namespace, "--net", "--", "ip"])
        .args(arguments);
    let output = capture(&mut command)?;
    if !output.status.success() {
        bail!("ip {} failed", arguments.join(" "));
    }
    Ok(())
}
