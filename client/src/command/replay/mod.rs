//! `replay`: says again what a recorded client said, and compares the replies.

mod auth;
mod ending;
mod judging;
mod junit;
mod pace;
mod player;
mod report;
mod rewrite;
mod usable;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use driver::clock::Clock;
use driver::journal::{self, Durability, Journal};
use driver::sasl::client::Credentials;
use driver::stream::Stream;
use driver::talk::{Broken, Talk};
use driver::tls::{self, Verify};
use shared::recording::{Dialogue, OpenFacts};
use shared::replay::{Matching, Rules, Shape, StatusRule};

pub use self::pace::Pace;
use self::player::Player;
use self::report::Reporter;
pub use self::rewrite::Redirection;
use self::rewrite::Rewritten;
use super::judge::load;
use crate::cli::{Ec, Match, Replay};
use crate::exit::{Failure, Status};
use crate::screen;

/// Replays the sessions asked for.
pub async fn run(options: Replay) -> Result<Status, Failure> {
    let recording = load(&options.file)?;
    let credentials = auth::credentials(&options)?;
    trust(&options).map_err(Failure::with(Status::Usage))?;
    let dialogues = usable::sessions(&recording, &options, credentials.is_some())?;
    let clock = Clock::start();
    let mut sessions = Vec::with_capacity(dialogues.len());
    for dialogue in &dialogues {
        sessions.push((dialogue, Rewritten::of(dialogue, &options, clock.now())?));
    }
    if options.dry_run {
        for (dialogue, rewritten) in &sessions {
            report::say_what_would_be_said(dialogue, rewritten, &options);
        }
        return Ok(Status::AsAsked);
    }
    let address = address(&options).await?;
    auth::refuse_clear_text(&dialogues, address, &options.target)?;
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
    let replay = Replaying {
        options: &options,
        journal: &journal,
        address,
        credentials: credentials.as_ref(),
    };
    let mut report = Reporter::new(&options);
    let mut replayed = Ok(());
    for (dialogue, rewritten) in &sessions {
        report.session(dialogue.session, address);
        match replay.session(dialogue, rewritten, &mut report).await {
            Ok(After::GoOn) => {}
            Ok(After::Stop) => break,
            Err(failure) => {
                replayed = Err(failure);
                break;
            }
        }
    }
    journal.finish().map_err(Failure::with(Status::Output))?;
    if let Some(path) = &options.junit {
        std::fs::write(path, report.junit())
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(Failure::with(Status::Output))?;
    }
    verdict(&options, report.is_same(), replayed)
}

/// What is wrong with the options of TLS is found before anything is said.
fn trust(options: &Replay) -> anyhow::Result<()> {
    if options.ca.is_some() {
        tls::Client::new(Verify::Noted, options.ca.as_deref())?;
    }
    if let Some(name) = &options.tls_name {
        tls::server_name(name)?;
    }
    Ok(())
}

/// What all sessions are replayed with.
struct Replaying<'a> {
    options: &'a Replay,
    journal: &'a Journal,
    address: SocketAddr,
    credentials: Option<&'a Credentials>,
}

/// Whether the next session is replayed.
enum After {
    GoOn,
    Stop,
}

impl Replaying<'_> {
    /// Replays one session.
    async fn session(
        &self,
        dialogue: &Dialogue,
        rewritten: &Rewritten,
        report: &mut Reporter,
    ) -> Result<After, Failure> {
        let talk = connect(self.options, self.journal, self.address).await?;
        let mut player = Player::new(self.options, talk, dialogue, rewritten, report);
        if let Some(credentials) = self.credentials {
            player.log_in_with(credentials);
        }
        let played = player.play().await;
        let after = if player.was_stopped() {
            After::Stop
        } else {
            After::GoOn
        };
        player
            .leave()
            .close(Duration::from_secs(5))
            .await
            .map_err(Failure::with(Status::Output))?;
        played.map(|()| after).map_err(|error| match error {
            Broken::Journal(error) => Failure::new(Status::Output, error),
            error => {
                let error = anyhow::Error::from(error);
                let address = self.address;
                let step = format!("replaying session {} against {address}", dialogue.session);
                Failure::new(Status::NoVerdict, error.context(step))
            }
        })
    }
}

/// What must be the same.
fn rules(options: &Replay) -> Rules {
    Rules {
        matching: match options.matching {
            Match::Class => Matching::Class,
            Match::Exact => Matching::Exact,
            Match::Text => Matching::Text,
        },
        status: match options.ec {
            Ec::Ignore => StatusRule::Ignore,
            Ec::Strict => StatusRule::Strict,
            Ec::Usual => StatusRule::Usual,
        },
        shape: if options.strict_shape {
            Shape::Strict
        } else {
            Shape::Usual
        },
        slowdown: options.max_slowdown,
    }
}

/// What was found different is different, though the rest could not be tried.
fn verdict(options: &Replay, same: bool, replayed: Result<(), Failure>) -> Result<Status, Failure> {
    if same || matches!(&replayed, Err(failure) if failure.status == Status::Output) {
        replayed?;
    } else if let Err(failure) = replayed {
        screen::tell(format_args!("helo-client: {:#}", failure.error));
    }
    if !options.json {
        screen::print(if same {
            "SAME: the replies are as recorded\n"
        } else {
            "DIFFERENT: see above\n"
        });
    }
    Ok(if same { Status::AsAsked } else { Status::No })
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

async fn connect(
    options: &Replay,
    journal: &Journal,
    address: SocketAddr,
) -> Result<Talk, Failure> {
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
            implicit_tls: options.target.implicit_tls,
            ..OpenFacts::default()
        })
        .map_err(Failure::with(Status::Output))?;
    let watch = Box::new(|_: &_| {});
    Ok(Talk::new(Stream::new(tcp), journal.clock(), session, watch))
}
