//! A server's whole part of a session, written down: what to wait for and what to say.
//!
//! ```text
//! S: 220 mx.example.net ready
//! C: EHLO *
//! S: 250 mx.example.net
//! C: *
//! -- 5s
//! S: 451 4.3.0 try later
//! -- reset
//! ```
//!
//! The spelling is that of [`Transcript`]s. `S:` lines are said together, up to the next
//! line of another kind. `C:` and `C|` lines are what the client must say, octet by octet;
//! a `*` at their end stands for the rest of the line. `S~` and `C~` have no line end of
//! their own.
//!
//! | `--` | what happens |
//! |---|---|
//! | `5s` | that time goes by |
//! | `content` | mail data comes, whatever it is, to its final dot |
//! | `octets` | what is said from here on comes octet by octet |
//! | `tls` | the handshake |
//! | `wait` | nothing more is said, and whatever comes is taken, to the end |
//! | `close`, `reset` | the connection is closed, or reset |
//! | `close client` | the client closes |
//!
//! Behind the last line the connection is closed. What a client makes of a script is
//! for a [`Player`] to tell.

mod player;

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::direction::Direction;
use crate::quantity::Period;
use crate::recording::{Line, Transcript, TranscriptError};

pub use player::{Cue, Mismatch, Player};

/// A script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// Its line, from 1.
    line: usize,
    act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Say { bytes: Bytes, by_octets: bool },
    Hear(Vec<u8>),
    Content,
    Pause(Duration),
    StartTls,
    Wait,
    Close,
    ClientCloses,
    Reset,
}

impl Act {
    /// Nothing can follow it.
    const fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Wait | Self::Close | Self::ClientCloses | Self::Reset
        )
    }
}

impl Script {
    /// The line where TLS first begins.
    pub fn tls_at(&self) -> Option<usize> {
        let tls = self.steps.iter().find(|step| step.act == Act::StartTls);
        tls.map(|step| step.line)
    }
}

impl FromStr for Script {
    type Err = TranscriptError;

    fn from_str(text: &str) -> Result<Self, TranscriptError> {
        let transcript: Transcript = text.parse()?;
        let mut reading = Reading::default();
        for (index, line) in transcript.lines().iter().enumerate() {
            let number = index + 1;
            reading
                .line(number, line)
                .map_err(|what| TranscriptError { line: number, what })?;
        }
        reading.flush();
        if reading.steps.is_empty() {
            return Err(TranscriptError {
                line: 1,
                what: "this script has nothing to say and nothing to wait for",
            });
        }
        Ok(Self {
            steps: reading.steps,
        })
    }
}

/// A script as far as it is read.
#[derive(Default)]
struct Reading {
    steps: Vec<Step>,
    /// Lines that are said together, and where the first of them is.
    saying: Option<(usize, Vec<u8>)>,
    by_octets: bool,
}

impl Reading {
    fn line(&mut self, number: usize, line: &Line) -> Result<(), &'static str> {
        let act = match line {
            Line::Comment(_) | Line::Blank | Line::Fact(_) => return Ok(()),
            Line::Said(Direction::Server, bytes) => {
                self.may_follow()?;
                let (_, saying) = self.saying.get_or_insert_with(|| (number, Vec::new()));
                saying.extend_from_slice(bytes);
                return Ok(());
            }
            Line::Said(Direction::Client, bytes) | Line::Content(bytes) => Act::Hear(bytes.clone()),
            Line::Event(event) => match event.as_str() {
                "octets" => {
                    self.flush();
                    self.by_octets = true;
                    return self.may_follow();
                }
                event => act(event)?,
            },
        };
        self.flush();
        self.may_follow()?;
        self.steps.push(Step { line: number, act });
        Ok(())
    }

    /// What was to be said together is whole.
    fn flush(&mut self) {
        if let Some((line, bytes)) = self.saying.take() {
            let act = Act::Say {
                bytes: bytes.into(),
                by_octets: self.by_octets,
            };
            self.steps.push(Step { line, act });
        }
    }

    fn may_follow(&self) -> Result<(), &'static str> {
        match self.steps.last() {
            Some(step) if step.act.is_last() => Err("the script has ended before this line"),
            _ => Ok(()),
        }
    }
}

fn act(event: &str) -> Result<Act, &'static str> {
    Ok(match event {
        "content" => Act::Content,
        "tls" => Act::StartTls,
        "wait" => Act::Wait,
        "reset" => Act::Reset,
        // A recording's transcript says who closed.
        "close" | "close server" | "close timeout" => Act::Close,
        "close client" => Act::ClientCloses,
        other => match other.parse() {
            Ok(Period(period)) => Act::Pause(period),
            Err(_) => {
                return Err(
                    "-- is followed by a time (5s), content, octets, tls, wait, \
                            close, close client or reset",
                );
            }
        },
    })
}

#[cfg(test)]
mod tests;
