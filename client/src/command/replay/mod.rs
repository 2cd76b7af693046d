//! `replay`: says again what a recorded client said, and compares the replies.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use driver::clock::Clock;
use driver::journal::{self, Durability, Journal};
use driver::stream::Stream;
use driver::talk::{Broken, Talk};
use driver::tls::{self, Verify};
use serde::Serialize;
use shared::command::Verb;
use shared::escape::excerpt;
use shared::extension::Offered;
use shared::recording::{Answer, Dialogue, Exchange, OpenFacts, Said};
use shared::replay::{
    Difference, Group, Level, Matching, Safety, begins_anew, compare, groups, safety, shown,
};
use shared::reply::Reply;
use shared::session::Heard;

use super::judge::load;
use crate::cli::{FailOn, Match, Replay};
use crate::exit::{Failure, Status};

/// Replays the sessions asked for.
pub async fn run(options: Replay) -> Result<Status, Failure> {
    let recording = load(&options.file)?;
    let mut dialogues = recording.dialogues();
    if let Some(session) = options.session {
        dialogues.retain(|dialogue| dialogue.session == session);
    }
    if dialogues.is_empty() {
        let error = anyhow!(
            "there is no session to replay in {}",
            options.file.display()
        );
        return Err(Failure::new(Status::Input, error));
    }
    for dialogue in &dialogues {
        refuse_unusable(dialogue)?;
    }
    if options.dry_run {
        for dialogue in &dialogues {
            say_what_would_be_said(dialogue);
        }
        return Ok(Status::AsAsked);
    }
    let address = address(&options).await?;
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
    let mut worst = None;
    for dialogue in &dialogues {
        if !options.json {
            anstream::println!("session {} against {address}", dialogue.session);
        }
        let mut player = Player::connect(&options, &journal, address, dialogue).await?;
        let played = player.play(dialogue).await;
        worst = worst.max(player.worst);
        player
            .talk
            .close(Duration::from_secs(5))
            .await
            .map_err(Failure::with(Status::Output))?;
        match played {
            Ok(()) => {}
            Err(Broken::Journal(error)) => return Err(Failure::new(Status::Output, error)),
            Err(error) => {
                let error =
                    anyhow::Error::from(error).context(format!("replaying against {address}"));
                return Err(Failure::new(Status::NoVerdict, error));
            }
        }
    }
    journal.finish().map_err(Failure::with(Status::Output))?;
    Ok(verdict(&options, worst))
}

fn verdict(options: &Replay, worst: Option<Level>) -> Status {
    let least = match options.fail_on {
        FailOn::Fail => Level::Fail,
        FailOn::Warn => Level::Warn,
    };
    let same = worst.is_none_or(|worst| worst < least);
    if !options.json {
        anstream::println!(
            "{}",
            if same {
                "SAME: the replies are as recorded"
            } else {
                "DIFFERENT: see above"
            }
        );
    }
    if same { Status::AsAsked } else { Status::No }
}

/// A session of which bytes are missing cannot be said again.
fn refuse_unusable(dialogue: &Dialogue) -> Result<(), Failure> {
    let unusable = dialogue.exchanges.iter().find_map(|exchange| {
        let why = match &exchange.said {
            Said::Command { redacted: true, .. } | Said::Sasl { .. } => {
                "it holds AUTH, which is not replayed as bytes"
            }
            Said::Content { missing: 1.., .. } => "its mail data was not recorded whole",
            Said::Raw { why, .. } if why == "tls" => "it is encrypted",
            _ => return None,
        };
        Some((exchange.n, why))
    });
    match unusable {
        Some((n, why)) => Err(Failure::new(
            Status::Input,
            anyhow!(
                "session {} cannot be replayed: {why} (n={n})",
                dialogue.session
            ),
        )),
        None => Ok(()),
    }
}

fn say_what_would_be_said(dialogue: &Dialogue) {
    anstream::println!("session {}", dialogue.session);
    for (index, group) in groups(dialogue).iter().enumerate() {
        for exchange in group.exchanges {
            anstream::println!(
                "step {:>3}  C  {:<50} #{}",
                index + 1,
                shown_said(&exchange.said),
                exchange.n
            );
        }
    }
}

/// The address to connect to; anything but loopback must be asked for.
async fn address(options: &Replay) -> Result<SocketAddr, Failure> {
    let target = &options.target;
    let addresses = target
        .resolve()
        .await
        .with_context(|| format!("no address for {target}"))
        .map_err(Failure::with(Status::NoVerdict))?;
    let fits = |address: &&SocketAddr| {
        options
            .source
            .is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    };
    let address = addresses
        .iter()
        .find(fits)
        .with_context(|| format!("{target} has no address of the family of --source"))
        .map_err(Failure::with(Status::NoVerdict))?;
    if !address.ip().to_canonical().is_loopback() && !options.live {
        return Err(Failure::new(
            Status::Unsafe,
            anyhow!(
                "a replay sends real mail: say --live to send it to {address}, or --dry-run to see it"
            ),
        ));
    }
    Ok(*address)
}

/// One step, as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    session: u64,
    step: usize,
    n: u64,
    said: String,
    want: Option<String>,
    got: Option<String>,
    differences: &'a [Difference],
}

struct Player<'a> {
    options: &'a Replay,
    talk: Talk,
    offered: Offered,
    session: u64,
    step: usize,
    worst: Option<Level>,
}

/// Whether the session goes on.
#[derive(PartialEq, Eq)]
enum Next {
    On,
    /// On, but not with this transaction.
    Skip,
    Stop,
}

impl<'a> Player<'a> {
    async fn connect(
        options: &'a Replay,
        journal: &Journal,
        address: SocketAddr,
        dialogue: &Dialogue,
    ) -> Result<Self, Failure> {
        let tcp = driver::net::connect(address, options.source, options.timeout)
            .await
            .with_context(|| format!("cannot connect to {address}"))
            .map_err(Failure::with(Status::NoVerdict))?;
        let session = journal
            .session(OpenFacts {
                role: "client",
                client: tcp.local_addr().ok().map(|address| address.to_string()),
                listener: Some(address.to_string()),
                name: Some(options.target.host.clone()),
                ..OpenFacts::default()
            })
            .map_err(Failure::with(Status::Output))?;
        Ok(Self {
            options,
            talk: Talk::new(Stream::new(tcp), journal.clock(), session, Box::new(|_| {})),
            offered: Offered::default(),
            session: dialogue.session,
            step: 0,
            worst: None,
        })
    }

    async fn play(&mut self, dialogue: &Dialogue) -> Result<(), Broken> {
        let greeting = self.talk.hear(self.options.timeout).await?;
        let nothing = Said::Raw {
            octets: 0,
            why: String::new(),
        };
        self.judge(&nothing, 0, dialogue.greeting.as_ref(), &greeting);
        let mut skipping = false;
        for group in groups(dialogue) {
            self.step += 1;
            let anew = group
                .exchanges
                .first()
                .is_some_and(|first| begins_anew(&first.said));
            skipping &= !anew;
            if skipping {
                continue;
            }
            match self.group(group).await? {
                Next::On => {}
                Next::Skip => skipping = true,
                Next::Stop => return Ok(()),
            }
        }
        Ok(())
    }

    async fn group(&mut self, group: Group<'_>) -> Result<Next, Broken> {
        if group.exchanges.len() > 1 && self.offered.has("PIPELINING") {
            return self.together(group.exchanges).await;
        }
        for exchange in group.exchanges {
            let next = self.alone(exchange).await?;
            if next != Next::On {
                return Ok(next);
            }
        }
        Ok(Next::On)
    }

    /// A group in one write. A live yes where a no was recorded may leave the
    /// server waiting for mail data: then only closing is safe.
    async fn together(&mut self, exchanges: &[Exchange]) -> Result<Next, Broken> {
        let mut bytes = Vec::new();
        for exchange in exchanges {
            bytes.extend(said_bytes(&exchange.said));
        }
        self.talk.say(&bytes, self.options.timeout).await?;
        let (mut reset, mut waits_for_data) = (false, false);
        for exchange in exchanges {
            let heard = self.talk.hear(self.options.timeout).await?;
            let want = exchange.answers.first();
            self.judge(&exchange.said, exchange.n, want, &heard);
            if let Some(reply) = &heard.reply {
                reset |= safety(&exchange.said, want, reply) != Safety::GoOn;
                waits_for_data |= reply.code().is_intermediate();
            }
        }
        match (reset, waits_for_data) {
            (false, _) => Ok(Next::On),
            (true, true) => Ok(Next::Stop),
            (true, false) => self.reset().await,
        }
    }

    async fn alone(&mut self, exchange: &Exchange) -> Result<Next, Broken> {
        let bytes = said_bytes(&exchange.said);
        self.talk.say(&bytes, self.options.timeout).await?;
        if let Said::Content {
            complete: false, ..
        } = exchange.said
        {
            // The recorded client stopped here, and so do we.
            return Ok(Next::Stop);
        }
        let wanted = exchange.answers.len().max(1);
        let mut next = Next::On;
        for index in 0..wanted {
            let heard = match self.talk.hear(self.options.timeout).await {
                Ok(heard) => heard,
                Err(Broken::Closed) if exchange.answers.is_empty() => return Ok(Next::Stop),
                Err(error) => {
                    self.missing(exchange, &error);
                    return Err(error);
                }
            };
            let want = exchange.answers.get(index);
            self.judge(&exchange.said, exchange.n, want, &heard);
            let Some(reply) = &heard.reply else {
                return Ok(Next::Stop);
            };
            next = match safety(&exchange.said, want, reply) {
                Safety::GoOn => next,
                Safety::Close => return Ok(Next::Stop),
                Safety::Reset => return self.reset().await,
            };
            if matches!(exchange.said.verb(), Some(Verb::Ehlo)) && reply.code().is_positive() {
                self.offered = heard.offered();
            }
            if exchange.said.verb() == Some(&Verb::StartTls) && reply.code().is_positive() {
                self.start_tls().await?;
            }
        }
        Ok(next)
    }

    async fn start_tls(&mut self) -> Result<(), Broken> {
        let failed =
            |error: anyhow::Error| Broken::Handshake(std::io::Error::other(format!("{error:#}")));
        let client = tls::Client::new(Verify::Noted, None).map_err(failed)?;
        let name = tls::server_name(&self.options.target.host).map_err(failed)?;
        self.talk
            .start_tls(&client, name, self.options.timeout)
            .await
            .map(drop)
    }

    async fn reset(&mut self) -> Result<Next, Broken> {
        self.talk.say(b"RSET\r\n", self.options.timeout).await?;
        let heard = self.talk.hear(self.options.timeout).await?;
        let done = heard.reply.is_some_and(|reply| reply.code().is_positive());
        Ok(if done { Next::Skip } else { Next::Stop })
    }

    fn judge(&mut self, said: &Said, n: u64, want: Option<&Answer>, heard: &Heard) {
        let matching = match self.options.matching {
            Match::Exact => Matching::Exact,
            Match::Class => Matching::Class,
        };
        let differences = compare(said, want, heard.reply.as_ref(), matching);
        self.worst = self
            .worst
            .max(differences.iter().map(|one| one.level).max());
        let wanted = want
            .and_then(|answer| answer.reply.as_ref())
            .map(Reply::to_string);
        let got = excerpt(&heard.wire, 200);
        if self.options.json {
            let line = Line {
                schema: 1,
                session: self.session,
                step: self.step,
                n,
                said: shown_said(said),
                want: wanted,
                got: Some(got),
                differences: &differences,
            };
            if let Ok(text) = serde_json::to_string(&line) {
                anstream::println!("{text}");
            }
            return;
        }
        self.print(said, n, want, heard, &differences);
    }

    #[expect(clippy::too_many_arguments, reason = "all of one step")]
    fn print(
        &self,
        said: &Said,
        n: u64,
        want: Option<&Answer>,
        heard: &Heard,
        differences: &[Difference],
    ) {
        let mut out = format!("step {:>3}  C  {:<48} #{n}\n", self.step, shown_said(said));
        let got = excerpt(&heard.wire, 60);
        if differences.is_empty() {
            let _ = writeln!(out, "          S  {got:<48} {}", shown(heard.took));
        } else {
            let recorded = want.map_or_else(|| "(none)".into(), |answer| excerpt(&answer.wire, 60));
            let took = want.and_then(|answer| answer.took);
            let _ = writeln!(out, "          S- {recorded:<48} {}", shown(took));
            let _ = write!(out, "          S+ {got:<48} {}", shown(heard.took));
            for one in differences {
                let level = format!("{:?}", one.level).to_uppercase();
                let _ = write!(
                    out,
                    "\n             {level} {}: {} > {}",
                    one.field, one.want, one.got
                );
            }
            out.push('\n');
        }
        anstream::print!("{out}");
    }

    /// The live server did not answer where the recorded one did.
    fn missing(&mut self, exchange: &Exchange, error: &Broken) {
        self.worst = self.worst.max(Some(Level::Fail));
        if !self.options.json {
            anstream::println!(
                "step {:>3}  C  {:<48} #{}",
                self.step,
                shown_said(&exchange.said),
                exchange.n
            );
            anstream::println!("          S+ ({error})");
        }
    }
}

fn said_bytes(said: &Said) -> Vec<u8> {
    match said {
        Said::Command { line, .. } | Said::Sasl { line, .. } => line.clone(),
        Said::Content {
            wire,
            complete,
            form,
            ..
        } => {
            let mut bytes = wire.clone();
            if *complete && *form == shared::session::DataForm::Dot {
                bytes.extend_from_slice(b".\r\n");
            }
            bytes
        }
        Said::Raw { .. } => Vec::new(),
    }
}

fn shown_said(said: &Said) -> String {
    match said {
        Said::Command { line, .. } | Said::Sasl { line, .. } => excerpt(line, 60),
        Said::Content { wire, .. } => format!("({} octets of mail data)", wire.len()),
        Said::Raw { octets: 0, .. } => "(connects)".into(),
        Said::Raw { octets, why } => format!("({octets} raw octets: {why})"),
    }
}
