//! `replay`: says again what a recorded client said, and compares the replies.

mod player;
mod report;
mod usable;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use driver::clock::Clock;
use driver::journal::{self, Durability, Journal};
use driver::stream::Stream;
use driver::talk::{Broken, Talk};
use shared::recording::{Dialogue, OpenFacts};
use shared::replay::Level;

use self::player::Player;
use super::judge::load;
use crate::cli::{FailOn, Replay};
use crate::exit::{Failure, Status};
use crate::screen;

/// Replays the sessions asked for.
pub async fn run(options: Replay) -> Result<Status, Failure> {
    let recording = load(&options.file)?;
    let dialogues = usable::sessions(&recording, &options)?;
    if options.dry_run {
        for dialogue in &dialogues {
            report::say_what_would_be_said(dialogue, options.json);
        }
        return Ok(Status::AsAsked);
    }
    let address = address(&options).await?;
    let settings = journal::Settings {
        tool: concat!("helo-client ", env!("CARGO_PKG_VERSION")),
        durability: Durability::Written,
        record_secrets: false,
    };
    let clock = Clock::start();
    let journal = match &options.record {
        Some(path) => Journal::create(path, &settings, clock),
        None => Journal::nowhere(&settings, clock),
    };
    let journal = journal.map_err(Failure::with(Status::Output))?;
    let mut worst = None;
    let mut replayed = Ok(());
    for dialogue in &dialogues {
        if !options.json {
            screen::print(&format!("session {} against {address}\n", dialogue.session));
        }
        replayed = session(&options, &journal, address, dialogue, &mut worst).await;
        if replayed.is_err() {
            break;
        }
    }
    journal.finish().map_err(Failure::with(Status::Output))?;
    verdict(&options, worst, replayed)
}

/// Replays one session; `worst` is made as bad as the worst difference.
async fn session(
    options: &Replay,
    journal: &Journal,
    address: SocketAddr,
    dialogue: &Dialogue,
    worst: &mut Option<Level>,
) -> Result<(), Failure> {
    let talk = connect(options, journal, address).await?;
    let mut player = Player::new(options, talk, dialogue);
    let played = player.play().await;
    let (talk, found) = player.leave();
    *worst = (*worst).max(found);
    talk.close(Duration::from_secs(5))
        .await
        .map_err(Failure::with(Status::Output))?;
    played.map_err(|error| match error {
        Broken::Journal(error) => Failure::new(Status::Output, error),
        error => {
            let error = anyhow::Error::from(error);
            let step = format!("replaying session {} against {address}", dialogue.session);
            Failure::new(Status::NoVerdict, error.context(step))
        }
    })
}

/// What was found different is different, though the rest could not be tried.
fn verdict(
    options: &Replay,
    worst: Option<Level>,
    replayed: Result<(), Failure>,
) -> Result<Status, Failure> {
    let least = match options.fail_on {
        FailOn::Fail => Level::Fail,
        FailOn::Warn => Level::Warn,
    };
    let same = worst.is_none_or(|worst| worst < least);
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
