//! From a capture to a recording.
//!
//! Sessions are written while they are read, each line when its unit is whole, so
//! that a capture of any size needs the memory of its open connections only. What is
//! no mail is counted and left out.

mod output;
mod recognise;
mod session;

use std::io::{self, Read, Write};

use shared::recording::{NoteFacts, Redaction};
use shared::time::Timestamp;

use self::output::Output;
use self::recognise::{Evidence, Verdict, judge};
use self::session::{Beginning, Session, header, is_begun};
use crate::Limits;
use crate::container::{Captured, Damage, Facts, Reader, Unusable};
use crate::packet::{Decoder, Found};
use crate::tcp::{Connection, Event, Side, Table, Told};

/// How an import is made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The program and its version.
    pub tool: &'static str,
    /// What is taken out before anything is written.
    pub redaction: Redaction,
    /// What it may keep in memory.
    pub limits: Limits,
}

/// What an import found beside the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Mail sessions.
    pub sessions: u64,
    /// Connections that are something else, or too short to be told.
    pub other_connections: u64,
    /// Packets that hold no TCP, or only a part of a datagram.
    pub other_packets: u64,
    /// Packets of links of an unknown type.
    pub unknown_links: u64,
    /// Packets without a time; they are given that of the one before.
    pub untimed: u64,
}

/// Takes packets, and writes what mail sessions they hold.
pub struct Importer<W: Write> {
    settings: Settings,
    decoder: Decoder,
    table: Table<State>,
    stage: Stage<W>,
    totals: Totals,
    last: Timestamp,
}

/// The recording begins with the time of the first packet.
enum Stage<W> {
    NotBegun(Option<W>),
    Begun(Output<W>),
}

/// What is known of a connection.
#[derive(Default)]
enum State {
    #[default]
    New,
    /// What was said is kept until it is clear what it is.
    Undecided(Vec<Event>),
    Mail(Box<Session>),
    Other,
}

/// A whole capture as a recording in memory, and where it is damaged: for who reads
/// recordings, and is given a capture.
pub fn recording_of(
    name: &str,
    input: impl Read,
    settings: Settings,
) -> Result<(Vec<u8>, Option<Damage>), Unusable> {
    let mut reader = Reader::open(input)?;
    let mut importer = Importer::new(settings, Vec::new());
    let damage = loop {
        match reader.packet() {
            Ok(Some(packet)) => importer.handle(&packet)?,
            Ok(None) => break None,
            Err(damage) => break Some(damage),
        }
    };
    importer.end_of_file(name, reader.facts(), damage.as_ref())?;
    let (_, lines) = importer.finish()?;
    Ok((lines, damage))
}

impl<W: Write> Importer<W> {
    /// An importer that writes there.
    pub fn new(settings: Settings, sink: W) -> Self {
        Self {
            settings,
            decoder: Decoder::new(settings.limits.datagrams),
            table: Table::new(settings.limits),
            stage: Stage::NotBegun(Some(sink)),
            totals: Totals::default(),
            last: Timestamp::default(),
        }
    }

    /// Takes a packet.
    pub fn handle(&mut self, packet: &Captured<'_>) -> io::Result<()> {
        match packet.at {
            Some(at) => self.last = at,
            None => self.totals.untimed += 1,
        }
        let at = self.last;
        let output = self.stage.begin(&self.settings, at, packet.bytes)?;
        let (table, totals, limits) = (&mut self.table, &mut self.totals, self.settings.limits);
        let mut result = Ok(());
        let found = self
            .decoder
            .decode(packet.link, packet.bytes, at, &mut |segment| {
                table.handle(&segment, &mut |state, told| {
                    let mut follower = Follower {
                        output: &mut *output,
                        totals: &mut *totals,
                        limits,
                    };
                    follower.told(state, told).unwrap_or_else(|error| {
                        result = Err(error);
                        false
                    })
                });
            });
        match found {
            Found::Segment => {}
            Found::Other => self.totals.other_packets += 1,
            Found::UnknownLink => self.totals.unknown_links += 1,
        }
        result
    }

    /// A file is at its end, or damaged: writes what it says beside packets. The next
    /// file may go on with the same connections.
    pub fn end_of_file(
        &mut self,
        name: &str,
        facts: &Facts,
        damage: Option<&Damage>,
    ) -> io::Result<()> {
        let output = self
            .stage
            .begin(&self.settings, self.last, name.as_bytes())?;
        for comment in &facts.comments {
            output.note(&note("comment", comment.clone(), &[]))?;
        }
        if let Some(damage) = damage {
            output.note(&note("damage", format!("{name} is {damage}"), &[]))?;
        }
        let bind = [
            ("file", name.to_owned()),
            ("format", facts.format.clone()),
            ("packets", facts.packets.to_string()),
            ("unreadable", facts.unreadable.to_string()),
            ("secrets", facts.secrets.to_string()),
        ];
        output.note(&note("capture", String::new(), &bind))
    }

    /// There are no more packets: writes what is left, and the end. Gives back where
    /// it wrote to.
    pub fn finish(mut self) -> io::Result<(Totals, W)> {
        let (at, limits) = (self.last, self.settings.limits);
        let mut output = self.stage.end(&self.settings, at)?;
        let (mut result, totals) = (Ok(()), &mut self.totals);
        self.table.finish(&mut |state, told| {
            let mut follower = Follower {
                output: &mut output,
                totals: &mut *totals,
                limits,
            };
            follower.told(state, told).unwrap_or_else(|error| {
                result = Err(error);
                false
            })
        });
        result?;
        output.note(&note("import", String::new(), &self.totals.bindings()))?;
        Ok((self.totals, output.end()?))
    }
}

impl<W: Write> Stage<W> {
    fn begin(
        &mut self,
        settings: &Settings,
        at: Timestamp,
        seed: &[u8],
    ) -> io::Result<&mut Output<W>> {
        if let Self::NotBegun(sink) = self {
            let sink = sink.take().ok_or(io::ErrorKind::BrokenPipe)?;
            *self = Self::Begun(Output::begin(sink, settings, at, seed));
        }
        match self {
            Self::Begun(output) => Ok(output),
            Self::NotBegun(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn end(mut self, settings: &Settings, at: Timestamp) -> io::Result<Output<W>> {
        self.begin(settings, at, b"")?;
        match self {
            Self::Begun(output) => Ok(output),
            Self::NotBegun(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Totals {
    fn bindings(&self) -> [(&'static str, String); 5] {
        [
            ("sessions", self.sessions.to_string()),
            ("other-connections", self.other_connections.to_string()),
            ("other-packets", self.other_packets.to_string()),
            ("unknown-links", self.unknown_links.to_string()),
            ("untimed", self.untimed.to_string()),
        ]
    }
}

fn note(tag: &str, message: String, bind: &[(&str, String)]) -> NoteFacts {
    NoteFacts {
        by: "helo-recorder".into(),
        message: (!message.is_empty()).then_some(message),
        tag: Some(tag.to_owned()),
        bind: bind
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        ..NoteFacts::default()
    }
}

/// Does what is to be done when something is told of a connection.
struct Follower<'a, W: Write> {
    output: &'a mut Output<W>,
    totals: &'a mut Totals,
    limits: Limits,
}

impl<W: Write> Follower<'_, W> {
    /// Takes it; whether more of the connection is wanted.
    fn told(&mut self, state: &mut State, told: Told<'_>) -> io::Result<bool> {
        let Told {
            connection,
            events,
            over,
        } = told;
        match state {
            State::New => *state = State::Undecided(events),
            State::Undecided(before) => before.extend(events),
            State::Mail(session) => {
                for event in &events {
                    session.handle(connection, event, self.output)?;
                }
            }
            State::Other => return Ok(false),
        }
        if let State::Undecided(events) = state {
            match self.decide(connection, events, over) {
                Decision::Unknown => return Ok(true),
                Decision::Other => {
                    let said = events
                        .iter()
                        .any(|event| matches!(event, Event::Bytes { .. }));
                    self.totals.other_connections += u64::from(said || connection.has_beginning());
                    *state = State::Other;
                    return Ok(false);
                }
                Decision::Mail(beginning) => {
                    let undecided = self.limits.undecided;
                    let mut session =
                        Session::open(connection, &beginning, undecided, self.output)?;
                    self.totals.sessions += 1;
                    for event in std::mem::take(events) {
                        session.handle(connection, &event, self.output)?;
                    }
                    *state = State::Mail(Box::new(session));
                }
            }
        }
        if over && let State::Mail(session) = std::mem::take(state) {
            session.close(connection, self.output)?;
        }
        Ok(true)
    }

    fn decide(&self, connection: &Connection, events: &[Event], over: bool) -> Decision {
        let [first, second] = [Side::First, Side::Second].map(|side| said(events, side));
        let most = self.limits.unknown;
        let is_much = first.len() >= most || second.len() >= most || events.len() >= most;
        let is_all = over || is_much;
        // Who sent a SYN is the client, and who answered it is not.
        let client = connection.began_with();
        let mut all_other = true;
        for side in [Side::First, Side::Second] {
            if client.is_some_and(|client| client != side) {
                continue;
            }
            let (says, answers) = match side {
                Side::First => (&first, &second),
                Side::Second => (&second, &first),
            };
            let header = header(says);
            if header.is_none() && !is_all && is_begun(says) {
                all_other = false;
                continue;
            }
            let behind = header.as_ref().map_or(0, |&(_, octets)| octets);
            let evidence = Evidence {
                client: says.get(behind..).unwrap_or_default(),
                server: answers,
                port: connection.address(side.other()).port(),
                is_all,
                from_the_start: client.is_some(),
            };
            match judge(&evidence) {
                verdict @ (Verdict::Mail | Verdict::MailInTls) => {
                    return Decision::Mail(Beginning {
                        client: side,
                        implicit_tls: verdict == Verdict::MailInTls,
                        header,
                    });
                }
                Verdict::Other => {}
                Verdict::Unknown => all_other = false,
            }
        }
        if all_other {
            Decision::Other
        } else {
            Decision::Unknown
        }
    }
}

enum Decision {
    Mail(Beginning),
    Other,
    Unknown,
}

/// What a side has said so far, up to its first gap.
fn said(events: &[Event], side: Side) -> Vec<u8> {
    let mut said = Vec::new();
    for event in events {
        match event {
            Event::Bytes {
                side: by, bytes, ..
            } if *by == side => said.extend_from_slice(bytes),
            Event::Gap { side: by, .. } if *by == side => break,
            _ => {}
        }
    }
    said
}
