//! The dialogues that the standards print, played in every role and at every split.
//!
//! `transcripts/dialogue/*.smtp` are one dialogue each. Its bytes are given to an
//! observer; the client's side to a `ServerSession`, answered as the server's side
//! says; the server's side to a `ClientSession`, which says the client's.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "support/units.rs"]
mod units;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use helo_shared::codec::Limits;
use helo_shared::command::{Command, Heard, Verb, bdat_size};
use helo_shared::deviation::Deviation;
use helo_shared::direction::Direction::{self, Client, Server};
use helo_shared::extension::{EnvelopeError, MailParameters, Offered, RcptParameters};
use helo_shared::recording::{Line, Transcript};
use helo_shared::reply::{Reply, ReplyLine};
use helo_shared::session::{
    Answers, Asked, ClientOutput, ClientSession, Observer, Peers, ServerOutput, ServerSession, Unit,
};
use helo_shared::time::Timestamp;

/// What is odd about a dialogue, and why that is right.
const ODD: &[(&str, &[Deviation], &str)] = &[
    ("smtputf8-1", &[Deviation::EightBit], "SMTPUTF8 allows it"),
    ("smtputf8-2", &[Deviation::EightBit], "SMTPUTF8 allows it"),
];

/// Commands that are answered well though our own server would object.
const LENIENT: &[(&str, Verb, &str)] = &[(
    "rfc2920-4",
    Verb::Data,
    "no recipient was accepted: RFC 5321 §3.3 lets a server refuse DATA then",
)];

/// One file.
struct Dialogue {
    name: String,
    text: String,
    transcript: Transcript,
}

/// What happens next in it.
enum Turn {
    /// One side says some lines, and then it is the other's turn.
    Says(Direction, Vec<Vec<u8>>),
    /// The TLS handshake; at the beginning: the connection is TLS from its start.
    Tls,
}

/// Where the bytes of one side are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Nowhere,
    Everywhere,
    At(usize),
}

/// What a server's session asks.
#[derive(Debug, PartialEq)]
enum Ask {
    Greeting,
    Command(Box<Heard>),
    Sasl(Vec<u8>),
    EndOfData { last: bool },
}

impl Dialogue {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/dialogue");
        let mut found: Vec<Self> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                Self {
                    name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                    transcript: text
                        .parse()
                        .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                    text,
                }
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn turns(&self) -> Vec<Turn> {
        let mut turns = Vec::new();
        for line in self.transcript.lines() {
            let (direction, bytes) = match line {
                Line::Said(direction, bytes) => (*direction, bytes),
                Line::Content(bytes) => (Client, bytes),
                Line::Event(event) if event == "tls" => {
                    turns.push(Turn::Tls);
                    continue;
                }
                _ => continue,
            };
            match turns.last_mut() {
                Some(Turn::Says(last, lines)) if *last == direction => lines.push(bytes.clone()),
                _ => turns.push(Turn::Says(direction, vec![bytes.clone()])),
            }
        }
        turns
    }

    fn bytes(&self, wanted: Direction) -> Vec<u8> {
        let turns = self.turns();
        let lines = turns.iter().filter_map(|turn| match turn {
            Turn::Says(direction, lines) if *direction == wanted => Some(lines.concat()),
            _ => None,
        });
        lines.flatten().collect()
    }

    fn replies(&self) -> Vec<Vec<u8>> {
        let mut replies = vec![Vec::new()];
        for line in self.bytes(Server).split_inclusive(|&octet| octet == b'\n') {
            let parsed = ReplyLine::parse(line).unwrap_or_else(|| panic!("{}", self.name));
            replies.last_mut().unwrap().extend_from_slice(line);
            if !parsed.continues {
                replies.push(Vec::new());
            }
        }
        assert!(
            replies.pop().unwrap().is_empty(),
            "{}: a reply goes on",
            self.name
        );
        replies
    }

    fn starts_in_tls(&self) -> bool {
        matches!(self.turns().first(), Some(Turn::Tls))
    }

    /// What a server has to be asked, and the content it has to be given.
    fn expected(&self) -> (Vec<Ask>, Vec<u8>) {
        let (mut asked, mut content) = (vec![Ask::Greeting], Vec::new());
        let (mut chunk, mut in_auth) = (None, false);
        for line in self.transcript.lines() {
            match line {
                Line::Content(bytes) if chunk.is_none() => match &bytes[..] {
                    b".\r\n" => asked.push(Ask::EndOfData { last: true }),
                    bytes => content.extend_from_slice(bytes.strip_prefix(b".").unwrap_or(bytes)),
                },
                Line::Content(bytes) => content.extend_from_slice(bytes),
                Line::Said(Client, bytes) if chunk.is_some() && !bytes.ends_with(b"\n") => {
                    content.extend_from_slice(bytes);
                }
                Line::Said(direction, bytes) => {
                    asked.extend(chunk.take().map(|last| Ask::EndOfData { last }));
                    if *direction == Server {
                        in_auth = bytes.starts_with(b"334");
                    } else if in_auth {
                        let line = bytes.strip_suffix(b"\r\n").unwrap();
                        asked.push(Ask::Sasl(line.to_vec()));
                    } else if let Some((_, last)) = bdat_size(bytes) {
                        chunk = Some(last);
                    } else {
                        asked.push(Ask::Command(Box::new(Command::parse(bytes))));
                    }
                }
                _ => {}
            }
        }
        (asked, content)
    }
}

impl Cut {
    /// Every way to cut so many bytes that is tried.
    fn all(length: usize) -> impl Iterator<Item = Self> {
        let places = (1..length).map(Self::At);
        [Self::Nowhere, Self::Everywhere].into_iter().chain(places)
    }

    /// The pieces of what begins so many bytes after the first of all.
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

/// A clock that goes on whenever it is read.
struct Clock(u64);

impl Clock {
    fn now(&mut self) -> Timestamp {
        self.0 += 1;
        Timestamp::from_nanos(self.0)
    }
}

/// What an observer sees; the bytes of both sides are cut as one stream.
fn observe(dialogue: &Dialogue, cut: Cut) -> Vec<Unit> {
    let mut observer = Observer::new(Peers::Ours, Limits::DEFAULT);
    let (mut units, mut clock, mut start) = (Vec::new(), Clock(0), 0);
    for turn in dialogue.turns() {
        let Turn::Says(direction, lines) = turn else {
            observer.tls_started();
            continue;
        };
        let bytes = lines.concat();
        for piece in cut.pieces(&bytes, start) {
            observer.push(direction, piece, clock.now());
            units.extend(std::iter::from_fn(|| observer.poll()));
        }
        start += bytes.len();
    }
    for direction in [Client, Server] {
        units.extend(std::iter::from_fn(|| observer.finish(direction)));
    }
    units
}

/// A server's session that is answered as the dialogue says.
struct Serving<'a> {
    dialogue: &'a Dialogue,
    session: ServerSession,
    clock: Clock,
    replies: VecDeque<Vec<u8>>,
    asked: Vec<Ask>,
    content: Vec<u8>,
    sent: Vec<u8>,
    handshake_due: bool,
    closed: bool,
}

impl<'a> Serving<'a> {
    fn new(dialogue: &'a Dialogue) -> Self {
        let mut clock = Clock(0);
        let session = ServerSession::new(clock.now(), Limits::DEFAULT, Duration::from_secs(300));
        let implicit = dialogue.starts_in_tls();
        Self {
            dialogue,
            session: if implicit {
                session.inside_tls()
            } else {
                session
            },
            clock,
            replies: dialogue.replies().into(),
            asked: Vec::new(),
            content: Vec::new(),
            sent: Vec::new(),
            handshake_due: implicit,
            closed: false,
        }
    }

    fn play(&mut self, cut: Cut) {
        let (mut start, mut said) = (0, Vec::new());
        self.pump();
        for turn in self.dialogue.turns() {
            match turn {
                Turn::Says(Client, lines) => {
                    let bytes = lines.concat();
                    for piece in cut.pieces(&bytes, start) {
                        let now = self.clock.now();
                        self.session.receive(now, piece);
                        self.pump();
                    }
                    start += bytes.len();
                }
                // All of it, before the client goes on.
                Turn::Says(Server, lines) => {
                    said.extend(lines.concat());
                    assert_eq!(self.sent, said, "{}, {cut:?}", self.dialogue.name);
                }
                Turn::Tls => {
                    assert!(self.handshake_due, "{}, {cut:?}", self.dialogue.name);
                    self.handshake_due = false;
                    if start > 0 {
                        let now = self.clock.now();
                        self.session.tls_ready(now);
                    }
                }
            }
        }
    }

    fn pump(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Record(_) => {}
                ServerOutput::Content(bytes) => self.content.extend_from_slice(&bytes),
                ServerOutput::Send(bytes) => self.sent.extend_from_slice(&bytes),
                ServerOutput::StartTls => self.handshake_due = true,
                ServerOutput::Close => self.closed = true,
                ServerOutput::Ask(asked) => self.answer(asked),
            }
        }
    }

    fn answer(&mut self, asked: Asked) {
        let name = &self.dialogue.name;
        let wire = self.replies.pop_front();
        let wire = wire.unwrap_or_else(|| panic!("{name}: {asked:?} has no reply"));
        let reply = Reply::parse(&wire).unwrap();
        if let Asked::Command(heard) = &asked
            && !reply.code().is_refusal()
        {
            let lenient = |(file, verb, _): &&(_, _, _)| file == name && *verb == heard.verb;
            let expected = LENIENT.iter().any(|row| lenient(&row));
            let objection = self.session.objection(heard);
            assert_eq!(objection.is_some(), expected, "{name}: {heard:?}");
        }
        self.asked.push(match asked {
            Asked::Greeting => Ask::Greeting,
            Asked::Command(heard) => Ask::Command(heard),
            Asked::Sasl(line) => Ask::Sasl(line.to_vec()),
            Asked::EndOfData { last } => Ask::EndOfData { last },
        });
        let now = self.clock.now();
        self.session.answer(now, std::slice::from_ref(&reply));
    }
}

/// A client's session that says what the dialogue says.
#[derive(Default)]
struct Talking {
    sent: Vec<u8>,
    heard: Vec<Vec<u8>>,
    /// What each reply answers: 0 for the greeting, else the unit.
    answers: Vec<u64>,
}

impl Talking {
    fn play(&mut self, dialogue: &Dialogue, cut: Cut) {
        let mut session = ClientSession::new(Limits::DEFAULT);
        let (mut clock, mut start) = (Clock(0), 0);
        for turn in dialogue.turns() {
            match turn {
                Turn::Says(Client, lines) if matches!(cut, Cut::Nowhere) => {
                    session.say(clock.now(), &lines.concat());
                }
                Turn::Says(Client, lines) => {
                    for line in lines {
                        session.say(clock.now(), &line);
                    }
                }
                Turn::Says(Server, lines) => {
                    let bytes = lines.concat();
                    for piece in cut.pieces(&bytes, start) {
                        session.receive(clock.now(), piece);
                    }
                    start += bytes.len();
                }
                Turn::Tls => {
                    assert_eq!(session.awaits_handshake(), start > 0, "{}", dialogue.name);
                    session.tls_ready();
                }
            }
            self.drain(&mut session, &dialogue.name);
        }
    }

    fn drain(&mut self, session: &mut ClientSession, name: &str) {
        while let Some(output) = session.poll() {
            match output {
                ClientOutput::Record(_) => {}
                ClientOutput::Send(bytes) => self.sent.extend_from_slice(&bytes),
                ClientOutput::Heard(heard) => {
                    assert_eq!(heard.reply, Reply::parse(&heard.wire), "{name}");
                    self.heard.push(heard.wire.to_vec());
                    self.answers.push(match heard.answers {
                        Answers::Greeting => 0,
                        Answers::Unit(unit) => unit.0,
                        Answers::Nothing => panic!("{name}: {heard:?} answers nothing"),
                    });
                }
            }
        }
    }
}

#[test]
fn every_dialogue_is_there_and_printed_back() {
    let all = Dialogue::all();
    let of = |prefix: &str| all.iter().filter(|it| it.name.starts_with(prefix)).count();
    for (prefix, count) in [
        ("rfc1870", 1),
        ("rfc2034", 1),
        ("rfc2554", 1),
        ("rfc2920", 4),
        ("rfc3030", 2),
        ("rfc3207", 1),
        ("rfc3461", 5),
        ("rfc4954", 4),
        ("rfc5321-d", 5),
        ("smtputf8", 2),
    ] {
        assert_eq!(of(prefix), count, "{prefix}");
    }
    for dialogue in &all {
        assert!(dialogue.text.starts_with("# RFC "), "{}", dialogue.name);
        assert_eq!(dialogue.transcript.to_string(), dialogue.text);
    }
}

#[test]
fn an_observer_sees_the_same_at_every_split() {
    for dialogue in Dialogue::all() {
        let length = dialogue.bytes(Client).len() + dialogue.bytes(Server).len();
        let whole = observe(&dialogue, Cut::Nowhere);
        let row = ODD.iter().find(|(name, ..)| *name == dialogue.name);
        let allowed = row.map_or(&[][..], |(_, odd, _)| odd);
        for unit in &whole {
            let odd = unit.deviations.iter().find(|odd| !allowed.contains(odd));
            assert_eq!(odd, None, "{}: {unit:?}", dialogue.name);
        }
        for cut in Cut::all(length) {
            assert_eq!(
                units::essence(&observe(&dialogue, cut)),
                units::essence(&whole),
                "{}, {cut:?}",
                dialogue.name
            );
        }
    }
}

#[test]
fn a_server_asks_what_the_client_said_at_every_split() {
    for dialogue in Dialogue::all() {
        let (asked, content) = dialogue.expected();
        let ends = dialogue.text.ends_with("-- close server\n");
        for cut in Cut::all(dialogue.bytes(Client).len()) {
            let mut serving = Serving::new(&dialogue);
            serving.play(cut);
            let name = format!("{}, {cut:?}", dialogue.name);
            assert_eq!(serving.asked, asked, "{name}");
            assert_eq!(serving.content, content, "{name}");
            assert_eq!(serving.sent, dialogue.bytes(Server), "{name}");
            assert!(serving.replies.is_empty(), "{name}");
            assert_eq!(serving.closed, ends, "{name}");
        }
    }
}

#[test]
fn a_client_hears_what_the_server_said_at_every_split() {
    for dialogue in Dialogue::all() {
        for cut in Cut::all(dialogue.bytes(Server).len()) {
            let mut talking = Talking::default();
            talking.play(&dialogue, cut);
            let name = format!("{}, {cut:?}", dialogue.name);
            assert_eq!(talking.sent, dialogue.bytes(Client), "{name}");
            assert_eq!(talking.heard, dialogue.replies(), "{name}");
            assert_eq!(talking.answers[0], 0, "{name}");
            assert!(talking.answers.is_sorted_by(|a, b| a < b), "{name}");
        }
    }
}

#[test]
fn commands_and_their_parameters_are_understood() {
    for dialogue in Dialogue::all() {
        let (asked, _) = dialogue.expected();
        let mut offered = Offered::default();
        for (ask, wire) in asked.iter().zip(dialogue.replies()) {
            let reply = Reply::parse(&wire).unwrap();
            let Ask::Command(heard) = ask else {
                continue;
            };
            let understood = match heard.command.as_ref().unwrap() {
                Command::Ehlo(_) if reply.code().is_positive() => {
                    offered = Offered::parse(reply.lines().skip(1));
                    continue;
                }
                Command::Mail { parameters, .. } => {
                    MailParameters::parse(parameters, &offered).map(|it| it.to_string())
                }
                Command::Rcpt { parameters, .. } => {
                    RcptParameters::parse(parameters, &offered).map(|it| it.to_string())
                }
                _ => continue,
            };
            // Our server and that of the dialogue are of one mind about them.
            let refused = understood.as_ref().err().map(EnvelopeError::reply);
            match refused {
                Some(refused) => assert_eq!(refused.code(), reply.code(), "{}", dialogue.name),
                None => assert_ne!(reply.code().number(), 555, "{}", dialogue.name),
            }
        }
    }
}
