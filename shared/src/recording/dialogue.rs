//! One recorded session as a dialogue: what was said, what was answered.
//!
//! This is the form in which sessions are judged, compared and replayed. It is
//! built from the records of one session and keeps the line number of each, so
//! that every verdict can name its evidence.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::command::Verb;
use crate::deviation::Deviation;
use crate::reply::Reply;
use crate::session::DataForm;
use crate::time::Timestamp;

/// One session of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Dialogue {
    /// The session's number in its file.
    pub session: u64,
    /// The line of its `open` record; 0 if there is none.
    pub n: u64,
    /// When it was opened.
    pub at: Timestamp,
    /// The client's address as the recording program saw it.
    pub client: Option<SocketAddr>,
    /// The server's address: the upstream's for a proxy, else the one connected to.
    pub server: Option<SocketAddr>,
    /// TLS from the first byte.
    pub implicit_tls: bool,
    /// What notes of this session bind: `leg`, `check`, `case` and whatever
    /// else the recording program knew about it.
    pub facts: BTreeMap<String, String>,
    /// The greeting, which answers nothing.
    pub greeting: Option<Answer>,
    /// Everything the client sent, with its answers, in order.
    pub exchanges: Vec<Exchange>,
    /// Replies that answer nothing the client said, such as a 421 on its own.
    pub unsolicited: Vec<Answer>,
    /// Results of TLS handshakes, in order.
    pub handshakes: Vec<Handshake>,
    /// How it ended; `None` if the recording stops before.
    pub close: Option<Ending>,
}

/// One thing said by the client, and the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The line of the (last piece of the) client's unit.
    pub n: u64,
    /// When its last byte was read.
    pub at: Timestamp,
    /// It was sent inside TLS.
    pub in_tls: bool,
    /// What was said.
    pub said: Said,
    /// What was answered, if anything; LMTP has one answer per recipient here.
    pub answers: Vec<Answer>,
    /// What was odd about what was said.
    pub deviations: Vec<Deviation>,
}

/// What the client sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A command line.
    Command {
        /// Its verb.
        verb: Verb,
        /// The line as recorded, with its line end; secrets are masked.
        line: Vec<u8>,
        /// Spans of the line are masked: these are not the bytes that were sent.
        redacted: bool,
    },
    /// A line inside AUTH.
    Sasl {
        /// The line as recorded.
        line: Vec<u8>,
        /// It is masked.
        redacted: bool,
    },
    /// Mail data, from the first octet after 354 (or BDAT) to its end.
    Content {
        /// How it was framed.
        form: DataForm,
        /// The octets on the wire: dots not undone, final dot line not
        /// included. For BDAT the octets of this chunk.
        wire: Vec<u8>,
        /// The end was seen.
        complete: bool,
        /// Octets that the recording left out by policy.
        missing: u64,
    },
    /// Bytes that are no SMTP.
    Raw {
        /// How many.
        octets: u64,
        /// Why.
        why: String,
    },
}

/// A reply and when it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The line of its record.
    pub n: u64,
    /// When its last byte was read.
    pub at: Timestamp,
    /// Nanoseconds since the last byte of what it answers.
    pub took: Option<u64>,
    /// The bytes.
    pub wire: Vec<u8>,
    /// The value; `None` when the bytes are no well-formed reply.
    pub reply: Option<Reply>,
    /// What was odd about it.
    pub deviations: Vec<Deviation>,
}

/// The result of a TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The line of its record.
    pub n: u64,
    /// It succeeded.
    pub ok: bool,
    /// The version, such as `1.3`.
    pub version: Option<String>,
    /// The cipher suite by its IANA name.
    pub cipher: Option<String>,
    /// `ok`, `none` (not verified), or what was wrong with the certificate.
    pub verify: Option<String>,
    /// Why it failed.
    pub alert: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The line of its record.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// Who ended it: `client`, `server`, `proxy`, `timeout` or `crash`.
    pub by: String,
    /// How: `fin`, `rst` or `alert`.
    pub how: String,
}

/// A mail transaction: MAIL, its RCPTs, the content, and the verdict on it.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The MAIL exchange.
    pub mail: &'a Exchange,
    /// Everything after MAIL up to the end of the transaction.
    pub rest: &'a [Exchange],
}

impl Dialogue {
    /// The transactions of the session, in order. One begins at each MAIL and
    /// ends before the next MAIL, RSET, EHLO, HELO, STARTTLS or QUIT.
    pub fn transactions(&self) -> impl Iterator<Item = Transaction<'_>> {
        self.exchanges
            .iter()
            .enumerate()
            .filter_map(move |(index, mail)| {
                if mail.said.verb() != Some(&Verb::Mail) {
                    return None;
                }
                let rest = self.exchanges.get(index + 1..)?;
                let end = rest
                    .iter()
                    .position(|exchange| ends_transaction(&exchange.said))
                    .unwrap_or(rest.len());
                let rest = rest.get(..end)?;
                Some(Transaction { mail, rest })
            })
    }

    /// The keywords and parameters of the last successful EHLO or LHLO reply,
    /// up to but not including exchange `before` (an index into `exchanges`).
    pub fn extensions_before(&self, before: usize) -> Vec<&str> {
        self.exchanges
            .iter()
            .take(before)
            .rev()
            .find(|exchange| {
                matches!(exchange.said.verb(), Some(Verb::Ehlo | Verb::Lhlo))
                    && exchange
                        .reply()
                        .is_some_and(|reply| reply.code().is_positive())
            })
            .and_then(Exchange::reply)
            .map(|reply| reply.lines().skip(1).collect())
            .unwrap_or_default()
    }
}

impl<'a> Transaction<'a> {
    /// The RCPT exchanges.
    pub fn recipients(&self) -> impl Iterator<Item = &'a Exchange> + use<'a> {
        self.rest
            .iter()
            .filter(|exchange| exchange.said.verb() == Some(&Verb::Rcpt))
    }

    /// The exchange of the (last) content, which carries the final verdict.
    pub fn content(&self) -> Option<&'a Exchange> {
        self.rest
            .iter()
            .rev()
            .find(|exchange| matches!(exchange.said, Said::Content { .. }))
    }
}

impl Exchange {
    /// The first well-formed reply to it.
    pub fn reply(&self) -> Option<&Reply> {
        self.answers.iter().find_map(|answer| answer.reply.as_ref())
    }
}

impl Said {
    /// The verb, if it was a command.
    pub const fn verb(&self) -> Option<&Verb> {
        match self {
            Self::Command { verb, .. } => Some(verb),
            _ => None,
        }
    }
}

fn ends_transaction(said: &Said) -> bool {
    matches!(
        said.verb(),
        Some(
            Verb::Mail
                | Verb::Rset
                | Verb::Ehlo
                | Verb::Helo
                | Verb::Lhlo
                | Verb::StartTls
                | Verb::Quit
        )
    )
}
