//! Finds out what became of messages: waits for them in a Maildir.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use shared::check::Arrival;
use shared::message::{client_of_received, header, same_body};

use crate::exit::{Failure, Status};
use crate::screen;

/// How often the Maildir is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How often to give a sign of life, an empty line: who waits for us takes a long
/// silence for the end.
const SIGN: Duration = Duration::from_secs(60);

/// Once everything is there, how long to look for second copies.
const COPIES: Duration = Duration::from_millis(300);

/// The most of a message that is read.
const MOST: u64 = 4 * 1024 * 1024;

/// What to wait for, and where.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The Maildir.
    pub maildir: PathBuf,
    /// How long.
    pub patience: Duration,
    /// The messages.
    pub expected: Vec<Expected>,
}

/// One message that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expected {
    /// Its Message-ID.
    pub id: String,
    /// What is known of it: leg, check, case, as an arrival's map has them.
    pub known: BTreeMap<String, String>,
    /// What was sent, dots undone.
    pub content: String,
}

/// Runs a request from standard input; arrivals go to standard output, a JSON
/// map a line.
pub async fn serve_stdin() -> Result<Status, Failure> {
    let mut input = Vec::new();
    std::io::stdin()
        .read_to_end(&mut input)
        .map_err(Failure::with(Status::Input))?;
    let request: Request = serde_json::from_slice(&input)
        .context("reading what to wait for")
        .map_err(Failure::with(Status::Input))?;
    let arrivals = wait(&request)
        .await
        .map_err(Failure::with(Status::NoVerdict))?;
    for arrival in arrivals {
        let line =
            serde_json::to_string(&arrival.to_map()).map_err(Failure::with(Status::Output))?;
        screen::print(&(line + "\n"));
    }
    Ok(Status::AsAsked)
}

/// Waits until all messages have arrived, or patience ends.
async fn wait(request: &Request) -> Result<Vec<Arrival>> {
    let begun = Instant::now();
    let mut mailbox = Mailbox::default();
    let mut complete_since: Option<Instant> = None;
    let mut sign = begun;
    loop {
        mailbox.look(&request.maildir)?;
        let complete = request
            .expected
            .iter()
            .all(|message| mailbox.messages.contains_key(&message.id));
        if complete {
            let since = *complete_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= COPIES {
                break;
            }
        }
        if begun.elapsed() >= request.patience {
            break;
        }
        if sign.elapsed() >= SIGN {
            sign = Instant::now();
            screen::print("\n");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(request
        .expected
        .iter()
        .map(|message| mailbox.arrival(message, begun))
        .collect())
}

/// What was found so far.
#[derive(Default)]
struct Mailbox {
    /// Files that were read already.
    seen: std::collections::BTreeSet<PathBuf>,
    /// Message-ID to the copies found.
    messages: BTreeMap<String, Vec<Found>>,
}

struct Found {
    at: Instant,
    message: Vec<u8>,
}

impl Mailbox {
    fn look(&mut self, maildir: &Path) -> Result<()> {
        for part in ["new", "cur"] {
            let directory = maildir.join(part);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                // A server makes the Maildir with the first message.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("looking into {}", directory.display()));
                }
            };
            for entry in entries {
                let path = entry
                    .with_context(|| format!("looking into {}", directory.display()))?
                    .path();
                if self.seen.insert(path.clone()) {
                    self.read(&path);
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &Path) {
        let mut message = Vec::new();
        // A mail program may move a file while we look: it is found again then.
        let read = fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut message));
        if read.is_err() {
            return;
        }
        if let Some(id) = header(&message, "Message-ID").pop() {
            let found = Found {
                at: Instant::now(),
                message,
            };
            self.messages.entry(id).or_default().push(found);
        }
    }

    fn arrival(&self, expected: &Expected, begun: Instant) -> Arrival {
        let mut known = expected.known.clone();
        known.insert("id".into(), expected.id.clone());
        let arrival = Arrival::from_map(&known).unwrap_or_default();
        let copies = self
            .messages
            .get(&expected.id)
            .map_or(&[][..], Vec::as_slice);
        let Some(first) = copies.first() else {
            return Arrival {
                found: false,
                copies: 0,
                ..arrival
            };
        };
        let received = header(&first.message, "Received");
        Arrival {
            found: true,
            delay: Some(first.at.saturating_duration_since(begun)),
            content_equal: Some(same_body(expected.content.as_bytes(), &first.message)),
            copies: u32::try_from(copies.len()).unwrap_or(u32::MAX),
            // The last one was added first: by the server the client spoke to,
            // or by a proxy's next hop; it names the client.
            client_seen: received.last().and_then(|field| client_of_received(field)),
            received,
            ..arrival
        }
    }
}
