//! Mailboxes: `local-part@domain` (RFC 5321 §4.1.2).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::grammar::{Cursor, Literal};

/// Why a text is not a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither a dot-string nor a quoted string stands there.
    #[error("no local-part at octet {0}")]
    LocalPart(usize),
    /// No `@` follows the local-part.
    #[error("no @ at octet {0}")]
    At(usize),
    /// Neither a domain nor an address literal stands there.
    #[error("no domain or address literal at octet {0}")]
    Domain(usize),
    /// Something follows the mailbox.
    #[error("something follows the mailbox at octet {0}")]
    Rest(usize),
    /// The local-part has more than 64 octets (RFC 5321 §4.5.3.1.1).
    #[error("the local-part has more than 64 octets")]
    LocalPartTooLong,
    /// The domain has more than 255 octets (RFC 5321 §4.5.3.1.2).
    #[error("the domain has more than 255 octets")]
    DomainTooLong,
}

/// A valid mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local_part: LocalPart,
    domain: Domain,
}

/// The part before the `@`, by its content: `a` and `"a"` are equal. Its case
/// matters to its own domain alone (RFC 5321 §2.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPart(String);

/// A domain name, or an address literal.
#[derive(Clone, Debug)]
pub enum Domain {
    /// A name; its case does not matter.
    Name(String),
    /// `[192.0.2.1]` and the like.
    Literal(Literal),
}

impl Mailbox {
    /// A mailbox of two valid parts.
    pub const fn new(local_part: LocalPart, domain: Domain) -> Self {
        Self { local_part, domain }
    }

    /// The part before the `@`.
    pub const fn local_part(&self) -> &LocalPart {
        &self.local_part
    }

    /// The part after it.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// It needs no SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.local_part.0.is_ascii()
            && match &self.domain {
                Domain::Name(name) => name.is_ascii(),
                Domain::Literal(_) => true,
            }
    }

    /// Reads a mailbox and leaves the cursor behind it.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, AddressError> {
        let start = cursor.offset();
        let local_part = LocalPart::read(cursor)?;
        if cursor.offset() - start > 64 + 2 || local_part.0.len() > 64 {
            return Err(AddressError::LocalPartTooLong);
        }
        cursor
            .literal("@")
            .ok_or_else(|| AddressError::At(cursor.offset()))?;
        let domain = Domain::read(cursor)?;
        Ok(Self { local_part, domain })
    }
}

impl LocalPart {
    /// Its content, quotes and escapes undone.
    pub fn content(&self) -> &str {
        &self.0
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, AddressError> {
        let at = cursor.offset();
        cursor
            .dot_string()
            .map(str::to_owned)
            .or_else(|| cursor.quoted_string())
            .map(Self)
            .ok_or(AddressError::LocalPart(at))
    }
}

impl Domain {
    /// Reads a domain or an address literal.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, AddressError> {
        let at = cursor.offset();
        if let Some(literal) = cursor.address_literal() {
            return Ok(Self::Literal(literal));
        }
        let name = cursor.domain().ok_or(AddressError::Domain(at))?;
        if name.len() > 255 {
            return Err(AddressError::DomainTooLong);
        }
        Ok(Self::Name(name.to_owned()))
    }

    /// The name, if it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.to_lowercase() == b.to_lowercase(),
            (Self::Literal(a), Self::Literal(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Domain {}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Name(name) => name.to_lowercase().hash(state),
            Self::Literal(literal) => literal.hash(state),
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

impl fmt::Display for LocalPart {
    /// A dot-string where that is possible, else a quoted string: the least
    /// quoted form, as RFC 5321 §4.1.2 asks of senders.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cursor = Cursor::new(&self.0);
        if cursor.dot_string().is_some() && cursor.is_at_end() {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Literal(Literal::V4(address)) => write!(f, "[{address}]"),
            Self::Literal(Literal::V6(address)) => write!(f, "[IPv6:{address}]"),
            Self::Literal(Literal::General { tag, content }) => write!(f, "[{tag}:{content}]"),
        }
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut cursor = Cursor::new(text);
        let mailbox = Self::read(&mut cursor)?;
        at_end(cursor, mailbox)
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut cursor = Cursor::new(text);
        let domain = Self::read(&mut cursor)?;
        at_end(cursor, domain)
    }
}

fn at_end<T>(cursor: Cursor<'_>, value: T) -> Result<T, AddressError> {
    if cursor.is_at_end() {
        Ok(value)
    } else {
        Err(AddressError::Rest(cursor.offset()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_mailboxes_are_read_and_printed() {
        for (text, printed) in [
            ("a@b.test", "a@b.test"),
            ("\"a\"@b.test", "a@b.test"),
            ("\"a b\"@b.test", "\"a b\"@b.test"),
            ("\"a\\\"b\\\\\"@b", "\"a\\\"b\\\\\"@b"),
            ("\"\"@b", "\"\"@b"),
            ("\"x@y\"@b", "\"x@y\"@b"),
            ("a%c@b.test", "a%c@b.test"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[ipv6:2001:db8:0::1]", "a@[IPv6:2001:db8::1]"),
            ("a@[x-tag:foo]", "a@[x-tag:foo]"),
            ("grün@bücher.test", "grün@bücher.test"),
        ] {
            let mailbox: Mailbox = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(mailbox.to_string(), printed);
            assert_eq!(printed.parse(), Ok(mailbox));
        }
    }

    #[test]
    fn invalid_mailboxes_say_where() {
        for (text, error) in [
            ("", AddressError::LocalPart(0)),
            ("@b", AddressError::LocalPart(0)),
            ("a", AddressError::At(1)),
            ("a.@b", AddressError::At(1)),
            (".a@b", AddressError::LocalPart(0)),
            ("a b@c", AddressError::At(1)),
            ("a@", AddressError::Domain(2)),
            ("a@-b", AddressError::Domain(2)),
            ("a@b_c", AddressError::Rest(3)),
            ("a@b@c", AddressError::Rest(3)),
            ("a@[1.2.3]", AddressError::Domain(2)),
            ("a@[IPv6:zz]", AddressError::Domain(2)),
            ("\"a\u{7}\"@b", AddressError::LocalPart(0)),
            ("\"a@b", AddressError::LocalPart(0)),
        ] {
            assert_eq!(text.parse::<Mailbox>(), Err(error), "{text}");
        }
    }

    #[test]
    fn limits_hold_at_and_beyond() {
        let local = |n: usize| format!("{}@b", "a".repeat(n)).parse::<Mailbox>();
        assert!(local(64).is_ok());
        assert_eq!(local(65), Err(AddressError::LocalPartTooLong));
        let domain = |n: usize| {
            let labels = vec!["d".repeat(63); 3].join(".");
            format!("a@{labels}.{}", "e".repeat(n - labels.len() - 1)).parse::<Mailbox>()
        };
        assert!(domain(255).is_ok());
        assert_eq!(domain(256).err(), Some(AddressError::Domain(2)));
    }

    #[test]
    fn domains_compare_without_case_and_local_parts_with() {
        let read = |text: &str| text.parse::<Mailbox>().unwrap();
        assert_eq!(read("a@B.Test"), read("a@b.tesT"));
        assert_ne!(read("A@b.test"), read("a@b.test"));
    }
}
