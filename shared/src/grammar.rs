//! A cursor over one line, and a function per ABNF rule of RFC 5321 §4.1.2,
//! widened by RFC 6531 §3.3 to UTF-8.
//!
//! Each function consumes what it matches and returns it, or consumes nothing
//! and returns `None`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A place in one line.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of a line.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The offset in octets from the start of the line.
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// What is left.
    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Exactly this text.
    pub fn literal(&mut self, expected: &str) -> Option<()> {
        self.rest()
            .starts_with(expected)
            .then(|| self.at += expected.len())
    }

    /// This text in any case of its ASCII letters.
    pub fn keyword(&mut self, expected: &str) -> Option<()> {
        let found = self.rest().get(..expected.len())?;
        found
            .eq_ignore_ascii_case(expected)
            .then(|| self.at += expected.len())
    }

    /// One or more characters of a kind.
    pub fn run(&mut self, wanted: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        let found = rest.get(..end).filter(|found| !found.is_empty())?;
        self.at += end;
        Some(found)
    }

    /// `Dot-string = Atom *("." Atom)`.
    pub fn dot_string(&mut self) -> Option<&'a str> {
        self.dotted(is_atext)
    }

    /// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`, returned without quotes
    /// and with the escapes undone.
    pub fn quoted_string(&mut self) -> Option<String> {
        let mut content = String::new();
        let mut chars = self.rest().char_indices();
        if chars.next()?.1 != '"' {
            return None;
        }
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Some(content);
                }
                // quoted-pairSMTP = %d92 %d32-126
                '\\' => content.push(
                    chars
                        .next()
                        .map(|(_, c)| c)
                        .filter(|c| matches!(c, ' '..='~'))?,
                ),
                // qtextSMTP = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
                ' '..='~' => content.push(c),
                c if is_utf8_non_ascii(c) => content.push(c),
                _ => return None,
            }
        }
        None
    }

    /// `Domain = sub-domain *("." sub-domain)`, with U-labels (RFC 6531 §3.3).
    pub fn domain(&mut self) -> Option<&'a str> {
        let start = *self;
        let found = self.dotted(is_let_dig_hyp)?;
        let sane = found
            .split('.')
            .all(|label| !label.starts_with('-') && !label.ends_with('-') && label.len() <= 63);
        if !sane {
            *self = start;
        }
        sane.then_some(found)
    }

    /// `address-literal = "[" ( IPv4 / IPv6 / General ) "]"`.
    pub fn address_literal(&mut self) -> Option<Literal> {
        let inner = self.rest().strip_prefix('[')?;
        let end = inner.find(']')?;
        let inner = inner.get(..end)?;
        let literal = Literal::parse(inner)?;
        self.at += end + 2;
        Some(literal)
    }

    fn dotted(&mut self, wanted: impl Fn(char) -> bool) -> Option<&'a str> {
        let start = *self;
        self.run(&wanted)?;
        loop {
            let before_dot = *self;
            if self.literal(".").is_none() {
                break;
            }
            if self.run(&wanted).is_none() {
                *self = before_dot;
                break;
            }
        }
        self.text.get(start.at..self.at)
    }
}

/// What stands between the brackets of an address literal (RFC 5321 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// `[192.0.2.1]`.
    V4(Ipv4Addr),
    /// `[IPv6:2001:db8::1]`.
    V6(Ipv6Addr),
    /// `[tag:content]`, with a standardized tag that we do not know.
    General {
        /// The tag.
        tag: String,
        /// `1*dcontent`.
        content: String,
    },
}

impl Literal {
    fn parse(inner: &str) -> Option<Self> {
        if let Some(address) = inner
            .get(..5)
            .filter(|tag| tag.eq_ignore_ascii_case("IPv6:"))
        {
            return inner.get(address.len()..)?.parse().ok().map(Self::V6);
        }
        if let Ok(address) = inner.parse() {
            return Some(Self::V4(address));
        }
        let (tag, content) = inner.split_once(':')?;
        let tag_fits = !tag.is_empty()
            && !tag.ends_with('-')
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        // dcontent = %d33-90 / %d94-126
        let content_fits =
            !content.is_empty() && content.chars().all(|c| matches!(c, '!'..='Z' | '^'..='~'));
        (tag_fits && content_fits).then(|| Self::General {
            tag: tag.to_owned(),
            content: content.to_owned(),
        })
    }
}

/// `atext` of RFC 5322 §3.2.3, and UTF-8 (RFC 6531 §3.3).
pub fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_non_ascii(c)
}

/// `esmtp-value`: any character but `=`, space and controls (RFC 5321 §4.1.2).
pub fn is_esmtp_value(c: char) -> bool {
    matches!(c, '!'..='<' | '>'..='~') || is_utf8_non_ascii(c)
}

fn is_let_dig_hyp(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || is_utf8_non_ascii(c)
}

/// UTF8-non-ascii, less the C1 controls, which no mailbox name may hold
/// (RFC 6532 §3.1 leaves them to RFC 5198, which forbids them).
fn is_utf8_non_ascii(c: char) -> bool {
    c > '\u{9f}'
}
