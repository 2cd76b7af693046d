//! Attributes of XCLIENT and XFORWARD: `name=value` in any order, each at most
//! once, the values as xtext.

use std::fmt;
use std::net::IpAddr;

use crate::escape::excerpt;
use crate::parameter::{decode_xtext, encode_xtext};
use crate::reply::Reply;

/// The value of an attribute, if the sender knows one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attribute<T> {
    /// It knows.
    Given(T),
    /// `[UNAVAILABLE]`: there is none.
    Unavailable,
    /// `[TEMPUNAVAIL]`: a name that could not be looked up for now.
    TemporarilyUnavailable,
}

/// Why a text is not a list of attributes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// There is none.
    #[error("an attribute is needed")]
    Missing,
    /// Something that is not `name=value` with a value in xtext.
    #[error("attributes have the form name=value, the value as xtext")]
    Syntax,
    /// The same attribute twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// An attribute that the command does not have; its name, cut.
    #[error("there is no attribute {0}")]
    Unknown(String),
    /// A value that the attribute cannot have.
    #[error("{name} needs {needs}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What its value has to be.
        needs: &'static str,
    },
}

impl AttributeError {
    pub(super) fn unknown(name: &str) -> Self {
        Self::Unknown(excerpt(name.as_bytes(), 32).replace('…', "..."))
    }

    /// The reply it deserves.
    pub fn reply(&self) -> Reply {
        Reply::of(501, "5.5.4", self.to_string())
    }
}

impl<T> Attribute<T> {
    /// The value, if there is one.
    pub const fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Unavailable | Self::TemporarilyUnavailable => None,
        }
    }

    pub(super) fn read(text: &str, value: impl FnOnce(&str) -> Option<T>) -> Option<Self> {
        if text.eq_ignore_ascii_case(UNAVAILABLE) {
            return Some(Self::Unavailable);
        }
        value(text).map(Self::Given)
    }

    /// As [`read`](Self::read), of a name, which may be unavailable for a time.
    pub(super) fn read_name(text: &str, value: impl FnOnce(&str) -> Option<T>) -> Option<Self> {
        if text.eq_ignore_ascii_case(TEMPORARILY) {
            return Some(Self::TemporarilyUnavailable);
        }
        Self::read(text, value)
    }

    /// The text before it is encoded.
    fn text(&self, value: impl FnOnce(&T) -> String) -> String {
        match self {
            Self::Given(given) => value(given),
            Self::Unavailable => UNAVAILABLE.to_owned(),
            Self::TemporarilyUnavailable => TEMPORARILY.to_owned(),
        }
    }
}

/// Calls `take` with each name in upper case and its value decoded.
pub(super) fn read_each(
    text: &str,
    mut take: impl FnMut(&str, &str) -> Result<(), AttributeError>,
) -> Result<(), AttributeError> {
    let mut words = text.split_ascii_whitespace().peekable();
    if words.peek().is_none() {
        return Err(AttributeError::Missing);
    }
    for word in words {
        let (name, value) = word.split_once('=').ok_or(AttributeError::Syntax)?;
        let value = decode_xtext(value)
            .and_then(|octets| String::from_utf8(octets).ok())
            .filter(|value| value.len() <= LONGEST && !value.contains(char::is_control))
            .ok_or(AttributeError::Syntax)?;
        take(&name.to_ascii_uppercase(), &value)?;
    }
    Ok(())
}

/// Puts a value into its place, unless there is one, or it is none.
pub(super) fn put<T>(
    slot: &mut Option<T>,
    name: &'static str,
    needs: &'static str,
    value: Option<T>,
) -> Result<(), AttributeError> {
    if slot.is_some() {
        return Err(AttributeError::Twice(name));
    }
    *slot = Some(value.ok_or(AttributeError::Value { name, needs })?);
    Ok(())
}

/// `192.0.2.1`, or `IPV6:2001:db8::1`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let prefix = text.get(..IPV6.len());
    if prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(IPV6)) {
        return text.get(IPV6.len()..)?.parse().ok().map(IpAddr::V6);
    }
    text.parse().ok().map(IpAddr::V4)
}

/// A port in decimal.
pub(super) fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Writes attributes, separated by spaces.
pub(super) struct Writer {
    out: String,
}

impl Writer {
    pub(super) const fn new() -> Self {
        Self { out: String::new() }
    }

    pub(super) fn put<T>(
        &mut self,
        name: &str,
        attribute: Option<&Attribute<T>>,
        value: impl FnOnce(&T) -> String,
    ) {
        if let Some(attribute) = attribute {
            self.text(name, Some(&attribute.text(value)));
        }
    }

    pub(super) fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            let separator = if self.out.is_empty() { "" } else { " " };
            let value = encode_xtext(value.as_bytes());
            for part in [separator, name, "=", &value] {
                self.out.push_str(part);
            }
        }
    }

    pub(super) fn address(&mut self, name: &str, attribute: Option<&Attribute<IpAddr>>) {
        self.put(name, attribute, |address| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("{IPV6}{address}"),
        });
    }

    pub(super) fn display<T: fmt::Display>(
        &mut self,
        name: &str,
        attribute: Option<&Attribute<T>>,
    ) {
        self.put(name, attribute, ToString::to_string);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPORARILY: &str = "[TEMPUNAVAIL]";
const IPV6: &str = "IPV6:";

/// Postfix's limit of a value.
const LONGEST: usize = 255;

pub(super) const NEEDS_ADDRESS: &str = "an IPv4 address, or IPV6: and an IPv6 address";
pub(super) const NEEDS_PORT: &str = "a port number";
