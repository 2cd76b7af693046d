//! What the standards demand of a client that hears a server, at every split.
//!
//! `transcripts/client/*.smtp` hold several dialogues each, as `recording::Transcript`
//! reads them, with these additions:
//!
//! ```text
//! # RFC 5321 §4.2.1: what the file is about      (its first line)
//! ## what this dialogue shows
//! -- close                                       the server closes
//! = hears 250 to EHLO c.test                     a reply, and what it answers
//! = hears rubbish                                what is no reply
//! = odd bare-lf                                  a deviation of the server
//! = nothing                                      nothing yet
//! ```
//!
//! All that is heard since the last thing that was said or heard is listed, in order.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use helo_shared::codec::Limits;
use helo_shared::deviation::Deviation;
use helo_shared::direction::Direction;
use helo_shared::escape::escape_line;
use helo_shared::recording::{Line, Transcript};
use helo_shared::session::{Answers, ClientOutput, ClientSession, Heard, UnitId};
use helo_shared::time::Timestamp;

/// What happens, in order.
enum Turn {
    Client(Vec<u8>),
    /// What the server says; what is heard of it.
    Server(Vec<u8>, Vec<String>),
    Tls,
    /// The server closes; what is heard of that.
    Close(Vec<String>),
}

/// One session.
struct Dialogue {
    title: String,
    turns: Vec<Turn>,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Nowhere,
    Everywhere,
    At(usize),
}

impl Dialogue {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/client");
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(text.starts_with("# RFC "), "{name}");
            all.extend(text.split("\n## ").skip(1).map(|part| {
                let (title, body) = part.split_once('\n').unwrap();
                let title = format!("{name}: {title}");
                let transcript = body.parse();
                let transcript = transcript.unwrap_or_else(|error| panic!("{title}: {error}"));
                Self::of(title, &transcript)
            }));
        }
        assert!(!all.is_empty());
        all
    }

    fn of(title: String, transcript: &Transcript) -> Self {
        let mut turns = Vec::new();
        for line in transcript.lines() {
            match line {
                Line::Said(Direction::Server, bytes) => match turns.last_mut() {
                    Some(Turn::Server(said, facts)) if facts.is_empty() => said.extend(bytes),
                    _ => turns.push(Turn::Server(bytes.clone(), Vec::new())),
                },
                Line::Said(_, bytes) | Line::Content(bytes) => match turns.last_mut() {
                    Some(Turn::Client(said)) => said.extend(bytes),
                    _ => turns.push(Turn::Client(bytes.clone())),
                },
                Line::Event(event) if event == "tls" => turns.push(Turn::Tls),
                Line::Event(event) if event == "close" => turns.push(Turn::Close(Vec::new())),
                Line::Fact(fact) => match turns.last_mut() {
                    Some(Turn::Server(_, facts) | Turn::Close(facts)) => facts.push(fact.clone()),
                    _ => panic!("{title}: nothing to hear before: {fact}"),
                },
                Line::Comment(_) | Line::Blank => {}
                Line::Event(event) => panic!("{title}: {event} means nothing here"),
            }
        }
        Self { title, turns }
    }

    fn octets(&self) -> usize {
        let said = self.turns.iter().map(|turn| match turn {
            Turn::Server(bytes, _) => bytes.len(),
            _ => 0,
        });
        said.sum()
    }

    /// What the client hears, where that is not what it should.
    fn play(&self, cut: Cut) -> Result<(), String> {
        let mut client = Client::new();
        let mut start = 0;
        for turn in &self.turns {
            let expected = match turn {
                Turn::Client(bytes) => {
                    client.say(bytes);
                    continue;
                }
                Turn::Tls => {
                    if !client.session.awaits_handshake() {
                        return Err("no handshake is due".into());
                    }
                    client.session.tls_ready();
                    continue;
                }
                Turn::Server(bytes, facts) => {
                    for piece in cut.pieces(bytes, start) {
                        client.receive(piece);
                    }
                    start += bytes.len();
                    facts
                }
                Turn::Close(facts) => {
                    client.session.receive_end();
                    client.pump();
                    facts
                }
            };
            let mut heard = std::mem::take(&mut client.heard);
            if heard.is_empty() {
                heard.push("nothing".into());
            }
            if heard != *expected {
                return Err(format!("{cut:?}: heard {heard:#?}\nand not {expected:#?}"));
            }
        }
        Ok(())
    }
}

impl Cut {
    fn pieces(self, bytes: &[u8], start: usize) -> Vec<&[u8]> {
        match self {
            Self::At(place) if start < place && place < start + bytes.len() => {
                let (before, after) = bytes.split_at(place - start);
                vec![before, after]
            }
            Self::Everywhere => bytes.chunks(1).collect(),
            Self::Nowhere | Self::At(_) => vec![bytes],
        }
    }
}

/// The client, and what it has heard.
struct Client {
    session: ClientSession,
    time: u64,
    said: HashMap<UnitId, String>,
    heard: Vec<String>,
}

impl Client {
    fn new() -> Self {
        Self {
            session: ClientSession::new(Limits::DEFAULT),
            time: 0,
            said: HashMap::new(),
            heard: Vec::new(),
        }
    }

    fn now(&mut self) -> Timestamp {
        self.time += 1;
        Timestamp::from_nanos(self.time)
    }

    fn say(&mut self, bytes: &[u8]) {
        let now = self.now();
        self.session.say(now, bytes);
        self.pump();
    }

    fn receive(&mut self, bytes: &[u8]) {
        let now = self.now();
        self.session.receive(now, bytes);
        self.pump();
    }

    fn pump(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                ClientOutput::Record(unit) if unit.direction == Direction::Client => {
                    self.said.insert(unit.id, escape_line(&unit.bytes));
                }
                ClientOutput::Record(unit) => self.note(&unit.deviations),
                ClientOutput::Heard(heard) => {
                    let heard = self.name(&heard);
                    self.heard.push(heard);
                }
                ClientOutput::Send(_) => {}
            }
        }
    }

    /// Each once: how many pieces a run of plaintext comes in is the network's.
    fn note(&mut self, deviations: &[Deviation]) {
        for deviation in deviations {
            let odd = format!("odd {deviation}");
            if self.heard.last() != Some(&odd) {
                self.heard.push(odd);
            }
        }
    }

    fn name(&self, heard: &Heard) -> String {
        let Some(reply) = &heard.reply else {
            return "hears rubbish".into();
        };
        let to = match heard.answers {
            Answers::Greeting => "the connection",
            Answers::Nothing => "nothing",
            Answers::Unit(id) => &self.said[&id],
        };
        format!("hears {} to {to}", reply.code().number())
    }
}

#[test]
fn a_client_hears_what_it_should_at_every_split() {
    let mut failures = String::new();
    for dialogue in Dialogue::all() {
        let places = (1..dialogue.octets()).map(Cut::At);
        let mut cuts = [Cut::Nowhere, Cut::Everywhere].into_iter().chain(places);
        if let Some(failure) = cuts.find_map(|cut| dialogue.play(cut).err()) {
            let _ = writeln!(failures, "\n{}: {failure}", dialogue.title);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
