//! The client's side of one transaction.

use std::fmt::Display;

use anyhow::anyhow;
use driver::clock::Clock;
use driver::talk::{Broken, Talk};
use driver::tls;
use shared::check::literal;
use shared::codec::encode_dots;
use shared::escape::{escape, excerpt, hex};
use shared::extension::Offered;
use shared::message::Marked;
use shared::reply::{Reply, Severity};

use super::message::has_wide_header;
use super::{LEAVING, Outcome};
use crate::cli::{Send, Tls};
use crate::exit::{Failure, Phase, Status};
use crate::screen;

pub(super) struct Sender<'a> {
    options: &'a Send,
    outcome: &'a mut Outcome,
    tls: Option<tls::Client>,
    offered: Offered,
    helo: String,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        options: &'a Send,
        outcome: &'a mut Outcome,
        tls: Option<tls::Client>,
    ) -> Self {
        Self {
            options,
            outcome,
            tls,
            offered: Offered::default(),
            helo: String::new(),
        }
    }

    pub(super) async fn send(
        &mut self,
        talk: &mut Talk,
        given: Option<Vec<u8>>,
        clock: Clock,
    ) -> Result<Status, Failure> {
        if self.options.target.implicit_tls {
            self.handshake(talk).await?;
        }
        let greeting = self.hear(talk, Phase::Greeting).await?;
        self.must(&greeting, Phase::Greeting, talk).await?;
        self.hello(talk).await?;
        if !self.options.target.implicit_tls {
            self.start_tls(talk).await?;
        }
        let message = given.unwrap_or_else(|| self.test_message(clock));
        let accepted = self.envelope(talk, &message).await?;
        self.content(talk, message).await?;
        self.farewell(talk).await?;
        Ok(if accepted == self.options.to.len() {
            Status::AsAsked
        } else {
            Status::Mixed
        })
    }

    async fn hello(&mut self, talk: &mut Talk) -> Result<(), Failure> {
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
            let line = format!("HELO {}", self.helo);
            reply = self.say(talk, &line, Phase::Hello).await?;
        }
        self.must(&reply, Phase::Hello, talk).await?;
        self.offered = Offered::parse(reply.lines().skip(1));
        Ok(())
    }

    async fn start_tls(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        if self.options.tls == Tls::Never {
            return Ok(());
        }
        if !self.offered.has("STARTTLS") {
            if self.options.tls == Tls::Offered {
                return Ok(());
            }
            self.leave(talk).await;
            return Err(failed(
                Status::Permanent(Phase::Tls),
                Phase::Tls,
                "STARTTLS is not offered, and --tls asks for it",
            ));
        }
        let reply = self.say(talk, "STARTTLS", Phase::Tls).await?;
        self.must(&reply, Phase::Tls, talk).await?;
        self.handshake(talk).await?;
        self.hello(talk).await
    }

    async fn handshake(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        let name = self.options.tls_name.as_deref();
        let name = tls::server_name(name.unwrap_or(&self.options.target.host))
            .map_err(Failure::with(Status::Usage))?;
        let client = self.tls.take();
        let client = client.ok_or_else(|| {
            let error = anyhow!("TLS without a configuration");
            Failure::new(Status::Usage, error)
        })?;
        let facts = talk
            .start_tls(&client, name, self.options.timeout)
            .await
            .map_err(|error| broken(Phase::Tls, error))?;
        let (version, cipher) = (
            facts.version.unwrap_or_default(),
            facts.cipher.unwrap_or_default(),
        );
        let verify = escape(facts.verify.as_bytes());
        let summary = format!("TLS {version} {cipher}, certificate: {verify}");
        if !self.options.json && !self.options.quiet {
            screen::print(&format!("-- {summary}\n"));
        }
        self.outcome.tls = Some(summary);
        Ok(())
    }

    /// MAIL and RCPT; how many recipients were accepted, of which there must be one.
    async fn envelope(&mut self, talk: &mut Talk, message: &[u8]) -> Result<usize, Failure> {
        let from = bare(&self.options.from);
        let parameters = self.parameters(talk, message).await?;
        let line = format!("MAIL FROM:<{from}>{parameters}");
        let reply = self.say(talk, &line, Phase::Mail).await?;
        self.must(&reply, Phase::Mail, talk).await?;
        let (mut accepted, mut refusal) = (0, None);
        for to in &self.options.to {
            let to = bare(to);
            let line = format!("RCPT TO:<{to}>");
            let reply = self.say(talk, &line, Phase::Rcpt).await?;
            let answer = (to.to_owned(), reply.to_string());
            self.outcome.recipients.push(answer);
            if reply.code().is_positive() {
                accepted += 1;
            } else if reply.code().number() == 421 {
                // RFC 5321 §3.8: the session is over, whatever was accepted.
                return Err(self.refused(&reply, Phase::Rcpt, talk).await);
            } else {
                refusal.get_or_insert(reply);
            }
        }
        match refusal.filter(|_| accepted == 0) {
            Some(refusal) => Err(self.refused(&refusal, Phase::Rcpt, talk).await),
            None => Ok(accepted),
        }
    }

    /// The parameters of MAIL: each only if it is offered, and there is a need.
    async fn parameters(&mut self, talk: &mut Talk, message: &[u8]) -> Result<String, Failure> {
        let mut mailboxes = std::iter::once(&self.options.from).chain(&self.options.to);
        let wide = mailboxes.find(|mailbox| !mailbox.is_ascii());
        let utf8 = self.offered.has("SMTPUTF8");
        if let Some(mailbox) = wide.filter(|_| !utf8) {
            // RFC 6531 §3.2: such a path is not for this server.
            self.leave(talk).await;
            return Err(failed(
                Status::Permanent(Phase::Mail),
                Phase::Mail,
                format_args!("SMTPUTF8 is not offered, and {mailbox} needs it"),
            ));
        }
        let mut parameters = String::new();
        if self.offered.has("SIZE") {
            parameters = format!(" SIZE={}", message.len());
        }
        if !message.is_ascii() {
            if self.offered.has("8BITMIME") {
                parameters.push_str(" BODY=8BITMIME");
            } else {
                screen::tell(
                    "helo-client: 8BITMIME is not offered: the message goes as it is, with octets above 127",
                );
            }
        }
        if utf8 && (wide.is_some() || has_wide_header(message)) {
            parameters.push_str(" SMTPUTF8");
        }
        Ok(parameters)
    }

    async fn content(&mut self, talk: &mut Talk, message: Vec<u8>) -> Result<(), Failure> {
        let reply = self.say(talk, "DATA", Phase::Data).await?;
        if reply.code().severity() != Severity::Intermediate {
            return Err(self.refused(&reply, Phase::Data, talk).await);
        }
        let mut wire = Vec::new();
        encode_dots(&message, &mut wire);
        drop(message);
        talk.say(&wire, self.options.timeout)
            .await
            .map_err(|error| broken(Phase::EndOfData, error))?;
        let verdict = self.hear(talk, Phase::EndOfData).await?;
        self.outcome.verdict = Some(verdict.to_string());
        self.must(&verdict, Phase::EndOfData, talk).await
    }

    /// The message is the server's now: what comes of QUIT is told, and counts only
    /// if that was asked for.
    async fn farewell(&self, talk: &mut Talk) -> Result<(), Failure> {
        let ended = match self.say(talk, "QUIT", Phase::Quit).await {
            Ok(reply) if reply.code().is_positive() => Ok(()),
            Ok(reply) => Err(refusal(&reply, Phase::Quit)),
            Err(failure) => Err(failure),
        };
        match ended {
            Err(failure) if !self.options.strict_quit && failure.status != Status::Output => {
                screen::tell(format_args!(
                    "helo-client: {:#} (the message was accepted before)",
                    failure.error
                ));
                Ok(())
            }
            ended => ended,
        }
    }

    fn test_message(&self, clock: Clock) -> Vec<u8> {
        let mut random = [0; 8];
        // A token that repeats does no harm here.
        let _ = driver::process::random(&mut random);
        let token = hex(&random);
        let postmaster = format!("postmaster@{}", self.helo);
        let from = bare(&self.options.from);
        Marked {
            token: &token,
            check: "send",
            leg: "here",
            case: "a",
            from: if from.is_empty() { &postmaster } else { from },
            to: self.options.to.first().map_or("", |to| bare(to)),
            helo: &self.helo,
            operator: "helo-client send",
            at: clock.now(),
        }
        .build()
    }

    async fn say(&self, talk: &mut Talk, line: &str, phase: Phase) -> Result<Reply, Failure> {
        talk.say(format!("{line}\r\n").as_bytes(), self.limit(phase))
            .await
            .map_err(|error| broken(phase, error))?;
        self.hear(talk, phase).await
    }

    async fn hear(&self, talk: &mut Talk, phase: Phase) -> Result<Reply, Failure> {
        let heard = talk
            .hear(self.limit(phase))
            .await
            .map_err(|error| broken(phase, error))?;
        heard.reply.ok_or_else(|| {
            let text = excerpt(&heard.wire, 60);
            let why = format_args!("this is not SMTP: {text}");
            failed(Status::NotSmtp(phase), phase, why)
        })
    }

    /// When all is done a slow server is not worth a long wait.
    fn limit(&self, phase: Phase) -> std::time::Duration {
        match phase {
            Phase::Quit if !self.options.strict_quit => self.options.timeout.min(LEAVING),
            _ => self.options.timeout,
        }
    }

    async fn must(&self, reply: &Reply, phase: Phase, talk: &mut Talk) -> Result<(), Failure> {
        if reply.code().is_positive() {
            return Ok(());
        }
        Err(self.refused(reply, phase, talk).await)
    }

    /// Ends the session as politely as the refusal allows.
    async fn refused(&self, reply: &Reply, phase: Phase, talk: &mut Talk) -> Failure {
        // Whoever waits for mail data would take QUIT for some.
        if reply.code().number() != 421 && reply.code().is_refusal() {
            self.leave(talk).await;
        }
        refusal(reply, phase)
    }

    /// QUIT, whatever comes of it.
    async fn leave(&self, talk: &mut Talk) {
        let _ = self.say(talk, "QUIT", Phase::Quit).await;
    }
}

fn refusal(reply: &Reply, phase: Phase) -> Failure {
    let text = escape(reply.to_string().as_bytes());
    let (status, word) = match reply.code().severity() {
        Severity::Transient => (Status::Transient(phase), "refused for now"),
        Severity::Permanent => (Status::Permanent(phase), "refused"),
        _ => (Status::NotSmtp(phase), "this is no answer to it"),
    };
    failed(status, phase, format_args!("{word}: {text}"))
}

fn broken(phase: Phase, error: Broken) -> Failure {
    let status = match &error {
        Broken::TimedOut(_) => Status::TimedOut(phase),
        Broken::Closed | Broken::Wire(_) => Status::Closed(phase),
        Broken::Unasked(_) => Status::NotSmtp(phase),
        Broken::Handshake(error) => match tls::Failure::of(error) {
            tls::Failure::Closed => Status::Closed(Phase::Tls),
            tls::Failure::NotTls => Status::NotSmtp(Phase::Tls),
            tls::Failure::Refused => Status::Permanent(Phase::Tls),
        },
        Broken::Journal(_) => return Failure::new(Status::Output, error),
    };
    failed(status, phase, error)
}

fn failed(status: Status, phase: Phase, why: impl Display) -> Failure {
    Failure::new(status, anyhow!("{}: {why}", phase_name(phase)))
}

/// A path as users write it, without its brackets.
fn bare(path: &str) -> &str {
    path.trim_matches(['<', '>'])
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
