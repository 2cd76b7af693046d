//! `send`: one message, with the transcript as it happens.

mod message;
mod sender;
mod transcript;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use driver::clock::Clock;
use driver::journal::{self, Durability, Journal};
use driver::stream::Stream;
use driver::talk::Talk;
use driver::tls::{self, Verify};
use serde::Serialize;
use shared::recording::{NoteFacts, OpenFacts};

use self::sender::Sender;
use crate::cli::{Send, Tls};
use crate::exit::{Failure, Status};
use crate::screen;

/// How long to wait for the peer to take that we leave.
const LEAVING: Duration = Duration::from_secs(5);

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
    let mut outcome = Outcome {
        schema: 1,
        target: options.target.to_string(),
        ..Outcome::default()
    };
    let result = send(&options, &mut outcome).await;
    if options.json {
        outcome.status = match &result {
            Ok(status) => status.code(),
            Err(failure) => failure.status.code(),
        };
        let error = result.as_ref().err();
        outcome.error = error.map(|failure| format!("{:#}", failure.error));
        let text = serde_json::to_string_pretty(&outcome).map_err(Failure::with(Status::Output))?;
        screen::print(&(text + "\n"));
    }
    result
}

/// Everything that can be wrong here is looked at before anybody is talked to.
async fn send(options: &Send, outcome: &mut Outcome) -> Result<Status, Failure> {
    let tls = tls_client(options).map_err(Failure::with(Status::Usage))?;
    let given = options.data.as_deref().map(message::read).transpose();
    let given = given.map_err(Failure::with(Status::Input))?;
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
    let sent = match connect(options, &journal).await {
        Ok((mut talk, address)) => {
            outcome.address = Some(address.to_string());
            let mut sender = Sender::new(options, outcome, tls);
            let sent = sender.send(&mut talk, given, clock).await;
            let closed = talk.close(LEAVING).await;
            closed.map_err(Failure::with(Status::Output)).and(sent)
        }
        Err(failure) => {
            note_unreachable(&journal, &failure);
            Err(failure)
        }
    };
    let finished = journal.finish().map_err(Failure::with(Status::Output));
    finished.and(sent)
}

fn tls_client(options: &Send) -> anyhow::Result<Option<tls::Client>> {
    if options.tls == Tls::Never {
        anyhow::ensure!(
            !options.target.implicit_tls,
            "{} is TLS from the first octet: --tls never contradicts it",
            options.target
        );
        return Ok(None);
    }
    let verify = match options.tls {
        Tls::Verified => Verify::Required,
        _ => Verify::Noted,
    };
    if let Some(name) = &options.tls_name {
        tls::server_name(name).context("--tls-name")?;
    }
    tls::Client::new(verify, options.ca.as_deref()).map(Some)
}

/// A recording of nothing says why there is nothing.
fn note_unreachable(journal: &Journal, failure: &Failure) {
    // A recording that cannot be written says so when it is finished.
    let _ = journal.note(&NoteFacts {
        by: "helo-client".into(),
        message: Some(format!("{:#}", failure.error)),
        tag: Some("unreachable".into()),
        ..NoteFacts::default()
    });
}

async fn connect(options: &Send, journal: &Journal) -> Result<(Talk, SocketAddr), Failure> {
    let no_verdict = |error: anyhow::Error| Failure::new(Status::NoVerdict, error);
    let target = &options.target;
    let addresses = target
        .resolve()
        .await
        .with_context(|| format!("no address for {target}"))
        .map_err(no_verdict)?;
    let mut last = anyhow!("{target} has no address of the family of --source");
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
        let shown = !options.json && !options.quiet;
        if shown {
            screen::tell(format_args!("== connected to {address}"));
        }
        let talk = Talk::new(
            Stream::new(tcp),
            journal.clock(),
            session,
            transcript::watch(shown),
        );
        return Ok((talk, address));
    }
    Err(no_verdict(last))
}
