//! nmap's scripts for SMTP: what they find is what the server was told to be.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use super::lab::must;
use crate::cargo::Programs;
use crate::process::Background;

/// Scans a server that is honest, and one that is told to be open.
pub(super) fn run(programs: &Programs) -> Result<()> {
    honest(programs)?;
    open(programs)
}

fn honest(programs: &Programs) -> Result<()> {
    let scanned = Scanned::new(programs, "closed")?;
    let commands = scanned.script("smtp-commands", "")?;
    for offered in ["PIPELINING", "SIZE 52428800", "8BITMIME", "STARTTLS", "DSN"] {
        ensure!(commands.contains(offered), "no {offered}: {commands}");
    }
    let relay = scanned.script("smtp-open-relay", "")?;
    ensure!(
        relay.contains("all tests failed"),
        "an honest server: {relay}"
    );
    for method in ["VRFY", "EXPN"] {
        let found = scanned.script("smtp-enum-users", &format!("{{{method}}}"))?;
        ensure!(
            found.contains("Couldn't find any accounts"),
            "{method}: {found}"
        );
    }
    // RCPT has to tell which mailboxes exist, and only them.
    let found = scanned.script("smtp-enum-users", "{RCPT}")?;
    let told = found.contains("anna") && !found.contains("nobody") && !found.contains("root");
    ensure!(told, "RCPT: {found}");
    scanned.server.stop()
}

fn open(programs: &Programs) -> Result<()> {
    let scanned = Scanned::new(programs, "open")?;
    let relay = scanned.script("smtp-open-relay", "")?;
    ensure!(
        relay.contains("Server is an open relay"),
        "an open relay: {relay}"
    );
    scanned.server.stop()
}

/// A server to which this machine is a stranger.
struct Scanned {
    directory: tempfile::TempDir,
    port: String,
    server: Background,
}

impl Scanned {
    fn new(programs: &Programs, relay: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("helo-nmap-").tempdir()?;
        fs::write(directory.path().join("names"), "anna\nnobody\nroot\n")?;
        let ready = directory.path().join("ready");
        let mut command = Command::new(&programs.server);
        command.args(["--listen", "127.0.0.1:0", "--local-domain", "example.test"]);
        command.args(["--user", "anna", "--mynetworks", "192.0.2.0/24"]);
        command
            .args(["--relay-policy", relay])
            .arg("--ready-file")
            .arg(&ready);
        let (server, addresses) = Background::start_ready("helo-server", &mut command, &ready)?;
        let address = addresses
            .first()
            .and_then(|address| address.rsplit_once(':'));
        let port = address.map_or("", |(_, port)| port).to_owned();
        Ok(Self {
            directory,
            port,
            server,
        })
    }

    /// What one script says. The + has it run on a port that is not SMTP's.
    fn script(&self, name: &str, methods: &str) -> Result<String> {
        let names = self.directory.path().join("names");
        let mut arguments = format!(
            "smtp.domain=example.test,userdb={0},passdb={0}",
            names.display()
        );
        if !methods.is_empty() {
            arguments.push_str(",smtp-enum-users.methods=");
            arguments.push_str(methods);
        }
        let mut nmap = Command::new("nmap");
        nmap.args([
            "-n",
            "-Pn",
            "-sT",
            "--host-timeout",
            "60s",
            "-p",
            &self.port,
        ]);
        nmap.args(["--script", &format!("+{name}"), "--script-args", &arguments]);
        let said = must(nmap.arg("127.0.0.1"))?;
        let lines = said.lines().filter(|line| line.starts_with('|'));
        let found = lines.collect::<Vec<_>>().join("\n");
        ensure!(found.contains(name), "{name} said nothing: {said}");
        Ok(found)
    }
}
