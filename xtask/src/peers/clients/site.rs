//! The server, its users, and the certificates of both sides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Transport;
use super::message::Message;
use super::proof;
use crate::cargo::Programs;
use crate::interrupt;
use crate::process::Background;

/// Who sends, and what proves it.
pub(super) const USER: &str = "anna";
pub(super) const PASSWORD: &str = "Korrekt.Pferd+8";
pub(super) const TOKEN: &str = "ya29.a0AfH6-token";

/// How long the server may take to write down a session that is over.
const LIMIT: Duration = Duration::from_secs(30);

/// A folder with what both sides need.
pub(super) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    /// Mints the certificates, and writes the rest.
    pub(super) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("helo-clients-").tempdir()?;
        let site = Self { directory };
        let write = |name: &str, text: String| fs::write(site.path().join(name), text);
        write("users", format!("{USER}:{PASSWORD}\n"))?;
        write("tokens", format!("{USER} {TOKEN}\n"))?;
        write("resend", format!("Resend 1 {USER}@example.test\n"))?;
        site.mint(
            "ca",
            "/CN=Heloscope test CA",
            "basicConstraints=critical,CA:TRUE",
        )?;
        site.mint("server", "/CN=localhost", "subjectAltName=DNS:localhost")?;
        site.mint(
            "client",
            &format!("/CN={USER}"),
            "extendedKeyUsage=clientAuth",
        )?;
        Ok(site)
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A key and a certificate: the CA's of its own, the others of the CA.
    fn mint(&self, name: &str, subject: &str, extension: &str) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(self.path()).stdin(Stdio::null());
        openssl.args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ]);
        openssl.args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ]);
        openssl.args(["-subj", subject, "-addext", extension]);
        if name != "ca" {
            openssl.args(["-CA", "ca.pem", "-CAkey", "ca.key"]);
            openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        }
        let output = openssl.output().context("cannot run openssl")?;
        ensure!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// A server that offers one mechanism.
pub(super) struct Serving<'a> {
    pub(super) mechanism: &'static str,
    pub(super) site: &'a Site,
    addresses: Vec<String>,
    /// The store, and the recording.
    directory: PathBuf,
    server: Background,
}

impl<'a> Serving<'a> {
    pub(super) fn start(
        programs: &Programs,
        site: &'a Site,
        mechanism: &'static str,
    ) -> Result<Self> {
        let directory = site.path().join(mechanism);
        fs::create_dir(&directory)?;
        let ready = directory.join("ready");
        let mut command = Command::new(&programs.server);
        command.current_dir(site.path());
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0,tls=implicit",
        ]);
        command.args(["--hostname", "localhost", "--local-domain", "example.test"]);
        command.args(["--users", "users", "--tokens", "tokens"]);
        command.args(["--tls-cert", "server.pem", "--tls-key", "server.key"]);
        command.args(["--tls-client-auth", "request", "--tls-ca", "ca.pem"]);
        if mechanism != "none" {
            command.args(["--auth-mechs", mechanism, "--auth-mechs-tls", mechanism]);
        }
        let mail = directory.join("mail");
        command
            .arg("--store")
            .arg(format!("maildir:{}", mail.display()));
        command
            .arg("--record")
            .arg(directory.join("session.helo.jsonl"));
        command.arg("--ready-file").arg(&ready);
        let (server, addresses) = Background::start_ready("helo-server", &mut command, &ready)?;
        Ok(Self {
            mechanism,
            site,
            addresses,
            directory,
            server,
        })
    }

    pub(super) fn stop(self) -> Result<()> {
        self.server.stop()
    }

    /// The port of the listener for a transport.
    pub(super) fn port(&self, transport: Transport) -> Result<&str> {
        let number = usize::from(transport == Transport::Implicit);
        let address = self.addresses.get(number).context("it listens nowhere")?;
        let (_, port) = address.rsplit_once(':').context("an address has a port")?;
        Ok(port)
    }

    /// The store has this one message, octet by octet, under the server's own trace
    /// fields. It is taken out.
    pub(super) fn must_have_kept(&self, content: &[u8]) -> Result<()> {
        let new = self.directory.join("mail").join(USER).join("new");
        let entries = fs::read_dir(&new).context("no mail was kept")?;
        let mut kept = Vec::new();
        for entry in entries {
            let path = entry?.path();
            kept.push(fs::read(&path)?);
            fs::remove_file(&path)?;
        }
        let [kept] = &kept[..] else {
            bail!("{} messages were kept", kept.len());
        };
        let Some(trace) = kept.strip_suffix(content) else {
            bail!(
                "other octets were kept: {}",
                String::from_utf8_lossy(kept).escape_debug()
            );
        };
        ensure!(
            is_trace(&String::from_utf8_lossy(trace)),
            "more was kept than was sent: {}",
            String::from_utf8_lossy(trace).escape_debug()
        );
        Ok(())
    }

    /// What was recorded of the session that brought a message.
    pub(super) fn session(&self, message: &Message) -> Result<Vec<Value>> {
        let begun = Instant::now();
        loop {
            interrupt::check()?;
            let text = fs::read_to_string(self.directory.join("session.helo.jsonl"))?;
            if let Some(session) = proof::session(&text, message.mark())? {
                return Ok(session);
            }
            if begun.elapsed() > LIMIT {
                bail!("the recording has no such session, or not its end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Nothing but the fields that final delivery adds (RFC 5321 §4.4).
fn is_trace(text: &str) -> bool {
    text.ends_with("\r\n")
        && text.trim_end().split("\r\n").all(|line| {
            let known = ["Return-Path: ", "Received: ", "\t"];
            known.iter().any(|start| line.starts_with(start))
        })
}
