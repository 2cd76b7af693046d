//! Accepts connections, within limits, until told to end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use driver::clock::Clock;
use driver::journal::{self, Journal};
use driver::listen::{Accepted, Inherited, Listener, Listeners};
use driver::process::{Termination, survive_file_size_limit};
use driver::socket::Socket;
use driver::stream::Stream;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use crate::config::{ListenSpec, Place};
use crate::connection::Connection;
use crate::settings::{Settings, Site};

/// Why the server ended otherwise than asked.
#[derive(Debug)]
pub struct Stopped {
    /// Why.
    pub error: anyhow::Error,
    /// The exit status that says so.
    pub status: u8,
}

impl Stopped {
    /// For `map_err`: stops with that status.
    fn with<E: Into<anyhow::Error>>(status: u8) -> impl FnOnce(E) -> Self {
        move |error| Self {
            error: error.into(),
            status,
        }
    }
}

/// Serves until SIGINT or SIGTERM.
pub fn run(settings: &Settings) -> Result<(), Stopped> {
    let runtime = tokio::runtime::Runtime::new().map_err(Stopped::with(3))?;
    runtime.block_on(start(settings))
}

/// Takes its ports first, as root where it must be, then becomes who it is to be,
/// and only then makes files.
async fn start(settings: &Settings) -> Result<(), Stopped> {
    let termination = Termination::listen()
        .and_then(|termination| survive_file_size_limit().map(|()| termination))
        .context("listening for signals")
        .map_err(Stopped::with(3))?;
    let options = &settings.options;
    let mut listeners = bind(&options.listen).map_err(Stopped::with(3))?;
    driver::process::become_user(options.run_as.as_deref()).map_err(Stopped::with(2))?;
    let site = settings.open().map_err(Stopped::with(6))?;
    let clock = Clock::start();
    let recorded = journal::Settings {
        tool: concat!("helo-server ", env!("CARGO_PKG_VERSION")),
        durability: journal::Durability::Written,
        record_secrets: options.record_secrets,
    };
    let journal = match &options.record {
        Some(path) => Journal::create(path, &recorded, clock),
        None => Journal::nowhere(&recorded, clock),
    };
    let journal = journal.map_err(Stopped::with(6))?;
    listeners
        .announce(options.ready_file.as_deref())
        .map_err(Stopped::with(6))?;
    let server = Server {
        site: Arc::new(site),
        journal,
        sessions: JoinSet::new(),
        clients: HashMap::new(),
    };
    server.accept(&mut listeners, termination).await
}

/// Listens wherever it is wanted, or nowhere.
fn bind(wanted: &[ListenSpec]) -> anyhow::Result<Listeners> {
    let mut inherited = Inherited::take();
    let listeners = wanted.iter().map(|spec| match &spec.place {
        Place::New(endpoint) => Listener::bind(endpoint),
        Place::Inherited(index) => inherited.listener(*index),
    });
    Listeners::of(listeners.collect::<anyhow::Result<_>>()?)
}

struct Server {
    site: Arc<Site>,
    journal: Journal,
    sessions: JoinSet<()>,
    /// Whose sessions they are, to know how many each client has.
    clients: HashMap<Id, IpAddr>,
}

impl Server {
    async fn accept(
        mut self,
        listeners: &mut Listeners,
        mut termination: Termination,
    ) -> Result<(), Stopped> {
        let (end, shutdown) = watch::channel(false);
        loop {
            tokio::select! {
                Some(accepted) = listeners.accept() => self.take(accepted, &shutdown),
                Some(done) = self.sessions.join_next_with_id(), if !self.sessions.is_empty() => {
                    self.forget(&done);
                }
                () = termination.recv() => break,
                failure = self.journal.failed() => return Err(Stopped::with(6)(failure)),
            }
        }
        listeners.stop();
        end.send_replace(true);
        self.drain(&mut termination).await;
        self.journal.finish().map_err(Stopped::with(6))
    }

    /// Lets sessions finish, but not for ever, nor against a second signal.
    async fn drain(&mut self, termination: &mut Termination) {
        tracing::info!("ending; {} sessions may finish", self.sessions.len());
        let limit = self.site.limits.timeout_drain.0;
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
            site: Arc::clone(&self.site),
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
        let limits = &self.site.limits;
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
