//! What was received: an account of each message, in order, for whoever asks.
//!
//! The messages themselves are where the store put them; this keeps what is known
//! about them, the newest of them, and wakes those who wait for more.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde_with::{DisplayFromStr, serde_as};
use shared::time::Timestamp;
use tokio::sync::watch;

/// So many accounts are remembered.
const MOST: usize = 10_000;

/// So many octets of accounts are remembered: a message may have a thousand
/// recipients.
const MOST_OCTETS: usize = 16 << 20;

/// A message that was kept, and what is known about it.
#[serde_as]
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// The id that the client was told.
    pub id: String,
    /// Counts the messages of this run, from 1.
    pub number: u64,
    /// The session in the recording.
    pub session: u64,
    /// The listener it came in by.
    pub listener: String,
    /// When it was taken.
    #[serde_as(as = "DisplayFromStr")]
    pub at: Timestamp,
    /// The client's address, as the server takes it to be.
    pub client: Option<IpAddr>,
    /// What XFORWARD said of the client before it.
    pub forwarded: Option<String>,
    /// The name given in EHLO, HELO or LHLO.
    pub helo: Option<String>,
    /// `ESMTP`, `ESMTPS` and so on (RFC 3848).
    pub protocol: &'static str,
    /// Who sent it to whom.
    pub envelope: Envelope,
    /// The TLS version, if it came inside TLS.
    pub tls: Option<String>,
    /// Who had authenticated.
    pub auth: Option<String>,
    /// By which mechanism.
    pub mechanism: Option<&'static str>,
    /// Octets of content, dots undone, without the trace header.
    pub octets: u64,
    /// Their SHA-256 digest, in hex.
    pub sha256: String,
    /// Where it is.
    #[serde(skip)]
    pub place: Place,
}

/// Who sent a message to whom.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope {
    /// As given in MAIL, brackets included.
    pub reverse_path: String,
    /// The parameters of MAIL, as given.
    pub parameters: String,
    /// The recipients that were taken.
    pub recipients: Vec<Recipient>,
}

/// One recipient that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Recipient {
    /// As given in RCPT, brackets included.
    pub forward_path: String,
    /// The parameters of RCPT, as given.
    pub parameters: String,
    /// The user it belongs to; none if it is of a foreign domain.
    pub user: Option<String>,
}

/// Where a message is.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// It was not kept.
    #[default]
    Nowhere,
    /// In memory.
    Memory(Bytes),
    /// A file of its own.
    File(PathBuf),
}

impl Received {
    /// About how many octets it takes, the message itself apart.
    fn size(&self) -> usize {
        let recipients = self.envelope.recipients.iter().map(|one| {
            let user = one.user.as_ref().map_or(0, String::len);
            size_of::<Recipient>() + one.forward_path.len() + one.parameters.len() + user
        });
        let others = [&self.envelope.reverse_path, &self.envelope.parameters];
        let others = others.iter().map(|text| text.len());
        size_of::<Self>() + recipients.chain(others).sum::<usize>()
    }
}

/// The accounts.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    /// How many were received in all.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Received>,
    /// What the accounts take.
    octets: usize,
    count: u64,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            count: watch::channel(0).0,
        }
    }
}

impl Inbox {
    /// Takes an account, and gives it its number.
    pub fn add(&self, mut received: Received) {
        let mut state = self.lock();
        state.count += 1;
        received.number = state.count;
        state.octets += received.size();
        state.messages.push_back(received);
        while state.messages.len() > MOST || state.octets > MOST_OCTETS {
            let Some(oldest) = state.messages.pop_front() else {
                break;
            };
            state.octets -= oldest.size().min(state.octets);
        }
        let count = state.count;
        drop(state);
        self.count.send_replace(count);
    }

    /// Those for which something holds, oldest first.
    pub fn select(&self, mut holds: impl FnMut(&Received) -> bool) -> Vec<Received> {
        let state = self.lock();
        let found = state.messages.iter().filter(|one| holds(one));
        found.cloned().collect()
    }

    /// The message with that id.
    pub fn find(&self, id: &str) -> Option<Received> {
        let state = self.lock();
        state.messages.iter().find(|one| one.id == id).cloned()
    }

    /// Forgets all of them; the count goes on.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.messages.clear();
        state.octets = 0;
    }

    /// Follows how many were received in all.
    pub fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// A thread that panicked while it held the lock left whole accounts behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(recipients: usize) -> Received {
        let recipient = Recipient {
            forward_path: "<anna@local.test>".into(),
            parameters: String::new(),
            user: Some("anna".into()),
        };
        Received {
            id: "1".into(),
            number: 0,
            session: 1,
            listener: "mx".into(),
            at: Timestamp::default(),
            client: None,
            forwarded: None,
            helo: None,
            protocol: "ESMTP",
            envelope: Envelope {
                reverse_path: "<>".into(),
                parameters: String::new(),
                recipients: vec![recipient; recipients],
            },
            tls: None,
            auth: None,
            mechanism: None,
            octets: 0,
            sha256: String::new(),
            place: Place::Nowhere,
        }
    }

    #[test]
    fn only_the_newest_accounts_are_remembered() {
        for (messages, recipients, most) in [(11_000, 1, MOST), (600, 1000, 200)] {
            let inbox = Inbox::default();
            for _ in 0..messages {
                inbox.add(received(recipients));
            }
            let kept = inbox.select(|_| true);
            assert!(kept.len() <= most, "{}", kept.len());
            assert!(kept.len() * 2 > most, "{}", kept.len());
            assert_eq!(kept.last().unwrap().number, messages);
            assert!(inbox.lock().octets <= MOST_OCTETS);
            inbox.clear();
            assert_eq!(inbox.lock().octets, 0);
        }
    }
}
