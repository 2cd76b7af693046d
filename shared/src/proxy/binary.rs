//! Version 2: octets (§2.2).

use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};

use super::{
    Fault, Header, LONGEST_BODY, Origin, PREFIX, Parsed, ProxyError, SIGNATURE, Tlv, Version, fault,
};

/// The first octets are judged as they come, the rest when all of it is here.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let at = SIGNATURE.len();
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((&[version_command], rest)) = rest.split_first_chunk() else {
        return Ok(Parsed::NeedMore);
    };
    let local = match (version_command >> 4, version_command & 0xf) {
        (2, 0) => true,
        (2, 1) => false,
        (2, _) => return Err(fault(at, Fault::Command)),
        _ => return Err(fault(at, Fault::Version)),
    };
    let Some((&[family], rest)) = rest.split_first_chunk() else {
        return Ok(Parsed::NeedMore);
    };
    if family >> 4 > 3 || family & 0xf > 2 {
        return Err(fault(at + 1, Fault::Family));
    }
    let Some((&length, _)) = rest.split_first_chunk() else {
        return Ok(Parsed::NeedMore);
    };
    let length = usize::from(u16::from_be_bytes(length));
    if length > LONGEST_BODY {
        return Err(fault(at + 2, Fault::TooLong));
    }
    let Some(whole) = bytes.get(..PREFIX + length) else {
        return Ok(Parsed::NeedMore);
    };
    let (origin, tlvs) = if local {
        // What follows it means nothing.
        (Origin::Local, Vec::new())
    } else {
        read_body(family, whole)?
    };
    let header = Header {
        version: Version::Two,
        origin,
        tlvs,
    };
    Ok(Parsed::Header(header, whole.len()))
}

/// The addresses, and what follows them.
fn read_body(family: u8, whole: &[u8]) -> Result<(Origin, Vec<Tlv>), ProxyError> {
    let body = whole.get(PREFIX..).unwrap_or_default();
    let too_short = fault(SIGNATURE.len() + 2, Fault::Length);
    let (origin, rest) = match family {
        TCP4 => {
            let ([source, destination], rest) = endpoints::<4>(body).ok_or(too_short)?;
            let origin = Origin::Tcp4 {
                source: SocketAddrV4::new(source.0.into(), source.1),
                destination: SocketAddrV4::new(destination.0.into(), destination.1),
            };
            (origin, rest)
        }
        TCP6 => {
            let ([source, destination], rest) = endpoints::<16>(body).ok_or(too_short)?;
            let origin = Origin::Tcp6 {
                source: SocketAddrV6::new(source.0.into(), source.1, 0, 0),
                destination: SocketAddrV6::new(destination.0.into(), destination.1, 0, 0),
            };
            (origin, rest)
        }
        // Allowed, and nothing that mail comes by: as if nothing was said.
        _ => return Ok((Origin::Unknown, Vec::new())),
    };
    let tlvs = read_tlvs(rest, whole)?;
    Ok((origin, tlvs))
}

/// What stands at the end of the whole header.
fn read_tlvs(mut rest: &[u8], whole: &[u8]) -> Result<Vec<Tlv>, ProxyError> {
    let mut tlvs = Vec::new();
    while !rest.is_empty() {
        let offset = whole.len() - rest.len();
        let too_short = fault(offset, Fault::Length);
        let (&[kind, high, low], after) = rest.split_first_chunk().ok_or(too_short)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = after.split_at_checked(length).ok_or(too_short)?;
        if kind == Tlv::CRC32C && value != checksum(whole, offset + 3, length) {
            return Err(fault(offset, Fault::Checksum));
        }
        tlvs.push(Tlv {
            kind,
            value: value.to_vec(),
        });
        rest = after;
    }
    Ok(tlvs)
}

/// CRC-32C of a header in which the octets of the checksum are zero (§2.2.3).
fn checksum(header: &[u8], at: usize, length: usize) -> [u8; 4] {
    let own = at..at + length;
    let sum = header
        .iter()
        .enumerate()
        .fold(!0u32, |sum, (index, &octet)| {
            let octet = if own.contains(&index) { 0 } else { octet };
            (0..8).fold(sum ^ u32::from(octet), |sum, _| {
                (sum >> 1) ^ (CASTAGNOLI & (sum & 1).wrapping_neg())
            })
        });
    (!sum).to_be_bytes()
}

/// An address and a port.
type Endpoint<const N: usize> = ([u8; N], u16);

/// Two addresses, then two ports, and the rest.
fn endpoints<const N: usize>(body: &[u8]) -> Option<([Endpoint<N>; 2], &[u8])> {
    let (&source, rest) = body.split_first_chunk()?;
    let (&destination, rest) = rest.split_first_chunk()?;
    let (&source_port, rest) = rest.split_first_chunk()?;
    let (&destination_port, rest) = rest.split_first_chunk()?;
    let pair = [
        (source, u16::from_be_bytes(source_port)),
        (destination, u16::from_be_bytes(destination_port)),
    ];
    Some((pair, rest))
}

/// The header on the wire; `None` if it would be too long.
pub(super) fn encode(header: &Header) -> Option<Vec<u8>> {
    let command = match header.origin {
        Origin::Local => 0x20,
        _ => 0x21,
    };
    let (family, mut body) = octets(header.origin);
    if family != UNSPECIFIED {
        for Tlv { kind, value } in &header.tlvs {
            body.push(*kind);
            body.extend_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
            body.extend_from_slice(value);
        }
    }
    let length = u16::try_from(body.len()).ok()?;
    let mut out = SIGNATURE.to_vec();
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&length.to_be_bytes());
    out.append(&mut body);
    (usize::from(length) <= LONGEST_BODY).then_some(out)
}

/// The family and transport, and the addresses.
fn octets(origin: Origin) -> (u8, Vec<u8>) {
    let (Some(source), Some(destination)) = (origin.source(), origin.destination()) else {
        return (UNSPECIFIED, Vec::new());
    };
    let mut out = Vec::new();
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    for address in [source, destination] {
        out.extend_from_slice(&address.port().to_be_bytes());
    }
    (if source.is_ipv4() { TCP4 } else { TCP6 }, out)
}

const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The polynomial of CRC-32C, reflected.
const CASTAGNOLI: u32 = 0x82f6_3b78;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::LONGEST;

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

    /// A version 2 header, its length included.
    fn binary(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&[version_command, family]);
        out.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn binary_headers_are_read() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 25, 0xdc, 0x04, 0, 25];
        let mut body = v4.to_vec();
        body.extend_from_slice(b"\x02\0\x02mx\x04\0\0");
        let mut wire = binary(0x21, TCP4, &body);
        wire.extend_from_slice(b"EHLO");
        let (found, length) = header(&wire);
        assert_eq!(length, wire.len() - 4);
        assert_eq!(
            found.origin.source(),
            Some("192.0.2.1:56324".parse().unwrap())
        );
        assert_eq!(
            found.origin.destination(),
            Some("192.0.2.25:25".parse().unwrap())
        );
        let (authority, padding) = (Tlv::AUTHORITY, 4);
        assert_eq!(
            found
                .tlvs
                .iter()
                .map(|tlv| (tlv.kind, &tlv.value[..]))
                .collect::<Vec<_>>(),
            [(authority, &b"mx"[..]), (padding, &b""[..])]
        );
        // LOCAL, UNIX, UDP, and what may come with either.
        for (command, family, origin) in [
            (0x20, 0x00, Origin::Local),
            (0x20, TCP4, Origin::Local),
            (0x21, 0x00, Origin::Unknown),
            (0x21, 0x12, Origin::Unknown),
            (0x21, 0x31, Origin::Unknown),
        ] {
            let wire = binary(command, family, b"\xff\xff\xff");
            let (found, length) = header(&wire);
            assert_eq!((found.origin, length), (origin, wire.len()));
            assert!(found.tlvs.is_empty());
        }
    }

    #[test]
    fn a_malformed_binary_header_says_where() {
        let v4 = [0; 12];
        let with = |tlv: &[u8]| [&v4[..], tlv].concat();
        for (wire, offset, fault) in [
            (binary(0x11, TCP4, &v4), 12, Fault::Version),
            (binary(0x22, TCP4, &v4), 12, Fault::Command),
            (binary(0x21, 0x41, &v4), 13, Fault::Family),
            (binary(0x21, 0x13, &v4), 13, Fault::Family),
            (binary(0x21, TCP4, &v4[..11]), 14, Fault::Length),
            (binary(0x21, TCP6, &[0; 35]), 14, Fault::Length),
            (binary(0x21, TCP4, &with(b"\x01\0")), 28, Fault::Length),
            (
                binary(0x21, TCP4, &with(b"\x01\0\0\x01\0\x02a")),
                31,
                Fault::Length,
            ),
            (
                binary(0x21, TCP4, &with(b"\x03\0\x04abcd")),
                28,
                Fault::Checksum,
            ),
            (
                binary(0x21, TCP4, &with(b"\x03\0\x00")),
                28,
                Fault::Checksum,
            ),
            (b"\r\n\r\n\0\r\nQUIT\r\n".to_vec(), 11, Fault::Signature),
        ] {
            assert_eq!(wrong(&wire), (offset, fault));
        }
    }

    #[test]
    fn a_binary_header_has_1040_octets_at_most() {
        assert_eq!(header(&binary(0x20, 0, &[0; LONGEST_BODY])).1, LONGEST);
        let too_long = binary(0x20, 0, &[0; LONGEST_BODY + 1]);
        assert_eq!(wrong(&too_long[..PREFIX]), (14, Fault::TooLong));
    }

    #[test]
    fn checksums_are_verified() {
        // The check value of CRC-32C.
        assert_eq!(checksum(b"123456789", 9, 0), 0xe306_9283u32.to_be_bytes());
        let body = [&[0; 12][..], b"\x03\0\x04\0\0\0\0\x02\0\x01a"].concat();
        let mut wire = binary(0x21, TCP4, &body);
        let sum = checksum(&wire, PREFIX + 15, 4);
        wire[PREFIX + 15..PREFIX + 19].copy_from_slice(&sum);
        assert_eq!(header(&wire).0.tlvs[0].value, sum);
        assert_eq!(header(&wire).0.encode(), Some(wire.clone()));
        wire[PREFIX] ^= 1;
        assert_eq!(wrong(&wire), (PREFIX + 12, Fault::Checksum));
    }

    #[test]
    fn what_is_too_long_is_not_encoded() {
        let tlv = |length| Tlv {
            kind: 1,
            value: vec![0; length],
        };
        let origin = Origin::of("[::1]:1".parse().unwrap(), "[::1]:1".parse().unwrap());
        let header = |tlvs| Header {
            version: Version::Two,
            origin,
            tlvs,
        };
        let most = LONGEST_BODY - 36 - 3;
        assert_eq!(
            header(vec![tlv(most)]).encode().map(|wire| wire.len()),
            Some(LONGEST)
        );
        assert_eq!(header(vec![tlv(most + 1)]).encode(), None);
        assert_eq!(header(vec![tlv(70_000)]).encode(), None);
    }
}
