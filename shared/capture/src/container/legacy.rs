//! The old pcap format: a header, then packets, each behind its length.
//!
//! Four magics (micro- and nanoseconds, "modified" with longer packet headers), in
//! both byte orders.

use std::io::Read;

use pcap_parser::parse_pcap_header;
use shared::time::Timestamp;

use super::source::Source;
use super::{Captured, Damage, Facts, Fault, LONGEST_PACKET};

/// The state of one file.
pub(super) struct Legacy {
    big_endian: bool,
    nanoseconds: bool,
    packet_header: usize,
    link: u32,
}

const HEADER: usize = 24;
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

impl Legacy {
    pub(super) fn is_magic(bytes: &[u8]) -> bool {
        Self::magic(bytes).is_some()
    }

    /// The magic in this machine's order, and whether the file is big-endian.
    fn magic(bytes: &[u8]) -> Option<(u32, bool)> {
        let bytes: [u8; 4] = *bytes.first_chunk()?;
        [
            (u32::from_le_bytes(bytes), false),
            (u32::from_be_bytes(bytes), true),
        ]
        .into_iter()
        .find(|(magic, _)| [MICROSECONDS, NANOSECONDS, MODIFIED].contains(magic))
    }

    /// Takes the header of the file.
    pub(super) fn begin<R: Read>(source: &mut Source<R>) -> Option<Self> {
        let (magic, big_endian) = Self::magic(source.held())?;
        let mut header: [u8; HEADER] = *source.held().first_chunk()?;
        if magic == MODIFIED {
            // The parser knows this magic in one order only; the header is the same.
            let plain = if big_endian {
                MICROSECONDS.to_be_bytes()
            } else {
                MICROSECONDS.to_le_bytes()
            };
            header.first_chunk_mut::<4>()?.copy_from_slice(&plain);
        }
        let (_, parsed) = parse_pcap_header(&header).ok()?;
        source.take(HEADER);
        Some(Self {
            big_endian,
            nanoseconds: magic == NANOSECONDS,
            packet_header: if magic == MODIFIED { 24 } else { 16 },
            // The upper bits say whether frames end in a check sequence.
            link: parsed.network.0.cast_unsigned() & 0xffff,
        })
    }

    pub(super) fn packet<'s, R: Read>(
        &mut self,
        source: &'s mut Source<R>,
        facts: &mut Facts,
    ) -> Result<Option<Captured<'s>>, Damage> {
        let at = source.offset();
        if source.at_end_or(self.packet_header)? {
            return Ok(None);
        }
        let [seconds, fraction, length] = self.words(source.held());
        let captured = length as usize;
        if captured > LONGEST_PACKET {
            let fault = Fault::Length(length.into());
            return Err(Damage { at, fault });
        }
        source.at_end_or(self.packet_header + captured)?;
        let nanos = u64::from(fraction) * if self.nanoseconds { 1 } else { 1000 };
        let time = u64::from(seconds) * 1_000_000_000 + nanos;
        facts.packets += 1;
        let packet = source.take(self.packet_header + captured);
        Ok(Some(Captured {
            at: Some(Timestamp::from_nanos(time)),
            link: self.link,
            bytes: packet.get(self.packet_header..).unwrap_or_default(),
        }))
    }

    /// The first words of a packet header: seconds, their fraction, octets kept.
    fn words(&self, header: &[u8]) -> [u32; 3] {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(header.as_chunks::<4>().0) {
            *word = if self.big_endian {
                u32::from_be_bytes(*bytes)
            } else {
                u32::from_le_bytes(*bytes)
            };
        }
        words
    }
}
