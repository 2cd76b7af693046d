//! One `--listen`: where, and what is spoken there.

use std::fmt;
use std::str::FromStr;

use driver::socket::{Endpoint, NoEndpoint};
use shared::proxy::Version;

use super::RelayPolicy;

/// Where to listen, and on what terms: `ADDRESS:PORT`, `unix:PATH` or `fd:N`, and
/// then `,name=value` as often as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// Where.
    pub place: Place,
    /// How it is called in rules, recordings and reports.
    pub name: Option<String>,
    /// What is spoken.
    pub protocol: Protocol,
    /// When TLS begins.
    pub tls: TlsMode,
    /// Which PROXY header must come first.
    pub proxy: ProxyHeader,
    /// No transaction without TLS.
    pub require_tls: bool,
    /// No transaction without AUTH.
    pub require_auth: bool,
    /// Who may send to foreign domains here, if it differs from elsewhere.
    pub relay_policy: Option<RelayPolicy>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a socket that we make.
    New(Endpoint),
    /// At a socket that whoever started us made, counted from 0
    /// (`sd_listen_fds(3)`).
    Inherited(usize),
}

impl FromStr for Place {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let number = text.strip_prefix("fd:").map(str::parse);
        match number {
            Some(Ok(index)) => Ok(Self::Inherited(index)),
            _ => text.parse().map(Self::New),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(endpoint) => endpoint.fmt(f),
            Self::Inherited(index) => write!(f, "fd:{index}"),
        }
    }
}

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP between servers (RFC 5321).
    #[default]
    Smtp,
    /// Message submission (RFC 6409).
    Submission,
    /// Local delivery: LHLO, and a reply for each recipient (RFC 2033).
    Lmtp,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    None,
    /// When the client asks for it (RFC 3207).
    #[default]
    StartTls,
    /// At once (RFC 8314 §3.3).
    Implicit,
}

/// Which PROXY header must come before everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// None: what looks like one is no SMTP.
    #[default]
    Off,
    /// Of version 1.
    V1,
    /// Of version 2.
    V2,
    /// Of either version.
    Any,
}

/// Why a text names no listener.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoListener {
    /// The place cannot be read.
    #[error(transparent)]
    Endpoint(#[from] NoEndpoint),
    /// There is no such option.
    #[error(
        "'{0}' is no option of a listener: name=, proto=, tls=, proxy=, relay=, require-tls, require-auth"
    )]
    Option(String),
    /// The option has no such value.
    #[error("{option}={value} is none of {wanted}")]
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What may be given.
        wanted: &'static str,
    },
}

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("smtp", Protocol::Smtp),
    ("submission", Protocol::Submission),
    ("lmtp", Protocol::Lmtp),
];

const TLS_MODES: &[(&str, TlsMode)] = &[
    ("none", TlsMode::None),
    ("starttls", TlsMode::StartTls),
    ("implicit", TlsMode::Implicit),
];

const PROXY_HEADERS: &[(&str, ProxyHeader)] = &[
    ("off", ProxyHeader::Off),
    ("v1", ProxyHeader::V1),
    ("v2", ProxyHeader::V2),
    ("any", ProxyHeader::Any),
];

impl ProxyHeader {
    /// A header of that version will do.
    pub fn takes(self, version: Version) -> bool {
        match self {
            Self::Off => false,
            Self::V1 => version == Version::One,
            Self::V2 => version == Version::Two,
            Self::Any => true,
        }
    }
}

impl Protocol {
    /// The word in a specification.
    pub fn word(self) -> &'static str {
        word(PROTOCOLS, self)
    }
}

impl ListenSpec {
    /// A listener with nothing special.
    pub fn at(place: Place) -> Self {
        Self {
            place,
            name: None,
            protocol: Protocol::default(),
            tls: TlsMode::default(),
            proxy: ProxyHeader::default(),
            require_tls: false,
            require_auth: false,
            relay_policy: None,
        }
    }

    fn option(&mut self, text: &str) -> Result<(), NoListener> {
        let (option, given) = text.split_once('=').unwrap_or((text, ""));
        match option {
            "name" if !given.is_empty() => self.name = Some(given.to_owned()),
            "proto" => {
                self.protocol = value("proto", given, PROTOCOLS, "smtp, submission, lmtp")?;
            }
            "tls" => self.tls = value("tls", given, TLS_MODES, "none, starttls, implicit")?,
            "proxy" => {
                self.proxy = value("proxy", given, PROXY_HEADERS, "off, v1, v2, any")?;
            }
            "relay" => {
                let wanted = "closed, auth, open";
                self.relay_policy = Some(value("relay", given, RelayPolicy::WORDS, wanted)?);
            }
            "require-tls" if given.is_empty() => self.require_tls = true,
            "require-auth" if given.is_empty() => self.require_auth = true,
            _ => return Err(NoListener::Option(text.to_owned())),
        }
        Ok(())
    }
}

fn value<T: Copy>(
    option: &'static str,
    given: &str,
    words: &[(&str, T)],
    wanted: &'static str,
) -> Result<T, NoListener> {
    let found = words.iter().find(|(word, _)| *word == given);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| NoListener::Value {
            option,
            value: given.to_owned(),
            wanted,
        })
}

fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| word)
}

impl FromStr for ListenSpec {
    type Err = NoListener;

    fn from_str(text: &str) -> Result<Self, NoListener> {
        let mut parts = text.split(',');
        let mut spec = Self::at(parts.next().unwrap_or("").parse()?);
        for part in parts {
            spec.option(part)?;
        }
        Ok(spec)
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if let Some(name) = &self.name {
            write!(f, ",name={name}")?;
        }
        if self.protocol != Protocol::default() {
            write!(f, ",proto={}", self.protocol.word())?;
        }
        if self.tls != TlsMode::default() {
            write!(f, ",tls={}", word(TLS_MODES, self.tls))?;
        }
        if self.proxy != ProxyHeader::default() {
            write!(f, ",proxy={}", word(PROXY_HEADERS, self.proxy))?;
        }
        if self.require_tls {
            f.write_str(",require-tls")?;
        }
        if self.require_auth {
            f.write_str(",require-auth")?;
        }
        if let Some(policy) = self.relay_policy {
            write!(f, ",relay={}", word(RelayPolicy::WORDS, policy))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_and_printed() {
        for text in [
            "127.0.0.1:0",
            "[::1]:587,name=sub,proto=submission,require-tls,require-auth",
            "0.0.0.0:465,proto=submission,tls=implicit",
            "unix:/run/helo.sock,proto=lmtp,tls=none",
            "127.0.0.1:25,proxy=any,relay=open",
            "fd:0,name=socket",
        ] {
            assert_eq!(text.parse::<ListenSpec>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "25",
            "127.0.0.1:25,tls=maybe",
            "127.0.0.1:25,speed=9",
            "127.0.0.1:25,name=",
            "127.0.0.1:25,require-tls=no",
        ] {
            assert!(text.parse::<ListenSpec>().is_err(), "{text}");
        }
    }
}
