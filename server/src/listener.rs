//! Accepts connections, within limits, until told to end.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use driver::clock::Clock;
use driver::journal::{self, Journal};
use driver::listen::{Accepted, Listeners};
use driver::process::{Termination, survive_file_size_limit};
use driver::serve::{ServeError, Service, serve};
use driver::socket::{Endpoint, Socket};
use driver::stream::Stream;
use shared::codec::Limits;
use shared::recording::OpenFacts;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::policy::SessionPolicy;
use crate::settings::Settings;

/// Why the server ended otherwise than asked.
#[derive(Debug)]
pub struct Stopped {
    /// Why.
    pub error: anyhow::Error,
    /// The exit status that says so.
    pub status: u8,
}

/// How long sessions may take to finish once the server is told to end.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves until SIGINT or SIGTERM.
pub fn run(settings: Settings) -> Result<(), Stopped> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Stopped {
        error: error.into(),
        status: 3,
    })?;
    runtime.block_on(Server::start(settings)?.accept())
}

struct Server {
    settings: Settings,
    clock: Clock,
    journal: Journal,
}

impl Server {
    fn start(settings: Settings) -> Result<Self, Stopped> {
        let clock = Clock::start();
        let recorded = journal::Settings {
            tool: concat!("helo-server ", env!("CARGO_PKG_VERSION")),
            durability: journal::Durability::Written,
            record_secrets: settings.run.record_secrets,
        };
        let journal = match &settings.run.record {
            Some(path) => Journal::create(path, &recorded, clock),
            None => Journal::nowhere(&recorded, clock),
        };
        let journal = journal.map_err(|error| Stopped { error, status: 6 })?;
        Ok(Self {
            settings,
            clock,
            journal,
        })
    }

    async fn accept(self) -> Result<(), Stopped> {
        let cannot_bind = |error| Stopped { error, status: 3 };
        let mut termination = Termination::listen()
            .and_then(|termination| survive_file_size_limit().map(|()| termination))
            .context("listening for signals")
            .map_err(cannot_bind)?;
        let wanted = &self.settings.run.listen;
        let wanted: Vec<Endpoint> = wanted.iter().copied().map(Endpoint::Tcp).collect();
        let mut listeners = Listeners::bind(&wanted).map_err(cannot_bind)?;
        listeners
            .announce(self.settings.run.ready_file.as_deref())
            .map_err(|error| Stopped { error, status: 6 })?;
        let (end, shutdown) = watch::channel(false);
        let service = Service {
            clock: self.clock,
            tls: self.settings.tls.clone(),
            limits: Limits::DEFAULT,
            patience: self.settings.patience,
            shutdown,
        };
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                Some(connection) = listeners.accept() => {
                    self.take(connection, &service, &mut sessions);
                }
                Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
                () = termination.recv() => break,
                failure = self.journal.failed() => {
                    return Err(Stopped { error: failure.into(), status: 6 });
                }
            }
        }
        listeners.stop();
        end.send_replace(true);
        tracing::info!("ending; {} sessions may finish", sessions.len());
        let drained = async { while sessions.join_next().await.is_some() {} };
        tokio::select! {
            _ = tokio::time::timeout(DRAIN, drained) => {}
            () = termination.recv() => {}
        }
        self.journal.finish().map_err(|error| Stopped {
            error: error.into(),
            status: 6,
        })
    }

    fn take(&self, connection: Accepted, service: &Service, sessions: &mut JoinSet<()>) {
        let Accepted {
            socket,
            client,
            local,
            ..
        } = connection;
        if sessions.len() >= self.settings.run.max_connections {
            tracing::warn!("{client}: too many connections");
            sessions.spawn(turn_away(socket));
            return;
        }
        let facts = OpenFacts {
            role: "server",
            client: Some(client.to_string()),
            listener: Some(local.to_string()),
            ..OpenFacts::default()
        };
        let Ok(mut journal) = self.journal.session(facts) else {
            // The loop hears of it from the journal itself.
            return;
        };
        let client_ip = client.ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let service = service.clone();
        let site = Arc::clone(&self.settings.site);
        sessions.spawn(async move {
            let mut policy = SessionPolicy::new(site, service.clock, client_ip);
            match serve(Stream::new(socket), &service, &mut policy, &mut journal).await {
                Ok(()) => tracing::debug!("{client}: ended"),
                Err(ServeError::Wire(error)) => tracing::info!("{client}: {error}"),
                Err(error @ ServeError::Journal(_)) => tracing::error!("{client}: {error}"),
            }
        });
    }
}

async fn turn_away(socket: Socket) {
    let mut stream = Stream::new(socket);
    let reply = b"421 4.3.2 too many connections, try again later\r\n";
    let told = async {
        stream.write(reply).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), told).await;
}
