//! Laws of the import: the way packets took changes nothing of what was said.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may fail"
)]

mod support;

use proptest::prelude::*;
use shared::direction::Direction::{Client, Server};
use shared::recording::Redaction;
use support::{Packet, SETTINGS, Turn, Wire, dialogues, essence, fragments, import, turns};

/// The packets of a dialogue, each turn cut at the given places.
fn packets(turns: &[Turn], cuts: &[usize], origins: [u32; 2]) -> Vec<Packet> {
    let mut wire = Wire::open(origins);
    let mut cut = cuts.iter().cycle();
    for (from, bytes) in turns {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let most = cut
                .next()
                .map_or(rest.len(), |&cut| cut.clamp(1, rest.len()));
            wire.say(*from, &rest[..most]);
            rest = &rest[most..];
        }
    }
    wire.close();
    wire.packets
}

/// Swaps packets that are not far apart.
fn shuffle(packets: &mut [Packet], swaps: &[(usize, usize)]) {
    for (at, distance) in swaps {
        let at = at % packets.len();
        let other = (at + distance).min(packets.len() - 1);
        packets.swap(at, other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_way_of_packets_changes_nothing(
        which in 0usize..3,
        cuts in prop::collection::vec(1usize..40, 1..20),
        origins: [u32; 2],
        swaps in prop::collection::vec((0usize..1000, 1usize..6), 0..40),
        again in prop::collection::vec((0usize..1000, 0usize..12), 0..20),
        cut in prop::collection::vec((0usize..1000, 8usize..40), 0..10),
    ) {
        let dialogue = &dialogues()[which];
        let plain = essence(&import(&packets(dialogue, &[], [7, 9]), SETTINGS).1);
        let mut way = packets(dialogue, &cuts, origins);
        // What is sent again comes later.
        for (at, later) in again {
            let at = at % way.len();
            let packet = way[at].clone();
            way.insert((at + 1 + later).min(way.len()), packet);
        }
        shuffle(&mut way, &swaps);
        for (at, size) in cut {
            let at = at % way.len();
            if way[at].len() > 20 + size && way[at][6] == 0 && way[at][7] == 0 {
                let parts = fragments(&way[at], size);
                way.splice(at..=at, parts.into_iter().rev());
            }
        }
        let (totals, recording) = import(&way, SETTINGS);
        prop_assert_eq!(totals.sessions, 1);
        prop_assert_eq!(essence(&recording), plain);
    }

    #[test]
    fn what_is_lost_is_told_and_nothing_else_is(
        which in 0usize..3,
        cuts in prop::collection::vec(1usize..40, 1..20),
        lost in prop::collection::vec(0usize..1000, 0..6),
    ) {
        let dialogue = &dialogues()[which];
        let mut way = packets(dialogue, &cuts, [1, u32::MAX - 20]);
        let (first, last) = (3, way.len() - 3);
        let mut gone: Vec<usize> = lost.iter().map(|at| first + at % (last - first)).collect();
        gone.sort_unstable();
        gone.dedup();
        let mut missing = [0u64; 2];
        for &at in gone.iter().rev() {
            let packet = way.remove(at);
            missing[usize::from(packet[15] - 1)] += (packet.len() - 40) as u64;
        }
        let (totals, recording) = import(&way, SETTINGS);
        prop_assume!(totals.sessions == 1);
        for direction in [Client, Server] {
            let sent: usize = dialogue.iter().filter(|turn| turn.0 == direction)
                .map(|turn| turn.1.len()).sum();
            let told: u64 = recording.records().iter()
                .filter(|record| record.kind() == "gap" && record.direction() == Some(direction))
                .filter_map(|record| record.number("len")).sum();
            prop_assert_eq!(told, missing[direction.index()]);
            let there = recording.payload(1, direction).len() as u64;
            prop_assert_eq!(there + told, sent as u64);
        }
    }

    #[test]
    fn any_packets_are_survived(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40),
        flips in prop::collection::vec((0usize..1000, 0usize..60, any::<u8>()), 0..40),
    ) {
        let mut way = packets(&dialogues()[0], &[11], [0, 0]);
        way.extend(noise);
        for (at, place, value) in flips {
            let at = at % way.len();
            if let Some(octet) = way[at].get_mut(place) {
                *octet = value;
            }
        }
        import(&way, SETTINGS);
    }
}

#[test]
fn the_same_capture_gives_the_same_recording() {
    let packets = packets(&dialogues()[0], &[5], [0, 0]);
    let (one, two) = (import(&packets, SETTINGS).1, import(&packets, SETTINGS).1);
    assert_eq!(one.records(), two.records());
}

#[test]
fn another_session_between_the_same_ports_is_another_session() {
    let mut all = packets(&dialogues()[1], &[], [100, 200]);
    all.extend(packets(&dialogues()[2], &[], [5_000_000, 900]));
    let (totals, recording) = import(&all, SETTINGS);
    assert_eq!(totals.sessions, 2);
    assert_eq!(recording.dialogues().len(), 2);
}

#[test]
fn secrets_are_taken_out_even_where_the_line_is_damaged() {
    let mut wire = Wire::open([0, 0]);
    for (from, said) in turns(&[
        ('S', "220 mx\r\n"),
        ('C', "EHLO a\r\n"),
        ('S', "250 AUTH PLAIN\r\n"),
        ('C', "AUTH PLAIN AGFsaWNl"),
        ('C', "AHdvb"),
        ('C', "mRlcmxhbmQ=\r\n"),
        ('S', "235 ok\r\n"),
        ('C', "QUIT\r\n"),
        ('S', "221 bye\r\n"),
    ]) {
        wire.say(from, &said);
    }
    wire.close();
    let mut settings = SETTINGS;
    settings.redaction = Redaction::Auth(shared::recording::RedactKey([0; 32]));
    for lost in [None, Some(7), Some(8)] {
        let mut packets = wire.packets.clone();
        if let Some(lost) = lost {
            packets.remove(lost - 1);
        }
        let (_, recording) = import(&packets, settings);
        let said = recording.payload(1, Client);
        let said = String::from_utf8_lossy(&said);
        for secret in ["AGFsaWNl", "AHdvb", "mRlcmxhbmQ"] {
            assert!(!said.contains(secret), "{lost:?}: {said}");
        }
        assert!(said.contains("QUIT"), "{lost:?}: {said}");
    }
}

#[test]
fn memory_is_bounded_by_the_limits() {
    let mut settings = SETTINGS;
    settings.limits.waiting = 10_000;
    let mut wire = Wire::open([0, 0]);
    wire.say(Server, b"220 mx\r\n");
    wire.say(Client, b"EHLO a\r\n");
    wire.say(Server, b"250 mx\r\n");
    wire.say(Client, b"DATA\r\n");
    wire.say(Server, b"354 go\r\n");
    // The first octets of the content never come, and nobody acknowledges any.
    wire.sent[0] += 100;
    for _ in 0..30 {
        wire.say(Client, &[b'x'; 1000]);
    }
    let (_, recording) = import(&wire.packets, settings);
    let gap = recording
        .records()
        .iter()
        .find(|record| record.kind() == "gap")
        .unwrap();
    assert_eq!(gap.number("len"), Some(100));
    // It was given up when 10 000 octets waited, not at the end.
    let waited = gap.n();
    let after = recording
        .records()
        .iter()
        .filter(|record| record.n() > waited);
    assert!(after.filter(|record| record.kind() == "data").count() > 10);
}

#[test]
fn the_oldest_connection_ends_when_there_are_too_many() {
    let mut settings = SETTINGS;
    settings.limits.connections = 2;
    let mut all = Vec::new();
    for port in 0..5 {
        let mut wire = Wire::late([0, 0]);
        wire.ports = [50_000 + port, 25];
        wire.say(Client, b"EHLO a\r\n");
        all.extend(wire.packets);
    }
    let (totals, recording) = import(&all, settings);
    assert_eq!(totals.sessions, 5);
    let closed = recording
        .records()
        .iter()
        .filter(|record| record.kind() == "close");
    assert_eq!(closed.count(), 5);
}

#[test]
fn what_the_snap_length_cut_off_is_missing() {
    let mut wire = Wire::open([0, 0]);
    wire.say(Server, b"220 mx\r\n");
    wire.say(Client, b"EHLO a\r\nNOOP with words\r\n");
    let last = wire.packets.len() - 1;
    let length = wire.packets[last].len();
    wire.packets[last].truncate(length - 8);
    let (_, recording) = import(&wire.packets, SETTINGS);
    assert_eq!(recording.payload(1, Client), b"EHLO a\r\nNOOP with");
    let gap = recording
        .records()
        .iter()
        .find(|one| one.kind() == "gap")
        .unwrap();
    assert_eq!(gap.number("len"), Some(8));
}
