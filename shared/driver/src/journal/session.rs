//! One session of a recording.

use std::sync::Arc;

use shared::recording::{CloseFacts, FaultFacts, NoteFacts, SessionLog, TlsLine};
use shared::session::Unit;
use shared::time::Timestamp;

use super::Durability;
use super::writer::{Inner, WriteFailed};
use crate::tap::{SessionTap, Shown};
use crate::tls::{Facts, fingerprint};

/// How a session ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended(CloseFacts);

impl Ended {
    /// The client closed.
    pub const CLIENT: Self = Self(CloseFacts {
        by: "client",
        how: "fin",
    });
    /// The client's connection was reset.
    pub const CLIENT_RESET: Self = Self(CloseFacts {
        by: "client",
        how: "rst",
    });
    /// The server closed.
    pub const SERVER: Self = Self(CloseFacts {
        by: "server",
        how: "fin",
    });
    /// The server's connection was reset.
    pub const SERVER_RESET: Self = Self(CloseFacts {
        by: "server",
        how: "rst",
    });
    /// We closed, standing between them.
    pub const PROXY: Self = Self(CloseFacts {
        by: "proxy",
        how: "fin",
    });
    /// Nothing came for too long.
    pub const TIMEOUT: Self = Self(CloseFacts {
        by: "timeout",
        how: "fin",
    });
}

/// One session of a [`Journal`](super::Journal).
pub struct SessionJournal {
    pub(super) inner: Arc<Inner>,
    pub(super) log: SessionLog,
    /// Where its last line ends in the file.
    pub(super) position: u64,
    pub(super) tapped: Option<Tapped>,
}

/// Who follows a session.
pub(super) struct Tapped {
    pub(super) tap: Box<dyn SessionTap>,
    /// Writes the lines once more, masked, where the file's are not.
    pub(super) masking: Option<SessionLog>,
}

/// Lines that were appended, as a tap may see them.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Where those of each unit end.
    ends: Vec<usize>,
}

impl SessionJournal {
    /// Records units. When it returns, what the file's durability promises
    /// (short of syncing, see [`durable`](Self::durable)) holds for them.
    pub fn units(&mut self, units: &[Unit]) -> Result<(), WriteFailed> {
        if units.is_empty() {
            return Ok(());
        }
        let lines = self.append(|log, mut n, lines| {
            let first = n;
            for unit in units {
                n += log.unit(n, unit, &mut lines.bytes);
                lines.ends.push(lines.bytes.len());
            }
            n - first
        })?;
        if let Some(tapped) = &mut self.tapped {
            let mut from = 0;
            for (unit, &end) in units.iter().zip(&lines.ends) {
                let own = lines.bytes.get(from..end).unwrap_or_default();
                tapped.tap.unit(Shown::new(unit, own));
                from = end;
            }
        }
        Ok(())
    }

    /// Records the result of a TLS handshake: `leg` is `c` or `u`.
    pub fn tls(&mut self, at: Timestamp, leg: char, facts: &Facts) -> Result<(), WriteFailed> {
        let tls = TlsLine {
            leg,
            ok: facts.ok,
            version: facts.version.clone(),
            cipher: facts.cipher.clone(),
            kx: facts.kx.clone(),
            sni: facts.sni.clone(),
            chain: facts.chain.iter().map(|der| fingerprint(der)).collect(),
            verify: facts.verify.clone(),
            alert: facts.alert.clone(),
        };
        let chain = &facts.chain;
        let lines = self.append(|log, n, lines| {
            let mut count = log.tls(n, at, &tls, &mut lines.bytes);
            for (der, digest) in chain.iter().zip(&tls.chain) {
                count += log.certificate(n + count, at, digest, der, &mut lines.bytes);
            }
            count
        })?;
        if let Some(tapped) = &mut self.tapped {
            tapped.tap.tls(&tls, &lines.bytes);
        }
        Ok(())
    }

    /// Annotates the session.
    pub fn note(&mut self, note: &NoteFacts) -> Result<(), WriteFailed> {
        let now = self.inner.clock.now();
        let lines = self.append(|log, n, lines| log.note(n, now, note, &mut lines.bytes))?;
        if let Some(tapped) = &mut self.tapped {
            tapped.tap.noted(&lines.bytes);
        }
        Ok(())
    }

    /// Records that something is done on purpose.
    pub fn fault(&mut self, fault: &FaultFacts) -> Result<(), WriteFailed> {
        let now = self.inner.clock.now();
        let lines = self.append(|log, n, lines| log.fault(n, now, fault, &mut lines.bytes))?;
        if let Some(tapped) = &mut self.tapped {
            tapped.tap.noted(&lines.bytes);
        }
        Ok(())
    }

    /// Records the end.
    pub fn close(&mut self, at: Timestamp, ended: Ended) -> Result<(), WriteFailed> {
        let lines = self.append(|log, n, lines| log.close(n, at, ended.0, &mut lines.bytes))?;
        if let Some(tapped) = &mut self.tapped {
            tapped.tap.closed(at, ended.0, &lines.bytes);
        }
        Ok(())
    }

    /// Its number in the file.
    pub fn session(&self) -> u64 {
        self.log.session()
    }

    /// With [`Durability::Synced`], waits until all that was recorded is on the
    /// disk: sessions that wait together share one sync.
    pub async fn durable(&self) -> Result<(), WriteFailed> {
        if self.inner.durability != Durability::Synced {
            return Ok(());
        }
        let position = self.position;
        {
            let mut state = self.inner.lock();
            self.inner.check(&state)?;
            state.wanted_sync = state.wanted_sync.max(position);
            self.inner.work.notify_all();
        }
        let mut synced = self.inner.synced.subscribe();
        let mut failed = self.inner.failed.subscribe();
        tokio::select! {
            done = synced.wait_for(|&synced| synced >= position) => {
                done.map(drop).map_err(|error| self.inner.failure(error.to_string()))
            }
            failure = failed.wait_for(Option::is_some) => {
                let error = failure.ok().and_then(|failure| failure.clone());
                Err(self.inner.failure(error.unwrap_or_default()))
            }
        }
    }

    /// Appends lines to the file, and returns them as a tap may see them.
    fn append(
        &mut self,
        write: impl Fn(&mut SessionLog, u64, &mut Lines) -> u64,
    ) -> Result<Lines, WriteFailed> {
        let inner = Arc::clone(&self.inner);
        let mut state = inner.lock();
        inner.check(&state)?;
        let mut lines = Lines::default();
        let n = state.log.next_line();
        let count = write(&mut self.log, n, &mut lines);
        state.log.appended(count, &lines.bytes);
        self.position = inner.put(&mut state, &lines.bytes)?;
        drop(state);
        if let Some(masking) = self.tapped.as_mut().and_then(|one| one.masking.as_mut()) {
            lines = Lines::default();
            write(masking, n, &mut lines);
        }
        Ok(lines)
    }
}
