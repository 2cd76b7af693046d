//! Doing what is to go wrong on purpose: late, in pieces, something else, or nothing at all.

use std::io;
use std::time::Duration;

use shared::reply::Reply;
use shared::session::ServerOutput;

use super::wait::within;
use super::{Ending, Loop, ServeError};
use crate::journal::Ended;
use crate::strike::{End, Manner, Strike};

/// Slow writing and reading is done in steps of this time.
const STEP: Duration = Duration::from_millis(100);

impl Loop<'_> {
    /// Answers with these replies, if an answer is due, and does what is to go wrong.
    /// Tells how the session ended, if it did.
    pub(super) async fn strike(
        &mut self,
        meant: Option<&[Reply]>,
        strike: &Strike,
    ) -> Result<Option<Ended>, ServeError> {
        self.record_strike(strike)?;
        // Nobody gathers with what is said unasked.
        let apart = strike.is_apart() || meant.is_none();
        if apart {
            self.flush(Manner::Whole).await?;
        }
        self.pause(strike.delay).await?;
        self.read_rate = strike.read_rate.or(self.read_rate);
        self.write_rate = strike.write_rate.or(self.write_rate);
        let now = self.service.clock.now();
        match (meant, &strike.octets) {
            (Some(meant), Some(octets)) => self.session.answer_otherwise(now, meant, octets),
            (Some(meant), None) => self.session.answer(now, meant),
            (None, Some(octets)) => drop(self.session.say(now, octets)),
            (None, None) => {}
        }
        self.session.say(now, &strike.injected);
        if apart {
            self.flush(strike.manner).await?;
        }
        if !strike.stall.is_zero() {
            self.stalled = Some(self.service.clock.now() + strike.stall);
        }
        match strike.end {
            Some(end) => self.end(end).await,
            None => Ok(None),
        }
    }

    /// Does what is to go wrong where no answer is due.
    pub(super) async fn strike_unasked(
        &mut self,
        strike: Option<Box<Strike>>,
    ) -> Result<Option<Ended>, ServeError> {
        match strike {
            Some(strike) => Box::pin(self.strike(None, &strike)).await,
            None => Ok(None),
        }
    }

    pub(super) fn record_strike(&mut self, strike: &Strike) -> Result<(), ServeError> {
        self.record_batch()?;
        for fault in &strike.faults {
            self.journal.fault(fault)?;
        }
        for note in &strike.notes {
            self.journal.note(note)?;
        }
        Ok(())
    }

    /// Waits, but not beyond the end of the session or of the server.
    pub(super) async fn pause(&mut self, period: Duration) -> Result<(), ServeError> {
        if period.is_zero() {
            return Ok(());
        }
        let until = self.service.clock.now() + period;
        let until = self.ends.map_or(until, |ends| ends.min(until));
        let until = self.service.clock.instant(until);
        let mut ending = self.service.ending.clone();
        tokio::select! {
            () = tokio::time::sleep_until(until) => Ok(()),
            _ = ending.wait_for(|&ending| ending == Ending::Now) => {
                let error = io::Error::new(io::ErrorKind::Interrupted, "the server ends");
                Err(error.into())
            }
        }
    }

    /// Sends what waits to be sent, recorded before.
    pub(super) async fn flush(&mut self, manner: Manner) -> Result<(), ServeError> {
        while let Some(unit) = self.session.poll_record() {
            self.note(unit)?;
        }
        self.record_batch()?;
        let outgoing = self.session.take_outgoing();
        if outgoing.is_empty() {
            return Ok(());
        }
        self.journal.durable().await?;
        match manner {
            Manner::Whole => self.write(&outgoing).await,
            Manner::Split { at, pause } => {
                let (first, rest) = outgoing.split_at(at.min(outgoing.len()));
                self.write(first).await?;
                self.pause(pause).await?;
                self.write(rest).await
            }
            Manner::Drip { octets, every } => {
                for (index, chunk) in outgoing.chunks(octets.max(1)).enumerate() {
                    if index > 0 {
                        self.pause(every).await?;
                    }
                    self.write(chunk).await?;
                }
                Ok(())
            }
        }
    }

    /// Writes, as fast as it may. A client that does not take it is as silent as one
    /// that says nothing.
    pub(super) async fn write(&mut self, octets: &[u8]) -> Result<(), ServeError> {
        let limit = self.service.waits.command;
        if let Some(rate) = self.write_rate {
            return Box::pin(self.write_slowly(octets, rate)).await;
        }
        let written = self.stream.write(octets);
        Ok(within(limit, &self.service.ending, written).await?)
    }

    async fn write_slowly(&mut self, octets: &[u8], rate: u64) -> Result<(), ServeError> {
        let limit = self.service.waits.command;
        for (index, chunk) in octets.chunks(in_a_step(rate)).enumerate() {
            if index > 0 {
                self.pause(time_for(chunk.len(), rate)).await?;
            }
            let written = self.stream.write(chunk);
            within(limit, &self.service.ending, written).await?;
        }
        Ok(())
    }

    /// Waits until more may be read, and tells how much that may be; none for as much
    /// as there is.
    pub(super) async fn may_read(&mut self) -> Result<Option<usize>, ServeError> {
        if let Some(until) = self.stalled.take() {
            let now = self.service.clock.now();
            Box::pin(self.pause(until.since(now))).await?;
        }
        Ok(self.read_rate.map(in_a_step))
    }

    /// So much was read: waits for as long as it had to take.
    pub(super) async fn have_read(&mut self, octets: usize) -> Result<(), ServeError> {
        match self.read_rate {
            Some(rate) => Box::pin(self.pause(time_for(octets, rate))).await,
            None => Ok(()),
        }
    }

    pub(super) async fn end(&mut self, end: End) -> Result<Option<Ended>, ServeError> {
        match end {
            End::Close => {
                self.session.hang_up();
                Ok(None)
            }
            End::Reset => {
                self.record_rest()?;
                self.stream.reset_on_drop();
                Ok(Some(Ended::SERVER_RESET))
            }
            End::HalfClose => {
                // It may have gone already.
                let _ = self.stream.shutdown().await;
                self.hang().await.map(Some)
            }
            End::Hang => self.hang().await.map(Some),
        }
    }

    /// Says nothing more, and records what comes, until the client goes.
    pub(super) async fn hang(&mut self) -> Result<Ended, ServeError> {
        self.session.fall_silent();
        let mut ending = self.service.ending.clone();
        let ends = self.ends.map(|ends| self.service.clock.instant(ends));
        let ended = loop {
            self.record_heard()?;
            self.received.clear();
            let full = self.session.is_full();
            tokio::select! {
                read = self.stream.read(&mut self.received), if !full => match read {
                    Ok(0) => break Ended::CLIENT,
                    Ok(_) => self.session.receive(self.service.clock.now(), &self.received),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                        break Ended::CLIENT_RESET;
                    }
                    Err(error) => return Err(error.into()),
                },
                () = until(ends) => break Ended::TIMEOUT,
                _ = ending.wait_for(|&ending| ending != Ending::Not) => break Ended::SERVER,
            }
        };
        self.record_rest()?;
        Ok(ended)
    }

    /// Never answers the handshake: what comes is TLS that nobody reads.
    pub(super) async fn ignore_handshake(&mut self) -> Result<Ended, ServeError> {
        let mut ending = self.service.ending.clone();
        let ends = self.ends.map(|ends| self.service.clock.instant(ends));
        loop {
            self.received.clear();
            tokio::select! {
                read = self.stream.read(&mut self.received) => match read {
                    Ok(0) => return Ok(Ended::CLIENT),
                    Ok(_) => {}
                    Err(_) => return Ok(Ended::CLIENT_RESET),
                },
                () = until(ends) => return Ok(Ended::TIMEOUT),
                _ = ending.wait_for(|&ending| ending != Ending::Not) => return Ok(Ended::SERVER),
            }
        }
    }

    /// Records what has come, as far as it is understood.
    fn record_heard(&mut self) -> Result<(), ServeError> {
        while let Some(output) = self.session.poll() {
            if let ServerOutput::Record(unit) = output {
                self.note(unit)?;
            }
        }
        self.record_batch()?;
        Ok(())
    }

    /// Records all that has come, because nothing will be made of it.
    fn record_rest(&mut self) -> Result<(), ServeError> {
        self.session.fall_silent();
        self.session.close();
        self.record_heard()
    }
}

/// Octets that are moved in one step at a rate.
fn in_a_step(rate: u64) -> usize {
    let steps = u64::try_from(Duration::from_secs(1).as_millis() / STEP.as_millis());
    usize::try_from((rate / steps.unwrap_or(1).max(1)).max(1)).unwrap_or(usize::MAX)
}

fn time_for(octets: usize, rate: u64) -> Duration {
    let nanos = (octets as u64).saturating_mul(1_000_000_000) / rate.max(1);
    Duration::from_nanos(nanos)
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
