//! Real clients × transport × mechanism, against `helo-server`: what
//! `docs/clients.md` shows, and whether it still is so.
//!
//! A cell is `ok` only if the client ends well, the store has exactly the octets it
//! was given, and the recording says that this transport and this mechanism were
//! used. Each mechanism has a server that offers no other, so that no client can
//! take one that it likes better.

mod installed;
mod message;
mod mta;
mod proof;
mod roster;
mod site;
mod table;

use std::process::Command;

use anyhow::{Context, Result, bail};

use self::installed::Installed;
use self::message::Message;
use self::mta::{Column, MTAS};
use self::roster::{CLIENTS, Client, Job};
use self::site::{Serving, Site};
use self::table::{Cell, Row};
use crate::cargo::{Programs, root};
use crate::interrupt;
use crate::process::find;

/// The programs that must be there, and the Debian package of each.
const NEEDED: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("go", "golang-go"),
    ("msmtp", "msmtp"),
    ("nmap", "nmap"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("python3", "python3 python3-venv"),
    ("s-nail", "s-nail"),
    ("swaks", "swaks libnet-ssleay-perl"),
];

/// Every mechanism of the server; `none` is a session without AUTH.
const MECHANISMS: &[&str] = &[
    "none",
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
    "OAUTHBEARER",
    "XOAUTH2",
    "EXTERNAL",
];

/// What is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Smtp,
    Lmtp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
        }
    }
}

/// What lies under the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transport {
    Clear,
    Starttls,
    Implicit,
}

impl Transport {
    const ALL: [Self; 3] = [Self::Clear, Self::Starttls, Self::Implicit];

    fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Starttls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

/// Fills the table, writes it, and fails if a cell is not what it was, or a delivery
/// failed.
pub(super) fn run(programs: &Programs) -> Result<()> {
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(program, package)| format!("{program} (apt-get install {package})"))
        .collect();
    if !missing.is_empty() {
        bail!("real clients need {}", missing.join(", "));
    }
    let installed = Installed::ready()?;
    let site = Site::new()?;
    let (rows, columns) = std::thread::scope(|scope| -> Result<_> {
        // Each has a host of its own, and mostly waits.
        let senders: Vec<_> = MTAS
            .iter()
            .map(|mta| {
                let column = || mta::column(programs, &site, mta).context(mta.name);
                scope.spawn(column)
            })
            .collect();
        let mut rows = Vec::new();
        for mechanism in MECHANISMS {
            rows.extend(fill(programs, &installed, &site, mechanism)?);
        }
        let columns: Result<Vec<Column>> = senders.into_iter().map(joined).collect();
        Ok((rows, columns?))
    })?;
    let path = root().join("docs/clients.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let now = table::page(&rows, &columns, &installed.versions()?);
    std::fs::write(&path, &now).with_context(|| format!("writing {}", path.display()))?;
    let different = table::differences(&before, &now);
    if !different.is_empty() {
        bail!("docs/clients.md is no longer so:\n{}", different.join("\n"));
    }
    Ok(())
}

/// What a thread has come to.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    let ended = thread.join();
    ended.unwrap_or_else(|_| bail!("a thread ended in a panic"))
}

/// The rows of one mechanism, from a server that offers it alone.
fn fill(
    programs: &Programs,
    installed: &Installed,
    site: &Site,
    mechanism: &'static str,
) -> Result<Vec<Row>> {
    let command = Command::new(&programs.server);
    let serving = Serving::start(command, site, site.path().join(mechanism), mechanism)?;
    let mut rows = Vec::new();
    for transport in Transport::ALL {
        let mut cells = Vec::new();
        for client in CLIENTS {
            interrupt::check()?;
            let cell = match what_is_known(client, mechanism, transport) {
                Some(cell) => cell,
                None => match attempt(&serving, installed, client, transport) {
                    Ok(()) => Cell::Delivered,
                    Err(error) => Cell::of(&error, client.refusal),
                },
            };
            cells.push(cell);
        }
        rows.push(Row {
            mechanism,
            transport: transport.name(),
            cells,
        });
    }
    serving.stop()?;
    Ok(rows)
}

/// A cell that needs no attempt.
fn what_is_known(client: &Client, mechanism: &str, transport: Transport) -> Option<Cell> {
    if needs_tls(mechanism, transport) {
        return Some(Cell::NeedsTls);
    }
    let knows = mechanism == "none" || client.mechanisms.contains(&mechanism);
    (!knows).then_some(Cell::Unknown)
}

/// There is nothing that the mechanism could prove.
fn needs_tls(mechanism: &str, transport: Transport) -> bool {
    let proven_by_tls = mechanism == "EXTERNAL" || mechanism.ends_with("-PLUS");
    transport == Transport::Clear && proven_by_tls
}

/// One message from one client, and what is left of it.
fn attempt(
    serving: &Serving<'_>,
    installed: &Installed,
    client: &Client,
    transport: Transport,
) -> Result<()> {
    let message = Message::new(client.name, serving.mechanism, transport.name());
    message.write(serving.site.path())?;
    let job = Job {
        installed,
        mechanism: serving.mechanism,
        port: serving.port(Protocol::Smtp, transport)?,
        site: serving.site,
        transport,
    };
    let said = roster::send(client, &job)?;
    serving
        .must_have_kept(&(client.sends)(message.octets()), None)
        .with_context(|| format!("it ended well, and said {said:?}"))?;
    let session = serving.session(&message)?;
    proof::must_have_used(&session, transport, serving.mechanism)
}
