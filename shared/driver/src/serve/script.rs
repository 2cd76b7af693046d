//! Plays a script to a client, and records it like every session.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use shared::direction::Direction::{Client, Server};
use shared::recording::NoteFacts;
use shared::reply::Reply;
use shared::script::{Cue, Mismatch, Player};
use shared::session::{Observer, Peers, Unit};
use shared::stage::Stage;
use shared::time::Timestamp;

use super::record::{hang_up, say_unrecorded};
use super::tls::shake_hands;
use super::wait::{has_timed_out, shutting_down, within};
use super::{Due, Ending, ServeError, Service, how_it_ended};
use crate::journal::{Ended, SessionJournal, WriteFailed};
use crate::stream::Stream;

/// So much of what a client says may wait to be understood; then it is recorded as it is.
const HELD: usize = 64 * 1024;

/// Plays a script to one client, to its end, and records how it ended. `gave_up` hears
/// of the time limit that was met, if one was.
pub async fn play(
    mut stream: Stream,
    service: &Service,
    player: Player,
    journal: &mut SessionJournal,
    gave_up: &mut (dyn FnMut(Due) + Send),
) -> Result<(), ServeError> {
    let now = service.clock.now();
    let mut stage = Play {
        stream: &mut stream,
        service,
        journal,
        gave_up,
        player,
        observer: Observer::new(Peers::Ours, service.limits),
        received: BytesMut::new(),
        heard: now,
        ends: (!service.waits.session.is_zero()).then(|| now + service.waits.session),
        closed: false,
    };
    let result = stage.run().await;
    if let Err(ServeError::Journal(_)) = &result {
        say_unrecorded(stage.stream).await;
    }
    stage.close(how_it_ended(&result))?;
    result.map(drop)
}

/// What came of waiting for the client.
enum Heard {
    Octets(usize),
    Due,
    Ending,
}

struct Play<'a> {
    stream: &'a mut Stream,
    service: &'a Service,
    journal: &'a mut SessionJournal,
    gave_up: &'a mut (dyn FnMut(Due) + Send),
    player: Player,
    observer: Observer,
    received: BytesMut,
    /// When the client was heard last, or told something.
    heard: Timestamp,
    /// When the session must be over.
    ends: Option<Timestamp>,
    /// The end is recorded.
    closed: bool,
}

impl Drop for Play<'_> {
    /// As a session that is served otherwise: it has an end, unless it crashed.
    fn drop(&mut self) {
        if !self.closed && !std::thread::panicking() {
            let _ = self.close(Ended::SERVER);
        }
    }
}

impl Play<'_> {
    async fn run(&mut self) -> Result<Ended, ServeError> {
        if self.service.implicit_tls {
            self.handshake().await?;
        }
        loop {
            let ended = match self.player.poll() {
                Cue::Hear => self.hear().await?,
                Cue::Say { bytes, by_octets } => {
                    self.say(&bytes, by_octets).await?;
                    None
                }
                Cue::Pause(period) => self.pause(period).await?,
                Cue::StartTls => {
                    self.handshake().await?;
                    self.observer.tls_started();
                    self.player.tls_started();
                    None
                }
                Cue::Mismatch(mismatch) => self.tell(&mismatch).await?,
                Cue::Close => {
                    self.finish().await?;
                    Some(Ended::SERVER)
                }
                Cue::Reset => {
                    self.record_rest()?;
                    self.stream.reset_on_drop();
                    Some(Ended::SERVER_RESET)
                }
                Cue::Gone => Some(Ended::CLIENT),
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Waits for the client, its time limits, or the end of the server.
    async fn hear(&mut self) -> Result<Option<Ended>, ServeError> {
        self.received.clear();
        let clock = self.service.clock;
        let silence = self.heard + self.service.waits.command;
        let (deadline, due) = match self.ends {
            Some(ends) if ends < silence => (ends, Due::Session),
            _ => (silence, Due::Silence),
        };
        let between = matches!(
            self.observer.stage(),
            Stage::Connected | Stage::Greeted | Stage::Ready | Stage::Closed
        );
        // Who says more and more and is not answered is read no further.
        let full = self.observer.is_full();
        let mut ending = self.service.ending.clone();
        // What comes of it is done afterwards: the server's end is not to be held.
        let heard = tokio::select! {
            read = self.stream.read(&mut self.received), if !full => Heard::Octets(read?),
            () = tokio::time::sleep_until(clock.instant(deadline)) => Heard::Due,
            _ = ending.wait_for(|ending| match ending {
                Ending::Not => false,
                Ending::Soon => between,
                Ending::Now => true,
            }) => Heard::Ending,
        };
        match heard {
            Heard::Octets(0) => self.player.receive_end(),
            Heard::Octets(_) => {
                self.heard = clock.now();
                self.player.receive(&self.received);
                self.observer.push(Client, &self.received, self.heard);
                self.record()?;
            }
            Heard::Due => return self.give_up(due).await.map(Some),
            Heard::Ending => {
                self.say_last(&shutting_down()).await?;
                return Ok(Some(Ended::SERVER));
            }
        }
        Ok(None)
    }

    /// A time limit is met.
    async fn give_up(&mut self, due: Due) -> Result<Ended, ServeError> {
        (self.gave_up)(due);
        if let Some((line, expected)) = self.player.expects() {
            self.note(line, vec![("expected".into(), expected)], due.text())?;
        }
        self.say_last(&Reply::of(421, "4.4.2", due.text())).await?;
        Ok(Ended::TIMEOUT)
    }

    /// The client says something else than the script has.
    async fn tell(&mut self, mismatch: &Mismatch) -> Result<Option<Ended>, ServeError> {
        let mut bind = vec![("expected".into(), mismatch.expected.clone())];
        let Some(got) = &mismatch.got else {
            self.note(
                mismatch.line,
                bind,
                "the client left in the middle of the script",
            )?;
            return Ok(Some(Ended::CLIENT));
        };
        bind.push(("got".into(), got.clone()));
        self.note(
            mismatch.line,
            bind,
            "the client said something else than the script has",
        )?;
        self.say_last(&mismatch.reply()).await?;
        Ok(Some(Ended::SERVER))
    }

    fn note(
        &mut self,
        line: usize,
        mut bind: Vec<(String, String)>,
        message: &str,
    ) -> Result<(), WriteFailed> {
        bind.push(("line".into(), line.to_string()));
        self.journal.note(&NoteFacts {
            by: "helo-server".into(),
            message: Some(message.to_owned()),
            tag: Some("script".into()),
            bind,
            ..NoteFacts::default()
        })
    }

    async fn say(&mut self, bytes: &[u8], by_octets: bool) -> Result<(), ServeError> {
        self.observer.push(Server, bytes, self.service.clock.now());
        self.record()?;
        // A line that is cut on purpose is recorded before it is sent, too.
        while let Some(unit) = self.observer.flush(Server) {
            self.journal.units(&[unit])?;
        }
        self.journal.durable().await?;
        let most = if by_octets { 1 } else { bytes.len().max(1) };
        let limit = self.service.waits.command;
        for piece in bytes.chunks(most) {
            let written = self.stream.write(piece);
            let written = within(limit, &self.service.ending, written).await;
            if has_timed_out(&written) {
                (self.gave_up)(Due::Silence);
            }
            written?;
        }
        self.heard = self.service.clock.now();
        Ok(())
    }

    /// Says what a client that is no longer played to is told, and closes.
    async fn say_last(&mut self, reply: &Reply) -> Result<(), ServeError> {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        self.say(&bytes, false).await?;
        self.finish().await
    }

    async fn finish(&mut self) -> Result<(), ServeError> {
        self.record_rest()?;
        hang_up(self.stream, &mut self.received).await;
        Ok(())
    }

    /// Waits, but not beyond the end of the session or of the server.
    async fn pause(&mut self, period: Duration) -> Result<Option<Ended>, ServeError> {
        let clock = self.service.clock;
        let until = clock.now() + period;
        let ends = self.ends.filter(|&ends| ends < until);
        let mut ending = self.service.ending.clone();
        tokio::select! {
            () = tokio::time::sleep_until(clock.instant(ends.unwrap_or(until))) => {}
            _ = ending.wait_for(|&ending| ending == Ending::Now) => {
                let error = io::Error::new(io::ErrorKind::Interrupted, "the server ends");
                return Err(error.into());
            }
        }
        self.heard = clock.now();
        match ends {
            Some(_) => self.give_up(Due::Session).await.map(Some),
            None => Ok(None),
        }
    }

    async fn handshake(&mut self) -> Result<(), ServeError> {
        self.record()?;
        let config = self.service.tls.clone();
        let config = config.ok_or_else(|| io::Error::other("TLS without a certificate"))?;
        let (facts, shaken) = shake_hands(self.stream, self.service, config, None).await;
        self.journal.tls(self.service.clock.now(), 'c', &facts)?;
        if has_timed_out(&shaken) {
            (self.gave_up)(Due::Handshake);
        }
        shaken?;
        self.heard = self.service.clock.now();
        Ok(())
    }

    /// Records what is understood, and what has waited for that too long.
    fn record(&mut self) -> Result<(), WriteFailed> {
        let mut units: Vec<Unit> = std::iter::from_fn(|| self.observer.poll()).collect();
        while self.observer.held(Client) >= HELD {
            let Some(unit) = self.observer.flush(Client) else {
                break;
            };
            units.push(unit);
            units.extend(std::iter::from_fn(|| self.observer.poll()));
        }
        self.journal.units(&units)
    }

    fn record_rest(&mut self) -> Result<(), WriteFailed> {
        let mut units = Vec::new();
        for direction in [Client, Server] {
            units.extend(std::iter::from_fn(|| self.observer.finish(direction)));
        }
        self.journal.units(&units)
    }

    /// Records what is not yet recorded, and the end.
    fn close(&mut self, ended: Ended) -> Result<(), WriteFailed> {
        self.closed = true;
        let recorded = self.record_rest();
        self.journal.close(self.service.clock.now(), ended)?;
        recorded
    }
}
