//! The PROXY protocol: a header before the first byte of a connection, in which
//! a proxy says whose connection it passes on. Versions 1 and 2, as HAProxy's
//! `doc/proxy-protocol.txt` defines them; §n below is its section.
//!
//! ```text
//! PROXY TCP4 192.0.2.1 192.0.2.25 56324 25\r\n
//! ```
//!
//! [`parse`] is a pure function of the bytes so far. However they come in, what
//! it says first other than [`Parsed::NeedMore`] is what it says of all of them.
//! The crate `ppp` 2.3 is not used: it takes a version 1 line that ends at a
//! space for malformed instead of incomplete, and names no offsets.
//!
//! Who may send a header is for the server to decide: it is believed blindly.

mod binary;
mod line;

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// In which version it is written.
    pub version: Version,
    /// Whose connection it is.
    pub origin: Origin,
    /// What else is said about it: only in version 2, and only of TCP.
    pub tlvs: Vec<Tlv>,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text (§2.1).
    One,
    /// Binary (§2.2).
    Two,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The proxy's own, to see whether the server is well: only in version 2.
    Local,
    /// Somebody's, of whom nothing is said that we understand.
    Unknown,
    /// Somebody's, by TCP over IPv4.
    Tcp4 {
        /// The client.
        source: SocketAddrV4,
        /// What it connected to.
        destination: SocketAddrV4,
    },
    /// Somebody's, by TCP over IPv6.
    Tcp6 {
        /// The client.
        source: SocketAddrV6,
        /// What it connected to.
        destination: SocketAddrV6,
    },
}

/// One more thing that is said about a connection (§2.2.1 and following).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tlv {
    /// What it is, such as [`Tlv::AUTHORITY`].
    pub kind: u8,
    /// The octets.
    pub value: Vec<u8>,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    NeedMore,
    /// A header, and how many octets it has: what follows it is the connection.
    Header(Header, usize),
}

/// Why bytes are no header. The connection is to be closed (§2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at octet {offset} of the PROXY header")]
pub struct ProxyError {
    /// Where.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No IP address of the kind announced.
    Address,
    /// A checksum that is not that of the header (§2.2.3).
    Checksum,
    /// A command other than LOCAL and PROXY.
    Command,
    /// An address family or transport that does not exist.
    Family,
    /// Less than the addresses of the family, or than an announced value, need.
    Length,
    /// A line that does not end in CRLF.
    LineEnd,
    /// No port number.
    Port,
    /// Neither `PROXY ` nor the signature of version 2.
    Signature,
    /// No single space where one must be, or something where none may be.
    Space,
    /// A longer line than 107 octets, or more than [`LONGEST_BODY`] after the
    /// first 16 octets of version 2.
    TooLong,
    /// A version other than 2 behind the signature of version 2.
    Version,
}

/// What is taken of a version 2 header behind its first 16 octets: far more than
/// two addresses, names and certificate facts need.
pub const LONGEST_BODY: usize = 1024;

/// The longest header of either version: [`parse`] never needs more than this.
pub const LONGEST: usize = PREFIX + LONGEST_BODY;

/// Looks for a header at the start of a connection.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let common = |expected: &[u8]| {
        bytes
            .iter()
            .zip(expected)
            .take_while(|(a, b)| a == b)
            .count()
    };
    let (one, two) = (common(LINE_START), common(SIGNATURE));
    if one == LINE_START.len() {
        return line::parse(bytes);
    }
    if two == SIGNATURE.len() {
        return binary::parse(bytes);
    }
    match one.max(two) {
        so_far if so_far == bytes.len() => Ok(Parsed::NeedMore),
        offset => Err(fault(offset, Fault::Signature)),
    }
}

const fn fault(offset: usize, fault: Fault) -> ProxyError {
    ProxyError { offset, fault }
}

impl Header {
    /// The header on the wire. What version 1 has no words for is left out: there
    /// LOCAL is UNKNOWN, and there are no TLVs. In version 2 they are written as
    /// given, a checksum too. `None` if it would be longer than we take ourselves.
    pub fn encode(&self) -> Option<Vec<u8>> {
        match self.version {
            Version::One => Some(line::encode(self.origin).into_bytes()),
            Version::Two => binary::encode(self),
        }
    }
}

impl Origin {
    /// Of a connection between these two. If one is IPv4 and the other IPv6, both
    /// are written as IPv6.
    pub fn of(source: SocketAddr, destination: SocketAddr) -> Self {
        let v6 = |address: SocketAddr| {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            SocketAddrV6::new(ip, address.port(), 0, 0)
        };
        match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => Self::Tcp4 {
                source,
                destination,
            },
            _ => Self::Tcp6 {
                source: v6(source),
                destination: v6(destination),
            },
        }
    }

    /// The client, if it is told.
    pub fn source(self) -> Option<SocketAddr> {
        match self {
            Self::Local | Self::Unknown => None,
            Self::Tcp4 { source, .. } => Some(source.into()),
            Self::Tcp6 { source, .. } => Some(source.into()),
        }
    }

    /// What the client connected to, if it is told.
    pub fn destination(self) -> Option<SocketAddr> {
        match self {
            Self::Local | Self::Unknown => None,
            Self::Tcp4 { destination, .. } => Some(destination.into()),
            Self::Tcp6 { destination, .. } => Some(destination.into()),
        }
    }
}

impl Tlv {
    /// The host name that the client asked for: TLS's SNI, for one.
    pub const AUTHORITY: u8 = 0x02;
    /// A checksum of the header. It is verified where it is given.
    pub const CRC32C: u8 = 0x03;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "no IP address of that kind",
            Self::Checksum => "a wrong checksum",
            Self::Command => "an unknown command",
            Self::Family => "an unknown address family or transport",
            Self::Length => "too few octets",
            Self::LineEnd => "no CRLF",
            Self::Port => "no port number",
            Self::Signature => "no PROXY signature",
            Self::Space => "not one space and a field",
            Self::TooLong => "too many octets",
            Self::Version => "an unknown version",
        })
    }
}

const LINE_START: &[u8] = b"PROXY ";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family, length.
const PREFIX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn mixed_families_become_ipv6() {
        let [v4, v6] = ["192.0.2.1:1", "[2001:db8::1]:2"].map(|text| text.parse().unwrap());
        assert_eq!(
            Origin::of(v4, v6).source(),
            Some("[::ffff:192.0.2.1]:1".parse().unwrap())
        );
        assert_eq!(Origin::of(v4, v4).source(), Some(v4));
    }

    fn origins() -> impl Strategy<Value = Origin> {
        prop_oneof![
            Just(Origin::Local),
            Just(Origin::Unknown),
            any::<(Ipv4Addr, u16, Ipv4Addr, u16)>().prop_map(|(a, b, c, d)| Origin::Tcp4 {
                source: SocketAddrV4::new(a, b),
                destination: SocketAddrV4::new(c, d),
            }),
            any::<(Ipv6Addr, u16, Ipv6Addr, u16)>().prop_map(|(a, b, c, d)| Origin::Tcp6 {
                source: SocketAddrV6::new(a, b, 0, 0),
                destination: SocketAddrV6::new(c, d, 0, 0),
            }),
        ]
    }

    fn headers() -> impl Strategy<Value = Header> {
        let tlvs = prop::collection::vec((4u8.., prop::collection::vec(any::<u8>(), 0..30)), 0..4);
        (any::<bool>(), origins(), tlvs).prop_map(|(two, origin, tlvs)| {
            let told = two && origin.source().is_some();
            Header {
                version: if two { Version::Two } else { Version::One },
                origin: if !two && origin == Origin::Local {
                    Origin::Unknown
                } else {
                    origin
                },
                tlvs: tlvs
                    .into_iter()
                    .filter(|_| told)
                    .map(|(kind, value)| Tlv { kind, value })
                    .collect(),
            }
        })
    }

    /// Bytes that are often almost a header.
    fn almost() -> impl Strategy<Value = Vec<u8>> {
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        let whole = (headers(), damage, prop::collection::vec(any::<u8>(), 0..20)).prop_map(
            |(header, damage, rest)| {
                let mut wire = header.encode().unwrap();
                for (at, octet) in damage {
                    let at = at.index(wire.len());
                    wire[at] = octet;
                }
                [wire, rest].concat()
            },
        );
        let line = "PROXY (TCP4|TCP6|UNKNOWN)[0-9a-f.: \r]{0,110}(\r\n)?";
        prop_oneof![
            whole,
            line.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..60),
        ]
    }

    proptest! {
        #[test]
        fn parse_undoes_encode(header in headers(), rest: Vec<u8>) {
            let mut wire = header.encode().unwrap();
            let length = wire.len();
            wire.extend_from_slice(&rest);
            prop_assert_eq!(parse(&wire), Ok(Parsed::Header(header, length)));
        }

        /// What is known of some bytes is true of all that begin with them, and
        /// nobody is asked for more than the longest header.
        #[test]
        fn splitting_changes_nothing(bytes in almost(), padding in 0..2 * LONGEST) {
            let bytes = [bytes, vec![b'f'; padding]].concat();
            let all = parse(&bytes);
            for end in 0..=bytes.len() {
                match parse(&bytes[..end]) {
                    Ok(Parsed::NeedMore) => prop_assert!(end < LONGEST),
                    known => {
                        prop_assert_eq!(&known, &all);
                        if let Ok(Parsed::Header(_, length)) = known {
                            prop_assert_eq!(length, end);
                        }
                        break;
                    }
                }
            }
        }
    }
}
