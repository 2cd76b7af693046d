//! Capture files in all their variants hold the same packets; a damaged one holds those
//! before the damage.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may fail"
)]

use std::io::Write;

use helo_capture::container::{Fault, Reader, Unusable};
use shared::time::Timestamp;

/// Link, time in nanoseconds, octets.
type Packet = (u32, Option<u64>, Vec<u8>);

const SECOND: u64 = 1_700_000_000;
const TIME: u64 = SECOND * 1_000_000_000 + 123_456_000;

fn read(file: &[u8]) -> (Vec<Packet>, Option<(u64, Fault)>) {
    let mut reader = Reader::open(file).unwrap();
    let mut packets = Vec::new();
    loop {
        match reader.packet() {
            Ok(Some(packet)) => packets.push((
                packet.link,
                packet.at.map(Timestamp::nanos),
                packet.bytes.to_vec(),
            )),
            Ok(None) => return (packets, None),
            Err(damage) => return (packets, Some((damage.at, damage.fault))),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn word(self, value: u32) -> [u8; 4] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }

    fn half(self, value: u16) -> [u8; 2] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }
}

fn pcap(order: Order, magic: u32, payloads: &[&[u8]]) -> Vec<u8> {
    let mut file = order.word(magic).to_vec();
    file.extend(order.half(2));
    file.extend(order.half(4));
    for word in [0, 0, 65_535, 101] {
        file.extend(order.word(word));
    }
    let fraction = if magic == 0xa1b2_3c4d {
        123_456_000
    } else {
        123_456
    };
    for payload in payloads {
        for word in [
            SECOND as u32,
            fraction,
            payload.len() as u32,
            payload.len() as u32,
        ] {
            file.extend(order.word(word));
        }
        if magic == 0xa1b2_cd34 {
            file.extend([9; 8]);
        }
        file.extend(*payload);
    }
    file
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    while !body.len().is_multiple_of(4) {
        body.push(0);
    }
    let length = order.word(body.len() as u32 + 12);
    [&order.word(kind)[..], &length, &body, &length].concat()
}

fn section(order: Order) -> Vec<u8> {
    let body = [
        &order.word(0x1a2b_3c4d)[..],
        &order.half(1),
        &order.half(0),
        &[0xff; 8],
    ];
    block(order, 0x0a0d_0d0a, &body.concat())
}

fn interface(order: Order, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [&order.half(101)[..], &order.half(0), &order.word(0)].concat();
    for (code, value) in options {
        body.extend(order.half(*code));
        body.extend(order.half(value.len() as u16));
        body.extend(*value);
        while !body.len().is_multiple_of(4) {
            body.push(0);
        }
    }
    if !options.is_empty() {
        body.extend([0; 4]);
    }
    block(order, 1, &body)
}

fn enhanced(order: Order, interface: u32, time: u64, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut body = Vec::new();
    for word in [interface, (time >> 32) as u32, time as u32, length, length] {
        body.extend(order.word(word));
    }
    body.extend(payload);
    block(order, 6, &body)
}

const ORDERS: [Order; 2] = [Order::Big, Order::Little];

#[test]
fn every_variant_of_pcap_holds_the_same() {
    for order in ORDERS {
        for magic in [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34] {
            let file = pcap(order, magic, &[b"one", b"", b"three"]);
            let (packets, damage) = read(&file);
            assert!(damage.is_none(), "{magic:x}");
            let payloads: Vec<&[u8]> = packets.iter().map(|packet| &packet.2[..]).collect();
            assert_eq!(payloads, [&b"one"[..], b"", b"three"], "{magic:x}");
            assert!(
                packets
                    .iter()
                    .all(|packet| packet.0 == 101 && packet.1 == Some(TIME))
            );
        }
    }
}

#[test]
fn every_unit_of_time_of_pcapng_is_understood() {
    for order in ORDERS {
        let offset = match order {
            Order::Big => 100i64.to_be_bytes(),
            Order::Little => 100i64.to_le_bytes(),
        };
        let micros = SECOND * 1_000_000 + 123_456;
        let binary = (SECOND << 10) + 126;
        for (options, units, nanos) in [
            (vec![], micros, TIME),
            (vec![(9, &[9u8][..])], TIME, TIME),
            (
                vec![(9, &[3])],
                SECOND * 1000 + 123,
                SECOND * 1_000_000_000 + 123_000_000,
            ),
            // A power of two: 2^-10 s.
            (
                vec![(9, &[0x8a])],
                binary,
                SECOND * 1_000_000_000 + 123_046_875,
            ),
            (vec![(14, &offset[..])], micros - 100_000_000, TIME),
        ] {
            let file = [
                section(order),
                interface(order, &options),
                enhanced(order, 0, units, b"x"),
            ];
            let (packets, damage) = read(&file.concat());
            assert!(damage.is_none());
            assert_eq!(packets, [(101, Some(nanos), b"x".to_vec())], "{options:?}");
        }
    }
}

#[test]
fn sections_have_their_own_order_and_interfaces() {
    let mut file = Vec::new();
    for order in ORDERS {
        file.extend(section(order));
        // Blocks nobody knows.
        file.extend(block(order, 0x0bad_0bad, b"abc"));
        file.extend(interface(order, &[(1, b"a comment")]));
        file.extend(enhanced(order, 0, 1, b"good"));
        // No such interface.
        file.extend(enhanced(order, 7, 1, b"lost"));
        // A simple packet, and one of the first drafts.
        let simple = [&order.word(2)[..], b"hi"].concat();
        file.extend(block(order, 3, &simple));
        let mut old = [order.half(0), order.half(0)].concat();
        for word in [0, 1, 3, 3] {
            old.extend(order.word(word));
        }
        old.extend(b"old");
        file.extend(block(order, 2, &old));
    }
    let mut reader = Reader::open(&file[..]).unwrap();
    let mut payloads = Vec::new();
    while let Some(packet) = reader.packet().unwrap() {
        payloads.push(packet.bytes.to_vec());
    }
    let each = [&b"good"[..], b"hi", b"old"];
    assert_eq!(payloads, [each, each].concat());
    let facts = reader.facts();
    assert_eq!((facts.sections, facts.unreadable), (2, 2));
    assert_eq!(facts.comments, ["a comment", "a comment"]);
}

#[test]
fn wrong_options_do_not_make_a_packet_wrong() {
    let order = Order::Little;
    let mut body = Vec::new();
    for word in [0, 0, 7, 4, 4] {
        body.extend(order.word(word));
    }
    body.extend(b"data");
    // An option that is longer than the block.
    body.extend([1, 0, 0xff, 0xff]);
    let file = [
        section(order),
        interface(order, &[]),
        block(order, 6, &body),
    ];
    let (packets, damage) = read(&file.concat());
    assert!(damage.is_none());
    assert_eq!(packets, [(101, Some(7000), b"data".to_vec())]);
}

#[test]
fn packed_files_are_unpacked() {
    // Octets that do not pack well, so that a cut leaves some.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let payloads: Vec<Vec<u8>> = (0..1000)
        .map(|_| (0..1000).map(|_| noise()).collect())
        .collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let plain = pcap(Order::Little, 0xa1b2_c3d4, &payloads);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for packed in [&gzip, &zstd] {
        assert_eq!(read(packed).0, read(&plain).0);
        let (packets, damage) = read(&packed[..packed.len() / 2]);
        assert!(
            packets.len() > 100 && packets.len() < 1000,
            "{}",
            packets.len()
        );
        let (at, fault) = damage.unwrap();
        assert_eq!(at as usize, 24 + packets.len() * 1016);
        assert!(matches!(fault, Fault::Read(_)), "{fault}");
    }
}

#[test]
fn what_is_before_a_cut_is_kept_and_the_cut_is_told() {
    let order = Order::Little;
    let next = [
        section(order),
        interface(order, &[]),
        enhanced(order, 0, 1, b"first"),
        enhanced(order, 0, 2, b"second"),
    ];
    let legacy = pcap(order, 0xa1b2_c3d4, &[b"first", b"second"]);
    let ends = |parts: &[usize]| -> Vec<usize> {
        parts
            .iter()
            .scan(0, |sum, part| {
                *sum += part;
                Some(*sum)
            })
            .collect()
    };
    let lengths: Vec<usize> = next.iter().map(Vec::len).collect();
    for (file, ends, before) in [
        (next.concat(), ends(&lengths), 2),
        (legacy, ends(&[24, 21, 22]), 1),
    ] {
        for cut in ends[0]..=file.len() {
            let (packets, damage) = read(&file[..cut]);
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!(packets.len(), whole.saturating_sub(before), "{cut}");
            match damage {
                None => assert!(ends.contains(&cut), "{cut}"),
                Some((at, Fault::CutOff { missing })) => {
                    assert_eq!(at as usize, ends[whole - 1], "{cut}");
                    assert!(missing > 0);
                }
                Some((_, other)) => panic!("{cut}: {other}"),
            }
        }
    }
}

#[test]
fn lengths_that_cannot_be_are_told() {
    let mut file = pcap(Order::Little, 0xa1b2_c3d4, &[b"good", b"bad"]);
    file[24 + 20 + 8..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let (packets, damage) = read(&file);
    assert_eq!(packets.len(), 1);
    assert!(
        matches!(damage, Some((44, Fault::Length(0xffff_ffff)))),
        "{damage:?}"
    );
    let mut file = section(Order::Little);
    let last = file.len() - 4;
    file[last] ^= 4;
    assert!(matches!(read(&file).1, Some((0, Fault::Lengths { .. }))));
}

#[test]
fn what_is_no_capture_is_refused() {
    assert!(matches!(Reader::open(&b""[..]), Err(Unusable::Empty)));
    for other in [
        &b"220 mx\r\n"[..],
        b"\n\r\r\n",
        &[0xa1, 0xb2],
        b"{\"helo\":\"rec\"}\n",
    ] {
        assert!(
            matches!(Reader::open(other), Err(Unusable::NotACapture)),
            "{other:?}"
        );
    }
}
