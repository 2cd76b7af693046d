//! IPv4 and IPv6, their fragments and extension headers, and tunnels of IP in IP.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpFragOffset, Ipv6ExtensionsSlice, LaxNetSlice, LaxSlicedPacket, TcpSlice};
use shared::time::Timestamp;

use super::fragments::{Fragment, Fragments, Id};
use super::link;
use crate::tcp::{End, Flags, Segment};

/// Finds TCP segments in frames.
pub struct Decoder {
    fragments: Fragments,
}

/// What a frame held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A TCP segment.
    Segment,
    /// Something else, or the fragment of a datagram that is not whole yet.
    Other,
    /// A link type that is not known.
    UnknownLink,
}

/// Tunnels within tunnels that are followed.
const DEPTH: u8 = 3;

const IPV4_IN_IP: u8 = 4;
const TCP: u8 = 6;
const IPV6_IN_IP: u8 = 41;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const AUTHENTICATION: u8 = 51;

impl Decoder {
    /// A decoder that puts together so many datagrams at a time.
    pub fn new(datagrams: usize) -> Self {
        Self {
            fragments: Fragments::new(datagrams),
        }
    }

    /// Looks into a frame, and gives the segment in it to `take`.
    pub fn decode(
        &mut self,
        link: u32,
        frame: &[u8],
        at: Timestamp,
        take: &mut dyn FnMut(Segment<'_>),
    ) -> Found {
        if !link::is_known(link) {
            return Found::UnknownLink;
        }
        let packet = link::open(link, frame);
        packet
            .and_then(|packet| self.packet(&packet, at, DEPTH, take))
            .map_or(Found::Other, |()| Found::Segment)
    }

    fn packet(
        &mut self,
        packet: &LaxSlicedPacket<'_>,
        at: Timestamp,
        depth: u8,
        take: &mut dyn FnMut(Segment<'_>),
    ) -> Option<()> {
        let datagram = Datagram::of(packet)?;
        let Some(fragment) = datagram.fragment else {
            return self.payload(&datagram, at, depth, take);
        };
        let whole = self.fragments.add(&fragment)?;
        let datagram = Datagram {
            payload: &whole,
            missing: 0,
            fragment: None,
            ..datagram
        };
        self.payload(&datagram, at, depth, take)
    }

    fn payload(
        &mut self,
        datagram: &Datagram<'_>,
        at: Timestamp,
        depth: u8,
        take: &mut dyn FnMut(Segment<'_>),
    ) -> Option<()> {
        let inner = match datagram.protocol {
            TCP => {
                take(datagram.segment(at)?);
                return Some(());
            }
            _ if depth == 0 => return None,
            IPV4_IN_IP | IPV6_IN_IP => LaxSlicedPacket::from_ip(datagram.payload).ok()?,
            GRE => within_gre(datagram.payload)?,
            _ => return None,
        };
        self.packet(&inner, at, depth - 1, take)
    }
}

/// An IP datagram, or a fragment of one.
struct Datagram<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    payload: &'a [u8],
    /// Octets that it had when it was sent, and that were not captured.
    missing: usize,
    fragment: Option<Fragment<'a>>,
}

impl<'a> Datagram<'a> {
    fn of(packet: &LaxSlicedPacket<'a>) -> Option<Self> {
        let net = packet.net.as_ref()?;
        let payload = net.ip_payload_ref()?.payload;
        let protocol = net.ip_payload_ref()?.ip_number.0;
        let (from, to, claimed, part): (IpAddr, IpAddr, usize, _) = match net {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let authentication = ip.extensions().auth.map_or(0, |auth| auth.slice().len());
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    usize::from(header.total_len())
                        .saturating_sub(header.slice().len() + authentication),
                    Part {
                        number: header.identification().into(),
                        offset: header.fragments_offset(),
                        more: header.more_fragments(),
                    },
                )
            }
            LaxNetSlice::Ipv6(ip) => {
                let (header, extensions) = (ip.header(), ip.extensions());
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    usize::from(header.payload_length()).saturating_sub(extensions.slice().len()),
                    Part::of_ipv6(extensions).unwrap_or_default(),
                )
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let fragment = part.is_fragment().then_some(Fragment {
            id: Id {
                from,
                to,
                number: part.number,
                protocol,
            },
            offset: part.offset,
            more: part.more,
            payload,
        });
        Some(Self {
            from,
            to,
            protocol,
            payload,
            missing: claimed.saturating_sub(payload.len()),
            fragment,
        })
    }

    fn segment(&self, at: Timestamp) -> Option<Segment<'_>> {
        let tcp = TcpSlice::from_slice(self.payload).ok()?;
        Some(Segment {
            from: SocketAddr::new(self.from, tcp.source_port()),
            to: SocketAddr::new(self.to, tcp.destination_port()),
            at,
            sequence: tcp.sequence_number(),
            acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
            flags: Flags {
                syn: tcp.syn(),
                end: match (tcp.rst(), tcp.fin()) {
                    (true, _) => End::Reset,
                    (false, true) => End::Finished,
                    (false, false) => End::None,
                },
            },
            payload: tcp.payload(),
            missing: self.missing,
        })
    }
}

/// Which part of a datagram something is.
#[derive(Default)]
struct Part {
    number: u32,
    offset: IpFragOffset,
    more: bool,
}

impl Part {
    /// What the fragment header says (RFC 8200 §4.5), if there is one. Read by hand:
    /// etherparse 0.19 takes other bits for the offset and the flag, and its iterator
    /// reads beyond the end of headers that are cut off.
    fn of_ipv6(extensions: &Ipv6ExtensionsSlice<'_>) -> Option<Self> {
        let (mut kind, mut rest) = (extensions.first_header()?.0, extensions.slice());
        let header = loop {
            let length = usize::from(*rest.get(1)?);
            let length = match kind {
                FRAGMENT => break rest.first_chunk::<8>()?,
                AUTHENTICATION => 4 * (length + 2),
                _ => 8 * (length + 1),
            };
            (kind, rest) = (*rest.first()?, rest.get(length..)?);
        };
        let [_, _, high, low, number @ ..] = *header;
        let bits = u16::from_be_bytes([high, low]);
        Some(Self {
            number: u32::from_be_bytes(number),
            offset: IpFragOffset::try_new(bits >> 3).ok()?,
            more: bits & 1 == 1,
        })
    }

    fn is_fragment(&self) -> bool {
        self.more || self.offset.value() != 0
    }
}

/// The packet in a GRE one (RFC 2784, RFC 2890).
fn within_gre(bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    const ETHERNET: u16 = 0x6558;
    let flags = *bytes.first()?;
    let version = *bytes.get(1)? & 7;
    if version != 0 {
        return None;
    }
    let words = [0x80, 0x20, 0x10]
        .iter()
        .filter(|&bit| flags & bit != 0)
        .count();
    let kind = bytes.get(2..4)?;
    let inner = bytes.get(4 + 4 * words..)?;
    if kind == ETHERNET.to_be_bytes() {
        return LaxSlicedPacket::from_ethernet(inner).ok();
    }
    link::ether_type(kind, inner)
}
