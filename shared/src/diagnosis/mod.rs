//! What a refusal usually means, and what to do about it.
//!
//! A table of texts that servers are known to answer with, in five parts: the
//! connection, HELO with TLS and AUTH, the sender, the recipient, the content.
//! The part of the phase in which the reply came is tried first; within a part
//! the first row that fits decides. Many servers refuse at RCPT what they
//! disliked at EHLO, so the other parts follow.

mod table;

use serde::Serialize;

use crate::reply::Reply;
pub use table::ROWS;

/// When a reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Connecting, and the greeting.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA or BDAT.
    Data,
    /// The end of the mail data.
    EndOfData,
    /// Afterwards: logs and bounces.
    Later,
}

/// The parts of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Connection and greeting.
    Connection,
    /// HELO, TLS, AUTH.
    Hello,
    /// MAIL and the client's reputation.
    Sender,
    /// RCPT.
    Recipient,
    /// DATA, content, delivery, bounces.
    Content,
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The number of its row.
    pub row: u8,
    /// The part of the table.
    pub part: Part,
    /// Texts it is recognised by: `*` stands for anything, `?` for one
    /// character; one that begins with a reply code stands at the start.
    #[serde(skip)]
    pub patterns: &'static [&'static str],
    /// Who answers so.
    pub who: &'static str,
    /// Why.
    pub cause: &'static str,
    /// What to do.
    pub next: &'static str,
}

/// What a reply that came in that phase means.
pub fn diagnose(reply: &Reply, phase: Phase) -> Option<&'static Diagnosis> {
    diagnose_text(&reply.to_string().replace(" / ", " "), phase)
}

/// What a text means: a reply as one line, an error, a line of a log or a bounce.
pub fn diagnose_text(text: &str, phase: Phase) -> Option<&'static Diagnosis> {
    let text = text.to_lowercase();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    order(phase).iter().find_map(|part| {
        let rows = ROWS.iter().filter(|row| row.part == *part);
        rows.into_iter()
            .find(|row| row.patterns.iter().any(|pattern| fits(pattern, &text)))
    })
}

/// One sentence of advice about a reply.
pub fn advise(reply: &Reply, phase: Phase) -> Option<String> {
    let found = diagnose(reply, phase)?;
    Some(format!("{} ({}): {}", found.cause, found.who, found.next))
}

const fn order(phase: Phase) -> &'static [Part] {
    use Part::*;
    match phase {
        Phase::Greeting => &[Connection, Sender, Hello, Recipient, Content],
        Phase::Ehlo | Phase::StartTls | Phase::Auth => {
            &[Hello, Connection, Sender, Recipient, Content]
        }
        Phase::Mail => &[Sender, Hello, Connection, Recipient, Content],
        Phase::Rcpt => &[Recipient, Sender, Hello, Connection, Content],
        Phase::Data | Phase::EndOfData | Phase::Later => {
            &[Content, Recipient, Sender, Hello, Connection]
        }
    }
}

/// A pattern in lower case against a text in lower case: its pieces between
/// the `*` occur in that order.
fn fits(pattern: &str, text: &str) -> bool {
    let anchored = pattern.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && pattern.as_bytes().get(3).is_none_or(|&octet| octet == b' ');
    let mut rest = text;
    for (nth, piece) in pattern.split('*').map(str::trim).enumerate() {
        let found = if nth == 0 && anchored {
            starts(piece, rest)
        } else {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .find_map(|at| starts(piece, rest.get(at..)?))
        };
        match found {
            Some(tail) => rest = tail,
            None => return false,
        }
    }
    true
}

/// What follows a piece at the start of a text, if it stands there.
fn starts<'a>(piece: &str, text: &'a str) -> Option<&'a str> {
    let mut rest = text.chars();
    for mark in piece.chars() {
        let next = rest.next()?;
        if mark != '?' && mark != next {
            return None;
        }
    }
    Some(rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_tiny_globs() {
        for (pattern, text, fit) in [
            (
                "550 5.7.1 *relaying denied",
                "550 5.7.1 a@b... relaying denied",
                true,
            ),
            ("550 *denied", "554 550 denied", false),
            ("45? *greylist", "451 4.7.1 greylisted", true),
            ("over quota", "552 mailbox over quota now", true),
            ("550 unknown user", "550 5.1.1 unknown user", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern}");
        }
    }

    #[test]
    fn rows_are_numbered_once_and_written_in_lower_case() {
        let mut numbers: Vec<u8> = ROWS.iter().map(|row| row.row).collect();
        numbers.sort_unstable();
        let expected: Vec<u8> = (1..=72).collect();
        assert_eq!(numbers, expected);
        for row in ROWS {
            assert!(!row.patterns.is_empty(), "{}", row.row);
            assert!(
                row.patterns
                    .iter()
                    .all(|pattern| *pattern == pattern.to_lowercase()),
                "{}",
                row.row
            );
        }
    }

    #[test]
    fn replies_seen_in_the_field_are_recognised() {
        for (text, phase, row) in [
            ("554 5.7.1 <a@b>: Relay access denied", Phase::Rcpt, 41),
            ("454 4.7.1 <a@b>: Relay access denied", Phase::Rcpt, 42),
            (
                "550 5.1.1 <a@b>: Recipient address rejected: User unknown in local recipient table",
                Phase::Rcpt,
                45,
            ),
            ("550 5.1.1 <a@b>... User unknown", Phase::Rcpt, 46),
            ("550 Invalid recipient: <a@b>", Phase::Rcpt, 46),
            (
                "450 4.2.0 <a@b>: Recipient address rejected: Greylisted, see http",
                Phase::Rcpt,
                47,
            ),
            (
                "504 5.5.2 <c>: Helo command rejected: need fully-qualified hostname",
                Phase::Rcpt,
                13,
            ),
            (
                "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen",
                Phase::Rcpt,
                8,
            ),
            (
                "530 5.7.0 Must issue a STARTTLS command first",
                Phase::Mail,
                17,
            ),
            (
                "421 4.7.0 mx Error: too many connections from 192.0.2.7",
                Phase::Greeting,
                5,
            ),
            (
                "552 5.3.4 Message size exceeds fixed limit",
                Phase::Mail,
                56,
            ),
            ("452 4.3.1 Insufficient system storage", Phase::Mail, 57),
            (
                "450 4.1.8 <a@b>: Sender address rejected: Domain not found",
                Phase::Rcpt,
                29,
            ),
            ("connect: Connection refused", Phase::Greeting, 1),
            ("451 4.3.0 <a@b>: Temporary lookup failure", Phase::Rcpt, 49),
        ] {
            assert_eq!(
                diagnose_text(text, phase).map(|found| found.row),
                Some(row),
                "{text}"
            );
        }
        assert_eq!(diagnose_text("550 no", Phase::Rcpt), None);
    }
}
