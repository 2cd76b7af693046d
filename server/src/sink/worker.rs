//! A thread that accepts connections and serves them, with sockets of its own, so
//! that nothing is shared while there is something to do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use driver::socket::Socket;
use rustix::net::SendFlags;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::count::{Counters, Goal, Tally};
use super::door::{Accepting, Door};
use super::store::Batch;
use super::terms::Terms;
use super::tls::Tls;
use crate::config::TlsMode;

/// How far the sink has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes what comes.
    Serving,
    /// It takes no more, and what is under way may finish.
    Ending,
    /// It is over.
    Over,
}

/// How long clients may do what, and how many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Be silent.
    pub(super) patience: Duration,
    /// Take for a TLS handshake.
    pub(super) handshake: Duration,
    /// Finish when the sink ends.
    pub(super) drain: Duration,
    /// Connections at a time, in all threads.
    pub(super) connections: usize,
}

/// What the connections of one thread share.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) counters: Arc<Counters>,
    pub(super) goal: Arc<Goal>,
    pub(super) limits: Limits,
    pub(super) tls: Arc<Tls>,
    pub(super) batch: Option<Arc<Batch>>,
    pub(super) phase: watch::Receiver<Phase>,
    /// Connections of all threads.
    pub(super) open: Arc<AtomicUsize>,
    /// Connections of this one.
    pub(super) own: AtomicUsize,
    /// The last of them has ended.
    pub(super) emptied: Notify,
}

impl Worker {
    /// Accepts and serves, until the sink ends and its own connections have.
    pub(super) fn run(self, doors: Vec<Door>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting a thread that serves")?;
        let worker = Arc::new(self);
        runtime.block_on(worker.serve(doors))
    }

    async fn serve(self: Arc<Self>, doors: Vec<Door>) -> Result<()> {
        let mut accepting = JoinSet::new();
        for door in doors {
            let accept = Arc::clone(&self).accept(door.socket.registered()?, door.terms);
            accepting.spawn(accept);
        }
        let mut phase = self.phase.clone();
        // Who could set the phase is gone only when all is over.
        let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
        accepting.shutdown().await;
        let emptied = async {
            while self.own.load(Ordering::Relaxed) > 0 {
                self.emptied.notified().await;
            }
        };
        tokio::select! {
            () = emptied => {}
            () = tokio::time::sleep(self.limits.drain) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Over) => {}
        }
        Ok(())
    }

    async fn accept(self: Arc<Self>, listener: Accepting, terms: Arc<Terms>) {
        loop {
            match listener.accept().await {
                Ok(socket) => self.admit(socket, &terms),
                // The client has gone again: the next one waits already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors, most likely: trying again at once would spin.
                    tracing::warn!("cannot accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, socket: Socket, terms: &Arc<Terms>) {
        let session = Session::begin(self);
        if session.number > self.limits.connections {
            // No more than a try: who cannot take it now sees the connection close.
            let _ = say(&socket, b"421 4.3.2 Too many connections\r\n");
            return;
        }
        self.add(&Tally {
            sessions: 1,
            ..Tally::default()
        });
        if terms.tls != TlsMode::Implicit && !said(&socket, &terms.greeting) {
            return;
        }
        let mut connection = Connection::new(socket, session, Arc::clone(terms));
        // Borrowed where it is: an argument moved in would be there twice.
        tokio::spawn(async move { connection.serve().await });
    }

    /// Adds what has happened.
    pub(super) fn add(&self, tally: &Tally) {
        self.counters.add(tally);
        if tally.messages > 0 {
            self.goal.messages(tally.messages);
        }
    }
}

/// A socket that is new has room for a greeting, and need not be asked for it.
fn said(socket: &Socket, greeting: &[u8]) -> bool {
    say(socket, greeting).is_ok_and(|said| said == greeting.len())
}

fn say(socket: &Socket, text: &[u8]) -> rustix::io::Result<usize> {
    match socket {
        Socket::Tcp(tcp) => rustix::net::send(tcp, text, SendFlags::NOSIGNAL),
        Socket::Unix(unix) => rustix::net::send(unix, text, SendFlags::NOSIGNAL),
    }
}

/// One connection, in the counts of those that are open.
pub(super) struct Session {
    pub(super) worker: Arc<Worker>,
    /// So many are open with it.
    number: usize,
}

impl Session {
    fn begin(worker: &Arc<Worker>) -> Self {
        worker.own.fetch_add(1, Ordering::Relaxed);
        Self {
            worker: Arc::clone(worker),
            number: worker.open.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.worker.open.fetch_sub(1, Ordering::Relaxed);
        if self.worker.own.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.worker.emptied.notify_one();
        }
    }
}
