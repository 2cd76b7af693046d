//! Where the selftest runs: in two network namespaces of its own, joined by a
//! link, where that is possible; else on loopback, with a second loopback
//! address for the remote leg.

use std::fmt;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Background, capture, find, own, watch};
use crate::tally::Tally;

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
    /// Somebody asked for no namespaces.
    emulated: bool,
    has_v6: bool,
}

/// An address family that the procedure is run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The client's option for this family alone.
    pub(super) const fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// A free port on loopback.
    pub(super) const fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1:0",
            Self::V6 => "[::1]:0",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The legs that can be run over a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Legs {
    /// The localhost leg and the remote leg.
    Both,
    /// The localhost leg alone.
    Localhost,
}

/// Addresses for documentation (RFC 5737, RFC 3849), inside the namespaces alone.
const SERVER: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const REMOTE: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// What stands before a line about something that was not run.
pub(super) const SKIPPED: &str = "selftest: skipped: ";

/// Two namespaces. Each lives as long as a process in it.
struct Namespaces {
    server: Background,
    remote: Background,
    have_v6: bool,
}

/// Set for the run inside the user namespace, so that it is tried once.
const INSIDE: &str = "HELO_SELFTEST_INSIDE";

/// Without root, runs the selftest again as root of a user namespace, where the
/// system lets us make one; `None` if there is no need or no way.
pub(super) fn become_root() -> Option<Result<Tally>> {
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
    let program = own().ok()?;
    let mut command = inside();
    command.arg(program).arg("selftest").env(INSIDE, "yes");
    Some(run_elsewhere(&mut command).context("the selftest in a user namespace"))
}

/// Runs the selftest as another process, and takes what it says was skipped.
pub(super) fn run_elsewhere(command: &mut Command) -> Result<Tally> {
    let mut said = Vec::new();
    let status = watch(command, &mut |chunk| {
        said.extend_from_slice(chunk);
        let _ = std::io::stdout().write_all(chunk);
    })?;
    ensure!(status.success(), "it ended with {status}");
    let said = String::from_utf8_lossy(&said);
    let skipped = said.lines().filter_map(|line| line.strip_prefix(SKIPPED));
    Ok(Tally {
        passed: 1,
        skipped: skipped.map(str::to_owned).collect(),
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
        let has_v6 = match &namespaces {
            Some(namespaces) => namespaces.have_v6,
            None => TcpListener::bind("[::1]:0").is_ok(),
        };
        Ok(Self {
            directory,
            namespaces,
            why_not,
            emulated,
            has_v6,
        })
    }

    pub(super) fn describe(&self) -> String {
        match &self.why_not {
            None => format!(
                "the server's host ({}) and the remote one ({}) are network namespaces",
                SERVER.join(", "),
                REMOTE.join(", ")
            ),
            Some(why) => {
                format!(
                    "the remote leg is emulated by 127.0.0.2, over IPv4 alone (no network \
                     namespaces: {why})"
                )
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

    /// The legs that can be run over a family; `None` where there is no such
    /// network.
    pub(super) const fn legs(&self, family: Family) -> Option<Legs> {
        match (family, &self.namespaces) {
            (Family::V4, _) => Some(Legs::Both),
            (Family::V6, _) if !self.has_v6 => None,
            (Family::V6, Some(_)) => Some(Legs::Both),
            // There is ::1, and no other address on loopback.
            (Family::V6, None) => Some(Legs::Localhost),
        }
    }

    /// What cannot be run here, though nobody asked for less.
    pub(super) fn skipped(&self) -> Vec<String> {
        let emulated = self.why_not.as_ref().filter(|_| !self.emulated);
        let real = emulated.map(|why| format!("the remote leg from another host ({why})"));
        let v6 = (!self.has_v6).then(|| "IPv6 (there is none here)".to_owned());
        real.into_iter().chain(v6).collect()
    }

    /// Where the server listens: loopback first, then its public address.
    pub(super) fn server_addresses(&self, family: Family) -> Vec<&'static str> {
        let public = match family {
            Family::V4 => "192.0.2.1:0",
            Family::V6 => "[2001:db8::1]:0",
        };
        let public = self.namespaces.as_ref().map(|_| public);
        [family.loopback()].into_iter().chain(public).collect()
    }

    /// The clients the server trusts.
    pub(super) fn trusted(&self) -> &'static str {
        match self.namespaces {
            Some(_) => "127.0.0.0/8,::1",
            None => "127.0.0.1/32,::1",
        }
    }

    /// Makes a program connect as its host does.
    pub(super) const fn source(&self, host: Host, family: Family) -> &'static [&'static str] {
        match (&self.namespaces, host, family) {
            (None, Host::Remote, Family::V4) => &["--source", "127.0.0.2"],
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
        let have_v6 = Path::new("/proc/net/if_inet6").exists();
        for (id, [v4, v6]) in [(&s, SERVER), (&r, REMOTE)] {
            let v4 = format!("{v4}/24");
            ip(id, &["address", "add", &v4, "dev", "helo0"])?;
            if have_v6 {
                // Nobody else is here: there is nothing to detect for a second.
                let v6 = format!("{v6}/64");
                ip(id, &["address", "add", &v6, "dev", "helo0", "nodad"])?;
            }
            ip(id, &["link", "set", "lo", "up"])?;
            ip(id, &["link", "set", "helo0", "up"])?;
        }
        Ok(Self {
            server,
            remote,
            have_v6,
        })
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
