//! One session between a client and its server.
//!
//! Bytes are passed on exactly as they came, once they are recorded. A unit waits
//! to be whole first; one that stays unfinished (somebody types, or stalls on
//! purpose) is passed on in pieces after a short hold, so that neither peer
//! notices more than that.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use driver::clock::Clock;
use driver::journal::{Ended, SessionJournal, WriteFailed};
use driver::stream::READ;
use shared::codec::Limits;
use shared::direction::Direction::{self, Client, Server};
use shared::recording::NoteFacts;
use shared::reply::Reply;
use shared::session::{Observer, Peers, Unit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an unfinished unit is held.
const HOLD: Duration = Duration::from_millis(40);

/// So much may wait to be taken by one peer before the other is read no further:
/// back-pressure passes through.
const HIGH_WATER: usize = 256 * 1024;

/// A client, its server, and the record of what they say.
pub struct Relay<'a> {
    client: TcpStream,
    server: TcpStream,
    clock: Clock,
    journal: &'a mut SessionJournal,
    observer: Observer,
    patience: Duration,
    to_client: Outgoing,
    to_server: Outgoing,
    tls_noted: bool,
}

/// What waits to be taken by one peer.
#[derive(Default)]
struct Outgoing {
    chunks: std::collections::VecDeque<Bytes>,
    octets: usize,
    /// Nothing more will come: shut down when all was taken.
    ends: bool,
    shut: bool,
}

impl Outgoing {
    #[cfg(not(feature = "forward-before-write"))]
    fn push(&mut self, bytes: Bytes) {
        self.octets += bytes.len();
        self.chunks.push_back(bytes);
    }

    fn taken(&mut self, mut count: usize) {
        self.octets -= count.min(self.octets);
        while let Some(front) = self.chunks.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if !front.is_empty() {
                break;
            }
            self.chunks.pop_front();
        }
    }

    fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn is_due_to_end(&self) -> bool {
        self.ends && !self.shut && self.octets == 0
    }
}

/// What woke the relay.
enum Woken {
    Read(Direction, io::Result<usize>),
    Wrote(Direction, io::Result<usize>),
    Held,
    Silent,
    Ending,
}

impl<'a> Relay<'a> {
    /// A relay between two connections.
    pub fn new(
        client: TcpStream,
        server: TcpStream,
        clock: Clock,
        journal: &'a mut SessionJournal,
        patience: Duration,
    ) -> Self {
        // Sockets that cannot be told so work all the same.
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        Self {
            client,
            server,
            clock,
            journal,
            observer: Observer::new(Peers::Others, Limits::DEFAULT),
            patience,
            to_client: Outgoing::default(),
            to_server: Outgoing::default(),
            tls_noted: false,
        }
    }

    /// Relays until both peers are done, and records how it ended.
    pub async fn run(mut self, ending: watch::Receiver<bool>) -> Result<(), WriteFailed> {
        let result = self.relay(ending).await;
        if result.is_err() {
            // What is not recorded is not passed on: RFC 5321 §3.8 has the client
            // treat a 421, or a lost connection, as try again later.
            let reply = b"421 4.3.0 the session cannot be recorded\r\n";
            let told = self.client.write_all(reply);
            let _ = tokio::time::timeout(Duration::from_secs(2), told).await;
        }
        let ended = result?;
        self.journal.close(self.clock.now(), ended)
    }

    async fn relay(&mut self, mut ending: watch::Receiver<bool>) -> Result<Ended, WriteFailed> {
        let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
        let mut first_to_end = None;
        loop {
            from_client.reserve(READ);
            from_server.reserve(READ);
            match self
                .wait(&mut from_client, &mut from_server, &mut ending)
                .await
            {
                Woken::Read(direction, Ok(0)) => {
                    first_to_end.get_or_insert(direction);
                    self.pass_end(direction).await?;
                }
                Woken::Read(direction, Ok(_)) => {
                    let received = match direction {
                        Client => from_client.split(),
                        Server => from_server.split(),
                    };
                    self.observer.push(direction, &received, self.clock.now());
                    self.pass_units().await?;
                }
                Woken::Read(direction, Err(error)) | Woken::Wrote(direction, Err(error)) => {
                    return Ok(self.pass_reset(direction, &error));
                }
                Woken::Wrote(Client, Ok(count)) => self.to_client.taken(count),
                Woken::Wrote(Server, Ok(count)) => self.to_server.taken(count),
                Woken::Held => self.pass_pieces().await?,
                Woken::Silent => return Ok(Ended::TIMEOUT),
                Woken::Ending => return self.say_goodbye().await,
            }
            if self.shut_down_what_is_done().await {
                return Ok(match first_to_end {
                    Some(Server) => Ended::SERVER,
                    _ => Ended::CLIENT,
                });
            }
        }
    }

    async fn wait(
        &mut self,
        from_client: &mut BytesMut,
        from_server: &mut BytesMut,
        ending: &mut watch::Receiver<bool>,
    ) -> Woken {
        let held = self.hold_ends();
        let silent = Instant::now() + self.patience;
        let interruptible = self.is_between_transactions();
        let (client_open, server_open) = (!self.to_server.ends, !self.to_client.ends);
        let read_client = client_open
            && self.to_server.octets < HIGH_WATER
            && !self.observer.is_full()
            && self.observer.held(Client) < HIGH_WATER;
        let read_server = server_open && self.to_client.octets < HIGH_WATER;
        let (mut client_read, mut client_write) = self.client.split();
        let (mut server_read, mut server_write) = self.server.split();
        tokio::select! {
            biased;
            wrote = client_write.write(self.to_client.front()), if self.to_client.octets > 0 => {
                Woken::Wrote(Client, wrote)
            }
            wrote = server_write.write(self.to_server.front()), if self.to_server.octets > 0 => {
                Woken::Wrote(Server, wrote)
            }
            read = server_read.read_buf(from_server), if read_server => Woken::Read(Server, read),
            read = client_read.read_buf(from_client), if read_client => Woken::Read(Client, read),
            () = tokio::time::sleep_until(held.unwrap_or(silent)), if held.is_some() => Woken::Held,
            () = tokio::time::sleep_until(silent) => Woken::Silent,
            _ = ending.wait_for(|&ends| ends), if interruptible => Woken::Ending,
        }
    }

    /// When the hold of an unfinished unit is over, if there is one that can be
    /// passed on then.
    fn hold_ends(&self) -> Option<Instant> {
        let since = [Client, Server]
            .into_iter()
            .filter(|&direction| match direction {
                Server => self.observer.held(Server) >= 3,
                Client => self.observer.held(Client) > 0,
            })
            .filter_map(|direction| self.observer.held_since(direction))
            .min()?;
        Some(self.clock.instant(since + HOLD))
    }

    fn is_between_transactions(&self) -> bool {
        use shared::stage::Stage;
        matches!(
            self.observer.stage(),
            Stage::Greeted | Stage::Ready | Stage::Closed
        ) && self.to_client.octets == 0
            && self.to_server.octets == 0
    }

    async fn pass_units(&mut self) -> Result<(), WriteFailed> {
        let mut units = Vec::new();
        while let Some(unit) = self.observer.poll() {
            units.push(unit);
        }
        self.pass(units).await
    }

    async fn pass_pieces(&mut self) -> Result<(), WriteFailed> {
        let mut units = Vec::new();
        for direction in [Server, Client] {
            let due = self
                .observer
                .held_since(direction)
                .is_some_and(|since| self.clock.now().since(since) >= HOLD);
            if due {
                units.extend(self.observer.flush(direction));
            }
        }
        while let Some(unit) = self.observer.poll() {
            units.push(unit);
        }
        self.pass(units).await
    }

    /// Records units, and only then passes them on.
    #[cfg(not(feature = "forward-before-write"))]
    async fn pass(&mut self, units: Vec<Unit>) -> Result<(), WriteFailed> {
        self.journal.units(&units)?;
        if units.iter().any(|unit| unit.direction == Server) {
            self.journal.durable().await?;
        }
        self.note_tls()?;
        self.queue(units);
        Ok(())
    }

    /// The wrong order, on purpose: a build that breaks the promise, so that the
    /// test of the promise can be seen to fail.
    #[cfg(feature = "forward-before-write")]
    async fn pass(&mut self, units: Vec<Unit>) -> Result<(), WriteFailed> {
        for unit in &units {
            let peer = match unit.direction {
                Client => &mut self.server,
                Server => &mut self.client,
            };
            let _ = peer.write_all(&unit.bytes).await;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(1));
        self.journal.units(&units)?;
        self.note_tls()
    }

    #[cfg(not(feature = "forward-before-write"))]
    fn queue(&mut self, units: Vec<Unit>) {
        for unit in units {
            match unit.direction {
                Client => self.to_server.push(unit.bytes),
                Server => self.to_client.push(unit.bytes),
            }
        }
    }

    fn note_tls(&mut self) -> Result<(), WriteFailed> {
        if self.tls_noted || !self.observer.is_opaque() {
            return Ok(());
        }
        self.tls_noted = true;
        self.journal.note(&NoteFacts {
            by: "helo-recorder".into(),
            message: Some("TLS begins: from here on ciphertext is passed through unread".into()),
            tag: Some("passthrough".into()),
            ..NoteFacts::default()
        })
    }

    /// A peer will say no more: the rest of what it said is passed on, and then
    /// the end.
    async fn pass_end(&mut self, direction: Direction) -> Result<(), WriteFailed> {
        let mut units = Vec::new();
        while let Some(unit) = self.observer.finish(direction) {
            units.push(unit);
        }
        self.pass(units).await?;
        match direction {
            Client => self.to_server.ends = true,
            Server => self.to_client.ends = true,
        }
        Ok(())
    }

    /// Shuts down towards a peer that has taken all there was; true when both
    /// directions are done.
    async fn shut_down_what_is_done(&mut self) -> bool {
        if self.to_server.is_due_to_end() {
            self.to_server.shut = true;
            let _ = self.server.shutdown().await;
        }
        if self.to_client.is_due_to_end() {
            self.to_client.shut = true;
            let _ = self.client.shutdown().await;
        }
        self.to_server.shut && self.to_client.shut
    }

    /// A connection broke: the other is reset too.
    fn pass_reset(&mut self, direction: Direction, error: &io::Error) -> Ended {
        tracing::info!("the {direction:?} side broke: {error}");
        for socket in [&self.client, &self.server] {
            let _ = driver::net::reset_on_close(socket);
        }
        match direction {
            Client => Ended::CLIENT_RESET,
            Server => Ended::SERVER_RESET,
        }
    }

    /// The recorder ends: an idle session is told so, as a server would.
    async fn say_goodbye(&mut self) -> Result<Ended, WriteFailed> {
        let reply = Reply::of(421, "4.3.2", "the recorder is shutting down");
        if !self.observer.is_opaque() {
            say(
                &mut self.client,
                &mut self.observer,
                self.clock,
                self.journal,
                &reply,
            )
            .await?;
        }
        Ok(Ended::PROXY)
    }
}

/// Tells a client that its server cannot be reached, and records that.
pub async fn refuse(
    mut client: TcpStream,
    clock: Clock,
    journal: &mut SessionJournal,
    why: &str,
) -> Result<(), WriteFailed> {
    journal.note(&NoteFacts {
        by: "helo-recorder".into(),
        message: Some(why.to_owned()),
        tag: Some("no-upstream".into()),
        ..NoteFacts::default()
    })?;
    let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
    let reply = Reply::of(
        421,
        "4.4.1",
        "the server behind this recorder cannot be reached",
    );
    say(&mut client, &mut observer, clock, journal, &reply).await?;
    journal.close(clock.now(), Ended::PROXY)
}

/// Says something of our own to a client, recorded first.
async fn say(
    client: &mut TcpStream,
    observer: &mut Observer,
    clock: Clock,
    journal: &mut SessionJournal,
    reply: &Reply,
) -> Result<(), WriteFailed> {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    observer.push(Server, &bytes, clock.now());
    let units: Vec<Unit> = std::iter::from_fn(|| observer.poll()).collect();
    journal.units(&units)?;
    let told = async {
        client.write_all(&bytes).await?;
        client.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), told).await;
    Ok(())
}
