//! Captures made in memory: a dialogue, cut into segments, as packets.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may fail, and each of them uses a part of this"
)]

use helo_capture::Limits;
use helo_capture::container::Captured;
use helo_capture::import::{Importer, Settings, Totals};
use shared::direction::Direction::{self, Client, Server};
use shared::recording::{Record, Recording, Redaction};
use shared::time::Timestamp;

pub type Turn = (Direction, Vec<u8>);

/// One packet: raw IPv4.
pub type Packet = Vec<u8>;

pub const SETTINGS: Settings = Settings {
    tool: "test",
    redaction: Redaction::Nothing,
    limits: Limits::DEFAULT,
};

pub const SYN: u8 = 2;
pub const FIN: u8 = 1;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// Both ends of a connection, and how far each has come.
pub struct Wire {
    pub origins: [u32; 2],
    pub sent: [u32; 2],
    pub ports: [u16; 2],
    pub packets: Vec<Packet>,
    number: u16,
}

impl Wire {
    /// A connection with its handshake.
    pub fn open(origins: [u32; 2]) -> Self {
        let mut wire = Self::late(origins);
        wire.sent = [u32::MAX, u32::MAX];
        wire.segment(Client, SYN, b"");
        wire.sent[0] = 0;
        wire.segment(Server, SYN | ACK, b"");
        wire.sent[1] = 0;
        wire.segment(Client, ACK, b"");
        wire
    }

    /// A connection that was there before.
    pub fn late(origins: [u32; 2]) -> Self {
        Self {
            origins,
            sent: [0, 0],
            ports: [49152, 2525],
            packets: Vec::new(),
            number: 0,
        }
    }

    /// Sends octets in one segment.
    pub fn say(&mut self, from: Direction, bytes: &[u8]) {
        self.segment(from, ACK, bytes);
        self.sent[from.index()] = self.sent[from.index()].wrapping_add(bytes.len() as u32);
    }

    /// Both sides end.
    pub fn close(&mut self) {
        for from in [Client, Server] {
            self.segment(from, FIN | ACK, b"");
            self.sent[from.index()] = self.sent[from.index()].wrapping_add(1);
        }
        self.segment(Client, ACK, b"");
    }

    /// A segment at the place where its side is.
    pub fn segment(&mut self, from: Direction, flags: u8, payload: &[u8]) {
        let index = from.index();
        let sequence = self.origins[index].wrapping_add(self.sent[index]);
        let acknowledged = if flags & ACK == 0 {
            0
        } else {
            self.origins[1 - index].wrapping_add(self.sent[1 - index])
        };
        self.number += 1;
        let mut tcp = Vec::new();
        tcp.extend(self.ports[index].to_be_bytes());
        tcp.extend(self.ports[1 - index].to_be_bytes());
        tcp.extend(sequence.to_be_bytes());
        tcp.extend(acknowledged.to_be_bytes());
        tcp.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(payload);
        self.packets.push(ip(index as u8, self.number, 0, &tcp));
    }
}

/// An IPv4 packet between the two ends; `offset` has the flag for more fragments.
fn ip(from: u8, number: u16, offset: u16, payload: &[u8]) -> Packet {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet.extend(offset.to_be_bytes());
    packet.extend([64, 6, 0, 0, 192, 0, 2, 1 + from, 192, 0, 2, 2 - from]);
    packet.extend(payload);
    packet
}

/// The same packet in fragments of so many octets (rounded to eight).
pub fn fragments(packet: &Packet, size: usize) -> Vec<Packet> {
    let size = (size.max(8) / 8) * 8;
    let payload = &packet[20..];
    let from = packet[15] - 1;
    let number = u16::from_be_bytes([packet[4], packet[5]]);
    let count = payload.len().div_ceil(size);
    payload
        .chunks(size)
        .enumerate()
        .map(|(index, part)| {
            let more = if index + 1 < count { 0x2000 } else { 0 };
            ip(from, number, more | (index * size / 8) as u16, part)
        })
        .collect()
}

/// Imports packets, a millisecond apart.
pub fn import(packets: &[Packet], settings: Settings) -> (Totals, Recording) {
    let mut importer = Importer::new(settings, Vec::new());
    for (index, packet) in packets.iter().enumerate() {
        let at = 1_700_000_000_000_000_000 + index as u64 * 1_000_000;
        let captured = Captured {
            at: Some(Timestamp::from_nanos(at)),
            link: 101,
            bytes: packet,
        };
        importer.handle(&captured).unwrap();
    }
    let (totals, lines) = importer.finish().unwrap();
    let recording = Recording::parse(&lines).unwrap();
    assert_eq!(
        recording.damage(),
        &[],
        "{}",
        String::from_utf8_lossy(&lines)
    );
    (totals, recording)
}

/// What each side said, and which of it each reply answers, without times.
pub fn essence(recording: &Recording) -> [Vec<String>; 2] {
    let mut said: [Vec<(String, Vec<u8>)>; 2] = [Vec::new(), Vec::new()];
    let mut answered = std::collections::HashMap::new();
    for record in recording.records() {
        let Some(direction) = record.direction() else {
            continue;
        };
        let side = &mut said[direction.index()];
        let payload = record.payload().unwrap_or_default();
        let name = name(record, &answered);
        let of_chunk = record.text("form") == Some("bdat");
        match side.last_mut() {
            Some((last, bytes)) if of_chunk && last.starts_with("data  false") => {
                *last = name;
                bytes.extend(payload);
            }
            // How content is cut is for the segments to say.
            Some((last, bytes)) if *last == name && record.kind() == "data" => {
                bytes.extend(payload);
            }
            _ => side.push((name, payload)),
        }
        if direction == Client {
            answered.insert(record.n(), side.len());
        }
    }
    said.map(|side| {
        side.into_iter()
            .map(|(name, bytes)| format!("{name} {}", String::from_utf8_lossy(&bytes)))
            .collect()
    })
}

fn name(record: &Record, answered: &std::collections::HashMap<u64, usize>) -> String {
    let number = |name| record.number(name).unwrap_or_default();
    let re = answered.get(&number("re")).copied().unwrap_or_default();
    // What is odd about content is told of its pieces.
    let dev: Vec<&str> = record
        .texts("dev")
        .filter(|_| record.kind() != "data")
        .collect();
    format!(
        "{} {} {} {} {re} {} {dev:?}",
        record.kind(),
        record.text("verb").unwrap_or_default(),
        record.flag("end"),
        number("code"),
        number("len"),
    )
}

pub fn turns(text: &[(char, &str)]) -> Vec<Turn> {
    text.iter()
        .map(|(side, said)| {
            let side = if *side == 'C' { Client } else { Server };
            (side, said.as_bytes().to_vec())
        })
        .collect()
}

/// Dialogues with everything in them.
pub fn dialogues() -> Vec<Vec<Turn>> {
    let pipelined = turns(&[
        ('S', "220 mx.example.test ESMTP\r\n"),
        ('C', "EHLO client.example.test\r\n"),
        (
            'S',
            "250-mx.example.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
        ),
        (
            'C',
            "MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nRCPT TO:<c@example.test>\r\nDATA\r\n",
        ),
        ('S', "250 sender\r\n250 one\r\n550 two\r\n354 go\r\n"),
        (
            'C',
            "Subject: hi\r\n\r\n..dot\r\nQUIT\r\nlone\n.\nno end\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.test>\r\nBDAT 9\r\nQUIT\r\n.\r\nBDAT 3 LAST\r\nabc",
        ),
        (
            'S',
            "250 queued as 12345\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n",
        ),
        ('C', "QUIT\r\n"),
        ('S', "221 bye\r\n"),
    ]);
    let authenticated = turns(&[
        ('S', "220-first\r\n220 second\r\n"),
        ('C', "EHLO client.example.test\r\n"),
        ('S', "250-mx\r\n250 AUTH LOGIN\r\n"),
        ('C', "AUTH LOGIN\r\n"),
        ('S', "334 VXNlcm5hbWU6\r\n"),
        ('C', "YWxpY2U=\r\n"),
        ('S', "334 UGFzc3dvcmQ6\r\n"),
        ('C', "d29uZGVybGFuZA==\r\n"),
        ('S', "235 welcome\r\n"),
        ('C', "STARTTLS\r\n"),
        ('S', "454 not now\r\n"),
        ('C', "VRFY b\r\n"),
        ('S', "252 perhaps\r\n"),
    ]);
    let lmtp = turns(&[
        ('S', "220 lmtp\r\n"),
        ('C', "LHLO x\r\n"),
        ('S', "250 hello\r\n"),
        ('C', "MAIL FROM:<a@b>\r\n"),
        ('S', "250 ok\r\n"),
        ('C', "RCPT TO:<c@d>\r\n"),
        ('S', "250 ok\r\n"),
        ('C', "RCPT TO:<e@f>\r\n"),
        ('S', "250 ok\r\n"),
        ('C', "DATA\r\n"),
        ('S', "354 go\r\n"),
        ('C', "x\r\n.\r\n"),
        ('S', "250 one\r\n451 two\r\n"),
    ]);
    vec![pipelined, authenticated, lmtp]
}
