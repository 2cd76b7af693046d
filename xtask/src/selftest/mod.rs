//! `cargo xtask selftest`: the whole procedure on this machine.
//!
//! A server and, before it, a recorder on each leg's own host; the client runs
//! the procedure through the recorders. The honest server must pass, the open
//! relay must be caught on the remote leg and nowhere else, and what was
//! recorded must replay.

mod ground;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::ground::{Ground, Host};
use crate::cargo::Programs;
use crate::interrupt;
use crate::process::{Background, capture, code};

/// Runs it, and prints one closing line.
pub(crate) fn run(emulated: bool) -> Result<()> {
    if !emulated && let Some(outcome) = ground::become_root() {
        return outcome;
    }
    interrupt::listen()?;
    let programs = Programs::build()?;
    let begun = Instant::now();
    let ground = Ground::prepare(emulated)?;
    println!("selftest: {}", ground.describe());
    let scenario = Scenario::new(&programs, &ground)?;
    let honest = scenario.run("honest")?;
    honest.must_pass()?;
    println!("\n===== the same against an open relay, which must be caught =====\n");
    let open = scenario.run("open-relay")?;
    open.must_be_caught()?;
    let replayed = honest.replayed + open.replayed;
    println!(
        "\nselftest: PASS: the honest server passed on both legs, the open relay was caught on the \
         remote leg alone, {replayed} recorded sessions replayed the same; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What is the same for every persona: names that no program can know.
struct Scenario<'a> {
    programs: &'a Programs,
    ground: &'a Ground,
    domain: String,
    user: String,
    witness: String,
}

/// What one persona came to.
struct Outcome {
    status: i32,
    report: Value,
    replayed: usize,
}

impl<'a> Scenario<'a> {
    fn new(programs: &'a Programs, ground: &'a Ground) -> Result<Self> {
        let mut word = RandomWords::new()?;
        Ok(Self {
            programs,
            ground,
            domain: format!("{}.test", word.next()),
            user: word.next(),
            witness: format!("{}@{}.test", word.next(), word.next()),
        })
    }

    fn run(&self, persona: &str) -> Result<Outcome> {
        let directory = self.ground.directory().join(persona);
        std::fs::create_dir(&directory)?;
        let server = self.server(persona, &directory, "server")?;
        let localhost = self.recorder(Host::Server, &server.localhost, &directory, "localhost")?;
        let remote = self.recorder(Host::Remote, &server.public, &directory, "remote")?;
        let recording = directory.join("test.helo.jsonl");
        let test = |json: bool, recording: &Path| {
            let mut command = Command::new(&self.programs.client);
            command.args([
                "test",
                &remote.address,
                "--localhost-target",
                &localhost.address,
            ]);
            command.args(["--to", &format!("{}@{}", self.user, self.domain)]);
            command.args(["--witness", &self.witness, "--pace", "0", "-4"]);
            command
                .arg("--arrival")
                .arg(format!("maildir:{}", server.maildir(&self.user)));
            command.args(self.ground.vantages());
            command.arg("--record").arg(recording);
            if json {
                command.arg("--json");
            }
            command
        };
        let output = capture(&mut test(true, &recording))?;
        let report: Value = serde_json::from_slice(&output.stdout).context("reading the report")?;
        // For the person who looks on: the same recording, judged again as text.
        let shown = capture(
            Command::new(&self.programs.client)
                .arg("judge")
                .arg(&recording),
        )?;
        print!("{}", String::from_utf8_lossy(&shown.stdout));
        ensure!(
            code(&shown) == code(&output),
            "judging the recording again gave status {} instead of {}",
            code(&shown),
            code(&output)
        );
        for recorder in [localhost.process, remote.process, server.process] {
            recorder.stop()?;
        }
        let mut replayed = 0;
        for (host, name) in [(Host::Server, "localhost"), (Host::Remote, "remote")] {
            replayed += self.replay(persona, host, name, &directory)?;
        }
        Ok(Outcome {
            status: code(&output),
            report,
            replayed,
        })
    }

    fn server(&self, persona: &str, directory: &Path, name: &str) -> Result<Server> {
        let ready = directory.join(format!("{name}.ready"));
        let mail = directory.join(format!("{name}-mail"));
        let mut command = self.ground.command(Host::Server, &self.programs.server);
        for address in self.ground.server_addresses() {
            command.args(["--listen", address]);
        }
        command.args(["--persona", persona, "--local-domain", &self.domain]);
        command.args([
            "--hostname",
            &format!("mx.{}", self.domain),
            "--user",
            &self.user,
        ]);
        command.args(["--mynetworks", self.ground.trusted()]);
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

    fn recorder(
        &self,
        host: Host,
        upstream: &str,
        directory: &Path,
        name: &str,
    ) -> Result<Recorder> {
        let ready = directory.join(format!("{name}.ready"));
        let mut command = self.ground.command(host, &self.programs.recorder);
        command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream", upstream]);
        command.args(self.ground.source(host));
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
    fn replay(&self, persona: &str, host: Host, name: &str, directory: &Path) -> Result<usize> {
        let server = self.server(persona, directory, &format!("replay-{name}"))?;
        let address = match host {
            Host::Server => &server.localhost,
            Host::Remote => &server.public,
        };
        let file = directory.join(format!("{name}.helo.jsonl"));
        let text = std::fs::read_to_string(&file)?;
        let sessions: Vec<u64> = plain_sessions(&text);
        ensure!(
            !sessions.is_empty(),
            "the {name} recorder recorded nothing that can be replayed"
        );
        for session in &sessions {
            let mut command = self.ground.command(host, &self.programs.client);
            command.arg("replay").arg(&file).arg(address).arg("--live");
            command.args(["--session", &session.to_string()]);
            command.args(self.ground.source(host));
            let output = capture(&mut command)?;
            if !output.status.success() {
                print!("{}", String::from_utf8_lossy(&output.stdout));
                bail!(
                    "session {session} of the {name} leg does not replay (status {})",
                    code(&output)
                );
            }
        }
        server.process.stop()?;
        Ok(sessions.len())
    }
}

/// Sessions without TLS: what a recorder only passed through cannot be said again.
fn plain_sessions(recording: &str) -> Vec<u64> {
    let records: Vec<Value> = recording
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let session = |record: &Value| record.get("s").and_then(Value::as_u64);
    let is = |record: &Value, kind: &str| record.get("k").and_then(Value::as_str) == Some(kind);
    let opened = records
        .iter()
        .filter(|record| is(record, "open"))
        .filter_map(session);
    opened
        .filter(|number| {
            !records
                .iter()
                .any(|record| session(record) == Some(*number) && is(record, "raw"))
        })
        .collect()
}

struct Server {
    process: Background,
    localhost: String,
    public: String,
    mail: String,
}

impl Server {
    fn maildir(&self, user: &str) -> String {
        format!("{}/{user}", self.mail)
    }
}

struct Recorder {
    process: Background,
    address: String,
}

impl Outcome {
    fn must_pass(&self) -> Result<()> {
        ensure!(
            self.status == 0,
            "the honest server did not pass (status {})",
            self.status
        );
        ensure!(self.failed_on("localhost").is_empty() && self.failed_on("remote").is_empty());
        self.must_have_two_clients()
    }

    fn must_be_caught(&self) -> Result<()> {
        ensure!(
            self.status == 1,
            "the open relay was not caught (status {})",
            self.status
        );
        let (here, there) = (self.failed_on("localhost"), self.failed_on("remote"));
        ensure!(here.is_empty(), "the localhost leg failed too: {here:?}");
        ensure!(
            there.iter().any(|id| id == "relay-plain"),
            "relay-plain did not fail on the remote leg: {there:?}"
        );
        ensure!(
            there.iter().all(|id| id.starts_with("relay-")),
            "something else failed too: {there:?}"
        );
        self.must_have_two_clients()
    }

    /// The server saw each leg from another address, by its own Received lines.
    fn must_have_two_clients(&self) -> Result<()> {
        let (here, there) = (self.seen("localhost"), self.seen("remote"));
        ensure!(
            here.is_some() && there.is_some() && here != there,
            "the server saw the localhost leg from {here:?} and the remote leg from {there:?}"
        );
        Ok(())
    }

    fn legs(&self) -> &[Value] {
        self.report
            .get("legs")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn seen(&self, kind: &str) -> Option<&str> {
        let leg = self
            .legs()
            .iter()
            .find(|leg| leg.get("kind").and_then(Value::as_str) == Some(kind));
        leg?.get("client_seen")?.as_str()
    }

    /// The checks that failed on the legs of a kind.
    fn failed_on(&self, kind: &str) -> Vec<String> {
        let mut found = Vec::new();
        for row in self
            .report
            .get("rows")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let cells = row
                .get("cells")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for (cell, leg) in cells.zip(self.legs()) {
                let here = leg.get("kind").and_then(Value::as_str) == Some(kind);
                if here && cell.get("verdict").and_then(Value::as_str) == Some("fail") {
                    found.extend(row.get("id").and_then(Value::as_str).map(str::to_owned));
                }
            }
        }
        found
    }
}

/// Words that no program can have been told before.
pub(crate) struct RandomWords(std::fs::File);

impl RandomWords {
    pub(crate) fn new() -> Result<Self> {
        std::fs::File::open("/dev/urandom")
            .map(Self)
            .context("opening /dev/urandom")
    }

    /// Eight letters.
    pub(crate) fn next(&mut self) -> String {
        use std::io::Read;
        let mut octets = [0; 8];
        // An unread word is still a word.
        let _ = self.0.read_exact(&mut octets);
        octets
            .iter()
            .map(|octet| char::from(b'a' + octet % 26))
            .collect()
    }
}
