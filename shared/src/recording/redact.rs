//! Takes secrets out of what a client says, before it reaches any buffer that
//! is written.

use std::ops::Range;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::command::Verb;
use crate::escape::hex;
use crate::extension::Xclient;
use crate::session::{Kind, RawReason, Unit};

/// A random key of one run. With it equal secrets get equal tags, and without it
/// a tag tells nothing.
#[derive(Clone, Copy)]
pub struct RedactKey(pub [u8; 32]);

impl std::fmt::Debug for RedactKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedactKey(********)")
    }
}

/// What is taken out.
#[derive(Clone, Copy, Debug)]
pub enum Redaction {
    /// Whatever belongs to AUTH, and XCLIENT's LOGIN.
    Auth(RedactKey),
    /// Nothing: asked for, for a lab.
    Nothing,
}

/// A span of a payload that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Masked {
    /// Where the mark stands in what was recorded.
    pub(super) offset: usize,
    /// Says which secrets are equal.
    pub(super) tag: String,
}

/// What stands in place of a secret; its width says nothing about it.
pub(super) const MARK: &[u8] = b"********";

/// How much of a line that comes in pieces is kept to understand it.
const LINE_HEAD: usize = 1024;

const LOGIN: &[u8] = b"LOGIN=";

/// Follows one session for what of it is secret.
#[derive(Debug)]
pub(super) struct Redactor {
    redaction: Redaction,
    /// An AUTH was seen: credentials may come where no one asked for them.
    auth_seen: bool,
    /// Of a client line that comes in pieces: what is needed to understand it.
    pieces: Vec<u8>,
    /// The pieces of an XCLIENT line have come to its login.
    in_login: bool,
}

impl Redactor {
    pub(super) const fn new(redaction: Redaction) -> Self {
        Self {
            redaction,
            auth_seen: false,
            pieces: Vec::new(),
            in_login: false,
        }
    }

    /// What to record of a unit: its bytes with a span replaced, or `None` to
    /// record them as they are.
    pub(super) fn mask(&mut self, unit: &Unit) -> Option<(Vec<u8>, Masked)> {
        let Redaction::Auth(key) = self.redaction else {
            return None;
        };
        let end = unit.bytes.len() - line_end(&unit.bytes);
        let Range {
            start: from,
            end: to,
        } = match &unit.kind {
            Kind::Sasl { .. } => {
                self.auth_seen = true;
                secret_in_continuation(&unit.bytes).map(|from| from..end)
            }
            Kind::Command {
                verb: Verb::Xclient,
            } => self.login(unit, end),
            Kind::Command { verb } => self.secret_in_command(verb, unit).map(|from| from..end),
            // It may be the rest of what followed an AUTH, which itself may be lost.
            Kind::Raw {
                why: RawReason::AfterGap,
            } if self.auth_seen || looks_like_base64(&unit.bytes) => Some(0..end),
            _ => None,
        }?;
        let secret = unit
            .bytes
            .get(from..to)
            .filter(|secret| !secret.is_empty())?;
        let mut masked = unit.bytes.get(..from)?.to_vec();
        masked.extend_from_slice(MARK);
        masked.extend_from_slice(unit.bytes.get(to..)?);
        let tag = tag(key, secret);
        Some((masked, Masked { offset: from, tag }))
    }

    fn secret_in_command(&mut self, verb: &Verb, unit: &Unit) -> Option<usize> {
        let before = self.pieces.len();
        let mut whole = std::mem::take(&mut self.pieces);
        whole.extend_from_slice(&unit.bytes);
        let from = match verb {
            Verb::Auth => {
                self.auth_seen = true;
                // Too long to be kept: what it is cannot be told any more.
                after_words(&whole, 2).or_else(|| (before == LINE_HEAD).then_some(before))
            }
            // After an AUTH, refused or not, a client may send on what it meant
            // for the server: a line that begins with no verb is taken for that.
            Verb::Other(_) if self.auth_seen && looks_like_base64(&whole) => Some(0),
            // A piece too short to say: the beginning of a verb, at most.
            _ => None,
        };
        if unit.more {
            whole.truncate(LINE_HEAD);
            self.pieces = whole;
        }
        from.map(|from| from.saturating_sub(before))
    }

    /// XCLIENT's login: its value, or from there on all of a line that comes in
    /// pieces.
    fn login(&mut self, unit: &Unit, end: usize) -> Option<Range<usize>> {
        let before = self.pieces.len();
        let mut whole = std::mem::take(&mut self.pieces);
        whole.extend_from_slice(&unit.bytes);
        let in_pieces = before > 0 || unit.more;
        let from = if std::mem::take(&mut self.in_login) {
            Some(before)
        } else {
            after_login(&whole)
        };
        if unit.more {
            self.in_login = from.is_some();
            self.pieces = whole.split_off(whole.len().saturating_sub(LOGIN.len() - 1));
        }
        let from = from?.saturating_sub(before);
        let rest = unit.bytes.get(from..end)?;
        let length = if in_pieces {
            rest.len()
        } else {
            value_length(rest)
        };
        Some(from..from + length)
    }
}

/// All of it, but for the `*` that cancels (RFC 4954 §4).
fn secret_in_continuation(bytes: &[u8]) -> Option<usize> {
    let line = bytes.get(..bytes.len() - line_end(bytes)).unwrap_or(bytes);
    (line != b"*").then_some(0)
}

/// The offset of what follows so many words and the white space after them.
fn after_words(line: &[u8], words: usize) -> Option<usize> {
    let mut at = 0;
    for _ in 0..words {
        let rest = line.get(at..)?;
        at += rest
            .iter()
            .position(|octet| matches!(octet, b' ' | b'\t'))?;
        let rest = line.get(at..)?;
        at += rest
            .iter()
            .position(|octet| !matches!(octet, b' ' | b'\t'))?;
    }
    Some(at)
}

fn after_login(line: &[u8]) -> Option<usize> {
    memchr::memmem::find(&line.to_ascii_uppercase(), LOGIN).map(|at| at + LOGIN.len())
}

/// The length of a login at the start of what may hold other attributes behind
/// it. Old clients do not encode it, so that it may have spaces in it: it ends
/// where an attribute follows, and goes on to the last login of several.
fn value_length(rest: &[u8]) -> usize {
    let upper = rest.to_ascii_uppercase();
    if memchr::memmem::find(&upper, LOGIN).is_some() {
        return rest.len();
    }
    Xclient::ATTRIBUTES
        .split(' ')
        .filter_map(|name| memchr::memmem::find(&upper, format!(" {name}=").as_bytes()))
        .min()
        .unwrap_or(rest.len())
}

fn looks_like_base64(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    !line.is_empty()
        && line
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'='))
}

fn line_end(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}

fn tag(key: RedactKey, secret: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key.0) else {
        return String::new();
    };
    mac.update(secret);
    let digest = mac.finalize().into_bytes();
    format!("k1:{}", hex(digest.get(..4).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Limits;
    use crate::direction::Direction::{Client, Server};
    use crate::session::{Observer, Peers};
    use crate::time::Timestamp;

    /// What is recorded of the client's side of a dialogue.
    fn recorded(turns: &[(char, &str)], typed: bool) -> String {
        let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
        let mut redactor = Redactor::new(Redaction::Auth(RedactKey([7; 32])));
        let (mut out, mut now) = (Vec::new(), 0);
        let mut take = |unit: Unit| {
            if unit.direction == Client {
                let masked = redactor.mask(&unit).map(|(bytes, _)| bytes);
                out.extend(masked.unwrap_or_else(|| unit.bytes.to_vec()));
            }
        };
        for &(side, text) in turns {
            for piece in text.as_bytes().chunks(if typed { 3 } else { 1000 }) {
                now += 1;
                let side = if side == 'C' { Client } else { Server };
                observer.push(side, piece, Timestamp::from_nanos(now));
                while let Some(unit) = observer.poll() {
                    take(unit);
                }
                if typed && side == Client {
                    observer.flush(Client).into_iter().for_each(&mut take);
                }
            }
        }
        String::from_utf8(out).unwrap()
    }

    const SECRETS: [&str; 4] = ["AHVzZXIAc2VjcmV0", "dXNlcg==", "c2VjcmV0", "dXNlcj1hbm5h"];

    #[test]
    fn no_form_of_auth_is_recorded() {
        let greeting = ('S', "220 mx\r\n");
        for turns in [
            vec![
                greeting,
                ('C', "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n"),
                ('S', "235 ok\r\n"),
            ],
            vec![
                greeting,
                ('C', "auth  plain\tAHVzZXIAc2VjcmV0\r\n"),
                ('S', "535 no\r\n"),
            ],
            vec![
                greeting,
                ('C', "AUTH PLAIN\r\n"),
                ('S', "334 \r\n"),
                ('C', "AHVzZXIAc2VjcmV0\r\n"),
            ],
            vec![
                greeting,
                ('C', "AUTH LOGIN\r\n"),
                ('S', "334 VXNlcm5hbWU6\r\n"),
                ('C', "dXNlcg==\r\n"),
                ('S', "334 UGFzc3dvcmQ6\r\n"),
                ('C', "c2VjcmV0\r\n"),
            ],
            vec![
                greeting,
                ('C', "AUTH XOAUTH2 dXNlcj1hbm5h\n"),
                ('S', "334 e30=\r\n"),
                ('C', "\r\n"),
            ],
            // Refused, and sent all the same.
            vec![
                greeting,
                ('C', "AUTH LOGIN\r\n"),
                ('S', "504 no\r\n"),
                ('C', "dXNlcg==\r\n"),
                ('S', "500 ?\r\n"),
                ('C', "c2VjcmV0\r\n"),
            ],
            vec![
                greeting,
                ('C', "XCLIENT ADDR=192.0.2.1 LOGIN=c2VjcmV0\r\n"),
                ('S', "220 ok\r\n"),
            ],
        ] {
            for typed in [false, true] {
                let text = recorded(&turns, typed);
                for secret in SECRETS {
                    assert!(!text.contains(secret), "typed {typed}: {text}");
                }
                assert!(text.contains("********"), "typed {typed}: {text}");
            }
        }
    }

    #[test]
    fn a_long_line_hides_no_secret() {
        let (spaces, name) = (" ".repeat(3000), "a".repeat(3000));
        for line in [
            format!("AUTH{spaces}PLAIN{spaces}c2VjcmV0\r\n"),
            format!("XCLIENT NAME={name} LOGIN=c2VjcmV0\r\n"),
            format!("XCLIENT HELO=x{spaces}login=c2VjcmV0{name}\r\n"),
        ] {
            for typed in [false, true] {
                let text = recorded(&[('S', "220 mx\r\n"), ('C', &line)], typed);
                assert!(text.contains("********"), "typed {typed}: {text}");
                for part in ["c2", "2V", "Vj", "jc", "cm", "mV", "V0"] {
                    assert!(!text.contains(part), "typed {typed}: {part} in {text}");
                }
            }
        }
    }

    #[test]
    fn only_the_login_of_xclient_is_hidden() {
        for (line, expected) in [
            (
                "ADDR=192.0.2.1 LOGIN=anna NAME=mx",
                "ADDR=192.0.2.1 LOGIN=******** NAME=mx",
            ),
            ("login=an na port=1", "login=******** port=1"),
            ("LOGIN=anna NAME=a LOGIN=otto", "LOGIN=********"),
            ("LOGIN=[UNAVAILABLE]", "LOGIN=********"),
            ("NAME=mx PORT=1", "NAME=mx PORT=1"),
        ] {
            let line = format!("XCLIENT {line}\r\n");
            let text = recorded(&[('S', "220 mx\r\n"), ('C', &line)], false);
            assert_eq!(text, format!("XCLIENT {expected}\r\n"));
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let turns = [
            ('S', "220 mx\r\n"),
            ('C', "AUTH LOGIN\r\n"),
            ('S', "334 VXNlcm5hbWU6\r\n"),
            ('C', "*\r\n"),
            ('S', "501 cancelled\r\n"),
            ('C', "RSET\r\nMAIL FROM:<a@b>\r\nFOO bar\r\n"),
        ];
        assert_eq!(
            recorded(&turns, false),
            "AUTH LOGIN\r\n*\r\nRSET\r\nMAIL FROM:<a@b>\r\nFOO bar\r\n"
        );
    }

    #[test]
    fn equal_secrets_have_equal_tags_under_one_key() {
        let (a, b) = (RedactKey([1; 32]), RedactKey([2; 32]));
        assert_eq!(tag(a, b"x"), tag(a, b"x"));
        assert_ne!(tag(a, b"x"), tag(b, b"x"));
        assert_ne!(tag(a, b"x"), tag(a, b"y"));
    }
}
