//! What the sink says: one session as a value, without IO.
//!
//! It knows verbs, their order (`stage::advance`) and where mail data ends, and
//! looks at nothing else: whatever stands in MAIL and RCPT is taken. Feeding it
//! bytes in pieces, however they are cut, gives the same replies; all replies to
//! one piece come together, so that they are one write.

use shared::codec::{DotScanner, Scan};
use shared::command::{Command, LONGEST, Verb, bdat_size};
use shared::stage::{Outcome, Stage, Step, advance, allowed};

use super::count::Tally;
use super::store::Letter;
use super::terms::Terms;
use crate::config::{Protocol, TlsMode};

/// So many octets of replies are collected; then they are to be sent before
/// anything more is taken.
const FULL: usize = 64 * 1024;

/// LMTP answers the end of data once for each recipient, all at once: a
/// transaction has no more of them than these.
const MOST_RECIPIENTS: u32 = 1000;

/// One session.
#[derive(Debug)]
pub(super) struct Dialogue {
    stage: Stage,
    mode: Mode,
    /// What came and cannot be understood without what comes next: the beginning
    /// of a line, at most [`LONGEST`] octets.
    held: Vec<u8>,
    /// Accepted in this transaction.
    recipients: u32,
    in_tls: bool,
}

/// How the next octets are to be understood.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Commands,
    /// The rest of a line that is too long.
    Overlong,
    /// A line of an AUTH exchange, and what is still to be asked for after it.
    Sasl(Prompts),
    Dots(DotScanner),
    Chunk {
        left: u64,
        last: bool,
    },
}

/// What is to be done when the replies so far have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// All was taken: read on.
    Read,
    /// Not all was taken: give the rest again.
    Again,
    /// Perform the TLS handshake. What came after STARTTLS is dropped
    /// (RFC 3207 §4.2).
    StartTls,
    /// Close the connection.
    Close,
}

/// What one call works on beside the session itself.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    /// Where the session takes place.
    pub(super) terms: &'a Terms,
    /// Replies are added to this.
    pub(super) out: &'a mut Vec<u8>,
    /// What has happened is added to this.
    pub(super) tally: &'a mut Tally,
    /// Takes the content, if it is kept.
    pub(super) letter: &'a mut Letter,
}

impl Dialogue {
    /// A session that has been greeted.
    pub(super) fn new(in_tls: bool) -> Self {
        Self {
            stage: Stage::Greeted,
            mode: Mode::Commands,
            held: Vec::new(),
            recipients: 0,
            in_tls,
        }
    }

    /// Takes what was read: how much of it, and what is to be done next.
    pub(super) fn take(&mut self, input: &[u8], desk: &mut Desk<'_>) -> (usize, Next) {
        let mut rest = input;
        while !rest.is_empty() {
            if desk.out.len() >= FULL {
                return (input.len() - rest.len(), Next::Again);
            }
            let (used, next) = match self.mode {
                Mode::Commands | Mode::Overlong | Mode::Sasl(_) => self.line(rest, desk),
                Mode::Dots(scanner) => (self.dots(scanner, rest, desk), Next::Read),
                Mode::Chunk { left, last } => (self.chunk(left, last, rest, desk), Next::Read),
            };
            rest = rest.get(used..).unwrap_or_default();
            if next != Next::Read {
                return (input.len(), next);
            }
        }
        (input.len(), Next::Read)
    }

    /// TLS is in force; everything said before is forgotten (RFC 3207 §4.2).
    pub(super) fn tls_started(&mut self) {
        *self = Self::new(true);
    }

    /// TLS is in force.
    pub(super) fn is_in_tls(&self) -> bool {
        self.in_tls
    }

    /// Nothing is under way that the client would have to do again.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.stage, Stage::Greeted | Stage::Ready | Stage::Closed)
            && matches!(self.mode, Mode::Commands)
            && self.held.is_empty()
    }

    /// One line, or what there is of it.
    fn line(&mut self, rest: &[u8], desk: &mut Desk<'_>) -> (usize, Next) {
        let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
        let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
        if matches!(self.mode, Mode::Overlong) || self.held.len() + piece.len() > LONGEST {
            self.held = Vec::new();
            self.mode = if end.is_some() {
                refuse(desk, b"500 5.5.2 The line is too long\r\n");
                Mode::Commands
            } else {
                Mode::Overlong
            };
            return (piece.len(), Next::Read);
        }
        if end.is_none() {
            self.held.extend_from_slice(piece);
            return (piece.len(), Next::Read);
        }
        if self.held.is_empty() {
            return (piece.len(), self.whole_line(piece, desk));
        }
        let mut line = std::mem::take(&mut self.held);
        line.extend_from_slice(piece);
        (piece.len(), self.whole_line(&line, desk))
    }

    fn whole_line(&mut self, line: &[u8], desk: &mut Desk<'_>) -> Next {
        match self.mode {
            Mode::Sasl(prompts) => {
                self.sasl(prompts, line, desk);
                Next::Read
            }
            _ => self.command(&Verb::of(line), line, desk),
        }
    }

    fn command(&mut self, verb: &Verb, line: &[u8], desk: &mut Desk<'_>) -> Next {
        if *verb == Verb::Bdat {
            self.bdat(line, desk);
            return Next::Read;
        }
        if let Some(objection) = self.objection(verb, desk.terms) {
            refuse(desk, objection);
            return Next::Read;
        }
        let (step, outcome) = match verb {
            Verb::Data => (Step::Data, Outcome::GoOn),
            verb => (Step::of(verb), Outcome::Accepted),
        };
        let next = advance(self.stage, step, outcome);
        let (true, Ok(stage)) = (allowed(self.stage, step), next) else {
            refuse(desk, self.out_of_order());
            return Next::Read;
        };
        self.stage = stage;
        match verb {
            Verb::Auth => {
                self.auth(line, desk);
                return Next::Read;
            }
            Verb::Data => {
                desk.letter.begin(Framing::Dots);
                self.mode = Mode::Dots(DotScanner::new());
            }
            Verb::Mail => {
                self.recipients = 0;
                desk.letter.mail(line);
            }
            Verb::Rcpt => return self.rcpt(line, desk),
            _ => {}
        }
        desk.out.extend_from_slice(self.reply(verb, desk.terms));
        match verb {
            Verb::Quit => Next::Close,
            Verb::StartTls => Next::StartTls,
            _ => Next::Read,
        }
    }

    fn rcpt(&mut self, line: &[u8], desk: &mut Desk<'_>) -> Next {
        if desk.terms.protocol == Protocol::Lmtp && self.recipients >= MOST_RECIPIENTS {
            refuse(desk, b"452 4.5.3 Too many recipients\r\n");
        } else {
            self.recipients = self.recipients.saturating_add(1);
            desk.tally.recipients += 1;
            desk.letter.rcpt(line);
            desk.out.extend_from_slice(b"250 2.1.5 Ok\r\n");
        }
        Next::Read
    }

    /// What is against a command, whenever it comes.
    fn objection(&self, verb: &Verb, terms: &Terms) -> Option<&'static [u8]> {
        let lmtp = terms.protocol == Protocol::Lmtp;
        match verb {
            // RFC 2033 §4.1: EHLO and HELO are no LMTP, and LHLO is no SMTP.
            Verb::Ehlo | Verb::Helo if lmtp => Some(b"500 5.5.1 This is LMTP: say LHLO\r\n"),
            Verb::Lhlo if !lmtp => Some(b"500 5.5.1 This is SMTP: say EHLO\r\n"),
            Verb::StartTls if self.in_tls => Some(b"503 5.5.1 TLS is already in force\r\n"),
            Verb::StartTls if terms.tls != TlsMode::StartTls => {
                Some(b"502 5.5.1 Not offered here\r\n")
            }
            Verb::Expn | Verb::Etrn | Verb::Xclient | Verb::Xforward => {
                Some(b"502 5.5.1 Not offered here\r\n")
            }
            Verb::Other(_) => Some(b"500 5.5.1 Command not recognized\r\n"),
            _ => None,
        }
    }

    fn out_of_order(&self) -> &'static [u8] {
        match self.stage {
            Stage::Greeted => b"503 5.5.1 Say EHLO first\r\n",
            Stage::Ready => b"503 5.5.1 MAIL first\r\n",
            Stage::Mail => b"503 5.5.1 RCPT first\r\n",
            _ => b"503 5.5.1 Not now\r\n",
        }
    }

    /// The reply to a command that is accepted.
    fn reply<'a>(&self, verb: &Verb, terms: &'a Terms) -> &'a [u8] {
        match verb {
            Verb::Ehlo | Verb::Lhlo if self.in_tls => &terms.hello_in_tls,
            Verb::Ehlo | Verb::Lhlo => &terms.hello,
            Verb::Helo => &terms.helo,
            Verb::Mail => b"250 2.1.0 Ok\r\n",
            Verb::Data => b"354 Go ahead\r\n",
            Verb::Quit => b"221 2.0.0 Bye\r\n",
            Verb::StartTls => b"220 2.0.0 Go ahead\r\n",
            Verb::Vrfy => b"252 2.5.2 Send some mail and see\r\n",
            Verb::Help => b"214 2.0.0 Send mail: it is gone at once\r\n",
            _ => b"250 2.0.0 Ok\r\n",
        }
    }

    /// RFC 4954: whoever it is, is believed. Mechanisms in which the server, too,
    /// has to know the password cannot be played so.
    fn auth(&mut self, line: &[u8], desk: &mut Desk<'_>) {
        let Ok(Command::Auth { mechanism, initial }) = Command::parse(line).command else {
            refuse(desk, b"501 5.5.4 AUTH needs a mechanism\r\n");
            return;
        };
        let known = MECHANISMS.iter().find(|(name, _)| *name == mechanism);
        let Some((_, prompts)) = known else {
            refuse(desk, b"504 5.5.4 No such mechanism here\r\n");
            return;
        };
        let answered = usize::from(initial.is_some());
        self.prompt(prompts.get(answered..).unwrap_or_default(), desk);
    }

    fn sasl(&mut self, prompts: Prompts, line: &[u8], desk: &mut Desk<'_>) {
        if line.trim_ascii_end() == b"*" {
            self.mode = Mode::Commands;
            refuse(desk, b"501 5.0.0 Given up\r\n");
        } else {
            self.prompt(prompts, desk);
        }
    }

    /// Asks for the next line of an AUTH exchange, or ends it.
    fn prompt(&mut self, prompts: Prompts, desk: &mut Desk<'_>) {
        let (mode, reply) = match prompts.split_first() {
            Some((prompt, rest)) => (Mode::Sasl(rest), *prompt),
            None => (Mode::Commands, &b"235 2.7.0 Ok\r\n"[..]),
        };
        self.mode = mode;
        desk.out.extend_from_slice(reply);
    }

    fn bdat(&mut self, line: &[u8], desk: &mut Desk<'_>) {
        let Some((left, last)) = bdat_size(line) else {
            refuse(
                desk,
                b"501 5.5.4 BDAT needs a size, and LAST or nothing\r\n",
            );
            let refused = advance(self.stage, Step::Bdat { last: false }, Outcome::Refused);
            self.stage = refused.unwrap_or(self.stage);
            return;
        };
        if matches!(self.stage, Stage::Rcpt) {
            desk.letter.begin(Framing::Octets);
        }
        self.mode = Mode::Chunk { left, last };
        if left == 0 {
            self.end_of_chunk(last, desk);
        }
    }

    /// A chunk is taken whole even if it is refused: what stands in it are no
    /// commands (RFC 3030 §2).
    fn chunk(&mut self, left: u64, last: bool, rest: &[u8], desk: &mut Desk<'_>) -> usize {
        let used = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        self.content(rest.get(..used).unwrap_or(rest), desk);
        let left = left - used as u64;
        self.mode = Mode::Chunk { left, last };
        if left == 0 {
            self.end_of_chunk(last, desk);
        }
        used
    }

    fn end_of_chunk(&mut self, last: bool, desk: &mut Desk<'_>) {
        self.mode = Mode::Commands;
        match advance(self.stage, Step::Bdat { last }, Outcome::Accepted) {
            Ok(stage) if last => self.end_of_message(stage, desk),
            Ok(stage) => {
                self.stage = stage;
                desk.out.extend_from_slice(b"250 2.0.0 Ok\r\n");
            }
            Err(_) => refuse(desk, self.out_of_order()),
        }
    }

    fn dots(&mut self, mut scanner: DotScanner, rest: &[u8], desk: &mut Desk<'_>) -> usize {
        let held = self.held.len();
        if held == 0 {
            let found = scanner.scan(rest);
            self.mode = Mode::Dots(scanner);
            return match found {
                Scan::Content(used) => {
                    self.content(rest.get(..used).unwrap_or(rest), desk);
                    used
                }
                Scan::End => {
                    self.end_of_dots(desk);
                    3
                }
                Scan::More => {
                    self.held.extend_from_slice(rest);
                    rest.len()
                }
            };
        }
        // A dot that may be the final one came at the end of the last read: three
        // octets tell.
        let more = rest.get(..3usize.saturating_sub(held)).unwrap_or(rest);
        let mut start = std::mem::take(&mut self.held);
        start.extend_from_slice(more);
        let found = scanner.scan(&start);
        self.mode = Mode::Dots(scanner);
        match found {
            // All of it: no line can end within three octets that begin with a dot.
            Scan::Content(_) => self.content(&start, desk),
            Scan::End => self.end_of_dots(desk),
            Scan::More => self.held = start,
        }
        more.len()
    }

    fn end_of_dots(&mut self, desk: &mut Desk<'_>) {
        self.mode = Mode::Commands;
        if let Ok(stage) = advance(self.stage, Step::EndOfData, Outcome::Accepted) {
            self.end_of_message(stage, desk);
        }
    }

    fn content(&mut self, piece: &[u8], desk: &mut Desk<'_>) {
        if matches!(self.stage, Stage::Data | Stage::Rcpt | Stage::Bdat) {
            desk.tally.octets += piece.len() as u64;
            desk.letter.content(piece);
        }
    }

    fn end_of_message(&mut self, stage: Stage, desk: &mut Desk<'_>) {
        self.stage = stage;
        let replies = match desk.terms.protocol {
            Protocol::Lmtp => self.recipients,
            _ => 1,
        };
        self.recipients = 0;
        let reply: &[u8] = match desk.letter.keep() {
            Ok(()) => {
                desk.tally.messages += 1;
                b"250 2.0.0 Ok\r\n"
            }
            Err(refusal) => {
                desk.tally.errors += 1;
                refusal
            }
        };
        for _ in 0..replies {
            desk.out.extend_from_slice(reply);
        }
    }
}

/// How content is framed, which says what must be undone before it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// A line with a lone dot ends it (RFC 5321 §4.5.2).
    Dots,
    /// Its octets are counted (RFC 3030).
    Octets,
}

/// What an AUTH exchange asks the client for, one reply after the other.
type Prompts = &'static [&'static [u8]];

/// The mechanisms in which the client alone proves something.
const MECHANISMS: [(&str, Prompts); 5] = [
    ("EXTERNAL", &[b"334 \r\n"]),
    ("LOGIN", &[b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"]),
    ("OAUTHBEARER", &[b"334 \r\n"]),
    ("PLAIN", &[b"334 \r\n"]),
    ("XOAUTH2", &[b"334 \r\n"]),
];

fn refuse(desk: &mut Desk<'_>, reply: &[u8]) {
    desk.tally.errors += 1;
    desk.out.extend_from_slice(reply);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use shared::codec::Limits;
    use shared::command::Heard;
    use shared::direction::Direction;
    use shared::reply::Reply;
    use shared::session::{
        Answers, Asked, Kind, Observer, Peers, ServerOutput, ServerSession, Unit,
    };
    use shared::time::Timestamp;

    use super::*;
    use crate::sink::terms::Changes;

    fn terms(spec: &str) -> Terms {
        let (spec, hostname) = (spec.parse().unwrap(), "mx.test".parse().unwrap());
        Terms::new(&spec, &hostname, &Changes::default()).unwrap()
    }

    /// The replies to each piece, what has happened, and how it went on.
    struct Played {
        replies: Vec<Vec<u8>>,
        tally: Tally,
        next: Next,
    }

    fn play(terms: &Terms, pieces: &[&[u8]]) -> Played {
        let mut dialogue = Dialogue::new(false);
        let mut played = Played {
            replies: Vec::new(),
            tally: Tally::default(),
            next: Next::Read,
        };
        for piece in pieces {
            let (mut out, mut rest) = (Vec::new(), *piece);
            while played.next == Next::Read {
                let mut desk = Desk {
                    terms,
                    out: &mut out,
                    tally: &mut played.tally,
                    letter: &mut Letter::of(None),
                };
                let (used, next) = dialogue.take(rest, &mut desk);
                rest = &rest[used..];
                if next != Next::Again {
                    played.next = next;
                    break;
                }
            }
            played.replies.push(out);
        }
        played
    }

    fn said(terms: &Terms, input: &str) -> String {
        String::from_utf8(play(terms, &[input.as_bytes()]).replies.concat()).unwrap()
    }

    fn codes(replies: &[u8]) -> Vec<u16> {
        let lines = replies.split_inclusive(|&octet| octet == b'\n');
        let last = lines.filter(|line| line[3] == b' ');
        last.map(|line| Reply::parse(line).unwrap().code().number())
            .collect()
    }

    #[test]
    fn a_pipelined_group_is_answered_at_once() {
        let terms = terms("127.0.0.1:0");
        let group = b"EHLO a\r\nMAIL FROM:<a@b> X=Y\r\nRCPT TO:<c@d>\r\nRCPT TO:<>\r\nDATA\r\n";
        let played = play(&terms, &[group, b"x\r\n.\r\nQUIT\r\n"]);
        assert_eq!(codes(&played.replies[0]), [250, 250, 250, 250, 354]);
        assert_eq!(codes(&played.replies[1]), [250, 221]);
        assert_eq!(played.next, Next::Close);
        let wanted = Tally {
            messages: 1,
            recipients: 2,
            octets: 3,
            ..Tally::default()
        };
        assert_eq!(played.tally, wanted);
    }

    #[test]
    fn lmtp_answers_for_each_recipient() {
        let terms = terms("127.0.0.1:0,proto=lmtp");
        let said = said(
            &terms,
            "EHLO a\r\nLHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nDATA\r\n.\r\n\
             BDAT 0 LAST\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nBDAT 1\r\nxBDAT 1 LAST\r\nx",
        );
        let wanted = [
            500, 250, 250, 250, 250, 354, 250, 250, 503, 250, 250, 250, 250, 250, 250,
        ];
        assert_eq!(codes(said.as_bytes()), wanted);
    }

    #[test]
    fn lmtp_has_a_limit_on_what_is_answered_at_once() {
        let terms = terms("127.0.0.1:0,proto=lmtp");
        let recipients = "RCPT TO:<a>\r\n".repeat(MOST_RECIPIENTS as usize + 1);
        let said = said(
            &terms,
            &format!("LHLO a\r\nMAIL FROM:<>\r\n{recipients}BDAT 0 LAST\r\n"),
        );
        let codes = codes(said.as_bytes());
        assert_eq!(codes.iter().filter(|&&code| code == 452).count(), 1);
        assert_eq!(codes.len(), 3 + 2 * MOST_RECIPIENTS as usize);
    }

    #[test]
    fn what_comes_with_starttls_is_dropped() {
        let terms = terms("127.0.0.1:0");
        let played = play(&terms, &[b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<evil@x>\r\n"]);
        assert_eq!(codes(&played.replies[0]), [250, 220]);
        assert_eq!(played.next, Next::StartTls);
    }

    #[test]
    fn anyone_is_who_they_say() {
        let terms = terms("127.0.0.1:0");
        for (dialogue, wanted) in [
            ("AUTH PLAIN AGEAYg==\r\n", &[235][..]),
            ("auth plain\r\nAGEAYg==\r\n", &[334, 235]),
            ("AUTH LOGIN\r\nYQ==\r\nYg==\r\n", &[334, 334, 235]),
            ("AUTH LOGIN YQ==\r\nYg==\r\nNOOP\r\n", &[334, 235, 250]),
            ("AUTH LOGIN\r\n*\r\nNOOP\r\n", &[334, 501, 250]),
            ("AUTH SCRAM-SHA-256 x\r\n", &[504]),
            ("AUTH\r\n", &[501]),
        ] {
            let said = said(&terms, &format!("EHLO a\r\n{dialogue}"));
            assert_eq!(codes(said.as_bytes())[1..], *wanted, "{dialogue}");
        }
        let before_ehlo = said(&terms, "AUTH PLAIN AGEAYg==\r\n");
        assert_eq!(codes(before_ehlo.as_bytes()), [503]);
    }

    #[test]
    fn lines_of_any_length_are_taken_in_little_memory() {
        let terms = terms("127.0.0.1:0");
        let mut dialogue = Dialogue::new(false);
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        for _ in 0..1000 {
            let mut desk = Desk {
                terms: &terms,
                out: &mut out,
                tally: &mut tally,
                letter: &mut Letter::of(None),
            };
            dialogue.take(&[b'x'; 1000], &mut desk);
            assert!(dialogue.held.capacity() <= 2 * LONGEST);
        }
        assert!(out.is_empty());
        let long = |length: usize| format!("NOOP {}\r\nNOOP\r\n", "x".repeat(length - 7));
        assert_eq!(codes(said(&terms, &long(LONGEST)).as_bytes()), [250, 250]);
        let too_long = long(LONGEST + 1);
        assert_eq!(codes(said(&terms, &too_long).as_bytes()), [500, 250]);
        let (a, b) = too_long.as_bytes().split_at(LONGEST);
        assert_eq!(codes(&play(&terms, &[a, b]).replies.concat()), [500, 250]);
    }

    #[test]
    fn replies_are_sent_before_they_are_too_many() {
        let terms = terms("127.0.0.1:0");
        let mut dialogue = Dialogue::new(false);
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let mut desk = Desk {
            terms: &terms,
            out: &mut out,
            tally: &mut tally,
            letter: &mut Letter::of(None),
        };
        let input = "EHLO\r\n".repeat(10_000);
        let (used, next) = dialogue.take(input.as_bytes(), &mut desk);
        assert_eq!(next, Next::Again);
        assert!(used < input.len());
        assert!(out.len() < FULL + terms.hello.len());
    }

    /// The reply codes of the sink if it were a policy of a `ServerSession`: the
    /// session says what is a command and what is content, and where it stands.
    fn reference(input: &[u8], lmtp: bool) -> Vec<u16> {
        let now = Timestamp::from_nanos(1);
        let mut session = ServerSession::new(now, Limits::DEFAULT, Duration::from_secs(1));
        let (mut codes, mut recipients, mut fed) = (Vec::new(), 0, false);
        loop {
            let (stage, output) = (session.stage(), session.poll());
            let replies = match output {
                None if fed => return codes[1..].to_vec(),
                None => {
                    session.receive(now, input);
                    fed = true;
                    continue;
                }
                Some(ServerOutput::Ask(Asked::Greeting)) => vec![220],
                Some(ServerOutput::Ask(Asked::Command(heard))) => {
                    let code = code_for(&heard, stage, lmtp);
                    match heard.verb {
                        Verb::Mail if code == 250 => recipients = 0,
                        Verb::Rcpt if code == 250 => recipients += 1,
                        _ => {}
                    }
                    vec![code]
                }
                Some(ServerOutput::Ask(Asked::Sasl(line))) => {
                    vec![if line.trim_ascii_end() == b"*" {
                        501
                    } else {
                        235
                    }]
                }
                Some(ServerOutput::Ask(Asked::EndOfData { last })) => {
                    let step = match stage {
                        Stage::Data => Step::EndOfData,
                        _ => Step::Bdat { last },
                    };
                    let count = if lmtp && last { recipients } else { 1 };
                    if allowed(stage, step) {
                        vec![250; count]
                    } else {
                        vec![503]
                    }
                }
                Some(_) => continue,
            };
            let reply = |&code: &u16| Reply::of(code, "", "x");
            session.answer(now, &replies.iter().map(reply).collect::<Vec<_>>());
            codes.extend(replies);
        }
    }

    fn code_for(heard: &Heard, stage: Stage, lmtp: bool) -> u16 {
        match &heard.verb {
            Verb::Bdat => 501,
            Verb::Ehlo | Verb::Helo if lmtp => 500,
            Verb::Lhlo if !lmtp => 500,
            Verb::Other(_) => 500,
            Verb::StartTls | Verb::Expn | Verb::Etrn | Verb::Xclient | Verb::Xforward => 502,
            verb if !allowed(stage, Step::of(verb)) => 503,
            Verb::Auth => match &heard.command {
                Ok(Command::Auth { initial, .. }) => {
                    if initial.is_some() {
                        235
                    } else {
                        334
                    }
                }
                _ => 501,
            },
            Verb::Data => 354,
            Verb::Help => 214,
            Verb::Quit => 221,
            Verb::Vrfy => 252,
            _ => 250,
        }
    }

    /// Lines and pieces of lines that mean something to somebody.
    fn dialogue() -> impl Strategy<Value = Vec<u8>> {
        let parts: &[&[u8]] = &[
            b"EHLO a\r\n",
            b"LHLO a\r\n",
            b"HELO\n",
            b"MAIL FROM:<a@b>\r\n",
            b"mail from:<> SIZE=1 X=y\r\n",
            b"RCPT TO:<c@d>\r\n",
            b"RCPT TO:<c@d>\r\n",
            b"RCPT\r\n",
            b"DATA\r\n",
            b"data\r\n",
            b"x\r\n.\r\n",
            b".\r\n",
            b".",
            b"..\r\n",
            b"\r\n",
            b"\r",
            b"\n",
            b".\n",
            b"BDAT 3\r\n",
            b"BDAT 5 LAST\r\n",
            b"BDAT 0 LAST\r\n",
            b"BDAT x\r\n",
            b"abc",
            b"RSET\r\n",
            b"NOOP\r\n",
            b"VRFY x\r\n",
            b"HELP\r\n",
            b"AUTH PLAIN\r\n",
            b"AUTH PLAIN eA==\r\n",
            b"AUTH\r\n",
            b"*\r\n",
            b"STARTTLS\r\n",
            b"XCLIENT A=b\r\n",
            b"\0\xff \r\n",
            b"QUIT\r\n",
            b"QU",
        ];
        let part = prop::sample::select(parts.to_vec());
        prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    /// A beginning that gets far, so that what follows meets every state.
    fn beginning() -> impl Strategy<Value = &'static [u8]> {
        prop::sample::select(vec![
            &b""[..],
            b"EHLO a\r\n",
            b"LHLO a\r\n",
            b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
            b"LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n",
            b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
            b"LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
        ])
    }

    fn pieces<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let (mut rest, mut pieces) = (input, Vec::new());
        for &cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn splitting_changes_nothing_and_a_server_session_agrees(
            beginning in beginning(),
            dialogue in dialogue(),
            cuts in prop::collection::vec(1usize..9, 1..6),
            lmtp: bool,
        ) {
            let terms = terms(if lmtp { "127.0.0.1:0,proto=lmtp,tls=none" } else { "127.0.0.1:0,tls=none" });
            let input = [beginning, &dialogue].concat();
            let whole = play(&terms, &[&input]);
            let cut = play(&terms, &pieces(&input, &cuts));
            prop_assert_eq!(&cut.replies.concat(), &whole.replies.concat());
            prop_assert_eq!(cut.tally, whole.tally);
            prop_assert_eq!(codes(&whole.replies.concat()), reference(&input, lmtp));
        }

        #[test]
        fn an_observer_finds_nothing_odd_about_the_replies(
            beginning in beginning(),
            dialogue in dialogue(),
            cuts in prop::collection::vec(1usize..9, 1..6),
            lmtp: bool,
        ) {
            let terms = terms(if lmtp { "127.0.0.1:0,proto=lmtp,tls=none" } else { "127.0.0.1:0,tls=none" });
            let input = [beginning, &dialogue].concat();
            let pieces = pieces(&input, &cuts);
            let played = play(&terms, &pieces);
            let (now, mut observer) = (Timestamp::from_nanos(1), Observer::new(Peers::Ours, Limits::DEFAULT));
            observer.push(Direction::Server, &terms.greeting, now);
            let mut units: Vec<Unit> = Vec::new();
            for (piece, replies) in pieces.iter().zip(&played.replies) {
                observer.push(Direction::Client, piece, now);
                units.extend(std::iter::from_fn(|| observer.poll()));
                observer.push(Direction::Server, replies, now);
                units.extend(std::iter::from_fn(|| observer.poll()));
            }
            let replies = units.iter().skip(1).filter(|unit| unit.direction == Direction::Server);
            for reply in replies {
                prop_assert_eq!(&reply.deviations, &[], "{:?}", reply);
                let answers = matches!(reply.kind, Kind::Reply { answers: Answers::Unit(_), .. });
                prop_assert!(answers, "{:?}", reply);
            }
        }

        #[test]
        fn nothing_panics(input: Vec<u8>, cuts in prop::collection::vec(1usize..99, 1..6)) {
            let terms = terms("127.0.0.1:0");
            let replies = play(&terms, &pieces(&input, &cuts)).replies.concat();
            prop_assert!(replies.is_empty() || replies.ends_with(b"\r\n"));
        }
    }
}
