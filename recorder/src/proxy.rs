//! Accepts connections, finds the upstream for each, and lets them be relayed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use driver::clock::Clock;
use driver::journal::{self, Durability, Journal};
use driver::listen::{Accepted, Listeners};
use driver::process::{Termination, survive_file_size_limit};
use driver::socket::{Endpoint, Socket};
use shared::recording::OpenFacts;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Stopped;
use crate::cli;
use crate::relay::{Relay, refuse};

/// How long a connection to the upstream may take: less than the five minutes
/// that RFC 5321 §4.5.3.2.1 has a client wait for its greeting.
const CONNECT: Duration = Duration::from_secs(60);

/// How long sessions may take to finish once the recorder is told to end.
const DRAIN: Duration = Duration::from_secs(30);

/// Relays and records until SIGINT or SIGTERM.
pub fn run(options: cli::Proxy) -> Result<(), Stopped> {
    check_upstream(&options.upstream).map_err(Stopped::with(2))?;
    let runtime = tokio::runtime::Runtime::new().map_err(Stopped::with(3))?;
    runtime.block_on(serve(options))
}

fn check_upstream(upstream: &str) -> Result<()> {
    let port = upstream
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(1..))) {
        bail!("--upstream '{upstream}' is no HOST:PORT, such as mx.example.test:25 or [::1]:25");
    }
    Ok(())
}

async fn serve(options: cli::Proxy) -> Result<(), Stopped> {
    let mut termination = Termination::listen()
        .and_then(|termination| survive_file_size_limit().map(|()| termination))
        .map_err(Stopped::with(3))?;
    let clock = Clock::start();
    let wanted: Vec<Endpoint> = options.listen.iter().copied().map(Endpoint::Tcp).collect();
    let mut listeners = Listeners::bind(&wanted).map_err(Stopped::with(3))?;
    let journal = open_journal(&options, clock).map_err(Stopped::with(6))?;
    listeners
        .announce(options.ready_file.as_deref())
        .map_err(Stopped::with(6))?;
    let (end, ending) = watch::channel(false);
    let options = Arc::new(options);
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            Some(accepted) = listeners.accept() => {
                if sessions.len() >= options.max_connections {
                    tracing::warn!("{}: too many connections", accepted.client);
                    continue;
                }
                let (options, journal, ending) = (Arc::clone(&options), journal.clone(), ending.clone());
                sessions.spawn(session(accepted, options, journal, ending));
            }
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
            () = termination.recv() => break,
            failure = journal.failed() => {
                // Sessions see the failure too: each tells its client, and ends.
                let drained = async { while sessions.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(Duration::from_secs(5), drained).await;
                return Err(Stopped { error: failure.into(), status: 6 });
            }
        }
    }
    listeners.stop();
    end.send_replace(true);
    let drained = async { while sessions.join_next().await.is_some() {} };
    tokio::select! {
        _ = tokio::time::timeout(DRAIN, drained) => {}
        () = termination.recv() => {}
    }
    journal.finish().map_err(Stopped::with(6))
}

fn open_journal(options: &cli::Proxy, clock: Clock) -> Result<Journal> {
    let settings = journal::Settings {
        tool: concat!("helo-recorder ", env!("CARGO_PKG_VERSION")),
        durability: match options.durability {
            cli::Durability::Buffered => Durability::Buffered,
            cli::Durability::Written => Durability::Written,
            cli::Durability::Synced => Durability::Synced,
        },
        record_secrets: options.record_secrets,
    };
    if options.append && options.record.exists() {
        Journal::append(&options.record, &settings, clock)
    } else {
        let journal = Journal::create(&options.record, &settings, clock);
        if options.record.exists() && journal.is_err() {
            return journal.context("--append goes on with a recording that is there");
        }
        journal
    }
}

async fn session(
    accepted: Accepted,
    options: Arc<cli::Proxy>,
    journal: Journal,
    ending: watch::Receiver<bool>,
) {
    let Accepted {
        socket: Socket::Tcp(tcp),
        client,
        local,
        ..
    } = accepted
    else {
        // Only TCP is listened on.
        return;
    };
    let connected = connect(&options).await;
    let upstream = connected
        .as_ref()
        .ok()
        .map(|(_, address)| address.to_string());
    let facts = OpenFacts {
        role: "proxy",
        client: Some(client.to_string()),
        listener: Some(local.to_string()),
        upstream,
        name: Some(options.upstream.clone()),
        ..OpenFacts::default()
    };
    let Ok(mut recorded) = journal.session(facts) else {
        // The accepting loop hears of it from the journal itself.
        return;
    };
    let clock = journal.clock();
    let result = match connected {
        Ok((server, _)) => {
            let patience = Duration::from_secs(options.timeout.max(1));
            Relay::new(tcp, server, clock, &mut recorded, patience)
                .run(ending)
                .await
        }
        Err(error) => {
            tracing::warn!("{client}: {error:#}");
            refuse(tcp, clock, &mut recorded, &format!("{error:#}")).await
        }
    };
    if let Err(error) = result {
        tracing::error!("{client}: {error}");
    }
}

/// Connects to the first address of the upstream that answers.
async fn connect(options: &cli::Proxy) -> Result<(TcpStream, SocketAddr)> {
    let upstream = &options.upstream;
    let addresses = tokio::net::lookup_host(upstream.as_str())
        .await
        .with_context(|| format!("no address for the upstream {upstream}"))?;
    let mut last = None;
    for address in addresses {
        if options
            .source
            .is_some_and(|source| source.is_ipv4() != address.is_ipv4())
        {
            continue;
        }
        match driver::net::connect(address, options.source, CONNECT).await {
            Ok(tcp) => return Ok((tcp, address)),
            Err(error) => {
                last = Some(anyhow::Error::from(error).context(format!("connecting to {address}")));
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        anyhow::anyhow!("the upstream {upstream} has no address of the family of --source")
    }))
}
