//! Real clients deliver through the recorder. What they sent and received is
//! written down by a third party between them and the recorder, and must be what
//! the recording says; the message recorded must be the message delivered.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::lab::{Lab, must};
use crate::cargo::{Programs, root};
use crate::interrupt;
use crate::process::Background;

/// The clients.
pub(super) const PEERS: &[&str] = &["swaks", "curl", "msmtp", "smtplib"];

/// A chain: a client, the one who writes down, the recorder, a server.
struct Chain {
    directory: PathBuf,
    recorder: Background,
    tee: Background,
    address: String,
}

impl Chain {
    fn start(lab: &Lab, programs: &Programs, upstream: &str, secrets: bool) -> Result<Self> {
        let directory = lab.scratch("chain");
        std::fs::create_dir(&directory)?;
        let ready = directory.join("recorder.ready");
        let mut command = lab.on("mx", &programs.recorder)?;
        command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream", upstream]);
        command
            .arg("--record")
            .arg(directory.join("session.helo.jsonl"));
        command.arg("--ready-file").arg(&ready);
        if secrets {
            command.arg("--record-secrets");
        }
        let (recorder, addresses) = Background::start_ready("helo-recorder", &mut command, &ready)?;
        let recorder_address = addresses.first().context("the recorder listens nowhere")?;
        let ready = directory.join("tee.ready");
        let mut command = lab.on("mx", "python3")?;
        command.arg(root().join("tests/lab/lib/tee.py"));
        command
            .arg(&ready)
            .arg(recorder_address)
            .arg(directory.join("said"));
        let (tee, addresses) = Background::start_ready("the third party", &mut command, &ready)?;
        Ok(Self {
            address: addresses
                .first()
                .context("the third party listens nowhere")?
                .clone(),
            directory,
            recorder,
            tee,
        })
    }

    /// Waits until the first connection is over, and ends the chain.
    fn finish(self) -> Result<Heard> {
        let done = self.directory.join("said.1.done");
        wait_for("the end of the session", || done.exists())?;
        self.recorder.stop()?;
        drop(self.tee);
        let text = std::fs::read_to_string(self.directory.join("session.helo.jsonl"))?;
        Ok(Heard {
            records: text
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()?,
            client: std::fs::read(self.directory.join("said.1.c"))?,
            server: std::fs::read(self.directory.join("said.1.s"))?,
        })
    }
}

/// What was recorded, and what was said.
struct Heard {
    records: Vec<Value>,
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Heard {
    /// All payloads of one side, in order: read here without our own reader.
    fn recorded(&self, side: &str) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for record in &self.records {
            if record.get("d").and_then(Value::as_str) != Some(side) {
                continue;
            }
            match (
                record.get("b").and_then(Value::as_str),
                record.get("b64").and_then(Value::as_str),
            ) {
                (Some(text), _) => all.extend_from_slice(text.as_bytes()),
                (None, Some(text)) => all.extend(STANDARD.decode(text)?),
                (None, None) => {}
            }
        }
        Ok(all)
    }

    fn must_be_exact(&self) -> Result<()> {
        for (side, said) in [("c", &self.client), ("s", &self.server)] {
            let recorded = self.recorded(side)?;
            ensure!(
                recorded == *said,
                "side {side}: {} octets recorded, {} said:\n{}\n---\n{}",
                recorded.len(),
                said.len(),
                String::from_utf8_lossy(&recorded),
                String::from_utf8_lossy(said)
            );
            ensure!(!said.is_empty(), "side {side} said nothing");
        }
        Ok(())
    }

    /// The message as recorded, dots undone and the final dot left out.
    fn message(&self) -> Result<String> {
        let mut all = Vec::new();
        for record in &self.records {
            let content = record.get("k").and_then(Value::as_str) == Some("data");
            if content && record.get("end").is_none() {
                let text = record
                    .get("b")
                    .and_then(Value::as_str)
                    .context("content that is no text")?;
                all.extend_from_slice(text.as_bytes());
            }
        }
        let text = String::from_utf8(all)?;
        Ok(text
            .split("\r\n")
            .map(|line| line.strip_prefix('.').unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n"))
    }
}

/// Through the recorder to a sane Postfix.
pub(super) fn to_postfix(programs: &Programs, peer: &str) -> Result<()> {
    let lab = Lab::up("postfix", "sane", None)?;
    let chain = Chain::start(&lab, programs, "127.0.0.1:25", false)?;
    let from = format!("probe@{}", lab.name("PROBE"));
    deliver(&lab, peer, &chain.address, &from, &lab.mailbox())?;
    let heard = chain.finish()?;
    heard.must_be_exact()?;
    must_have_arrived(&heard, &lab.maildir().join("new"))
}

/// Through the recorder to `helo-server`.
pub(super) fn to_our_server(programs: &Programs, peer: &str) -> Result<()> {
    // Only the network of the lab is used here: our server runs on its host.
    let lab = Lab::up("postfix", "sane", None)?;
    let (ready, mail) = (lab.scratch("server.ready"), lab.scratch("mail"));
    let mut command = lab.on("mx", &programs.server)?;
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--no-tls",
        "--local-domain",
        lab.name("DOMAIN"),
    ]);
    command
        .args(["--user", lab.name("USER")])
        .arg("--store")
        .arg(format!("maildir:{}", mail.display()));
    command.arg("--ready-file").arg(&ready);
    let (server, addresses) = Background::start_ready("helo-server", &mut command, &ready)?;
    let upstream = addresses.first().context("the server listens nowhere")?;
    let chain = Chain::start(&lab, programs, upstream, false)?;
    let from = format!("probe@{}", lab.name("PROBE"));
    deliver(&lab, peer, &chain.address, &from, &lab.mailbox())?;
    let heard = chain.finish()?;
    heard.must_be_exact()?;
    must_have_arrived(&heard, &mail.join(lab.name("USER")).join("new"))?;
    server.stop()
}

/// AUTH is masked, and is recorded exactly when that is asked for.
pub(super) fn secrets(programs: &Programs) -> Result<()> {
    for record_secrets in [false, true] {
        let lab = Lab::up("postfix", "plaintext-auth", None)?;
        let chain = Chain::start(&lab, programs, "127.0.0.1:25", record_secrets)?;
        let (host, port) = chain
            .address
            .rsplit_once(':')
            .context("an address has a port")?;
        let mut swaks = lab.on("mx", "swaks")?;
        swaks.args([
            "--server",
            host,
            "--port",
            port,
            "--auth",
            "PLAIN",
            "--hide-all",
        ]);
        swaks.args([
            "--auth-user",
            &lab.mailbox(),
            "--auth-password",
            lab.name("PASSWORD"),
        ]);
        swaks.args(["--from", &lab.mailbox(), "--to", &lab.mailbox()]);
        must(&mut swaks)?;
        let heard = chain.finish()?;
        if record_secrets {
            heard.must_be_exact()?;
            continue;
        }
        let recorded = String::from_utf8(heard.recorded("c")?)?;
        let said = String::from_utf8(heard.client.clone())?;
        ensure!(
            recorded.contains("AUTH PLAIN ********\r\n"),
            "the secret is not masked: {recorded}"
        );
        let masked: Vec<&str> = said.lines().map(mask).collect();
        let recorded: Vec<&str> = recorded.lines().collect();
        ensure!(
            recorded == masked,
            "more was changed than the secret: {recorded:?}"
        );
    }
    Ok(())
}

fn mask(line: &str) -> &str {
    if line.starts_with("AUTH PLAIN ") {
        "AUTH PLAIN ********"
    } else {
        line
    }
}

/// A message with what a careless relay breaks.
const MESSAGE: &str = "From: <probe@test.invalid>\r\nTo: <user@test.invalid>\r\nSubject: peers\r\n\
    Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <peers@test.invalid>\r\n\r\n\
    .\r\n..two dots\r\n.one dot\r\nspaces at the end:   \r\nlast line\r\n";

/// Has a client send the message.
fn deliver(lab: &Lab, peer: &str, address: &str, from: &str, to: &str) -> Result<()> {
    let (host, port) = address.rsplit_once(':').context("an address has a port")?;
    let crlf = lab.scratch("message.eml");
    std::fs::File::create(&crlf)?.write_all(MESSAGE.as_bytes())?;
    let lf = lab.scratch("message.txt");
    std::fs::File::create(&lf)?.write_all(MESSAGE.replace("\r\n", "\n").as_bytes())?;
    let mut command = lab.on("mx", peer_program(peer)?)?;
    match peer {
        "swaks" => {
            command.args([
                "--server",
                host,
                "--port",
                port,
                "--from",
                from,
                "--to",
                to,
                "--hide-all",
            ]);
            command.arg("--data").arg(format!("@{}", lf.display()));
        }
        "curl" => {
            command.args([
                "--silent",
                "--show-error",
                "--mail-from",
                from,
                "--mail-rcpt",
                to,
            ]);
            command.arg("--upload-file").arg(&crlf);
            command.arg(format!("smtp://{host}:{port}/probe.{}", lab.name("PROBE")));
        }
        "msmtp" => {
            command.args([
                "--host",
                host,
                "--port",
                port,
                "--tls=off",
                "--auth=off",
                "--from",
                from,
                to,
            ]);
            command.stdin(std::fs::File::open(&lf)?);
        }
        "smtplib" => {
            command
                .args(["-c", SMTPLIB, host, port, from, to])
                .arg(&crlf);
        }
        other => bail!("there is no client {other}"),
    }
    run_with_input(&mut command, (peer == "msmtp").then_some(&lf))
}

const SMTPLIB: &str = "import smtplib, sys\n\
    host, port, sender, to, path = sys.argv[1:]\n\
    with smtplib.SMTP(host, int(port)) as smtp:\n\
    \x20   smtp.sendmail(sender, [to], open(path, 'rb').read())\n";

fn peer_program(peer: &str) -> Result<PathBuf> {
    let program = if peer == "smtplib" { "python3" } else { peer };
    crate::process::find(program).with_context(|| format!("there is no {program}"))
}

fn run_with_input(command: &mut Command, input: Option<&PathBuf>) -> Result<()> {
    match input {
        Some(path) => {
            let status = command.stdin(std::fs::File::open(path)?).status()?;
            ensure!(status.success(), "{command:?} failed ({status})");
            Ok(())
        }
        None => must(command).map(drop),
    }
}

/// The one message in a Maildir ends with the body that was recorded.
fn must_have_arrived(heard: &Heard, new: &Path) -> Result<()> {
    let files = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(new).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    wait_for("the message in the mailbox", || !files().is_empty())?;
    let found = files();
    let [file] = &found[..] else {
        bail!("{} messages arrived", found.len());
    };
    let delivered = std::fs::read_to_string(file)?.replace("\r\n", "\n");
    let recorded = heard.message()?;
    let body = |message: &str| {
        message
            .split_once("\n\n")
            .map(|(_, body)| body.trim_end_matches('\n').to_owned())
    };
    ensure!(
        body(&delivered) == body(&recorded) && body(&recorded).is_some(),
        "delivered:\n{delivered}\nrecorded:\n{recorded}"
    );
    ensure!(
        body(&recorded) == body(&MESSAGE.replace("\r\n", "\n")),
        "recorded is not what was to be sent:\n{recorded}"
    );
    Ok(())
}

fn wait_for(what: &str, done: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !done() {
        interrupt::check()?;
        if begun.elapsed() > Duration::from_secs(30) {
            bail!("{what} did not come");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
