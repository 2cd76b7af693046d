//! Accepts connections, within limits, until told to end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use driver::clock::Clock;
use driver::journal::{self, Journal, WriteFailed};
use driver::listen::{Accepted, Inherited, Listener, Listeners};
use driver::process::{Termination, raise_descriptor_limit, survive_file_size_limit};
use driver::serve::Ending;
use driver::socket::Socket;
use driver::stream::Stream;
use shared::recording::NoteFacts;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use crate::api::Http;
use crate::config::{ListenSpec, Options, Place};
use crate::connection::Connection;
use crate::exit;
use crate::expect::Unmet;
use crate::monitor::Limit;
use crate::rate::Rates;
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
    /// Makes an error one that has that status.
    pub(crate) fn with<E: Into<anyhow::Error>>(status: u8) -> impl Fn(E) -> Self {
        move |error| Self {
            error: error.into(),
            status,
        }
    }
}

/// How long sessions may take to say that they end.
const GRACE: Duration = Duration::from_secs(5);

/// How long, where the server ends by itself, sessions may take to end as they please:
/// a client that was just told that its message is kept means to say QUIT.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves until SIGINT or SIGTERM, or until it is to end by itself; returns what was
/// expected and did not come true.
pub fn run(settings: &Settings) -> Result<Vec<Unmet>, Stopped> {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Runtime::new().map_err(Stopped::with(3))?;
    runtime.block_on(serve(settings))
}

/// Takes its ports first, as root where it must be, then becomes who it is to be,
/// and only then makes files.
async fn serve(settings: &Settings) -> Result<Vec<Unmet>, Stopped> {
    let mut termination = Termination::listen()
        .and_then(|termination| survive_file_size_limit().map(|()| termination))
        .context("listening for signals")
        .map_err(Stopped::with(3))?;
    let options = &settings.options;
    let mut listeners = bind(&options.listen).map_err(Stopped::with(3))?;
    let http = options.api.http.map(Http::bind).transpose();
    let http = http.map_err(Stopped::with(3))?;
    driver::process::become_user(options.run_as.as_deref()).map_err(Stopped::with(2))?;
    let site = settings.site();
    site.keeper.prepare().map_err(Stopped::with(6))?;
    let journal = open_journal(options).map_err(Stopped::with(6))?;
    journal.tap(Arc::new(site.monitor.clone()));
    note_seed(&site, &journal).map_err(Stopped::with(6))?;
    let urls: Vec<String> = http.iter().map(Http::url).collect();
    listeners
        .announce_with(options.ready_file.as_deref(), &urls)
        .map_err(Stopped::with(6))?;
    let mut server = Server {
        rates: Rates::new(site.limits.max_connection_rate),
        site: Arc::new(site),
        journal: journal.clone(),
        sessions: JoinSet::new(),
        clients: HashMap::new(),
    };
    let (end, ending) = watch::channel(Ending::Not);
    let site = Arc::clone(&server.site);
    let http = http.map(|http| {
        let guard = settings.guard.clone();
        http.serve(Arc::clone(&site), guard, &options.api, ending.clone())
    });
    let enough = exit::due(&options.exit, site.monitor.tally());
    let end_of = server
        .accept(&mut listeners, &ending, &mut termination, enough)
        .await;
    listeners.stop();
    if let Stop::Enough = end_of {
        server.drain(FAREWELL, &mut termination).await;
    }
    if !matches!(end_of, Stop::Failed(_)) {
        end.send_replace(Ending::Soon);
        let limit = server.site.limits.timeout_drain.0;
        server.drain(limit, &mut termination).await;
    }
    end.send_replace(Ending::Now);
    server.drain(GRACE, &mut termination).await;
    // Nobody writes to the recording after its end.
    server.sessions.shutdown().await;
    if let Some(http) = http {
        http.end().await;
    }
    if let Stop::Failed(failure) = end_of {
        return Err(Stopped::with(6)(failure));
    }
    journal.finish().map_err(Stopped::with(6))?;
    let unmet = options.exit.expect.unmet(&site.monitor.tally().borrow());
    Ok(unmet)
}

/// Why no more connections are accepted.
enum Stop {
    /// A signal asked for it.
    Asked,
    /// What was to be waited for has come.
    Enough,
    /// Nothing can be recorded any more.
    Failed(WriteFailed),
}

/// What is left to chance can be had again: the recording says what it was drawn from.
fn note_seed(site: &Site, journal: &Journal) -> Result<(), WriteFailed> {
    if site.faults.rules().is_empty() {
        return Ok(());
    }
    let seed = site.faults.seed();
    tracing::info!("faults are drawn from --seed {seed}");
    journal.note(&NoteFacts {
        by: "helo-server".into(),
        tag: Some("faults".into()),
        bind: vec![("seed".into(), seed.to_string())],
        ..NoteFacts::default()
    })
}

/// Listens wherever it is wanted, or nowhere.
fn bind(wanted: &[ListenSpec]) -> Result<Listeners> {
    let mut inherited = Inherited::take();
    let listeners = wanted.iter().map(|spec| match &spec.place {
        Place::New(endpoint) => Listener::bind(endpoint),
        Place::Inherited(index) => inherited.listener(*index),
    });
    Listeners::of(listeners.collect::<Result<_>>()?)
}

fn open_journal(options: &Options) -> Result<Journal> {
    let clock = Clock::start();
    let recorded = journal::Settings {
        tool: concat!("helo-server ", env!("CARGO_PKG_VERSION")),
        durability: journal::Durability::Written,
        record_secrets: options.record_secrets,
    };
    match &options.record {
        Some(path) => Journal::create(path, &recorded, clock),
        None => Journal::nowhere(&recorded, clock),
    }
}

struct Server {
    site: Arc<Site>,
    journal: Journal,
    sessions: JoinSet<()>,
    /// Whose sessions they are, to know how many each client has.
    clients: HashMap<Id, IpAddr>,
    rates: Rates,
}

/// Why a client may not come in now.
struct Objection {
    limit: Limit,
    /// The enhanced status code and the text of its 421.
    status: &'static str,
    why: &'static str,
}

impl Server {
    /// Accepts until there is a reason not to.
    async fn accept(
        &mut self,
        listeners: &mut Listeners,
        ending: &watch::Receiver<Ending>,
        termination: &mut Termination,
        enough: impl Future<Output = ()>,
    ) -> Stop {
        let mut enough = std::pin::pin!(enough);
        loop {
            tokio::select! {
                Some(accepted) = listeners.accept() => self.take(accepted, ending),
                Some(done) = self.sessions.join_next_with_id(), if !self.sessions.is_empty() => {
                    self.forget(&done);
                }
                () = termination.recv() => return Stop::Asked,
                () = enough.as_mut() => return Stop::Enough,
                failure = self.journal.failed() => return Stop::Failed(failure),
            }
        }
    }

    /// Lets sessions finish, but not for ever, nor against another signal.
    async fn drain(&mut self, limit: Duration, termination: &mut Termination) {
        tracing::info!("ending; {} sessions may finish", self.sessions.len());
        let sessions = &mut self.sessions;
        let drained = async { while sessions.join_next().await.is_some() {} };
        tokio::select! {
            _ = tokio::time::timeout(limit, drained) => {}
            () = termination.recv() => {}
        }
    }

    fn take(&mut self, accepted: Accepted, ending: &watch::Receiver<Ending>) {
        while let Some(done) = self.sessions.try_join_next_with_id() {
            self.forget(&done);
        }
        let clock = self.journal.clock();
        if self.site.faults.is_shut(|| clock.now()) {
            Stream::new(accepted.socket).reset_on_drop();
            return;
        }
        let client = accepted.client.ip();
        if let Some(objection) = self.objection(client) {
            tracing::warn!("{}: {}", accepted.client, objection.why);
            self.site.monitor.tripped(objection.limit);
            self.sessions.spawn(turn_away(accepted.socket, objection));
            return;
        }
        let connection = Connection {
            site: Arc::clone(&self.site),
            journal: self.journal.clone(),
            ending: ending.clone(),
        };
        let task = self.sessions.spawn(connection.serve(accepted));
        if let Some(client) = client {
            self.clients.insert(task.id(), client);
        }
    }

    /// Why a client may not come in now.
    fn objection(&mut self, client: Option<IpAddr>) -> Option<Objection> {
        let limits = &self.site.limits;
        // Counted first: who is turned away for another reason has come all the same.
        if client.is_some_and(|client| !self.rates.allows(client, Instant::now())) {
            return Some(Objection {
                limit: Limit::ConnectionRate,
                status: "4.7.0",
                why: "too many connections from you within a minute",
            });
        }
        if self.sessions.len() >= limits.max_connections {
            return Some(Objection {
                limit: Limit::Connections,
                status: "4.3.2",
                why: "too many connections",
            });
        }
        let most = limits.max_connections_per_client;
        let of_client = || {
            let same = self.clients.values().filter(|one| Some(**one) == client);
            same.count()
        };
        (most > 0 && client.is_some() && of_client() >= most).then_some(Objection {
            limit: Limit::ConnectionsPerClient,
            status: "4.3.2",
            why: "too many connections from you",
        })
    }

    fn forget(&mut self, done: &Result<(Id, ()), tokio::task::JoinError>) {
        let id = match done {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.clients.remove(&id);
    }
}

async fn turn_away(socket: Socket, objection: Objection) {
    let mut stream = Stream::new(socket);
    let Objection { status, why, .. } = objection;
    let reply = format!("421 {status} {why}, try again later\r\n");
    let told = async {
        stream.write(reply.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), told).await;
}
