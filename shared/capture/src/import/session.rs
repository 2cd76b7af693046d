//! One mail session: what a connection gives, turned into units and their lines.

use std::io::{self, Write};
use std::net::SocketAddr;

use shared::codec;
use shared::direction::Direction::{self, Client, Server};
use shared::proxy::{self, Parsed, Version};
use shared::recording::{CloseFacts, NoteFacts, OpenFacts, SessionLog, Via};
use shared::session::{Observer, Peers};
use shared::time::Timestamp;

use super::output::{Output, session_id};
use crate::tcp::{Connection, Event, Side};

/// A session that is being written.
pub(super) struct Session {
    client: Side,
    log: SessionLog,
    observer: Observer,
    header: Header,
    /// The most octets that may wait for the reply that says what they are.
    undecided: usize,
    tls_noted: bool,
    unseen_noted: bool,
    first_end: Option<(Direction, &'static str)>,
}

/// How a session begins.
pub(super) struct Beginning {
    pub(super) client: Side,
    pub(super) implicit_tls: bool,
    /// The PROXY header, if there is one, as it was read to recognise the session.
    pub(super) header: Option<(proxy::Header, usize)>,
}

/// Octets of the client that are a PROXY header, and no SMTP.
struct Header {
    rest: usize,
}

impl Session {
    /// Begins one.
    pub(super) fn open<W: Write>(
        connection: &Connection,
        beginning: &Beginning,
        undecided: usize,
        output: &mut Output<W>,
    ) -> io::Result<Self> {
        let client = beginning.client;
        let (began, peer) = (connection.began(), connection.address(client));
        let server = connection.address(client.other());
        let header = beginning.header.as_ref();
        let told = header.and_then(|(header, _)| header.origin.source());
        let facts = OpenFacts {
            id: session_id(began, peer, server),
            role: "import",
            client: Some(told.unwrap_or(peer).to_string()),
            listener: Some(server.to_string()),
            implicit_tls: beginning.implicit_tls,
            via: header.map(|(header, _)| via(header.version, peer)),
            ..OpenFacts::default()
        };
        let mut session = Self {
            client,
            log: output.session(),
            observer: Observer::new(Peers::Others, codec::Limits::DEFAULT),
            header: Header {
                rest: header.map_or(0, |&(_, octets)| octets),
            },
            undecided,
            tls_noted: false,
            unseen_noted: false,
            first_end: None,
        };
        output.append(began, |n, lines| session.log.open(n, began, &facts, lines))?;
        if !connection.has_beginning() {
            session.observer.joined_late();
            for direction in [Client, Server] {
                session.write_gap(direction, 0, LATE, began, output)?;
            }
        }
        Ok(session)
    }

    /// Takes what happened.
    pub(super) fn handle<W: Write>(
        &mut self,
        connection: &Connection,
        event: &Event,
        output: &mut Output<W>,
    ) -> io::Result<()> {
        if connection.is_absent(self.client.other()) && !self.unseen_noted {
            self.unseen_noted = true;
            self.observer.server_is_unseen();
            let said = "the capture has nothing of what the server sent";
            self.note("unseen", said, connection.began(), output)?;
        }
        match event {
            Event::Bytes { side, bytes, at } => self.bytes(*side, bytes, *at, output),
            Event::Gap { side, octets, at } => {
                self.gap(self.direction(*side), *octets, *at, output)
            }
            Event::Conflict {
                side,
                offset,
                octets,
                at,
            } => {
                let letter = self.direction(*side);
                let who = match letter {
                    Client => "client",
                    Server => "server",
                };
                let said = format!(
                    "{octets} octets from octet {offset} of the {who} on were sent again with other values; the first are kept"
                );
                self.note("conflict", &said, *at, output)
            }
            Event::Finished { side, .. } => {
                self.ends(*side, "fin");
                Ok(())
            }
            Event::Reset { side, .. } => {
                self.ends(*side, "rst");
                Ok(())
            }
        }
    }

    fn ends(&mut self, side: Side, how: &'static str) {
        let direction = self.direction(side);
        self.first_end.get_or_insert((direction, how));
    }

    /// Writes what is left, and the end.
    pub(super) fn close<W: Write>(
        mut self,
        connection: &Connection,
        output: &mut Output<W>,
    ) -> io::Result<()> {
        for direction in [Server, Client] {
            while let Some(unit) = self.observer.finish(direction) {
                output.append(unit.at, |n, lines| self.log.unit(n, &unit, lines))?;
            }
        }
        let at = connection.last();
        let close = match self.first_end {
            Some((Client, how)) => CloseFacts { by: "client", how },
            Some((Server, how)) => CloseFacts { by: "server", how },
            None => CloseFacts {
                by: "capture",
                how: "unseen",
            },
        };
        output.append(at, |n, lines| self.log.close(n, at, close, lines))
    }

    fn direction(&self, side: Side) -> Direction {
        if side == self.client { Client } else { Server }
    }

    fn bytes<W: Write>(
        &mut self,
        side: Side,
        bytes: &[u8],
        at: Timestamp,
        output: &mut Output<W>,
    ) -> io::Result<()> {
        let direction = self.direction(side);
        let bytes = match direction {
            Client => self.header.skip(bytes),
            Server => bytes,
        };
        // No more at once than a reader of a socket takes.
        for piece in bytes.chunks(PIECE) {
            self.observer.push(direction, piece, at);
            self.units(output)?;
            if self.observer.held(Client) > self.undecided
                && let Some(unit) = self.observer.flush(Client)
            {
                output.append(unit.at, |n, lines| self.log.unit(n, &unit, lines))?;
                self.units(output)?;
            }
            if self.observer.is_full() {
                self.observer.replies_are_lost();
            }
        }
        Ok(())
    }

    fn units<W: Write>(&mut self, output: &mut Output<W>) -> io::Result<()> {
        while let Some(unit) = self.observer.poll() {
            output.append(unit.at, |n, lines| self.log.unit(n, &unit, lines))?;
            if self.observer.is_opaque() && !self.tls_noted {
                self.tls_noted = true;
                let said = "TLS begins: from here on there is only ciphertext";
                self.note("passthrough", said, unit.at, output)?;
            }
        }
        Ok(())
    }

    fn gap<W: Write>(
        &mut self,
        direction: Direction,
        octets: u64,
        at: Timestamp,
        output: &mut Output<W>,
    ) -> io::Result<()> {
        while let Some(unit) = self.observer.cut(direction) {
            output.append(unit.at, |n, lines| self.log.unit(n, &unit, lines))?;
        }
        self.observer.gap(direction, octets);
        self.write_gap(direction, octets, LOST, at, output)
    }

    #[expect(clippy::too_many_arguments, reason = "what a line of this kind says")]
    fn write_gap<W: Write>(
        &mut self,
        direction: Direction,
        octets: u64,
        why: &str,
        at: Timestamp,
        output: &mut Output<W>,
    ) -> io::Result<()> {
        output.append(at, |n, lines| {
            self.log.gap(n, at, direction, octets, why, lines)
        })
    }

    fn note<W: Write>(
        &mut self,
        tag: &str,
        said: &str,
        at: Timestamp,
        output: &mut Output<W>,
    ) -> io::Result<()> {
        let note = NoteFacts {
            by: "helo-recorder".into(),
            message: Some(said.to_owned()),
            tag: Some(tag.to_owned()),
            ..NoteFacts::default()
        };
        output.append(at, |n, lines| self.log.note(n, at, &note, lines))
    }
}

impl Header {
    /// What of these octets is behind the header.
    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let octets = self.rest.min(bytes.len());
        self.rest -= octets;
        bytes.get(octets..).unwrap_or_default()
    }
}

/// The PROXY header at the start of what a client sent, and its length.
pub(super) fn header(client: &[u8]) -> Option<(proxy::Header, usize)> {
    match proxy::parse(client) {
        Ok(Parsed::Header(header, octets)) => Some((header, octets)),
        _ => None,
    }
}

/// A PROXY header has begun, and its end has not come.
pub(super) fn is_begun(client: &[u8]) -> bool {
    !client.is_empty() && proxy::parse(client) == Ok(Parsed::NeedMore)
}

fn via(version: Version, peer: SocketAddr) -> Via {
    Via {
        protocol: match version {
            Version::One => "PROXY1",
            Version::Two => "PROXY2",
        },
        peer: peer.to_string(),
    }
}

const PIECE: usize = 64 << 10;

/// Why bytes are missing.
const LOST: &str = "not in the capture";
const LATE: &str = "the capture begins later";
