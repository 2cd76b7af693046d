//! Both directions of a connection, and the order between them.

use std::net::SocketAddr;
use std::time::Duration;

use shared::time::Timestamp;

use super::event::{Event, Side};
use super::segment::{End, Segment};
use super::stream::{Piece, Stream};
use crate::Limits;

/// One connection, as far as the capture has it.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    addresses: [SocketAddr; 2],
    halves: [Half; 2],
    began: Timestamp,
    last: Timestamp,
    packets: u64,
    /// The count of packets when what waits began to wait for something that was
    /// received, and so will not be sent again.
    stuck: Option<u64>,
    reset: Option<(Side, Timestamp)>,
    opened_by: Option<Side>,
}

/// What is known of one side.
#[derive(Debug, Default)]
struct Half {
    syn: Option<u32>,
    stream: Option<Stream>,
    /// Segments that came while nobody knew where the stream begins.
    early: Vec<Early>,
    early_since: u64,
    /// Nothing of this side was seen, and nothing more of it is waited for.
    absent: bool,
    finished: Option<Timestamp>,
    told_finished: bool,
    /// The time of what was given last.
    given: Timestamp,
}

#[derive(Debug)]
struct Early {
    sequence: u32,
    piece: Piece,
    missing: usize,
    end: End,
}

/// Packets that a connection without a SYN is given to show one, or the lowest of its
/// sequence numbers.
const EARLY: u64 = 16;

impl Connection {
    /// A connection that is seen for the first time with this segment, which is still
    /// to be given to it.
    pub fn new(segment: &Segment<'_>, limits: Limits) -> Self {
        Self {
            limits,
            addresses: [segment.from, segment.to],
            halves: [Half::default(), Half::default()],
            began: segment.at,
            last: segment.at,
            packets: 0,
            stuck: None,
            reset: None,
            opened_by: None,
        }
    }

    /// The address of a side.
    pub fn address(&self, side: Side) -> SocketAddr {
        let [first, second] = self.addresses;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// When its first packet was captured.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// When its last packet so far was captured.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// How many packets it had.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// The sequence number of a side's SYN, if that was seen.
    pub fn syn(&self, side: Side) -> Option<u32> {
        self.half(side).syn
    }

    /// The sequence number of the first octet of a side, if it is known.
    pub fn origin(&self, side: Side) -> Option<u32> {
        let half = self.half(side);
        let early = half.early.first().map(|early| early.sequence);
        half.stream.as_ref().map(Stream::origin).or(early)
    }

    /// The beginning was seen: a SYN of either side.
    pub fn has_beginning(&self) -> bool {
        self.halves.iter().any(|half| half.syn.is_some())
    }

    /// Who opened it, if a SYN shows that.
    pub fn began_with(&self) -> Option<Side> {
        self.opened_by
    }

    /// Nothing at all of a side is in the capture.
    pub fn is_absent(&self, side: Side) -> bool {
        let half = self.half(side);
        half.stream.is_none() && half.early.is_empty()
    }

    /// Both sides have said that they are done, and nothing waits.
    pub fn is_over(&self) -> bool {
        self.halves.iter().all(|half| half.told_finished) && self.held() == 0
    }

    /// A side has broken it off.
    pub fn is_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// Octets that wait.
    pub fn held(&self) -> usize {
        self.halves.iter().map(Half::held).sum()
    }

    /// Takes a segment, and tells what is known now.
    pub fn handle(&mut self, segment: &Segment<'_>, out: &mut Vec<Event>) {
        self.packets += 1;
        self.last = segment.at;
        let side = if segment.from == self.address(Side::First) {
            Side::First
        } else {
            Side::Second
        };
        if segment.flags.end == End::Reset {
            self.reset.get_or_insert((side, segment.at));
            // What it acknowledges may be anything (RFC 9293 §3.5.2).
        } else if let Some(acknowledged) = segment.acknowledged
            && let Some(stream) = &mut self.half_mut(side.other()).stream
        {
            stream.acknowledge(acknowledged);
        }
        if segment.flags.syn {
            let opener = if segment.acknowledged.is_some() {
                side.other()
            } else {
                side
            };
            self.opened_by.get_or_insert(opener);
            self.begin(side, segment.sequence, out);
        }
        self.take(side, segment, out);
        self.move_on(out);
    }

    /// Gives up whatever is waited for.
    pub fn give_up_all(&mut self, out: &mut Vec<Event>) {
        while self.held() > 0 {
            self.give_up(out);
            self.pump(out);
        }
    }

    /// There are no more packets: gives what is there, and tells of what is not.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        self.pump(out);
        self.give_up_all(out);
        let at = self.last;
        for side in Side::BOTH {
            let Some(stream) = &mut self.half_mut(side).stream else {
                continue;
            };
            let octets = stream.skip_to(stream.known());
            if octets > 0 {
                out.push(Event::Gap { side, octets, at });
            }
        }
        self.pump(out);
        if let Some((side, at)) = self.reset {
            out.push(Event::Reset { side, at });
        }
    }

    fn half(&self, side: Side) -> &Half {
        let [first, second] = &self.halves;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    fn half_mut(&mut self, side: Side) -> &mut Half {
        let [first, second] = &mut self.halves;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// The SYN of a side: its octets count from here.
    fn begin(&mut self, side: Side, sequence: u32, out: &mut Vec<Event>) {
        if self.half(side).syn.is_none() {
            self.half_mut(side).syn = Some(sequence);
            self.set_origin(side, sequence.wrapping_add(1), out);
        }
    }

    fn set_origin(&mut self, side: Side, origin: u32, out: &mut Vec<Event>) {
        let history = self.limits.history;
        let half = self.half_mut(side);
        if half.stream.is_some() {
            return;
        }
        half.absent = false;
        half.stream = Some(Stream::new(origin, history));
        for early in std::mem::take(&mut half.early) {
            self.insert(side, &early, out);
        }
    }

    fn take(&mut self, side: Side, segment: &Segment<'_>, out: &mut Vec<Event>) {
        let is_empty = segment.payload.is_empty() && segment.missing == 0;
        if is_empty && segment.flags.end != End::Finished {
            return;
        }
        let early = Early {
            sequence: segment.sequence.wrapping_add(u32::from(segment.flags.syn)),
            piece: Piece {
                bytes: segment.payload.to_vec(),
                at: segment.at,
                acknowledged: segment
                    .acknowledged
                    .filter(|_| segment.flags.end != End::Reset),
                order: self.packets,
            },
            missing: segment.missing,
            end: segment.flags.end,
        };
        let packets = self.packets;
        let half = self.half_mut(side);
        if half.stream.is_some() {
            self.insert(side, &early, out);
        } else {
            if half.early.is_empty() {
                half.early_since = packets;
            }
            half.early.push(early);
        }
    }

    fn insert(&mut self, side: Side, early: &Early, out: &mut Vec<Event>) {
        let half = self.half_mut(side);
        let Some(stream) = &mut half.stream else {
            return;
        };
        let Some(place) = stream.place(early.sequence) else {
            return;
        };
        let at = early.piece.at;
        if let Some(differing) = stream.insert(place, &early.piece) {
            out.push(Event::Conflict {
                side,
                offset: differing.offset,
                octets: differing.octets,
                at,
            });
        }
        let octets = early.piece.bytes.len() + early.missing;
        let end = place.saturating_add(i64::try_from(octets).unwrap_or(i64::MAX));
        stream.sent_up_to(end);
        if early.end == End::Finished {
            stream.end_at(end);
            half.finished.get_or_insert(at);
        }
    }

    /// Gives what can be given; gives up what has been waited for too long.
    fn move_on(&mut self, out: &mut Vec<Event>) {
        let packets = self.packets;
        for side in Side::BOTH {
            let half = self.half(side);
            if !half.early.is_empty() && packets - half.early_since >= EARLY {
                self.guess_origin(side, out);
            }
        }
        if self.pump(out) {
            self.stuck = None;
        }
        while self.is_too_much() {
            self.give_up(out);
            self.pump(out);
        }
        if !self.waits_for_what_was_received() {
            self.stuck = None;
            return;
        }
        let since = *self.stuck.get_or_insert(packets);
        if packets - since >= self.limits.patience {
            self.give_up(out);
            self.pump(out);
            self.stuck = None;
        }
    }

    fn is_too_much(&self) -> bool {
        let pieces: usize = self.halves.iter().map(Half::pieces).sum();
        self.held() > 0 && (self.held() > self.limits.waiting || pieces > self.limits.segments)
    }

    /// Whether what is waited for is only missing in the capture.
    fn waits_for_what_was_received(&self) -> bool {
        self.halves.iter().any(|half| {
            half.stream.as_ref().is_some_and(|stream| {
                stream.ready().is_some() || (stream.pieces() > 0 && stream.hole_was_received())
            })
        })
    }

    /// Gives everything that may be given now; whether that was anything.
    fn pump(&mut self, out: &mut Vec<Event>) -> bool {
        let mut moved = false;
        while let Some(side) = self.next_side() {
            self.give(side, out);
            moved = true;
        }
        for side in Side::BOTH {
            let half = self.half_mut(side);
            let finished = half.stream.as_ref().is_some_and(Stream::is_finished);
            if finished
                && !half.told_finished
                && let Some(at) = half.finished
            {
                half.told_finished = true;
                out.push(Event::Finished { side, at });
            }
        }
        moved
    }

    /// Gives what comes next of a side. Where a capture has it out of order, its time
    /// is that of what had to come before: no side goes backwards in time, and nobody
    /// answers what is still to come.
    fn give(&mut self, side: Side, out: &mut Vec<Event>) {
        let other = self.half(side.other());
        let (cause, caused_by) = (other.given, other.stream.as_ref().map(Stream::next));
        let Some(piece) = self.half_mut(side).give() else {
            return;
        };
        let wanted = self
            .half(side.other())
            .stream
            .as_ref()
            .zip(piece.acknowledged);
        let knew_all = wanted.map(|(stream, number)| stream.wanted(number)) >= caused_by;
        let half = self.half_mut(side);
        let mut at = piece.at.max(half.given);
        if knew_all && at <= cause {
            at = cause + Duration::from_nanos(1);
        }
        half.given = at;
        let bytes = piece.bytes;
        out.push(Event::Bytes { side, bytes, at });
    }

    /// Who may be given next: of both, the one that was captured first.
    fn next_side(&self) -> Option<Side> {
        Side::BOTH
            .into_iter()
            .filter_map(|side| {
                let piece = self.half(side).stream.as_ref()?.ready()?;
                self.was_caused(side, piece).then_some((piece.order, side))
            })
            .min_by_key(|(order, _)| *order)
            .map(|(_, side)| side)
    }

    /// Everything that the sender had received by then has been given.
    fn was_caused(&self, side: Side, piece: &Piece) -> bool {
        let Some(acknowledged) = piece.acknowledged else {
            return true;
        };
        let other = self.half(side.other());
        match &other.stream {
            Some(stream) => stream.was_given(acknowledged),
            None => other.absent,
        }
    }

    /// Goes on without one thing that is waited for.
    fn give_up(&mut self, out: &mut Vec<Event>) {
        for side in Side::BOTH {
            if !self.half(side).early.is_empty() {
                self.guess_origin(side, out);
                return;
            }
        }
        let uncaused = Side::BOTH.into_iter().find_map(|side| {
            let piece = self.half(side).stream.as_ref()?.ready()?;
            let acknowledged = piece.acknowledged?;
            (!self.was_caused(side, piece)).then_some((side, acknowledged))
        });
        if let Some((side, acknowledged)) = uncaused {
            self.give_up_cause(side, acknowledged, out);
            return;
        }
        let hole = Side::BOTH
            .into_iter()
            .filter_map(|side| {
                let (place, piece) = self.half(side).stream.as_ref()?.front()?;
                Some((piece.order, side, place))
            })
            .min_by_key(|(order, ..)| *order);
        if let Some((_, side, place)) = hole {
            self.skip(side, place, out);
        }
    }

    /// What `side` had received of the other one is not in the capture.
    fn give_up_cause(&mut self, side: Side, acknowledged: u32, out: &mut Vec<Event>) {
        let other = self.half_mut(side.other());
        let Some(stream) = &other.stream else {
            other.absent = true;
            return;
        };
        let wanted = stream.wanted(acknowledged);
        let front = stream.front().map_or(wanted, |(place, _)| place);
        let place = wanted.min(front);
        if place > stream.next() {
            self.skip(side.other(), place, out);
        } else {
            // Each waits for the other: no such acknowledgement was ever right.
            self.give(side, out);
        }
    }

    fn skip(&mut self, side: Side, place: u64, out: &mut Vec<Event>) {
        let last = self.last;
        let Some(stream) = &mut self.half_mut(side).stream else {
            return;
        };
        let at = stream.front().map_or(last, |(_, piece)| piece.at);
        let octets = stream.skip_to(place);
        if octets > 0 {
            out.push(Event::Gap { side, octets, at });
        }
    }

    /// No SYN came: the stream begins with the lowest number that did.
    fn guess_origin(&mut self, side: Side, out: &mut Vec<Event>) {
        let early = &self.half(side).early;
        let Some(first) = early.first().map(|early| early.sequence) else {
            return;
        };
        let distance = |sequence: u32| sequence.wrapping_sub(first).cast_signed();
        let lowest = early
            .iter()
            .map(|early| early.sequence)
            .min_by_key(|&sequence| distance(sequence));
        self.set_origin(side, lowest.unwrap_or(first), out);
    }
}

impl Half {
    fn held(&self) -> usize {
        let early: usize = self
            .early
            .iter()
            // One that is empty but for a FIN is waited for as well.
            .map(|early| early.piece.bytes.len().max(1))
            .sum();
        early + self.stream.as_ref().map_or(0, Stream::octets)
    }

    fn pieces(&self) -> usize {
        self.early.len() + self.stream.as_ref().map_or(0, Stream::pieces)
    }

    fn give(&mut self) -> Option<Piece> {
        self.stream.as_mut()?.give()
    }
}
