//! Postfix and Exim as senders: each on a host of a lab of its own, with the servers
//! beside it.
//!
//! A message is submitted on the host itself, and the mail server then delivers it to
//! `helo-server` as to a smarthost. What a mail server has no driver for it says
//! itself: every mechanism is configured and tried.

mod exim;
pub(super) mod extensions;
mod postfix;

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::message::Message;
use super::proof;
use super::roster;
use super::site::{Serving, Site};
use super::table::Cell;
use super::{MECHANISMS, Protocol, Transport, needs_tls};
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
    /// The program that takes a message with its arguments, and the file that it reads.
    submit: fn(&Delivery) -> (Vec<String>, &'static str),
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
    /// What it uses of the extensions, over SMTP and over LMTP.
    pub(super) uses: Vec<(Protocol, Vec<Cell>)>,
}

/// The way of a delivery that has a use for all extensions.
const ALL: &str = "all";

/// One message that is to be delivered.
struct Delivery {
    mechanism: &'static str,
    transport: Transport,
    way: &'static str,
    protocol: Protocol,
    port: String,
}

impl Delivery {
    /// A name that no other one has, fit for a file and for a local-part.
    fn name(&self) -> String {
        let (transport, protocol) = (self.transport.name(), self.protocol.name());
        let name = format!("{}-{transport}-{}-{protocol}", self.mechanism, self.way);
        name.to_lowercase()
    }

    /// Its reverse-path: what finds it in a log.
    fn from(&self) -> String {
        // It needs SMTPUTF8 then.
        let start = if self.wants_all() {
            "gr\u{fc}\u{df}e-"
        } else {
            ""
        };
        format!("{start}{}@test.invalid", self.name())
    }

    fn wants_all(&self) -> bool {
        self.way == ALL
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
    let (mut cells, mut uses) = (Vec::new(), Vec::new());
    for server in servers {
        let of_it = || {
            deliveries
                .iter()
                .filter(|delivery| delivery.mechanism == server.mechanism)
        };
        for delivery in of_it().filter(|delivery| delivery.wants_all()) {
            let used = extensions::used(mta, &lab, &server, delivery)?;
            uses.push((delivery.protocol, used));
        }
        for transport in Transport::ALL {
            let these =
                of_it().filter(|delivery| delivery.transport == transport && !delivery.wants_all());
            cells.push(cell(mta, &lab, &server, these)?);
        }
        server.stop()?;
    }
    Ok(Column {
        version: (mta.version)(&lab)?,
        cells,
        uses,
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
        if server.mechanism == "none" {
            deliveries.extend(extensions::deliveries(server)?);
        }
        for transport in Transport::ALL {
            if needs_tls(server.mechanism, transport) {
                continue;
            }
            for way in (mta.ways)(transport) {
                deliveries.push(Delivery {
                    mechanism: server.mechanism,
                    transport,
                    way,
                    protocol: Protocol::Smtp,
                    port: server.port(Protocol::Smtp, transport)?.to_owned(),
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
            Ok(_) => cell = Cell::Delivered,
            Err(error) if format!("{error:#}").contains(mta.lacks) => return Ok(Cell::Unknown),
            Err(error) => return Ok(Cell::of(&error.context(delivery.way), None)),
        }
    }
    Ok(cell)
}

/// One message, and what is left of it: the records of the session that brought it.
fn attempt(mta: &Mta, lab: &Lab, server: &Serving<'_>, delivery: &Delivery) -> Result<Vec<Value>> {
    let directory = server.site.path().join(mta.name);
    let client = format!("{} {}", mta.name, delivery.name());
    let message = Message::new(&client, delivery.mechanism, delivery.transport.name());
    message.write(&directory)?;
    let dialogue = extensions::dialogue(&message, &delivery.from());
    fs::write(directory.join("dialogue"), dialogue).context("writing a dialogue")?;
    let (arguments, input) = (mta.submit)(delivery);
    let mut command = lab.inside("mx");
    command.args(arguments);
    let said = roster::bounded(mta.name, &command, &directory, Some(input))?;
    (mta.outcome)(lab, delivery).with_context(|| format!("it said {said:?}"))?;
    server.must_have_kept(message.octets(), Some(mta.received))?;
    let session = server.session(&message)?;
    proof::must_have_used(&session, delivery.transport, delivery.mechanism)?;
    Ok(session)
}
