//! Postfix and Exim as senders: each on a host of a lab of its own, with the servers
//! beside it.
//!
//! A message is submitted on the host itself, and the mail server then delivers it to
//! `helo-server` as to a smarthost. What a mail server has no driver for it says
//! itself: every mechanism is configured and tried.

mod exim;
mod postfix;

use std::fs;

use anyhow::{Context, Result};

use super::message::Message;
use super::proof;
use super::roster::{self, TO};
use super::site::{Serving, Site};
use super::table::Cell;
use super::{MECHANISMS, Transport, needs_tls};
use crate::cargo::Programs;
use crate::interrupt;
use crate::peers::lab::Lab;

/// A column of the table.
pub(super) struct Mta {
    pub(super) name: &'static str,
    /// What it does, for the reader.
    pub(super) about: &'static str,
    /// What the lab calls it.
    lab: &'static str,
    /// What only its own Received field says (RFC 5321 §4.4).
    received: &'static str,
    /// What it says of a mechanism that it does not have.
    lacks: &'static str,
    /// How it can be told to use a transport. Each of these delivers a message.
    ways: fn(Transport) -> &'static [&'static str],
    /// What must be written down and started before the first message.
    prepare: fn(&Lab, &[Delivery]) -> Result<()>,
    /// The program that takes a message, and its arguments.
    submit: fn(&Delivery) -> Vec<String>,
    /// Waits until it has tried to deliver the message; an error says why it could not.
    outcome: fn(&Lab, &Delivery) -> Result<()>,
    /// Its version, from its own words.
    version: fn(&Lab) -> Result<String>,
}

pub(super) const MTAS: &[Mta] = &[postfix::POSTFIX, exim::EXIM];

/// What a column holds.
pub(super) struct Column {
    pub(super) version: String,
    /// In the order of the rows.
    pub(super) cells: Vec<Cell>,
}

/// One message that is to be delivered.
struct Delivery {
    mechanism: &'static str,
    transport: Transport,
    way: &'static str,
    port: String,
}

impl Delivery {
    /// A name that no other one has, fit for a file and for a local-part.
    fn name(&self) -> String {
        let name = format!("{}-{}-{}", self.mechanism, self.transport.name(), self.way);
        name.to_lowercase()
    }

    /// Its reverse-path: what finds it in a log.
    fn from(&self) -> String {
        format!("{}@test.invalid", self.name())
    }

    fn proves(&self) -> bool {
        self.mechanism != "none"
    }
}

/// Fills the column of one of them.
pub(super) fn column(programs: &Programs, site: &Site, mta: &Mta) -> Result<Column> {
    let lab = Lab::up(mta.lab, "sane", None)?;
    let directory = site.path().join(mta.name);
    fs::create_dir(&directory)?;
    place_certificates(&lab, site)?;
    let mut servers = Vec::new();
    for mechanism in MECHANISMS {
        let command = lab.on("mx", &programs.server)?;
        let store = directory.join(mechanism);
        servers.push(Serving::start(command, site, store, mechanism)?);
    }
    let deliveries = deliveries(mta, &servers)?;
    (mta.prepare)(&lab, &deliveries)?;
    let mut cells = Vec::new();
    for server in servers {
        for transport in Transport::ALL {
            let these = deliveries.iter().filter(|delivery| {
                delivery.mechanism == server.mechanism && delivery.transport == transport
            });
            cells.push(cell(mta, &lab, &server, these)?);
        }
        server.stop()?;
    }
    Ok(Column {
        version: (mta.version)(&lab)?,
        cells,
    })
}

/// The CA, and what a client shows of itself, where a mail server reads it.
fn place_certificates(lab: &Lab, site: &Site) -> Result<()> {
    let there = lab
        .path()
        .join("mx")
        .join(CERTIFICATES.trim_start_matches('/'));
    fs::create_dir(&there)?;
    let read = |name: &str| fs::read_to_string(site.path().join(name));
    fs::write(there.join("ca.pem"), read("ca.pem")?)?;
    // Postfix wants the key first, and Exim does not mind.
    let chain = read("client.key")? + &read("client.pem")?;
    fs::write(there.join("client.pem"), chain).context("writing a certificate")
}

/// Where they are on the host.
const CERTIFICATES: &str = "/etc/helo";

/// Every message that is worth a try.
fn deliveries(mta: &Mta, servers: &[Serving<'_>]) -> Result<Vec<Delivery>> {
    let mut deliveries = Vec::new();
    for server in servers {
        for transport in Transport::ALL {
            if needs_tls(server.mechanism, transport) {
                continue;
            }
            for way in (mta.ways)(transport) {
                deliveries.push(Delivery {
                    mechanism: server.mechanism,
                    transport,
                    way,
                    port: server.port(transport)?.to_owned(),
                });
            }
        }
    }
    Ok(deliveries)
}

/// What has become of the messages of one cell: the first that failed decides.
fn cell<'a>(
    mta: &Mta,
    lab: &Lab,
    server: &Serving<'_>,
    deliveries: impl Iterator<Item = &'a Delivery>,
) -> Result<Cell> {
    let mut cell = Cell::NeedsTls;
    for delivery in deliveries {
        interrupt::check()?;
        match attempt(mta, lab, server, delivery) {
            Ok(()) => cell = Cell::Delivered,
            Err(error) if format!("{error:#}").contains(mta.lacks) => return Ok(Cell::Unknown),
            Err(error) => return Ok(Cell::of(&error.context(delivery.way), None)),
        }
    }
    Ok(cell)
}

/// One message, and what is left of it.
fn attempt(mta: &Mta, lab: &Lab, server: &Serving<'_>, delivery: &Delivery) -> Result<()> {
    let directory = server.site.path().join(mta.name);
    let client = format!("{} {}", mta.name, delivery.way);
    let message = Message::new(&client, delivery.mechanism, delivery.transport.name());
    message.write(&directory)?;
    let mut command = lab.inside("mx");
    command.args((mta.submit)(delivery));
    // It reads lines in LF, and a line with one dot is one like any other (-i).
    command.args(["-i", "-f", &delivery.from(), TO]);
    let said = roster::bounded(mta.name, &command, &directory, Some("message.txt"))?;
    (mta.outcome)(lab, delivery).with_context(|| format!("it said {said:?}"))?;
    server.must_have_kept(message.octets(), Some(mta.received))?;
    let session = server.session(&message)?;
    proof::must_have_used(&session, delivery.transport, delivery.mechanism)
}
