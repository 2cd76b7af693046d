//! pcapng: blocks of many kinds, in sections that each have their byte order.
//!
//! A block is found by its length, and looked into by its kind. One that is not
//! known, or cannot be understood inside, is passed over.

use std::io::Read;

use pcap_parser::pcapng::{Block, parse_block_be, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{InterfaceDescriptionBlock, OptionCode, PcapNGOption};
use shared::time::Timestamp;

use super::source::Source;
use super::{Captured, Damage, Facts, Fault, LONGEST_BLOCK};

/// The state of one file.
pub(super) struct NextGeneration {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

/// What packets of one interface need to be understood.
#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    /// Units of its times in a second; `None` if they cannot be understood.
    resolution: Option<u64>,
    /// Seconds to be added to them.
    offset: i64,
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const ENHANCED_PACKET: u32 = 6;
const ORDER: u32 = 0x1a2b_3c4d;

/// Interfaces of one section that are remembered.
const INTERFACES: usize = 65_536;

/// Where the packet of a block is in it, and what is known of it.
struct Found {
    interface: u32,
    time: Option<u64>,
    from: usize,
    to: usize,
}

impl NextGeneration {
    pub(super) fn is_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(&SECTION.to_le_bytes())
            && matches!(bytes.get(8..12), Some(order)
                if order == ORDER.to_le_bytes() || order == ORDER.to_be_bytes())
    }

    pub(super) const fn new() -> Self {
        Self {
            big_endian: false,
            interfaces: Vec::new(),
        }
    }

    pub(super) fn packet<'s, R: Read>(
        &mut self,
        source: &'s mut Source<R>,
        facts: &mut Facts,
    ) -> Result<Option<Captured<'s>>, Damage> {
        loop {
            let Some(length) = self.frame(source)? else {
                return Ok(None);
            };
            let found = self.look(source.held().get(..length).unwrap_or_default(), facts);
            let known = found.and_then(|found| {
                let interface = *self.interfaces.get(found.interface as usize)?;
                Some((found, interface))
            });
            match known {
                Some((found, interface)) => {
                    facts.packets += 1;
                    let block = source.take(length);
                    return Ok(Some(Captured {
                        at: found.time.and_then(|time| interface.time(time)),
                        link: interface.link,
                        bytes: block.get(found.from..found.to).unwrap_or_default(),
                    }));
                }
                None => {
                    source.take(length);
                }
            }
        }
    }

    /// Has the next whole block held, and gives its length.
    fn frame<R: Read>(&mut self, source: &mut Source<R>) -> Result<Option<usize>, Damage> {
        let at = source.offset();
        if source.at_end_or(12)? {
            return Ok(None);
        }
        if source.held().starts_with(&SECTION.to_le_bytes()) {
            self.big_endian = source.held().get(8..12) == Some(&ORDER.to_be_bytes());
            self.interfaces.clear();
        }
        let claimed = self.word(source.held(), 4);
        let length = claimed as usize;
        if !(12..=LONGEST_BLOCK).contains(&length) || !length.is_multiple_of(4) {
            let fault = Fault::Length(claimed.into());
            return Err(Damage { at, fault });
        }
        source.at_end_or(length)?;
        let last = self.word(source.held(), length - 4);
        if last != claimed {
            let first = claimed;
            let fault = Fault::Lengths { first, last };
            return Err(Damage { at, fault });
        }
        Ok(Some(length))
    }

    /// Takes from a block what it says; the packet, if it holds one.
    fn look(&mut self, block: &[u8], facts: &mut Facts) -> Option<Found> {
        if self.word(block, 0) == PACKET {
            return self.obsolete(block, facts);
        }
        let parsed = if self.big_endian {
            parse_block_be(block)
        } else {
            parse_block_le(block)
        };
        let Ok((_, parsed)) = parsed else {
            return self.without_options(block, facts);
        };
        let place = |data: &[u8]| {
            let from = (data.as_ptr() as usize).checked_sub(block.as_ptr() as usize)?;
            Some((from, from + data.len()))
        };
        match parsed {
            Block::SectionHeader(section) => {
                facts.sections += 1;
                comments(&section.options, facts);
                None
            }
            Block::InterfaceDescription(described) => {
                comments(&described.options, facts);
                let interface = Interface::of(&described, self.big_endian);
                self.interface(interface)
            }
            Block::EnhancedPacket(packet) => {
                comments(&packet.options, facts);
                let (from, to) = place(packet.packet_data())?;
                let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                self.found(facts, packet.if_id, Some(time), (from, to))
            }
            Block::SimplePacket(packet) => {
                let place = place(packet.packet_data())?;
                self.found(facts, 0, None, place)
            }
            Block::DecryptionSecrets(_) => {
                facts.secrets += 1;
                None
            }
            _ => None,
        }
    }

    /// Options that are wrong do not make a packet or an interface wrong.
    fn without_options(&mut self, block: &[u8], facts: &mut Facts) -> Option<Found> {
        match self.word(block, 0) {
            INTERFACE => {
                let link = self.word(block, 8);
                let link = if self.big_endian {
                    link >> 16
                } else {
                    link & 0xffff
                };
                self.interface(Interface::plain(link))
            }
            ENHANCED_PACKET => {
                let place = self.place(block)?;
                let time = u64::from(self.word(block, 12)) << 32 | u64::from(self.word(block, 16));
                self.found(facts, self.word(block, 8), Some(time), place)
            }
            _ => {
                facts.unreadable += 1;
                None
            }
        }
    }

    fn interface(&mut self, interface: Interface) -> Option<Found> {
        if self.interfaces.len() < INTERFACES {
            self.interfaces.push(interface);
        }
        None
    }

    /// Where the packet is in an Enhanced Packet Block or an old Packet Block.
    fn place(&self, block: &[u8]) -> Option<(usize, usize)> {
        let to = 28usize.checked_add(self.word(block, 20) as usize)?;
        (to + 4 <= block.len()).then_some((28, to))
    }

    fn found(
        &self,
        facts: &mut Facts,
        interface: u32,
        time: Option<u64>,
        (from, to): (usize, usize),
    ) -> Option<Found> {
        if self.interfaces.len() <= interface as usize {
            facts.unreadable += 1;
            return None;
        }
        Some(Found {
            interface,
            time,
            from,
            to,
        })
    }

    /// The Packet Block of the first drafts, which some programs still write.
    fn obsolete(&self, block: &[u8], facts: &mut Facts) -> Option<Found> {
        let interface: [u8; 2] = *block.get(8..)?.first_chunk()?;
        let interface = if self.big_endian {
            u16::from_be_bytes(interface)
        } else {
            u16::from_le_bytes(interface)
        };
        let (high, low) = (self.word(block, 12), self.word(block, 16));
        let time = Some(u64::from(high) << 32 | u64::from(low));
        let place = self.place(block)?;
        self.found(facts, interface.into(), time, place)
    }

    /// The word at a place of a block; zero beyond its end.
    fn word(&self, block: &[u8], at: usize) -> u32 {
        let bytes: [u8; 4] = block
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or_default();
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

impl Interface {
    /// One of which only the type of link is known: its times are in microseconds.
    const fn plain(link: u32) -> Self {
        Self {
            link,
            resolution: Some(1_000_000),
            offset: 0,
        }
    }

    fn of(described: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        let mut interface = Self::plain(described.linktype.0.cast_unsigned());
        // pcap-parser 0.17 takes no resolution that is a power of two, and reads the
        // offset as little-endian always.
        for option in &described.options {
            let value = option.as_bytes().unwrap_or_default();
            match (option.code, value.first(), value.first_chunk()) {
                (OptionCode::IfTsresol, Some(&resolution), _) => {
                    interface.resolution = units_per_second(resolution);
                }
                (OptionCode::IfTsoffset, _, Some(&offset)) if big_endian => {
                    interface.offset = i64::from_be_bytes(offset);
                }
                (OptionCode::IfTsoffset, _, Some(&offset)) => {
                    interface.offset = i64::from_le_bytes(offset);
                }
                _ => {}
            }
        }
        interface
    }

    fn time(self, units: u64) -> Option<Timestamp> {
        let resolution = u128::from(self.resolution?);
        let nanos = u128::from(units) * 1_000_000_000 / resolution;
        let nanos = i128::try_from(nanos).ok()? + i128::from(self.offset) * 1_000_000_000;
        u64::try_from(nanos).ok().map(Timestamp::from_nanos)
    }
}

/// A resolution: a power of ten, or of two with the highest bit set.
fn units_per_second(resolution: u8) -> Option<u64> {
    let exponent = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 {
        10u64.checked_pow(exponent)
    } else {
        1u64.checked_shl(exponent)
    }
}

fn comments(options: &[PcapNGOption<'_>], facts: &mut Facts) {
    for option in options {
        if option.code == OptionCode::Comment {
            facts.comment(option.as_bytes().unwrap_or_default());
        }
    }
}
