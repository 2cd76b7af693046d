//! The server to talk to, as a user names it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// TLS from the first byte (RFC 8314).
    pub implicit_tls: bool,
}

/// What a scheme stands for: its port, and whether TLS comes first.
const SCHEMES: &[(&str, u16, bool)] = &[
    ("smtp://", 25, false),
    ("smtps://", 465, true),
    ("submission://", 587, false),
    ("submissions://", 465, true),
];

impl Target {
    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// It can only mean this machine.
    pub fn is_loopback(&self) -> bool {
        match self.address() {
            Some(address) => address.to_canonical().is_loopback(),
            None => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Its addresses by the system's resolver.
    pub async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        Ok(found.collect())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = SCHEMES.iter().find(|(scheme, ..)| text.starts_with(scheme));
        let (rest, port, implicit_tls) = match scheme {
            Some((scheme, port, tls)) => (text.get(scheme.len()..).unwrap_or(""), *port, *tls),
            None => (text, 25, false),
        };
        let (host, given) = split_port(rest)?;
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(format!(
                "'{text}' is no host[:port], such as mx.example.net or [::1]:2525"
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            port: given.unwrap_or(port),
            implicit_tls,
        })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(format!("'{text}' is no port")),
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("a [ without ]")?;
        return match after.strip_prefix(':') {
            Some(number) => Ok((host, port(number)?)),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("'{after}' follows the address")),
        };
    }
    match text.split_once(':') {
        // More than one colon: an IPv6 address without brackets.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, number)) => Ok((host, port(number)?)),
        None => Ok((text, None)),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        for (text, host, port, tls) in [
            ("mx.example.net", "mx.example.net", 25, false),
            ("mx:2525", "mx", 2525, false),
            ("192.0.2.1:26", "192.0.2.1", 26, false),
            ("[::1]:2525", "::1", 2525, false),
            ("[::1]", "::1", 25, false),
            ("2001:db8::1", "2001:db8::1", 25, false),
            ("submission://mx", "mx", 587, false),
            ("smtps://mx:10465", "mx", 10465, true),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.host.as_str(), target.port, target.implicit_tls),
                (host, port, tls)
            );
        }
        for text in [
            "",
            "mx:",
            "mx:0",
            "mx:70000",
            "[::1",
            "[::1]x",
            "a@b",
            "http://mx",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
