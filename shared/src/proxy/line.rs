//! Version 1: a line of text (§2.1).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use super::{Fault, Header, LINE_START, Origin, Parsed, ProxyError, Version, fault};

/// §2.1. Nothing is decoded before the line end is here.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let window = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == LONGEST_LINE {
            Err(fault(LONGEST_LINE, Fault::TooLong))
        } else {
            Ok(Parsed::NeedMore)
        };
    };
    let line = window
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .ok_or_else(|| fault(end, Fault::LineEnd))?;
    let mut fields = Fields {
        line,
        at: LINE_START.len(),
    };
    let start = fields.at;
    let origin = match fields.next() {
        // Whatever follows is to be ignored.
        b"UNKNOWN" => Origin::Unknown,
        b"TCP4" => {
            let (source, destination) = (fields.v4()?, fields.v4()?);
            Origin::Tcp4 {
                source: SocketAddrV4::new(source, fields.port()?),
                destination: SocketAddrV4::new(destination, fields.port()?),
            }
        }
        b"TCP6" => {
            let (source, destination) = (fields.v6()?, fields.v6()?);
            Origin::Tcp6 {
                source: SocketAddrV6::new(source, fields.port()?, 0, 0),
                destination: SocketAddrV6::new(destination, fields.port()?, 0, 0),
            }
        }
        _ => return Err(fault(start, Fault::Family)),
    };
    if origin != Origin::Unknown && fields.at <= line.len() {
        return Err(fault(fields.at - 1, Fault::Space));
    }
    let header = Header {
        version: Version::One,
        origin,
        tlvs: Vec::new(),
    };
    Ok(Parsed::Header(header, end + 1))
}

/// The fields of a line, one space between them.
struct Fields<'a> {
    line: &'a [u8],
    /// Where the next one begins.
    at: usize,
}

impl<'a> Fields<'a> {
    /// The next field; empty if there is none.
    fn next(&mut self) -> &'a [u8] {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        self.at += end + 1;
        rest.get(..end).unwrap_or_default()
    }

    fn text(&mut self, wrong: Fault) -> Result<(&'a str, ProxyError), ProxyError> {
        let error = fault(self.at.min(self.line.len()), wrong);
        match self.next() {
            [] => Err(fault(error.offset, Fault::Space)),
            field => std::str::from_utf8(field)
                .map(|text| (text, error))
                .map_err(|_| error),
        }
    }

    fn v4(&mut self) -> Result<Ipv4Addr, ProxyError> {
        let (text, error) = self.text(Fault::Address)?;
        text.parse().map_err(|_| error)
    }

    fn v6(&mut self) -> Result<Ipv6Addr, ProxyError> {
        let (text, error) = self.text(Fault::Address)?;
        text.parse().map_err(|_| error)
    }

    /// Digits without needless zeros.
    fn port(&mut self) -> Result<u16, ProxyError> {
        let (text, error) = self.text(Fault::Port)?;
        let port: u16 = text.parse().map_err(|_| error)?;
        (port.to_string() == text).then_some(port).ok_or(error)
    }
}

/// The line that says so.
pub(super) fn encode(origin: Origin) -> String {
    let (Some(source), Some(destination)) = (origin.source(), origin.destination()) else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port(),
    )
}

/// The worst case, CRLF included.
const LONGEST_LINE: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> (Header, usize) {
        match super::super::parse(bytes) {
            Ok(Parsed::Header(header, length)) => (header, length),
            other => panic!("{other:?}"),
        }
    }

    fn wrong(bytes: &[u8]) -> (usize, Fault) {
        let error = super::super::parse(bytes).expect_err(&crate::escape::escape(bytes));
        (error.offset, error.fault)
    }

    #[test]
    fn lines_are_read() {
        let (found, length) = header(b"PROXY TCP4 192.0.2.1 192.0.2.25 56324 25\r\nEHLO a\r\n");
        assert_eq!(length, 42);
        assert_eq!(
            found.origin.source(),
            Some("192.0.2.1:56324".parse().unwrap())
        );
        assert_eq!(
            found.origin.destination(),
            Some("192.0.2.25:25".parse().unwrap())
        );
        let (found, _) = header(b"PROXY TCP6 2001:DB8::1 ::ffff:192.0.2.1 0 65535\r\n");
        assert_eq!(
            found.origin.source(),
            Some("[2001:db8::1]:0".parse().unwrap())
        );
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN any \r thing at all   \r\n",
        ] {
            let (found, length) = header(line.as_bytes());
            assert_eq!((found.origin, length), (Origin::Unknown, line.len()));
        }
    }

    #[test]
    fn a_malformed_line_says_where() {
        for (line, offset, fault) in [
            ("EHLO a\r\n", 0, Fault::Signature),
            ("PROXy TCP4", 4, Fault::Signature),
            ("PROXY\tTCP4", 5, Fault::Signature),
            ("PROXY  TCP4\r\n", 6, Fault::Family),
            ("PROXY TCP5 1 2 3 4\r\n", 6, Fault::Family),
            ("PROXY UNKNOWNS\r\n", 6, Fault::Family),
            ("PROXY TCP4\r\n", 10, Fault::Space),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", 11, Fault::Address),
            (
                "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
                11,
                Fault::Address,
            ),
            ("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", 21, Fault::Space),
            ("PROXY TCP6 ::1 192.0.2.2 1 2\r\n", 15, Fault::Address),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", 31, Fault::Port),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 02\r\n", 33, Fault::Port),
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
                33,
                Fault::Port,
            ),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", 32, Fault::Space),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", 34, Fault::Space),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", 34, Fault::Space),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", 34, Fault::LineEnd),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", 33, Fault::Port),
        ] {
            assert_eq!(wrong(line.as_bytes()), (offset, fault), "{line:?}");
        }
    }

    #[test]
    fn a_line_has_107_octets_at_most() {
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "f".repeat(length - 16));
        assert_eq!(header(line(107).as_bytes()).1, 107);
        assert_eq!(wrong(line(108).as_bytes()), (107, Fault::TooLong));
        assert_eq!(parse(&line(108).as_bytes()[..106]), Ok(Parsed::NeedMore));
    }
}
