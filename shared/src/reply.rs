//! Replies: what a server says (RFC 5321 §4.2).

use std::fmt;

use crate::status::EnhancedStatusCode;

/// A three-digit reply code, 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyCode(u16);

/// The first digit of a reply code (RFC 5321 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// 2yz: done.
    Positive,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: no.
    Permanent,
}

impl ReplyCode {
    /// The code of that number, if it is one: 200 to 599.
    pub const fn new(number: u16) -> Option<Self> {
        if 200 <= number && number <= 599 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            2 => Severity::Positive,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    /// 2yz: what was asked is done.
    pub const fn is_positive(self) -> bool {
        matches!(self.severity(), Severity::Positive)
    }

    /// 3yz: the server waits for more.
    pub const fn is_intermediate(self) -> bool {
        matches!(self.severity(), Severity::Intermediate)
    }

    /// 4yz or 5yz: the server says no, for now or for good.
    pub const fn is_refusal(self) -> bool {
        matches!(self.severity(), Severity::Transient | Severity::Permanent)
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One line of a reply as it came: code, whether more follow, text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLine<'a> {
    /// The code.
    pub code: ReplyCode,
    /// A hyphen followed the code: another line follows.
    pub continues: bool,
    /// What follows the code and its separator, without the line end.
    pub text: &'a [u8],
}

impl<'a> ReplyLine<'a> {
    /// Reads one line, with or without its line end; `None` if it is no reply
    /// line. A code alone is accepted, as RFC 5321 §4.2 asks of clients.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_at_checked(3)?;
        let number = digits.iter().try_fold(0u16, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + u16::from(digit - b'0'))
        })?;
        let code = ReplyCode::new(number)?;
        let (continues, text) = match rest.split_first() {
            None => (false, rest),
            Some((b' ', text)) => (false, text),
            Some((b'-', text)) => (true, text),
            Some(_) => return None,
        };
        Some(Self {
            code,
            continues,
            text,
        })
    }
}

/// A whole reply: a code and its lines of text.
///
/// This is the value; where the exact bytes matter they are kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: ReplyCode,
    status: Option<EnhancedStatusCode>,
    lines: Vec<String>,
}

impl Reply {
    /// A reply of one line without an enhanced status code.
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self {
            code,
            status: None,
            lines: vec![one_line(code, text.into())],
        }
    }

    /// A reply of ours, from constants: `Reply::of(550, "5.1.1", "no such mailbox")`.
    ///
    /// An empty or malformed status is left out, and a number that is no reply
    /// code becomes 554, so that a slip of ours never becomes a positive reply.
    pub fn of(number: u16, status: &str, text: impl Into<String>) -> Self {
        let code = ReplyCode::new(number).unwrap_or(ReplyCode(554));
        Self {
            code,
            status: status.parse().ok(),
            lines: vec![one_line(code, text.into())],
        }
    }

    /// A reply of several lines; an empty list becomes one empty line.
    pub fn multi(code: ReplyCode, lines: impl IntoIterator<Item = String>) -> Self {
        let mut lines: Vec<String> = lines.into_iter().map(|line| one_line(code, line)).collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Self {
            code,
            status: None,
            lines,
        }
    }

    /// The same reply with an enhanced status code on every line (RFC 2034 §4).
    #[must_use]
    pub fn with_status(mut self, status: EnhancedStatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The same reply without an enhanced status code, as greeting, EHLO and
    /// intermediate replies must be (RFC 2034 §3).
    #[must_use]
    pub fn without_status(mut self) -> Self {
        self.status = None;
        self
    }

    /// Reads the bytes of one whole reply; `None` if any line is no reply line,
    /// codes differ, or the last line is not the only one without a hyphen.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut found: Option<(ReplyCode, Option<EnhancedStatusCode>)> = None;
        let mut lines = Vec::new();
        let mut complete = false;
        for raw in bytes.split_inclusive(|&octet| octet == b'\n') {
            let line = ReplyLine::parse(raw)?;
            if complete {
                return None;
            }
            complete = !line.continues;
            let (code, status) =
                *found.get_or_insert_with(|| (line.code, status_of(line.code, line.text)));
            if code != line.code {
                return None;
            }
            let text = match status {
                Some(_) if status_of(code, line.text) == status => after_word(line.text),
                _ => line.text,
            };
            lines.push(String::from_utf8_lossy(text).into_owned());
        }
        let (code, status) = found?;
        complete.then_some(Self {
            code,
            status,
            lines,
        })
    }

    /// The reply code.
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// The enhanced status code, if the reply has one that fits its code.
    pub const fn status(&self) -> Option<EnhancedStatusCode> {
        self.status
    }

    /// The text of each line, without code and enhanced status code.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The text of the first line.
    pub fn first_line(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// The text of all lines, joined by a space.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The reply on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if index == last { b' ' } else { b'-' });
            if let Some(status) = self.status {
                out.extend_from_slice(status.to_string().as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    /// The lines as on the wire, joined by ` / ` instead of line ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        for (index, line) in self.lines.iter().enumerate() {
            f.write_str(if index == 0 { " " } else { " / " })?;
            f.write_str(line)?;
        }
        Ok(())
    }
}

/// The enhanced status code at the start of a text, if its class fits the code.
pub fn status_of(code: ReplyCode, text: &[u8]) -> Option<EnhancedStatusCode> {
    EnhancedStatusCode::leading(text)
        .filter(|status| u16::from(status.class()) == code.number() / 100)
}

fn after_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&octet| octet == b' ');
    end.and_then(|end| text.get(end + 1..)).unwrap_or(b"")
}

/// A line of our own never contains a line end, whatever went into it, and is
/// never too long.
fn one_line(code: ReplyCode, mut text: String) -> String {
    if text.contains(['\r', '\n']) {
        text = text.replace(['\r', '\n'], " ");
    }
    let most = if code == CHALLENGE { LONG } else { TEXT };
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The reply code of a SASL challenge (RFC 4954 §4).
const CHALLENGE: ReplyCode = ReplyCode(334);

/// The most octets of text in a line of ours: with a reply code, an enhanced
/// status code and CRLF that makes the 512 of RFC 5321 §4.5.3.1.5.
const TEXT: usize = 512 - "550-5.999.999 \r\n".len();

/// The same for a challenge, which RFC 4954 §4 allows 12 288 octets.
const LONG: usize = 12_288 - "334 \r\n".len();

#[cfg(test)]
mod tests {
    use super::*;

    fn code(number: u16) -> ReplyCode {
        ReplyCode::new(number).unwrap()
    }

    #[test]
    fn lines_are_read_as_clients_must() {
        let line = ReplyLine::parse(b"250-SIZE 10\r\n").unwrap();
        assert_eq!(
            (line.code, line.continues, line.text),
            (code(250), true, &b"SIZE 10"[..])
        );
        assert!(!ReplyLine::parse(b"250\r\n").unwrap().continues);
        assert_eq!(ReplyLine::parse(b"250 \n").unwrap().text, b"");
        for bad in [&b"25"[..], b"2x0 a", b"250_a", b"199 a", b"600 a", b""] {
            assert_eq!(ReplyLine::parse(bad), None);
        }
    }

    #[test]
    fn replies_are_printed_and_parsed() {
        let reply = Reply::multi(code(550), ["no".into(), "really".into()])
            .with_status(EnhancedStatusCode::new(5, 1, 1).unwrap());
        let mut wire = Vec::new();
        reply.encode(&mut wire);
        assert_eq!(wire, b"550-5.1.1 no\r\n550 5.1.1 really\r\n");
        assert_eq!(Reply::parse(&wire), Some(reply));
    }

    #[test]
    fn a_status_of_another_class_is_text() {
        let reply = Reply::parse(b"250 5.1.1 odd\r\n").unwrap();
        assert_eq!((reply.status(), reply.first_line()), (None, "5.1.1 odd"));
    }

    #[test]
    fn mixed_codes_and_unfinished_replies_are_refused() {
        assert_eq!(Reply::parse(b"220-a\r\n250 b\r\n"), None);
        assert_eq!(Reply::parse(b"250-a\r\n"), None);
        assert_eq!(Reply::parse(b"250 a\r\n250 b\r\n"), None);
        assert_eq!(Reply::parse(b""), None);
    }

    #[test]
    fn our_own_lines_are_never_too_long() {
        for text in ["x".repeat(9000), "\u{fc}".repeat(9000)] {
            let mut wire = Vec::new();
            Reply::of(550, "5.999.999", text).encode(&mut wire);
            assert!((511..=512).contains(&wire.len()), "{}", wire.len());
        }
        // But a challenge may have what RFC 4954 §4 gives it.
        let mut wire = Vec::new();
        Reply::of(334, "", "x".repeat(90_000)).encode(&mut wire);
        assert_eq!(wire.len(), 12_288);
    }

    #[test]
    fn our_own_lines_never_break() {
        let mut wire = Vec::new();
        Reply::new(code(250), "a\r\n550 b").encode(&mut wire);
        assert_eq!(wire, b"250 a  550 b\r\n");
    }
}
