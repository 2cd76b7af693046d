//! The server, its users, and the certificates of both sides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::message::Message;
use super::proof;
use super::{Protocol, Transport};
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
    /// Runs the server with a command that names it, and may say where.
    pub(super) fn start(
        mut command: Command,
        site: &'a Site,
        directory: PathBuf,
        mechanism: &'static str,
    ) -> Result<Self> {
        fs::create_dir(&directory)?;
        let ready = directory.join("ready");
        command.current_dir(site.path());
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0,tls=implicit",
            "--listen",
            "127.0.0.1:0,proto=lmtp",
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

    /// The port of the listener for a protocol over a transport.
    pub(super) fn port(&self, protocol: Protocol, transport: Transport) -> Result<&str> {
        let number = match (protocol, transport) {
            (Protocol::Smtp, Transport::Clear | Transport::Starttls) => 0,
            (Protocol::Smtp, Transport::Implicit) => 1,
            (Protocol::Lmtp, Transport::Clear | Transport::Starttls) => 2,
            (Protocol::Lmtp, Transport::Implicit) => bail!("no LMTP over implicit TLS here"),
        };
        let address = self.addresses.get(number).context("it listens nowhere")?;
        let (_, port) = address.rsplit_once(':').context("an address has a port")?;
        Ok(port)
    }

    /// The store has this one message, octet by octet, under the server's own trace
    /// fields, and under that of who relayed it. It is taken out.
    pub(super) fn must_have_kept(&self, content: &[u8], relay: Option<&str>) -> Result<()> {
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
        let trace = String::from_utf8_lossy(trace);
        ensure!(
            is_trace(&trace, relay),
            "not these fields were to be added: {}",
            trace.escape_debug()
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

/// Just the fields that final delivery adds, and below them that of a relay, if there
/// was one (RFC 5321 §4.4).
fn is_trace(text: &str, relay: Option<&str>) -> bool {
    let Some(text) = text.strip_suffix("\r\n") else {
        return false;
    };
    let unfolded = text.replace("\r\n\t", " ");
    let mut fields = unfolded.split("\r\n");
    let mut next_is = |name: &str, word: &str| {
        let field = fields.next();
        field.is_some_and(|field| field.starts_with(name) && field.contains(word))
    };
    next_is("Return-Path: ", "<")
        && next_is("Received: ", " (Heloscope) ")
        && relay.is_none_or(|relay| next_is("Received: ", relay))
        && fields.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::is_trace;

    const OURS: &str =
        "Return-Path: <a@b.test>\r\nReceived: from c\r\n\tby localhost (Heloscope) with\r\n";
    const RELAY: &str = "Received: by mx.test (Postfix, from userid 0)\r\n\tid 1\r\n";

    #[test]
    fn the_fields_of_final_delivery_are_trace() {
        assert!(is_trace(OURS, None));
    }

    #[test]
    fn a_relay_adds_one_field_below_them() {
        let both = format!("{OURS}{RELAY}");
        assert!(is_trace(&both, Some("(Postfix, ")));
        assert!(!is_trace(&both, None));
        assert!(!is_trace(OURS, Some("(Postfix, ")));
        assert!(!is_trace(&both, Some("(Exim ")));
        assert!(!is_trace(&format!("{RELAY}{OURS}"), Some("(Postfix, ")));
    }

    #[test]
    fn any_other_field_is_none_of_them() {
        assert!(!is_trace(&format!("{OURS}Sender: root@mx.test\r\n"), None));
        assert!(!is_trace(
            &format!("{OURS}{RELAY}{RELAY}"),
            Some("(Postfix, ")
        ));
        assert!(!is_trace(&format!("{OURS}\r\n"), None));
    }
}
