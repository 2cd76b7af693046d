//! One session, summed up.

use serde_json::{Value, json};
use shared::command::{Verb, bdat_size};
use shared::direction::Direction;
use shared::recording::Record;

use super::LISTED;
use super::message::Message;

/// A session, as its records tell of it.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Its number in the recording.
    pub number: u64,
    /// When it began, RFC 3339.
    pub at: String,
    /// The client.
    pub client: String,
    /// The server.
    pub server: String,
    /// Who passed the connection on, by a PROXY header.
    pub via: Option<(String, String)>,
    /// `starttls` or `implicit`, where TLS began.
    pub tls: Option<&'static str>,
    /// It is LMTP.
    pub lmtp: bool,
    /// Commands, as `VERB arguments`: the first [`LISTED`].
    pub commands: Vec<String>,
    /// Reply codes: the first [`LISTED`].
    pub codes: Vec<u64>,
    /// Commands and codes that are not listed.
    pub unlisted: u64,
    /// Messages.
    pub messages: Vec<Message>,
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// What was noted: tag and text.
    pub notes: Vec<(String, String)>,
    /// Octets of the client and of the server.
    pub octets: [u64; 2],
    /// Digests of them, as recorded.
    pub sha256: Vec<String>,
    /// Who ended it, and how.
    pub close: Option<(String, String)>,
    transaction: Message,
    /// The one before, until the command of that line is accepted.
    before: Option<(u64, Message)>,
    starttls: StartTls,
    /// RCPT commands that wait for their replies: their line, the transaction, and
    /// which of its recipients they are.
    waiting: Vec<(u64, u64, usize)>,
    /// Transactions so far.
    serial: u64,
    /// Content is being sent.
    in_content: bool,
    /// The beginning of a line that comes in pieces.
    pieces: Vec<u8>,
    /// Octets of either side so far, gaps included.
    places: [u64; 2],
}

/// How far STARTTLS has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StartTls {
    /// Not asked for, or what came of it is known.
    #[default]
    No,
    /// In that line.
    Asked(u64),
    /// The server said 220, and nothing has come since.
    Accepted,
}

/// Octets that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub direction: Direction,
    /// Where, in what that side sent (behind a PROXY header).
    pub offset: u64,
    /// How many.
    pub octets: u64,
}

/// So much of a command is listed.
const COMMAND: usize = 1000;

impl Session {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    pub(super) fn take(&mut self, record: &Record) {
        let payload = record.payload().unwrap_or_default();
        match record.kind() {
            "open" => self.open(record),
            "cmd" => self.command(record, &payload),
            "data" => self.data(record, &payload),
            "rep" => self.reply(record),
            "gap" => self.gap(record),
            "note" => self.note(record),
            "tls" => self.starttls = StartTls::No,
            "close" => self.close(record),
            _ => {}
        }
        if let Some(direction) = record.direction() {
            self.pass(direction, payload.len() as u64);
        }
    }

    fn open(&mut self, record: &Record) {
        let text = |name| record.text(name).unwrap_or("?").to_owned();
        self.at = text("at");
        self.client = text("c");
        self.server = text(if record.text("u").is_some() { "u" } else { "l" });
        let via = record.field("via");
        let part = |name| via?.get(name)?.as_str().map(str::to_owned);
        self.via = part("proto").zip(part("peer"));
        self.tls = (record.text("tls") == Some("implicit")).then_some("implicit");
    }

    fn command(&mut self, record: &Record, payload: &[u8]) {
        let room = COMMAND.saturating_sub(self.pieces.len());
        self.pieces
            .extend_from_slice(payload.get(..room).unwrap_or(payload));
        if record.flag("more") {
            return;
        }
        let line = std::mem::take(&mut self.pieces);
        let verb = Verb::of(&line);
        self.in_content = false;
        if self.starttls == StartTls::Accepted {
            // The server said 220, and both went on in plain text.
            self.starttls = StartTls::No;
            self.tls = None;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        let (word, arguments) = text
            .split_at_checked(text.find([' ', '\t', ':']).unwrap_or(text.len()))
            .unwrap_or((text, ""));
        let listed = format!("{} {}", word.to_uppercase(), arguments.trim());
        list(
            &mut self.commands,
            listed.trim().to_owned(),
            &mut self.unlisted,
        );
        match verb {
            Verb::Mail => {
                let (path, parameters) = path_of(arguments);
                self.replace(record.n(), Message::begin(path, parameters));
            }
            Verb::Rcpt if self.transaction.recipients.len() < LISTED => {
                // Where replies are missing they would be waited for for ever.
                if self.waiting.len() >= LISTED {
                    self.waiting.clear();
                }
                let index = self.transaction.recipients.len();
                self.waiting
                    .push((record.n(), self.transaction.serial, index));
                let path = path_of(arguments).0;
                self.transaction.recipients.push((path, None));
            }
            Verb::Rset | Verb::Ehlo | Verb::Helo | Verb::Lhlo => {
                self.lmtp |= verb == Verb::Lhlo;
                self.replace(record.n(), Message::default());
            }
            Verb::Bdat if bdat_size(&line).is_some_and(|(size, _)| size == 0) => {
                let last = bdat_size(&line).is_some_and(|(_, last)| last);
                self.content(record.n(), true, &[]);
                if let Some(message) = self.messages.last_mut() {
                    message.ended = last;
                }
            }
            Verb::StartTls => self.starttls = StartTls::Asked(record.n()),
            _ => {}
        }
    }

    /// Another transaction begins, unless the command is refused.
    fn replace(&mut self, n: u64, transaction: Message) {
        let before = std::mem::replace(&mut self.transaction, transaction);
        self.before = Some((n, before));
        self.count();
    }

    /// The transaction is a new one.
    fn count(&mut self) {
        self.serial += 1;
        self.transaction.serial = self.serial;
    }

    fn data(&mut self, record: &Record, payload: &[u8]) {
        let chunked = record.text("form") == Some("bdat");
        let end = record.flag("end");
        let content = if chunked || !end { payload } else { &[] };
        self.content(record.n(), chunked, content);
        if let Some(message) = self.messages.last_mut() {
            message.ended = record.flag("last");
        }
        self.in_content = !end;
    }

    /// Takes content of the message that is being sent, or begins one.
    fn content(&mut self, n: u64, chunked: bool, bytes: &[u8]) {
        let goes_on = self.in_content || self.chunks_go_on(chunked);
        if !goes_on {
            if self.messages.len() >= LISTED {
                self.unlisted += 1;
                return;
            }
            let mut message = std::mem::take(&mut self.transaction);
            self.count();
            message.chunked = chunked;
            self.messages.push(message);
        }
        let Some(message) = self.messages.last_mut() else {
            return;
        };
        message.content(bytes);
        message.end = n;
    }

    /// A chunk belongs to the message before it, unless that was the last.
    fn chunks_go_on(&self, chunked: bool) -> bool {
        let last = self.messages.last();
        chunked
            && self.transaction.from.is_none()
            && last.is_some_and(|last| last.chunked && !last.ended)
    }

    fn reply(&mut self, record: &Record) {
        let Some(code) = record.number("code") else {
            return;
        };
        if record.flag("more") {
            return;
        }
        list(&mut self.codes, code, &mut self.unlisted);
        let Some(answered) = record.number("re").filter(|&n| n > 0) else {
            return;
        };
        if let Some((_, before)) = self.before.take_if(|(n, _)| *n == answered)
            && code >= 400
            && before.from.is_some()
        {
            self.transaction = before;
        }
        if self.starttls == StartTls::Asked(answered) && code == 220 && self.tls.is_none() {
            (self.tls, self.starttls) = (Some("starttls"), StartTls::Accepted);
        }
        if let Some(at) = self.waiting.iter().position(|&(n, ..)| n == answered) {
            let (_, serial, index) = self.waiting.remove(at);
            let message = std::iter::once(&mut self.transaction)
                .chain(self.messages.last_mut())
                .find(|message| message.serial == serial);
            if let Some((_, answer)) = message.and_then(|one| one.recipients.get_mut(index)) {
                *answer = Some(code);
            }
        }
        if let Some(message) = self.messages.last_mut()
            && message.end == answered
            && message.ended
        {
            message.codes.push(code);
        }
    }

    fn gap(&mut self, record: &Record) {
        let (Some(direction), Some(octets)) = (record.direction(), record.number("len")) else {
            return;
        };
        if octets == 0 {
            return;
        }
        if direction == Direction::Client
            && self.in_content
            && let Some(message) = self.messages.last_mut()
        {
            message.missing += octets;
        }
        let offset = self.places.get(direction.index()).copied().unwrap_or(0);
        if self.gaps.len() < LISTED {
            self.gaps.push(Gap {
                direction,
                offset,
                octets,
            });
        }
        self.pass(direction, octets);
    }

    fn note(&mut self, record: &Record) {
        let tag = record.text("tag").unwrap_or_default();
        if tag == "passthrough" {
            self.tls.get_or_insert("starttls");
            self.starttls = StartTls::No;
        } else if !tag.is_empty() && self.notes.len() < LISTED {
            let text = record.text("msg").unwrap_or_default();
            self.notes.push((tag.to_owned(), text.to_owned()));
        }
    }

    fn close(&mut self, record: &Record) {
        let text = |name| record.text(name).unwrap_or("?").to_owned();
        self.close = Some((text("by"), text("how")));
        let bytes = record.field("bytes").and_then(Value::as_array);
        for (octets, value) in self.octets.iter_mut().zip(bytes.into_iter().flatten()) {
            *octets = value.as_u64().unwrap_or_default();
        }
        self.sha256 = record.texts("sha256").map(str::to_owned).collect();
    }

    fn pass(&mut self, direction: Direction, octets: u64) {
        if let Some(place) = self.places.get_mut(direction.index()) {
            *place += octets;
        }
    }

    /// `smtp`, `smtps` or `lmtp`.
    pub fn protocol(&self) -> &'static str {
        match (self.tls, self.lmtp) {
            (Some("implicit"), _) => "smtps",
            (_, true) => "lmtp",
            _ => "smtp",
        }
    }

    /// As the summary's JSON has it.
    pub fn to_json(&self) -> Value {
        let via = self.via.as_ref();
        let close = self.close.as_ref();
        json!({
            "session": self.number,
            "at": self.at,
            "client": self.client,
            "server": self.server,
            "via": via.map(|(protocol, peer)| json!({"proto": protocol, "peer": peer})),
            "protocol": self.protocol(),
            "tls": self.tls,
            "commands": self.commands,
            "reply_codes": self.codes,
            "unlisted": self.unlisted,
            "messages": self.messages.iter().map(Message::to_json).collect::<Vec<_>>(),
            "gaps": self.gaps.iter().copied().map(Gap::to_json).collect::<Vec<_>>(),
            "notes": self.notes.iter()
                .map(|(tag, text)| json!({"tag": tag, "text": text}))
                .collect::<Vec<_>>(),
            "bytes": self.octets,
            "sha256": self.sha256,
            "close": close.map(|(by, how)| json!({"by": by, "how": how})),
        })
    }
}

impl Gap {
    fn to_json(self) -> Value {
        json!({
            "direction": match self.direction {
                Direction::Client => "client",
                Direction::Server => "server",
            },
            "offset": self.offset,
            "length": self.octets,
        })
    }
}

fn list<T>(list: &mut Vec<T>, item: T, unlisted: &mut u64) {
    if list.len() < LISTED {
        list.push(item);
    } else {
        *unlisted += 1;
    }
}

/// The path of MAIL or RCPT without its brackets, and what follows it. Rough on
/// purpose: what a server would not take is to be seen in a summary too.
fn path_of(arguments: &str) -> (String, String) {
    let rest = arguments.split_once(':').map_or("", |(_, rest)| rest);
    let rest = rest.trim_start();
    let (path, parameters) = match rest.strip_prefix('<') {
        Some(inner) => inner
            .char_indices()
            .scan((false, false), |(quoted, escaped), (at, letter)| {
                let ends = letter == '>' && !*quoted;
                *quoted ^= letter == '"' && !*escaped;
                *escaped = letter == '\\' && !*escaped;
                Some((at, ends))
            })
            .find(|&(_, ends)| ends)
            .and_then(|(at, _)| Some((inner.get(..at)?, inner.get(at + 1..)?)))
            .unwrap_or((inner, "")),
        None => rest.split_once(' ').unwrap_or((rest, "")),
    };
    (path.to_owned(), parameters.trim().to_owned())
}
