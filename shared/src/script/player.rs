//! Plays a script to one client.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::{Act, Script, Step};
use crate::codec::{DotScanner, Limits, Scan};
use crate::escape::excerpt;
use crate::reply::Reply;

/// What the owner of a [`Player`] is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cue {
    /// Read, and tell the player what came.
    Hear,
    /// Say this.
    Say {
        /// So much.
        bytes: Bytes,
        /// In writes of an octet each.
        by_octets: bool,
    },
    /// Let this time go by.
    Pause(Duration),
    /// Perform the TLS handshake, then call [`Player::tls_started`].
    StartTls,
    /// The client said something else; after that comes [`Cue::Close`].
    Mismatch(Mismatch),
    /// Close the connection.
    Close,
    /// Reset it.
    Reset,
    /// The client has closed, as it may.
    Gone,
}

/// A client says something else than the script has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The line of the script.
    pub line: usize,
    /// What it expects.
    pub expected: String,
    /// What came instead; none for the end.
    pub got: Option<String>,
}

impl Mismatch {
    /// What the client is told.
    pub fn reply(&self) -> Reply {
        let text = format!("script expected {}", self.expected);
        let ascii = text.chars().map(|c| if c.is_ascii() { c } else { '?' });
        Reply::of(421, "4.3.0", ascii.collect::<String>())
    }
}

/// A line that has no end after so many octets is no longer waited for.
const LONGEST: usize = Limits::DEFAULT.unit;

/// So many characters of a line are shown.
const SHOWN: usize = 200;

/// A script being played to one client.
///
/// Call [`poll`](Self::poll) until it says [`Cue::Hear`], then tell it what was read. How
/// what the client says is cut into reads makes no difference.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known by itself")]
pub struct Player {
    script: Arc<Script>,
    /// How many steps are done.
    done: usize,
    held: BytesMut,
    /// The client has closed its side.
    ended: bool,
    data: DotScanner,
    /// The reply that was said last asks for an answer to AUTH: it may be a secret.
    challenged: bool,
    /// The client has said something else.
    failed: bool,
}

/// What was heard where something is expected.
enum Heard {
    /// Too little to tell.
    More,
    /// That, and so many octets of it.
    Right(usize),
    /// So many octets of something else.
    Wrong(usize),
}

impl Player {
    /// Begins at the top.
    pub fn new(script: Arc<Script>) -> Self {
        Self {
            script,
            done: 0,
            held: BytesMut::new(),
            ended: false,
            data: DotScanner::new(),
            challenged: false,
            failed: false,
        }
    }

    /// Takes what was read.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The client has closed its side.
    pub fn receive_end(&mut self) {
        self.ended = true;
    }

    /// The handshake asked for by [`Cue::StartTls`] has been done.
    pub fn tls_started(&mut self) {
        if matches!(self.act(), Some(Act::StartTls)) {
            self.done += 1;
        }
    }

    /// What the script waits for: its line, and what that expects.
    pub fn expects(&self) -> Option<(usize, String)> {
        let step = self.step()?;
        let expected = match &step.act {
            Act::Hear(wanted) => self.shown(wanted),
            Act::Content => "mail data to its final dot".to_owned(),
            Act::StartTls => "a TLS handshake".to_owned(),
            Act::ClientCloses | Act::Wait => "the end".to_owned(),
            Act::Say { .. } | Act::Pause(_) | Act::Close | Act::Reset => return None,
        };
        Some((step.line, expected))
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Cue {
        if self.failed {
            return Cue::Close;
        }
        let script = Arc::clone(&self.script);
        while let Some(step) = script.steps.get(self.done) {
            match &step.act {
                Act::Say { bytes, by_octets } => {
                    self.done += 1;
                    self.challenged = is_challenge(bytes);
                    return Cue::Say {
                        bytes: bytes.clone(),
                        by_octets: *by_octets,
                    };
                }
                Act::Pause(period) => {
                    self.done += 1;
                    return Cue::Pause(*period);
                }
                Act::Hear(wanted) => match self.compare(wanted) {
                    Heard::Right(octets) => {
                        self.held.advance(octets);
                        self.done += 1;
                    }
                    Heard::More => return Cue::Hear,
                    Heard::Wrong(octets) => return self.fail(octets),
                },
                Act::Content => match self.content() {
                    Heard::Right(_) => self.done += 1,
                    Heard::More => return Cue::Hear,
                    Heard::Wrong(octets) => return self.fail(octets),
                },
                // What was said in clear must not be taken for what TLS protects
                // (RFC 3207 §4.2).
                Act::StartTls if !self.held.is_empty() || self.ended => {
                    return self.fail(self.line_of(0).unwrap_or(self.held.len()));
                }
                Act::StartTls => return Cue::StartTls,
                Act::Wait => {
                    self.held.clear();
                    return if self.ended { Cue::Gone } else { Cue::Hear };
                }
                Act::ClientCloses => match self.line_of(0) {
                    Some(0) => return Cue::Gone,
                    Some(octets) => return self.fail(octets),
                    None => return Cue::Hear,
                },
                Act::Close => return Cue::Close,
                Act::Reset => return Cue::Reset,
            }
        }
        Cue::Close
    }

    fn step(&self) -> Option<&Step> {
        self.script.steps.get(self.done)
    }

    fn act(&self) -> Option<&Act> {
        self.step().map(|step| &step.act)
    }

    /// Compares what is held with what is wanted.
    fn compare(&self, wanted: &[u8]) -> Heard {
        let (begun, open) = match wanted.strip_suffix(b"*\r\n") {
            Some(begun) => (begun, true),
            None => (wanted, false),
        };
        let pairs = self.held.iter().zip(begun);
        let same = pairs.take_while(|(held, wanted)| held == wanted).count();
        if same == begun.len() && !open {
            return Heard::Right(same);
        }
        if same == begun.len() {
            let rest = self.held.get(same..).unwrap_or_default();
            let rest = rest.get(..LONGEST).unwrap_or(rest);
            return match memchr(b'\n', rest) {
                Some(end) => Heard::Right(same + end + 1),
                None if rest.len() == LONGEST || self.ended => Heard::Wrong(same + rest.len()),
                None => Heard::More,
            };
        }
        if same == self.held.len() && !self.ended {
            return Heard::More;
        }
        if !wanted.ends_with(b"\n") {
            // Whoever says no whole line may wait before the end of his.
            return Heard::Wrong((same + 1).min(self.held.len()));
        }
        self.line_of(same).map_or(Heard::More, Heard::Wrong)
    }

    /// Where the line ends that goes on behind so many octets; none if it does not yet.
    fn line_of(&self, behind: usize) -> Option<usize> {
        let most = behind.saturating_add(1).max(LONGEST);
        let held = self.held.get(..most).unwrap_or(&self.held);
        match memchr(b'\n', held.get(behind..).unwrap_or_default()) {
            Some(end) => Some(behind + end + 1),
            None if held.len() == most || self.ended => Some(held.len()),
            None => None,
        }
    }

    /// Takes mail data, as much as there is.
    fn content(&mut self) -> Heard {
        loop {
            match self.data.scan(&self.held) {
                Scan::Content(octets) => self.held.advance(octets),
                Scan::End => {
                    self.held.advance(END.len());
                    return Heard::Right(0);
                }
                Scan::More if self.ended => return Heard::Wrong(self.held.len()),
                Scan::More => return Heard::More,
            }
        }
    }

    /// So many octets are not what is expected.
    fn fail(&mut self, octets: usize) -> Cue {
        self.failed = true;
        let (line, expected) = self.expects().unwrap_or_default();
        let got = self.held.split_to(octets.min(self.held.len()));
        Cue::Mismatch(Mismatch {
            line,
            expected,
            got: (!got.is_empty()).then(|| self.shown(&got)),
        })
    }

    /// A line of the client as it may be seen: without what proves who it is.
    fn shown(&self, line: &[u8]) -> String {
        if self.challenged {
            return "an answer to AUTH".to_owned();
        }
        let is_auth = line
            .get(..5)
            .is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        match line.splitn(3, |&octet| octet == b' ').collect::<Vec<_>>()[..] {
            [_, mechanism, _] if is_auth => format!("AUTH {} …", excerpt(mechanism, SHOWN)),
            _ => excerpt(line, SHOWN),
        }
    }
}

/// The end of mail data.
const END: &[u8] = b".\r\n";

/// The last line of it asks for the next line of an AUTH exchange (RFC 4954 §4).
fn is_challenge(said: &[u8]) -> bool {
    let text = said.strip_suffix(b"\r\n").unwrap_or(said);
    let last = text.rsplit(|&octet| octet == b'\n').next();
    last.is_some_and(|line| line.starts_with(b"334"))
}
