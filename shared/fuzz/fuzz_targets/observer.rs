//! No byte is lost, whatever comes from whom in which pieces.
#![no_main]

use helo_shared::codec::Limits;
use helo_shared::direction::Direction::{Client, Server};
use helo_shared::session::{Observer, Peers};
use helo_shared::time::Timestamp;
use libfuzzer_sys::fuzz_target;

// Each piece: one octet (side, flush or not, length), then so many octets.
fuzz_target!(|data: &[u8]| {
    let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
    let (mut sent, mut seen) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let (mut rest, mut now) = (data, 0);
    while let Some((&head, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(head >> 2).min(after.len()));
        let side = if head & 1 == 0 { Client } else { Server };
        now += 1;
        observer.push(side, piece, Timestamp::from_nanos(now));
        sent[side.index()].extend_from_slice(piece);
        while let Some(unit) = observer.poll() {
            seen[unit.direction.index()].extend_from_slice(&unit.bytes);
        }
        if head & 2 != 0 {
            if let Some(unit) = observer.flush(side) {
                seen[unit.direction.index()].extend_from_slice(&unit.bytes);
            }
        }
        rest = after;
    }
    for side in [Client, Server] {
        while let Some(unit) = observer.finish(side) {
            seen[unit.direction.index()].extend_from_slice(&unit.bytes);
        }
    }
    assert_eq!(sent, seen);
});
