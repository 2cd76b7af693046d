//! A server, a recorder on each leg's host, and the client that runs the procedure
//! through them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::ground::{Family, Ground, Host, Legs};
use super::outcome::Outcome;
use super::words::RandomWords;
use crate::cargo::Programs;
use crate::process::{Background, capture, code};

/// What is the same for every persona: names that no program can know.
pub(super) struct Scenario<'a> {
    programs: &'a Programs,
    ground: &'a Ground,
    domain: String,
    user: String,
    witness: String,
}

impl<'a> Scenario<'a> {
    pub(super) fn new(programs: &'a Programs, ground: &'a Ground) -> Result<Self> {
        let mut word = RandomWords::new()?;
        Ok(Self {
            programs,
            ground,
            domain: format!("{}.test", word.next()),
            user: word.next(),
            witness: format!("{}@{}.test", word.next(), word.next()),
        })
    }

    /// The procedure against a server with that persona, over one family.
    pub(super) fn run(&self, persona: &str, family: Family) -> Result<Outcome> {
        let directory = self.ground.directory().join(format!("{persona}-{family}"));
        std::fs::create_dir(&directory)?;
        let run = Run {
            scenario: self,
            persona,
            family,
            directory,
        };
        run.procedure()
    }
}

/// One run of the procedure.
struct Run<'a> {
    scenario: &'a Scenario<'a>,
    persona: &'a str,
    family: Family,
    directory: PathBuf,
}

impl Run<'_> {
    fn procedure(&self) -> Result<Outcome> {
        let both = self.ground().legs(self.family) == Some(Legs::Both);
        let server = self.server("server")?;
        let localhost = self.recorder(Host::Server, &server.localhost, "localhost")?;
        let remote = both.then(|| self.recorder(Host::Remote, &server.public, "remote"));
        let remote = remote.transpose()?;
        let recording = self.directory.join("test.helo.jsonl");
        let mut command = self.test(&server, &localhost, remote.as_ref());
        let output = capture(command.arg("--record").arg(&recording))?;
        let report: Value = serde_json::from_slice(&output.stdout).context("reading the report")?;
        self.show(&recording, code(&output))?;
        let recorders = [Some(localhost), remote].into_iter().flatten();
        let recorders = recorders.map(|recorder| recorder.process);
        for process in recorders.chain([server.process]) {
            process.stop()?;
        }
        let mut replayed = self.replay(Host::Server, "localhost")?;
        if both {
            replayed += self.replay(Host::Remote, "remote")?;
        }
        Ok(Outcome {
            status: code(&output),
            report,
            replayed,
            remote: both,
        })
    }

    const fn ground(&self) -> &Ground {
        self.scenario.ground
    }

    const fn programs(&self) -> &Programs {
        self.scenario.programs
    }

    fn test(&self, server: &Server, localhost: &Recorder, remote: Option<&Recorder>) -> Command {
        let scenario = self.scenario;
        let mut command = Command::new(&self.programs().client);
        command.args(["test", "--json", "--pace", "0", self.family.option()]);
        match remote {
            Some(remote) => {
                command.args([&remote.address, "--localhost-target", &localhost.address]);
                command.args(self.ground().vantages());
            }
            None => {
                command.args([&localhost.address, "--one-leg"]);
            }
        }
        command.args(["--to", &format!("{}@{}", scenario.user, scenario.domain)]);
        command.args(["--witness", &scenario.witness]);
        let mailbox = format!("maildir:{}/{}", server.mail, scenario.user);
        command.args(["--arrival", &mailbox]);
        command
    }

    /// For the person who looks on: the recording, judged again as text.
    fn show(&self, recording: &Path, status: i32) -> Result<()> {
        let mut judge = Command::new(&self.programs().client);
        let shown = capture(judge.arg("judge").arg(recording))?;
        print!("{}", String::from_utf8_lossy(&shown.stdout));
        ensure!(
            code(&shown) == status,
            "judging the recording again gave status {} instead of {status}",
            code(&shown),
        );
        Ok(())
    }

    fn server(&self, name: &str) -> Result<Server> {
        let (directory, domain) = (&self.directory, &self.scenario.domain);
        let ready = directory.join(format!("{name}.ready"));
        let mail = directory.join(format!("{name}-mail"));
        let ground = self.ground();
        let mut command = ground.command(Host::Server, &self.programs().server);
        for address in ground.server_addresses(self.family) {
            command.args(["--listen", address]);
        }
        command.args(["--persona", self.persona, "--local-domain", domain]);
        command.args(["--hostname", &format!("mx.{domain}")]);
        command.args(["--user", &self.scenario.user]);
        // RFC 5321 §4.1.1.1 has no other names; a tool for tests takes any by default.
        command.args(["--helo", "valid"]);
        command.args(["--mynetworks", ground.trusted()]);
        command
            .arg("--store")
            .arg(format!("maildir:{}", mail.display()));
        command.arg("--witness").arg(format!(
            "maildir:{}",
            directory.join(format!("{name}-witness")).display()
        ));
        command.arg("--ready-file").arg(&ready);
        let (process, addresses) = Background::start_ready("helo-server", &mut command, &ready)?;
        let localhost = addresses
            .first()
            .context("the server listens nowhere")?
            .clone();
        let public = addresses
            .last()
            .cloned()
            .unwrap_or_else(|| localhost.clone());
        Ok(Server {
            process,
            localhost,
            public,
            mail: mail.display().to_string(),
        })
    }

    fn recorder(&self, host: Host, upstream: &str, name: &str) -> Result<Recorder> {
        let directory = &self.directory;
        let ready = directory.join(format!("{name}.ready"));
        let mut command = self.ground().command(host, &self.programs().recorder);
        command.args(["proxy", "--listen", self.family.loopback()]);
        command.args(["--upstream", upstream]);
        command.args(self.ground().source(host, self.family));
        command
            .arg("--record")
            .arg(directory.join(format!("{name}.helo.jsonl")));
        command.arg("--ready-file").arg(&ready);
        let (process, addresses) = Background::start_ready("helo-recorder", &mut command, &ready)?;
        Ok(Recorder {
            process,
            address: addresses
                .first()
                .context("the recorder listens nowhere")?
                .clone(),
        })
    }

    /// What a recorder recorded, said again to a fresh server: the same replies.
    fn replay(&self, host: Host, name: &str) -> Result<usize> {
        let server = self.server(&format!("replay-{name}"))?;
        let address = match host {
            Host::Server => &server.localhost,
            Host::Remote => &server.public,
        };
        let file = self.directory.join(format!("{name}.helo.jsonl"));
        let text = std::fs::read_to_string(&file)?;
        let sessions: Vec<u64> = plain_sessions(&text);
        ensure!(
            !sessions.is_empty(),
            "the {name} recorder recorded nothing that can be replayed"
        );
        let numbers: Vec<String> = sessions.iter().map(u64::to_string).collect();
        let mut command = self.ground().command(host, &self.programs().client);
        command.arg("replay").arg(&file).arg(address).arg("--live");
        command.args(["--session", &numbers.join(",")]);
        command.args(self.ground().source(host, self.family));
        let output = capture(&mut command)?;
        if !output.status.success() {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            bail!("the {name} leg does not replay (status {})", code(&output));
        }
        server.process.stop()?;
        Ok(sessions.len())
    }
}

/// Sessions without TLS and AUTH: what a recorder only passed through cannot be said
/// again, nor what needs a password.
fn plain_sessions(recording: &str) -> Vec<u64> {
    let records: Vec<Value> = recording
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let session = |record: &Value| record.get("s").and_then(Value::as_u64);
    let is = |record: &Value, kind: &str| record.get("k").and_then(Value::as_str) == Some(kind);
    let asks_for_password = |record: &Value| {
        is(record, "cmd") && record.get("verb").and_then(Value::as_str) == Some("AUTH")
    };
    let unfit: BTreeSet<u64> = records
        .iter()
        .filter(|record| is(record, "raw") || asks_for_password(record))
        .filter_map(session)
        .collect();
    let opened = records.iter().filter(|record| is(record, "open"));
    let opened = opened.filter_map(session);
    opened.filter(|number| !unfit.contains(number)).collect()
}

struct Server {
    process: Background,
    localhost: String,
    public: String,
    mail: String,
}

struct Recorder {
    process: Background,
    address: String,
}
