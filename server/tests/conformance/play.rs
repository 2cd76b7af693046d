//! Playing a dialogue with a server that has no sockets.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use clap::Parser;
use driver::clock::Clock;
use driver::sasl::Channel;
use driver::serve::{Answer, Policy};
use driver::socket::Endpoint;
use driver::tls::Facts;
use helo_server::cli::{Cli, Command};
use helo_server::policy::{Served, SessionPolicy};
use helo_server::settings::{Settings, Site};
use shared::codec::Limits;
use shared::command::Verb;
use shared::escape::unescape;
use shared::session::{Asked, ServerOutput, ServerSession};
use tokio::runtime::{Builder, Runtime};

use crate::client::{Played, Said};
use crate::file::{Dialogue, Turn};

/// What every server is told; files add to it.
const OPTIONS: &str = "helo-server run --hostname mx.test --local-domain local.test \
                       --user anna --user bert --auth-delay 0s";

/// A dialogue with more octets of the client is not cut at every one of them, but
/// next to every line end only: time grows with their square.
pub(crate) const CUT_EVERYWHERE: usize = 2500;

/// A server with the options of a file.
pub(crate) struct Server {
    settings: Settings,
    clock: Clock,
    runtime: Runtime,
}

/// Where the octets of one side are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Nowhere,
    Everywhere,
    At(usize),
}

/// One session.
struct Session<'a> {
    server: &'a Server,
    site: Arc<Site>,
    wire: ServerSession,
    policy: SessionPolicy,
    sent: Vec<u8>,
    coming: Vec<u8>,
    content: Vec<u8>,
    handshake_due: bool,
    closed: bool,
    played: Played,
}

impl Server {
    /// A server with these options.
    pub(crate) fn new(options: &str) -> Self {
        let mut users = tempfile::NamedTempFile::new().unwrap();
        users.write_all(b"anna:tea\n").unwrap();
        let options = options.replace("{users}", users.path().to_str().unwrap());
        let words = OPTIONS.split_whitespace().chain(options.split_whitespace());
        let words = words.map(|word| String::from_utf8(unescape(word).unwrap()).unwrap());
        let Ok(Cli {
            command: Command::Run(run),
            ..
        }) = Cli::try_parse_from(words)
        else {
            panic!("bad options: {options}");
        };
        Self {
            settings: Settings::resolve(run.options).unwrap(),
            clock: Clock::start(),
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
        }
    }

    /// Plays it whole, an octet at a time, and in two pieces cut at every place; then a
    /// client hears what was said.
    pub(crate) fn play_every_way(&self, dialogue: &Dialogue) -> Result<(), String> {
        let played = self.play(dialogue, Cut::Nowhere)?;
        self.play(dialogue, Cut::Everywhere)?;
        for place in places(dialogue) {
            self.play(dialogue, Cut::At(place))?;
        }
        played.is_understood_every_way()
    }

    fn play(&self, dialogue: &Dialogue, cut: Cut) -> Result<Played, String> {
        let implicit = matches!(dialogue.turns.first(), Some(Turn::Tls));
        let mut session = Session::new(self, implicit);
        let mut start = 0;
        let mut at_once = false;
        if !matches!(dialogue.turns.first(), Some(Turn::Client(_))) {
            session.pump();
        }
        for (at, turn) in dialogue.turns.iter().enumerate() {
            if at == 0 && implicit {
                continue;
            }
            if let Turn::Client(bytes) = turn {
                let cut = if std::mem::take(&mut at_once) {
                    cut.not_at_line_ends(bytes, start)
                } else {
                    cut
                };
                session.played.said.push(Said::Client(bytes.clone()));
                for piece in cut.pieces(bytes, start) {
                    session.receive(piece);
                }
                start += bytes.len();
            } else if matches!(turn, Turn::AtOnce) {
                at_once = true;
            } else {
                let checked = session.check(turn);
                checked.map_err(|what| format!("turn {at}, {cut:?}: {what}"))?;
            }
        }
        session.check_end()?;
        Ok(session.played)
    }
}

impl Cut {
    /// The same, but that no line is read without the beginning of the next one.
    fn not_at_line_ends(self, bytes: &[u8], start: usize) -> Self {
        match self {
            Self::At(place)
                if !bytes[..place.saturating_sub(start).min(bytes.len())].ends_with(b"\n") =>
            {
                self
            }
            _ => Self::Nowhere,
        }
    }

    /// The pieces of what begins so many octets after the first of all.
    pub(crate) fn pieces(self, bytes: &[u8], start: usize) -> Vec<&[u8]> {
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

/// Where a dialogue is cut.
fn places(dialogue: &Dialogue) -> Vec<usize> {
    let octets = dialogue.octets();
    let said: Vec<u8> = dialogue
        .turns
        .iter()
        .filter_map(|turn| match turn {
            Turn::Client(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
        .flatten()
        .copied()
        .collect();
    let near_line_end = |place: usize| {
        let near = said.get(place.saturating_sub(2)..(place + 2).min(octets));
        near.is_some_and(|near| near.contains(&b'\n'))
    };
    (1..octets)
        .filter(|&place| octets <= CUT_EVERYWHERE || near_line_end(place))
        .collect()
}

impl<'a> Session<'a> {
    fn new(server: &'a Server, implicit_tls: bool) -> Self {
        let site = Arc::new(server.settings.site());
        let served = Served {
            listener: 0,
            client: Endpoint::Tcp("192.0.2.1:40000".parse().unwrap()),
            session: 1,
        };
        let policy = SessionPolicy::new(Arc::clone(&site), server.clock, served);
        let patience = std::time::Duration::from_secs(300);
        let wire = ServerSession::new(server.clock.now(), Limits::DEFAULT, patience);
        let mut made = Self {
            server,
            site,
            wire,
            policy: policy.unwrap(),
            sent: Vec::new(),
            coming: Vec::new(),
            content: Vec::new(),
            handshake_due: false,
            closed: false,
            played: Played::default(),
        };
        if implicit_tls {
            made.wire = made.wire.inside_tls();
            made.enter_tls();
        }
        made
    }

    fn enter_tls(&mut self) {
        let facts = Facts {
            ok: true,
            version: Some("1.3".into()),
            ..Facts::default()
        };
        self.policy.enter_tls(&facts, Channel::Tls);
    }

    fn receive(&mut self, bytes: &[u8]) {
        // Else it would be taken for the beginning of the handshake.
        if !self.handshake_due && !self.closed {
            self.wire.receive(self.server.clock.now(), bytes);
            self.pump();
        }
    }

    fn pump(&mut self) {
        while let Some(output) = self.wire.poll() {
            match output {
                ServerOutput::Record(unit) => self.played.units.push(unit),
                ServerOutput::Content(bytes) => {
                    self.coming.extend_from_slice(&bytes);
                    let strike = self.server.runtime.block_on(self.policy.content(bytes));
                    assert!(strike.is_none(), "there are no rules: {strike:?}");
                }
                ServerOutput::Send(bytes) => self.sent.extend_from_slice(&bytes),
                ServerOutput::StartTls => {
                    self.handshake_due = true;
                    return;
                }
                ServerOutput::Close => self.closed = true,
                ServerOutput::Ask(asked) => self.answer(asked),
            }
        }
    }

    fn answer(&mut self, asked: Asked) {
        match &asked {
            Asked::EndOfData { last: true } => self.content = std::mem::take(&mut self.coming),
            Asked::Command(heard) if heard.verb == Verb::Mail => self.coming.clear(),
            _ => {}
        }
        let answer = self.policy.asked(asked, &self.wire);
        let answer = self.server.runtime.block_on(answer);
        let now = self.server.clock.now();
        match answer {
            Answer::Reply(reply) => self.wire.answer(now, &[reply]),
            Answer::Replies(replies) => self.wire.answer(now, &replies),
            Answer::Last(reply) => {
                self.wire.answer(now, &[reply]);
                self.wire.close();
            }
            Answer::HangUp => self.wire.hang_up(),
            Answer::Struck(replies, strike) => panic!("no rules, and yet {strike:?}: {replies:?}"),
        }
    }

    fn check(&mut self, turn: &Turn) -> Result<(), String> {
        match turn {
            Turn::Client(_) | Turn::AtOnce => Ok(()),
            Turn::Server(expected) => {
                let sent = std::mem::take(&mut self.sent);
                self.played.said.push(Said::Server(sent.clone()));
                let sent = String::from_utf8(sent).unwrap();
                let lines: Vec<&str> = sent.split_inclusive('\n').collect();
                let fits = fits(expected, &lines);
                fits.then_some(()).ok_or_else(|| {
                    let mut what = String::from("expected");
                    for line in expected {
                        let _ = write!(what, "\n  S: {line}");
                    }
                    what + &format!("\n sent\n  S: {}", lines.join("  S: "))
                })
            }
            Turn::Tls if !std::mem::take(&mut self.handshake_due) => Err("no handshake".into()),
            Turn::Tls => {
                self.played.said.push(Said::Tls);
                self.enter_tls();
                self.wire.tls_ready(self.server.clock.now());
                self.pump();
                Ok(())
            }
            Turn::Close if !self.closed => Err("not closed".into()),
            Turn::Close => {
                self.closed = false;
                Ok(())
            }
            Turn::Content(content) if *content != self.content => {
                let found = String::from_utf8_lossy(&self.content);
                Err(format!("content is {found:?}"))
            }
            Turn::Messages(count) => {
                let kept = self.site.inbox.select(|_| true).len();
                let wrong = || format!("{kept} messages were kept");
                (kept == *count).then_some(()).ok_or_else(wrong)
            }
            Turn::Content(_) => Ok(()),
        }
    }

    /// Nothing was said, and nothing done, that was not expected.
    fn check_end(&self) -> Result<(), String> {
        if !self.sent.is_empty() {
            let sent = String::from_utf8_lossy(&self.sent);
            return Err(format!("sent too much: {sent}"));
        }
        if self.closed || self.handshake_due {
            return Err("closed, or a handshake, unexpectedly".into());
        }
        Ok(())
    }
}

/// The lines are those expected.
fn fits(expected: &[String], lines: &[&str]) -> bool {
    let (Some((pattern, patterns)), Some((line, rest))) =
        (expected.split_first(), lines.split_first())
    else {
        return expected.is_empty() && lines.is_empty();
    };
    let Some(line) = line.strip_suffix("\r\n") else {
        return false;
    };
    let open = pattern.strip_suffix('…');
    let same = open.map_or(line == pattern, |start| line.starts_with(start));
    let many = open.is_some_and(|start| start.ends_with('-'));
    same && (fits(patterns, rest) || (many && fits(expected, rest)))
}
