//! Accepts connections, within limits, until told to end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use driver::clock::Clock;
use driver::journal::{self, Journal};
use driver::listen::{Accepted, Listeners};
use driver::process::{Termination, survive_file_size_limit};
use driver::socket::{Endpoint, Socket};
use driver::stream::Stream;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use crate::connection::Connection;
use crate::settings::Settings;

/// Why the server ended otherwise than asked.
#[derive(Debug)]
pub struct Stopped {
    /// Why.
    pub error: anyhow::Error,
    /// The exit status that says so.
    pub status: u8,
}

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
    journal: Journal,
    sessions: JoinSet<()>,
    /// Whose sessions they are, to know how many each client has.
    clients: HashMap<Id, IpAddr>,
}

impl Server {
    fn start(settings: Settings) -> Result<Self, Stopped> {
        let clock = Clock::start();
        let options = &settings.options;
        let recorded = journal::Settings {
            tool: concat!("helo-server ", env!("CARGO_PKG_VERSION")),
            durability: journal::Durability::Written,
            record_secrets: options.record_secrets,
        };
        let journal = match &options.record {
            Some(path) => Journal::create(path, &recorded, clock),
            None => Journal::nowhere(&recorded, clock),
        };
        let journal = journal.map_err(|error| Stopped { error, status: 6 })?;
        Ok(Self {
            settings,
            journal,
            sessions: JoinSet::new(),
            clients: HashMap::new(),
        })
    }

    async fn accept(mut self) -> Result<(), Stopped> {
        let cannot_bind = |error| Stopped { error, status: 3 };
        let mut termination = Termination::listen()
            .and_then(|termination| survive_file_size_limit().map(|()| termination))
            .context("listening for signals")
            .map_err(cannot_bind)?;
        let options = &self.settings.options;
        let wanted = options.listen.iter().map(|spec| spec.endpoint.clone());
        let wanted: Vec<Endpoint> = wanted.collect();
        let mut listeners = Listeners::bind(&wanted).map_err(cannot_bind)?;
        listeners
            .announce(options.ready_file.as_deref())
            .map_err(|error| Stopped { error, status: 6 })?;
        let (end, shutdown) = watch::channel(false);
        loop {
            tokio::select! {
                Some(accepted) = listeners.accept() => self.take(accepted, &shutdown),
                Some(done) = self.sessions.join_next_with_id(), if !self.sessions.is_empty() => {
                    self.forget(&done);
                }
                () = termination.recv() => break,
                failure = self.journal.failed() => {
                    return Err(Stopped { error: failure.into(), status: 6 });
                }
            }
        }
        listeners.stop();
        end.send_replace(true);
        self.drain(&mut termination).await;
        self.journal.finish().map_err(|error| Stopped {
            error: error.into(),
            status: 6,
        })
    }

    /// Lets sessions finish, but not for ever, nor against a second signal.
    async fn drain(&mut self, termination: &mut Termination) {
        tracing::info!("ending; {} sessions may finish", self.sessions.len());
        let limit = self.settings.site.limits.timeout_drain.0;
        let sessions = &mut self.sessions;
        let drained = async { while sessions.join_next().await.is_some() {} };
        tokio::select! {
            _ = tokio::time::timeout(limit, drained) => {}
            () = termination.recv() => {}
        }
    }

    fn take(&mut self, accepted: Accepted, shutdown: &watch::Receiver<bool>) {
        let client = accepted.client.ip();
        if let Some(why) = self.objection(client) {
            tracing::warn!("{}: {why}", accepted.client);
            self.sessions.spawn(turn_away(accepted.socket, why));
            return;
        }
        let connection = Connection {
            site: Arc::clone(&self.settings.site),
            journal: self.journal.clone(),
            shutdown: shutdown.clone(),
        };
        let task = self.sessions.spawn(connection.serve(accepted));
        if let Some(client) = client {
            self.clients.insert(task.id(), client);
        }
    }

    /// Why a client may not come in now.
    fn objection(&self, client: Option<IpAddr>) -> Option<&'static str> {
        let limits = &self.settings.site.limits;
        if self.sessions.len() >= limits.max_connections {
            return Some("too many connections");
        }
        let most = limits.max_connections_per_client;
        let of_client = || {
            let same = self.clients.values().filter(|one| Some(**one) == client);
            same.count()
        };
        (most > 0 && client.is_some() && of_client() >= most)
            .then_some("too many connections from you")
    }

    fn forget(&mut self, done: &Result<(Id, ()), tokio::task::JoinError>) {
        let id = match done {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.clients.remove(&id);
    }
}

async fn turn_away(socket: Socket, why: &str) {
    let mut stream = Stream::new(socket);
    let reply = format!("421 4.3.2 {why}, try again later\r\n");
    let told = async {
        stream.write(reply.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), told).await;
}
