//! `send`: one message, with the transcript as it happens.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use driver::clock::Clock;
use driver::journal::{self, Durability, Journal};
use driver::stream::Stream;
use driver::talk::{Broken, Talk};
use driver::tls::{self, Verify};
use serde::Serialize;
use shared::check::literal;
use shared::codec::encode_dots;
use shared::direction::Direction;
use shared::escape::escape_line;
use shared::extension::Offered;
use shared::message::Marked;
use shared::recording::OpenFacts;
use shared::reply::{Reply, Severity};
use shared::session::{Kind, Unit};

use crate::cli::{Send, Tls};
use crate::exit::{Failure, Phase, Status};

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    schema: u32,
    target: String,
    address: Option<String>,
    tls: Option<String>,
    /// Each recipient, and the reply to it.
    recipients: Vec<(String, String)>,
    /// The verdict on the message.
    verdict: Option<String>,
    /// Why it ended early.
    error: Option<String>,
    status: u8,
}

/// Sends it.
pub async fn run(options: Send) -> Result<Status, Failure> {
    let clock = Clock::start();
    let settings = journal::Settings {
        tool: concat!("helo-client ", env!("CARGO_PKG_VERSION")),
        durability: Durability::Written,
        record_secrets: false,
    };
    let journal = match &options.record {
        Some(path) => Journal::create(path, &settings, clock),
        None => Journal::nowhere(&settings, clock),
    };
    let journal = journal.map_err(Failure::with(Status::Output))?;
    let given = options.data.as_deref().map(read_message).transpose()?;
    let (mut talk, address) = connect(&options, &journal).await?;
    let mut sender = Sender {
        options: &options,
        outcome: Outcome {
            schema: 1,
            target: options.target.to_string(),
            address: Some(address.to_string()),
            ..Outcome::default()
        },
        offered: Offered::default(),
        helo: String::new(),
    };
    let status = match sender.send(&mut talk, given, clock).await {
        Ok(status) => status,
        Err(Stop::Status(status)) => status,
        Err(Stop::Broken(phase, error)) => {
            let status = status_of(phase, &error);
            if !options.json {
                anstream::eprintln!("helo-client: {}: {error}", phase_name(phase));
            }
            sender.outcome.error = Some(format!("{}: {error}", phase_name(phase)));
            status
        }
    };
    talk.close(Duration::from_secs(5))
        .await
        .map_err(Failure::with(Status::Output))?;
    journal.finish().map_err(Failure::with(Status::Output))?;
    sender.outcome.status = status.code();
    if options.json {
        let text =
            serde_json::to_string_pretty(&sender.outcome).map_err(Failure::with(Status::Output))?;
        anstream::println!("{text}");
    }
    Ok(status)
}

fn read_message(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let mut message = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut message)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut message))
    };
    read.with_context(|| format!("cannot read the message {}", path.display()))
        .map_err(Failure::with(Status::Input))?;
    Ok(with_crlf(&message))
}

/// Files have bare LFs, mail has CRLF (RFC 5321 §2.3.8); a file that has CRLF
/// keeps it, octet by octet.
fn with_crlf(message: &[u8]) -> Vec<u8> {
    if message.windows(2).any(|pair| pair == b"\r\n") {
        return message.to_vec();
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    for &octet in message {
        if octet == b'\n' {
            out.push(b'\r');
        }
        out.push(octet);
    }
    out
}

async fn connect(options: &Send, journal: &Journal) -> Result<(Talk, SocketAddr), Failure> {
    let no_verdict = |error: anyhow::Error| Failure::new(Status::NoVerdict, error);
    let target = &options.target;
    let addresses = target
        .resolve()
        .await
        .with_context(|| format!("no address for {target}"))
        .map_err(no_verdict)?;
    let mut last = anyhow::anyhow!("{target} has no address of the family of --source");
    for address in addresses {
        if options
            .source
            .is_some_and(|source| source.is_ipv4() != address.is_ipv4())
        {
            continue;
        }
        let tcp = match driver::net::connect(address, options.source, options.timeout).await {
            Ok(tcp) => tcp,
            Err(error) => {
                last = anyhow::Error::from(error).context(format!(
                    "cannot connect to {address} (is a mail server listening there?)"
                ));
                continue;
            }
        };
        let session = journal
            .session(OpenFacts {
                role: "client",
                client: tcp.local_addr().ok().map(|address| address.to_string()),
                listener: Some(address.to_string()),
                name: Some(target.host.clone()),
                implicit_tls: target.implicit_tls,
                ..OpenFacts::default()
            })
            .map_err(Failure::with(Status::Output))?;
        let watch: Box<dyn FnMut(&Unit) + std::marker::Send> = if options.json || options.quiet {
            Box::new(|_| {})
        } else {
            anstream::eprintln!("== connected to {address}");
            Box::new(print_unit)
        };
        return Ok((
            Talk::new(Stream::new(tcp), journal.clock(), session, watch),
            address,
        ));
    }
    Err(no_verdict(last))
}

/// Prints a unit as it happens; secrets are never said by this command.
fn print_unit(unit: &Unit) {
    let (mark, long) = match (&unit.kind, unit.direction) {
        (Kind::Data { .. }, _) => ("C|", true),
        (_, Direction::Client) => ("C:", false),
        (_, Direction::Server) => ("S:", false),
    };
    let mut out = String::new();
    for (index, line) in unit
        .bytes
        .split_inclusive(|&octet| octet == b'\n')
        .enumerate()
    {
        if long && index >= 6 {
            out.push_str("C| …\n");
            break;
        }
        let _ = writeln!(out, "{mark} {}", escape_line(line));
    }
    // A reader that has left is no reason to stop sending.
    let _ = anstream::stdout().write_all(out.as_bytes());
}

/// Why sending ended early.
enum Stop {
    Status(Status),
    Broken(Phase, Broken),
}

struct Sender<'a> {
    options: &'a Send,
    outcome: Outcome,
    offered: Offered,
    helo: String,
}

impl Sender<'_> {
    async fn send(
        &mut self,
        talk: &mut Talk,
        given: Option<Vec<u8>>,
        clock: Clock,
    ) -> Result<Status, Stop> {
        if self.options.target.implicit_tls {
            self.handshake(talk).await?;
        }
        let greeting = self.hear(talk, Phase::Greeting).await?;
        self.must(&greeting, Phase::Greeting, talk).await?;
        self.hello(talk).await?;
        if !self.options.target.implicit_tls && self.options.tls != Tls::Never {
            self.start_tls(talk).await?;
        }
        let message = given.unwrap_or_else(|| self.test_message(clock));
        let accepted = self.envelope(talk, &message).await?;
        let reply = self.say(talk, "DATA", Phase::Data).await?;
        if reply.code().severity() != Severity::Intermediate {
            return Err(self.refused(&reply, Phase::Data, talk).await);
        }
        let mut wire = Vec::new();
        encode_dots(&message, &mut wire);
        let limit = self.options.timeout;
        talk.say(&wire, limit)
            .await
            .map_err(|error| Stop::Broken(Phase::EndOfData, error))?;
        let verdict = self.hear(talk, Phase::EndOfData).await?;
        self.outcome.verdict = Some(verdict.to_string());
        self.must(&verdict, Phase::EndOfData, talk).await?;
        // The message is the server's now, whatever comes of QUIT.
        let _ = self.say(talk, "QUIT", Phase::Quit).await;
        Ok(if accepted == self.options.to.len() {
            Status::AsAsked
        } else {
            Status::Mixed
        })
    }

    async fn hello(&mut self, talk: &mut Talk) -> Result<(), Stop> {
        let ours = talk
            .stream()
            .addresses()
            .map(|(ours, _)| literal(ours.ip().to_canonical()));
        self.helo = self
            .options
            .helo
            .clone()
            .or(ours)
            .unwrap_or_else(|| "localhost".into());
        let line = format!("EHLO {}", self.helo);
        let mut reply = self.say(talk, &line, Phase::Hello).await?;
        if reply.code().severity() == Severity::Permanent {
            // RFC 5321 §3.2: an old server may know HELO alone.
            reply = self
                .say(talk, &format!("HELO {}", self.helo), Phase::Hello)
                .await?;
        }
        self.must(&reply, Phase::Hello, talk).await?;
        self.offered = Offered::parse(reply.lines().skip(1));
        Ok(())
    }

    async fn start_tls(&mut self, talk: &mut Talk) -> Result<(), Stop> {
        if !self.offered.has("STARTTLS") {
            if self.options.tls == Tls::Offered {
                return Ok(());
            }
            anstream::eprintln!("helo-client: STARTTLS is not offered, and --tls asks for it");
            let _ = self.say(talk, "QUIT", Phase::Quit).await;
            return Err(Stop::Status(Status::Permanent(Phase::Tls)));
        }
        let reply = self.say(talk, "STARTTLS", Phase::Tls).await?;
        self.must(&reply, Phase::Tls, talk).await?;
        self.handshake(talk).await?;
        self.hello(talk).await
    }

    async fn handshake(&mut self, talk: &mut Talk) -> Result<(), Stop> {
        let broken = |error: anyhow::Error| {
            Stop::Broken(
                Phase::Tls,
                Broken::Handshake(std::io::Error::other(format!("{error:#}"))),
            )
        };
        let verify = match self.options.tls {
            Tls::Verified => Verify::Required,
            _ => Verify::Noted,
        };
        let client = tls::Client::new(verify, self.options.ca.as_deref()).map_err(broken)?;
        let name = self
            .options
            .tls_name
            .as_deref()
            .unwrap_or(&self.options.target.host);
        let name = tls::server_name(name).map_err(broken)?;
        let facts = talk
            .start_tls(&client, name, self.options.timeout)
            .await
            .map_err(|error| Stop::Broken(Phase::Tls, error))?;
        let (version, cipher) = (
            facts.version.unwrap_or_default(),
            facts.cipher.unwrap_or_default(),
        );
        let summary = format!("TLS {version} {cipher}, certificate: {}", facts.verify);
        if !self.options.json && !self.options.quiet {
            anstream::println!("-- {summary}");
        }
        self.outcome.tls = Some(summary);
        Ok(())
    }

    /// MAIL and RCPT; how many recipients were accepted, of which there must be one.
    async fn envelope(&mut self, talk: &mut Talk, message: &[u8]) -> Result<usize, Stop> {
        let from = self.options.from.trim_matches(['<', '>']);
        let size = if self.offered.has("SIZE") {
            format!(" SIZE={}", message.len())
        } else {
            String::new()
        };
        let body = if self.offered.has("8BITMIME") && !message.is_ascii() {
            " BODY=8BITMIME"
        } else {
            ""
        };
        let reply = self
            .say(
                talk,
                &format!("MAIL FROM:<{from}>{size}{body}"),
                Phase::Mail,
            )
            .await?;
        self.must(&reply, Phase::Mail, talk).await?;
        let (mut accepted, mut refusal) = (0, None);
        for to in &self.options.to {
            let to = to.trim_matches(['<', '>']);
            let reply = self
                .say(talk, &format!("RCPT TO:<{to}>"), Phase::Rcpt)
                .await?;
            self.outcome
                .recipients
                .push((to.to_owned(), reply.to_string()));
            if reply.code().is_positive() {
                accepted += 1;
            } else {
                refusal = Some(reply);
            }
        }
        match refusal.filter(|_| accepted == 0) {
            Some(refusal) => Err(self.refused(&refusal, Phase::Rcpt, talk).await),
            None => Ok(accepted),
        }
    }

    fn test_message(&self, clock: Clock) -> Vec<u8> {
        let mut random = [0; 8];
        // A token that repeats does no harm here.
        let _ = driver::process::random(&mut random);
        let token = shared::escape::hex(&random);
        let postmaster = format!("postmaster@{}", self.helo);
        let from = self.options.from.trim_matches(['<', '>']);
        Marked {
            token: &token,
            check: "send",
            leg: "here",
            case: "a",
            from: if from.is_empty() { &postmaster } else { from },
            to: self
                .options
                .to
                .first()
                .map_or("", |to| to.trim_matches(['<', '>'])),
            helo: &self.helo,
            operator: "helo-client send",
            at: clock.now(),
        }
        .build()
    }

    async fn say(&self, talk: &mut Talk, line: &str, phase: Phase) -> Result<Reply, Stop> {
        talk.say(format!("{line}\r\n").as_bytes(), self.options.timeout)
            .await
            .map_err(|error| Stop::Broken(phase, error))?;
        self.hear(talk, phase).await
    }

    async fn hear(&self, talk: &mut Talk, phase: Phase) -> Result<Reply, Stop> {
        let heard = talk
            .hear(self.options.timeout)
            .await
            .map_err(|error| Stop::Broken(phase, error))?;
        heard.reply.ok_or_else(|| {
            let text = shared::escape::excerpt(&heard.wire, 60);
            anstream::eprintln!(
                "helo-client: {}: this is not SMTP: {text}",
                phase_name(phase)
            );
            Stop::Status(Status::NotSmtp(phase))
        })
    }

    async fn must(&self, reply: &Reply, phase: Phase, talk: &mut Talk) -> Result<(), Stop> {
        if reply.code().is_refusal() {
            return Err(self.refused(reply, phase, talk).await);
        }
        Ok(())
    }

    /// Ends the session as politely as the refusal allows.
    async fn refused(&self, reply: &Reply, phase: Phase, talk: &mut Talk) -> Stop {
        if reply.code().number() != 421 {
            let _ = self.say(talk, "QUIT", Phase::Quit).await;
        }
        if let Some(diagnosis) = self.explain(reply) {
            anstream::eprintln!("helo-client: {diagnosis}");
        }
        Stop::Status(match reply.code().severity() {
            Severity::Transient => Status::Transient(phase),
            _ => Status::Permanent(phase),
        })
    }

    fn explain(&self, reply: &Reply) -> Option<String> {
        (!self.options.json).then(|| {
            format!(
                "refused: {}",
                shared::escape::escape(reply.to_string().as_bytes())
            )
        })
    }
}

fn status_of(phase: Phase, error: &Broken) -> Status {
    match error {
        Broken::TimedOut(_) => Status::TimedOut(phase),
        Broken::Closed | Broken::Wire(_) => Status::Closed(phase),
        Broken::Handshake(_) => Status::NotSmtp(Phase::Tls),
        Broken::Journal(_) => Status::Output,
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Greeting => "waiting for the greeting",
        Phase::Hello => "EHLO",
        Phase::Mail => "MAIL",
        Phase::Rcpt => "RCPT",
        Phase::Data => "DATA",
        Phase::EndOfData => "end of data",
        Phase::Quit => "QUIT",
        Phase::Tls => "TLS",
    }
}
