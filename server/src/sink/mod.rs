//! `helo-server sink`: accepts everything and keeps nothing, as fast as it can.
//!
//! It has a loop of its own. A session of `run` goes through an observer that cuts
//! it into units fit to be recorded and a parser that reads every path: that costs
//! 23 µs of processor time for a pipelined message of 1 KiB where this costs 7,
//! most of them the kernel's. What both share is what SMTP is: the verbs, their
//! order, where mail data ends. A property test holds this
//! `dialogue` to the replies of a `ServerSession`.
//!
//! `options` are what the user may say, `terms` what a listener offers, `tls` its
//! certificate, `worker` a thread, `connection` a socket, `count` what has come,
//! `store` the one way to keep it.

mod connection;
mod count;
mod dialogue;
mod door;
mod options;
mod store;
mod terms;
mod tls;
mod worker;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use driver::listen::write_ready_file;
use driver::process::{Termination, become_user, raise_descriptor_limit, survive_file_size_limit};
use driver::socket::Endpoint;
use tokio::runtime;
use tokio::sync::{Notify, mpsc, watch};

use self::count::{Counters, Goal, Report};
use self::door::{Door, Doors};
use self::store::Batch;
use self::terms::{Changes, Terms};
use self::tls::Tls;
use self::worker::{Limits, Phase, Worker};
use crate::listener::Stopped;

pub use options::Options;
pub use store::{Keep, NoKeep};
pub use terms::{NoOffer, Offer};

/// Serves until SIGINT or SIGTERM, or until enough has come.
pub fn run(options: &Options) -> Result<(), Stopped> {
    let terms = all_terms(options).map_err(Stopped::with(2))?;
    let tls = Tls::new(options).map_err(Stopped::with(2))?;
    raise_descriptor_limit();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(Stopped::with(3))?
        .block_on(serve(options, &terms, Arc::new(tls)))
}

/// Takes its ports first, as root where it must be, then becomes who it is to be,
/// and only then makes files and threads.
async fn serve(options: &Options, terms: &[Arc<Terms>], tls: Arc<Tls>) -> Result<(), Stopped> {
    let mut termination = Termination::listen()
        .and_then(|termination| survive_file_size_limit().map(|()| termination))
        .context("listening for signals")
        .map_err(Stopped::with(3))?;
    let threads = match options.threads {
        // The client that is tested mostly runs on the same machine.
        0 => thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2)),
        threads => threads,
    };
    let places = options.listen.iter().map(|spec| &spec.place);
    let places = places.zip(terms.iter().map(Arc::clone));
    let doors = Doors::open(places, threads).map_err(Stopped::with(3))?;
    become_user(options.run_as.as_deref()).map_err(Stopped::with(2))?;
    let batch = match &options.store {
        Keep::Nothing => None,
        Keep::BatchSmtp(path) => Some(Batch::open(path).map_err(Stopped::with(6))?),
    };
    let mut sink = Sink::start(options, doors, &tls, batch.as_ref()).map_err(Stopped::with(3))?;
    let said = sink.say_where(options);
    let watched = match said {
        Ok(()) => sink.watch(options, &mut termination).await,
        failed => failed,
    };
    let ended = sink.end(&mut termination).await;
    watched.map_err(Stopped::with(6))?;
    ended.map_err(Stopped::with(3))?;
    sink.report("end", options.json).map_err(Stopped::with(6))
}

/// The sink while it serves.
struct Sink {
    endpoints: Vec<Endpoint>,
    /// To be removed at the end.
    files: Vec<PathBuf>,
    threads: Vec<JoinHandle<Result<()>>>,
    counters: Vec<Arc<Counters>>,
    goal: Arc<Goal>,
    phase: watch::Sender<Phase>,
    /// Closed when the last thread has ended.
    ended: mpsc::Receiver<()>,
    begun: Instant,
}

impl Sink {
    fn start(
        options: &Options,
        doors: Doors,
        tls: &Arc<Tls>,
        batch: Option<&Arc<Batch>>,
    ) -> Result<Self> {
        let (phase, watched) = watch::channel(Phase::Serving);
        let (running, ended) = mpsc::channel(1);
        let mut sink = Self {
            endpoints: doors.endpoints,
            files: doors.files,
            threads: Vec::new(),
            counters: Vec::new(),
            goal: Goal::new(options.exit_after_messages, options.exit_after_sessions),
            phase,
            ended,
            begun: Instant::now(),
        };
        let open = Arc::new(AtomicUsize::new(0));
        for doors in doors.threads {
            let worker = Worker {
                counters: Arc::default(),
                goal: Arc::clone(&sink.goal),
                limits: limits(options),
                tls: Arc::clone(tls),
                batch: batch.cloned(),
                phase: watched.clone(),
                open: Arc::clone(&open),
                own: AtomicUsize::new(0),
                emptied: Notify::new(),
            };
            sink.counters.push(Arc::clone(&worker.counters));
            sink.threads.push(spawn(worker, doors, running.clone())?);
        }
        Ok(sink)
    }

    /// Says now and then how much has come, until it is to end.
    async fn watch(&mut self, options: &Options, termination: &mut Termination) -> Result<()> {
        let every = options.every.map_or_else(usual_interval, |every| every.0);
        loop {
            tokio::select! {
                () = termination.recv() => return Ok(()),
                () = self.goal.reached.notified() => return Ok(()),
                // Threads that end by themselves cannot serve: they say why.
                _ = self.ended.recv() => return Ok(()),
                () = tokio::time::sleep(every), if !every.is_zero() => {
                    self.report("counts", options.json)?;
                }
            }
        }
    }

    /// Lets sessions finish, but not against a signal.
    async fn end(&mut self, termination: &mut Termination) -> Result<()> {
        self.phase.send_replace(Phase::Ending);
        tokio::select! {
            _ = self.ended.recv() => {}
            () = termination.recv() => {
                self.phase.send_replace(Phase::Over);
            }
        }
        for file in &self.files {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(file);
        }
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(())
    }

    fn say_where(&self, options: &Options) -> Result<()> {
        if let Some(path) = &options.ready_file {
            let endpoints = self.endpoints.iter().map(ToString::to_string);
            write_ready_file(path, &endpoints.collect::<Vec<_>>())?;
        }
        let addresses: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        if options.json {
            let line = serde_json::json!({ "event": "listening", "addresses": addresses });
            print(&line.to_string())
        } else {
            print(&format!("listening on {}", addresses.join(" ")))
        }
    }

    fn report(&self, event: &'static str, json: bool) -> Result<()> {
        let report = Report::of(event, &self.counters, self.begun.elapsed());
        if json {
            print(&serde_json::to_string(&report)?)
        } else {
            print(&report.line())
        }
    }
}

/// Starts a thread; `running` is dropped when it ends.
fn spawn(
    worker: Worker,
    doors: Vec<Door>,
    running: mpsc::Sender<()>,
) -> Result<JoinHandle<Result<()>>> {
    let thread = thread::Builder::new().name("sink".into());
    let serve = move || {
        let _running = running;
        worker.run(doors)
    };
    thread.spawn(serve).context("starting a thread")
}

fn print(line: &str) -> Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("writing to standard output")
}

/// How often the counts are said, unless the user says it: people want to see that
/// something happens, programs want the result.
fn usual_interval() -> Duration {
    if io::stdout().is_terminal() {
        Duration::from_secs(10)
    } else {
        Duration::ZERO
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        patience: options.timeout_command.0,
        handshake: options.timeout_tls.0,
        drain: options.timeout_drain.0,
        connections: options.max_connections,
    }
}

fn all_terms(options: &Options) -> Result<Vec<Arc<Terms>>> {
    let changes = Changes {
        advertise: options.advertise.clone(),
        hide: options.hide.clone(),
    };
    let each = options.listen.iter();
    each.map(|spec| Terms::new(spec, &options.hostname, &changes).map(Arc::new))
        .collect()
}
