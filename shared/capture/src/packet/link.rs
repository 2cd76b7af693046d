//! Link types: what stands before the IP packet.

use etherparse::{EtherType, LaxSlicedPacket};

/// Finds the IP packet in a frame; `None` if there is none, or the type is not known.
pub(super) fn open(link: u32, frame: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    match link {
        ETHERNET => LaxSlicedPacket::from_ethernet(frame).ok(),
        // The protocol family is in the byte order of who captured, and the numbers
        // for IPv6 differ; the packet itself says what it is.
        NULL | LOOP => ip(frame.get(4..)?),
        RAW | RAW_OPENBSD | RAW_BSD | IPV4 | IPV6 => ip(frame),
        LINUX_SLL => ether_type(frame.get(14..)?, frame.get(16..)?),
        LINUX_SLL2 => ether_type(frame, frame.get(20..)?),
        _ => None,
    }
}

/// The types that are known.
pub(super) fn is_known(link: u32) -> bool {
    [
        ETHERNET,
        NULL,
        LOOP,
        RAW,
        RAW_OPENBSD,
        RAW_BSD,
        IPV4,
        IPV6,
        LINUX_SLL,
        LINUX_SLL2,
    ]
    .contains(&link)
}

const NULL: u32 = 0;
const ETHERNET: u32 = 1;
/// DLT_RAW as some systems wrote it into files.
const RAW_BSD: u32 = 12;
const RAW_OPENBSD: u32 = 14;
const RAW: u32 = 101;
const LOOP: u32 = 108;
const LINUX_SLL: u32 = 113;
const IPV4: u32 = 228;
const IPV6: u32 = 229;
const LINUX_SLL2: u32 = 276;

fn ip(packet: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    LaxSlicedPacket::from_ip(packet).ok()
}

/// A packet of the type that stands at the start of `kind`.
pub(super) fn ether_type<'a>(kind: &[u8], packet: &'a [u8]) -> Option<LaxSlicedPacket<'a>> {
    let kind = u16::from_be_bytes(*kind.first_chunk()?);
    Some(LaxSlicedPacket::from_ether_type(EtherType(kind), packet))
}
