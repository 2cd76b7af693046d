//! Says what a script says, in lock-step, over one connection.

use std::time::Duration;

use driver::talk::{Broken, Talk};
use driver::tls::{self, ServerName, Verify};
use shared::check::{Script, Special, Step, When, greylisted};
use shared::codec::encode_dots;
use shared::escape::escape;
use shared::extension::Offered;
use shared::message::with_body;
use shared::reply::{Reply, Severity};

/// How long each wait may take. RFC 5321 §4.5.3.2 has longer ones for mail that
/// must get through; a test wants to know sooner.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the greeting.
    pub greeting: Duration,
    /// For an ordinary command.
    pub command: Duration,
    /// For the verdict on a message.
    pub end_of_data: Duration,
}

impl Limits {
    /// The quick ones: 45 s, 60 s, 120 s.
    pub const QUICK: Self = Self {
        greeting: Duration::from_secs(45),
        command: Duration::from_secs(60),
        end_of_data: Duration::from_secs(120),
    };

    /// The same limit for each.
    pub const fn all(limit: Duration) -> Self {
        Self {
            greeting: limit,
            command: limit,
            end_of_data: limit,
        }
    }
}

/// The octets of the first of two chunks: it ends within the first header field.
const FIRST_CHUNK: usize = 10;

/// Makes the message for a reverse-path and a forward-path.
pub type MakeMessage<'a> = Box<dyn Fn(&str, &str) -> Vec<u8> + Send + Sync + 'a>;

/// What a player needs besides the script.
pub struct Part<'a> {
    /// The waits.
    pub limits: Limits,
    /// The name the certificate should have.
    pub name: ServerName<'static>,
    /// Makes the marked message for an envelope.
    pub message: MakeMessage<'a>,
}

/// What was learned while a script was played.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each was learned by itself")]
pub struct Played {
    /// The lines of the last EHLO reply.
    pub offered: Offered,
    /// The name the server calls itself: the first word of its greeting.
    pub server_name: Option<String>,
    /// A reply said that TLS must come first.
    pub wants_tls: bool,
    /// The server greeted with a yes.
    pub greeted: bool,
    /// A command was answered with a yes.
    pub answered: bool,
    /// Why the session ended before the script was done: the server closed it, or
    /// could not be understood.
    pub cut_short: Option<String>,
    /// That was because it did not answer in time.
    pub silent: bool,
    /// A message was accepted.
    pub delivered: bool,
    /// A reply was one of greylisting: how long it wants us to wait.
    pub greylisted: Option<Duration>,
}

/// Plays a script to its end, or to the end of the connection.
pub async fn play(talk: &mut Talk, script: &Script, part: &Part<'_>) -> Result<Played, Broken> {
    let mut player = Player {
        talk,
        part,
        last: None,
        played: Played::default(),
    };
    match player.run(script).await {
        Ok(()) => Ok(player.played),
        // What was said until then is recorded: that is for the judge.
        Err(Broken::Journal(error)) => Err(Broken::Journal(error)),
        Err(error) => {
            tracing::debug!("{}/{}: {error}", script.check, script.case);
            player.played.silent = matches!(error, Broken::TimedOut(_));
            player.played.cut_short = Some(error.to_string());
            Ok(player.played)
        }
    }
}

struct Player<'a, 'b> {
    talk: &'a mut Talk,
    part: &'a Part<'b>,
    last: Option<Reply>,
    played: Played,
}

impl Player<'_, '_> {
    async fn run(&mut self, script: &Script) -> Result<(), Broken> {
        let greeting = self.talk.hear(self.part.limits.greeting).await?;
        self.last = greeting.reply;
        self.played.server_name = self
            .last
            .as_ref()
            .and_then(|reply| reply.first_line().split(' ').next())
            .filter(|word| word.contains('.'))
            .map(str::to_owned);
        self.played.greeted = self.accepted();
        if self.is_over() || !self.played.greeted {
            return Ok(());
        }
        for step in &script.steps {
            self.step(step).await?;
            if self.is_over() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The last answer was the last: a 421, or nothing that is understood. What is
    /// said after that would be answered by anything.
    fn is_over(&mut self) -> bool {
        let why = match &self.last {
            Some(reply) if reply.code().number() == 421 => {
                format!("it said {}", escape(reply.to_string().as_bytes()))
            }
            Some(_) => return false,
            None => "what it said is not SMTP".to_owned(),
        };
        self.played.cut_short = Some(why);
        true
    }

    async fn step(&mut self, step: &Step) -> Result<(), Broken> {
        match step {
            Step::Ehlo(name) => self.ehlo(name).await,
            Step::Line { line, when } => {
                let go = match when {
                    When::Always => true,
                    When::Accepted => self.accepted(),
                    When::GoOn => self.goes_on(),
                    When::Refused => self
                        .last
                        .as_ref()
                        .is_some_and(|reply| reply.code().is_refusal()),
                };
                if go {
                    self.say(line).await?;
                }
                Ok(())
            }
            Step::Message { from, to } => {
                let message = (self.part.message)(from, to);
                self.message((from, to, ""), &message, false).await
            }
            Step::Octets { octets, replies } => self.octets(octets, *replies).await,
            Step::Special(special) => {
                let Special {
                    from,
                    to,
                    parameters,
                    chunks,
                    body,
                } = special;
                let marked = (self.part.message)(from, to);
                let message = with_body(&marked, body);
                self.message((from, to, parameters), &message, *chunks)
                    .await
            }
            Step::StartTls => self.start_tls().await,
            Step::Quit => self.say("QUIT").await,
            // Credentials come with the checks that need them.
            _ => Ok(()),
        }
    }

    async fn ehlo(&mut self, name: &str) -> Result<(), Broken> {
        self.say(&format!("EHLO {name}")).await?;
        if self.accepted() {
            let lines = self.last.iter().flat_map(Reply::lines).skip(1);
            self.played.offered = Offered::parse(lines);
        }
        Ok(())
    }

    async fn start_tls(&mut self) -> Result<(), Broken> {
        if !self.played.offered.has("STARTTLS") {
            return Ok(());
        }
        self.say("STARTTLS").await?;
        if !self.accepted() {
            return Ok(());
        }
        let client = tls::Client::new(Verify::Noted, None)
            .map_err(|error| Broken::Handshake(std::io::Error::other(error)))?;
        let name = self.part.name.clone();
        self.talk
            .start_tls(&client, name, self.part.limits.command)
            .await?;
        let helo = self
            .talk
            .last_hello()
            .unwrap_or_else(|| "localhost".to_owned());
        self.ehlo(&helo).await
    }

    /// MAIL, RCPT, DATA and the message, each if the one before was accepted.
    async fn message(
        &mut self,
        (from, to, parameters): (&str, &str, &str),
        message: &[u8],
        chunks: bool,
    ) -> Result<(), Broken> {
        let size = if self.played.offered.has("SIZE") {
            format!(" SIZE={}", message.len())
        } else {
            String::new()
        };
        self.say(&format!("MAIL FROM:<{from}>{size}{parameters}"))
            .await?;
        if !self.accepted() {
            return Ok(());
        }
        self.say(&format!("RCPT TO:<{to}>")).await?;
        if !self.accepted() {
            return Ok(());
        }
        if chunks {
            return self.chunks(message).await;
        }
        self.say("DATA").await?;
        if !self.goes_on() {
            return Ok(());
        }
        let mut wire = Vec::new();
        encode_dots(message, &mut wire);
        let limit = self.part.limits.end_of_data;
        self.talk.say(&wire, limit).await?;
        self.hear(limit).await?;
        self.played.delivered |= self.accepted();
        Ok(())
    }

    /// The content in two chunks (RFC 3030 §2).
    async fn chunks(&mut self, message: &[u8]) -> Result<(), Broken> {
        let (first, rest) = message.split_at(message.len().min(FIRST_CHUNK));
        for (chunk, last) in [(first, ""), (rest, " LAST")] {
            let mut wire = format!("BDAT {}{last}\r\n", chunk.len()).into_bytes();
            wire.extend_from_slice(chunk);
            let limit = self.part.limits.end_of_data;
            self.talk.say(&wire, limit).await?;
            self.hear(limit).await?;
            if !self.accepted() {
                return Ok(());
            }
        }
        self.played.delivered = true;
        Ok(())
    }

    /// Says octets, and hears so many replies, or a 421 instead of the rest.
    async fn octets(&mut self, octets: &[u8], replies: u8) -> Result<(), Broken> {
        let limit = self.part.limits.command;
        self.talk.say(octets, limit).await?;
        for _ in 0..replies {
            self.hear(limit).await?;
            let code = self.last.as_ref().map(|reply| reply.code().number());
            if matches!(code, None | Some(421)) {
                break;
            }
        }
        Ok(())
    }

    async fn say(&mut self, line: &str) -> Result<(), Broken> {
        let limit = self.part.limits.command;
        self.talk
            .say(format!("{line}\r\n").as_bytes(), limit)
            .await?;
        self.hear(limit).await
    }

    async fn hear(&mut self, limit: Duration) -> Result<(), Broken> {
        let heard = self.talk.hear(limit).await?;
        if let Some(reply) = &heard.reply {
            let first =
                reply.code().number() == 530 && reply.text().to_uppercase().contains("STARTTLS");
            self.played.wants_tls |= first;
            self.played.greylisted = self.played.greylisted.max(greylisted(reply));
            self.played.answered |= reply.code().is_positive();
        }
        self.last = heard.reply;
        Ok(())
    }

    fn goes_on(&self) -> bool {
        let severity = self.last.as_ref().map(|reply| reply.code().severity());
        severity == Some(Severity::Intermediate)
    }

    fn accepted(&self) -> bool {
        self.last
            .as_ref()
            .is_some_and(|reply| reply.code().is_positive())
    }
}
