//! One direction of a connection: octets by their place, whatever order they come in.

use std::collections::{BTreeMap, VecDeque};

use shared::time::Timestamp;

/// What one side sends.
///
/// Places count from 0, the first octet behind the SYN (or the first that was seen),
/// and go on where sequence numbers begin again at 0.
#[derive(Debug)]
pub(super) struct Stream {
    /// The sequence number of place 0.
    origin: u32,
    /// Everything before this place was given or is a gap.
    next: u64,
    held: BTreeMap<u64, Piece>,
    octets: usize,
    /// Octets up to here were sent: data or FIN show it.
    sent: u64,
    /// Octets up to here were received: the other side says so.
    received: u64,
    end: Option<u64>,
    /// The last octets before `next`, to compare with what is sent again.
    history: VecDeque<u8>,
    history_most: usize,
}

/// Octets that wait to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) at: Timestamp,
    /// What its sender had acknowledged by then.
    pub(super) acknowledged: Option<u32>,
    /// Counts the segments of the connection.
    pub(super) order: u64,
}

/// Octets that were sent again with other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Differing {
    pub(super) offset: u64,
    pub(super) octets: u64,
}

/// The largest window of TCP (RFC 7323 §2.3): what is farther away does not belong to
/// the connection.
const WINDOW: i64 = 1 << 30;

impl Stream {
    pub(super) fn new(origin: u32, history_most: usize) -> Self {
        Self {
            origin,
            next: 0,
            held: BTreeMap::new(),
            octets: 0,
            sent: 0,
            received: 0,
            end: None,
            history: VecDeque::new(),
            history_most,
        }
    }

    pub(super) fn origin(&self) -> u32 {
        self.origin
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Octets that wait.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Pieces that wait.
    pub(super) fn pieces(&self) -> usize {
        self.held.len()
    }

    /// Where the first piece that waits begins.
    pub(super) fn front(&self) -> Option<(u64, &Piece)> {
        self.held.first_key_value().map(|(&at, piece)| (at, piece))
    }

    /// The piece that comes next, if it is there.
    pub(super) fn ready(&self) -> Option<&Piece> {
        self.front()
            .filter(|&(at, _)| at == self.next)
            .map(|(_, piece)| piece)
    }

    /// All was given, and it has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.end == Some(self.next)
    }

    /// The place before the first octet that is missing was received.
    pub(super) fn hole_was_received(&self) -> bool {
        self.received > self.next
    }

    /// Up to where octets are known to have been sent, and whether a lone one at the
    /// end may be a FIN that was not captured.
    pub(super) fn known(&self) -> u64 {
        match self.end {
            Some(end) => end.max(self.sent),
            None if self.received == self.sent + 1 => self.sent,
            None => self.sent.max(self.received),
        }
    }

    /// The place of a sequence number; `None` if it is none of this connection.
    pub(super) fn place(&self, sequence: u32) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        let next = self.origin.wrapping_add(self.next as u32);
        let distance = i64::from(sequence.wrapping_sub(next).cast_signed());
        let place = i64::try_from(self.next).ok()?.checked_add(distance)?;
        (-WINDOW..=WINDOW).contains(&distance).then_some(place)
    }

    /// The other side has received everything up to this sequence number.
    pub(super) fn acknowledge(&mut self, sequence: u32) {
        let place = self.place(sequence).and_then(|at| u64::try_from(at).ok());
        self.received = self.received.max(place.unwrap_or_default());
    }

    /// Whether all was given that was received when this was acknowledged.
    pub(super) fn was_given(&self, acknowledged: u32) -> bool {
        self.wanted(acknowledged) <= self.next
    }

    /// The place up to which octets must have been given.
    pub(super) fn wanted(&self, acknowledged: u32) -> u64 {
        let place = self.place(acknowledged);
        let place = place.and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
        // The number behind a FIN acknowledges it, and no octet.
        self.end.map_or(place, |end| place.min(end.max(self.next)))
    }

    /// It ends at that place.
    pub(super) fn end_at(&mut self, place: i64) {
        if let Ok(place) = u64::try_from(place)
            && place >= self.next
            && self.end.is_none()
        {
            self.end = Some(place);
            self.sent = self.sent.max(place);
        }
    }

    /// Octets up to that place were sent.
    pub(super) fn sent_up_to(&mut self, place: i64) {
        self.sent = self.sent.max(u64::try_from(place).unwrap_or_default());
    }

    /// Takes octets; says how many of them differ from those that came before.
    pub(super) fn insert(&mut self, place: i64, piece: &Piece) -> Option<Differing> {
        let mut differing = None;
        let (mut at, mut rest) = (place, &piece.bytes[..]);
        let next = i64::try_from(self.next).unwrap_or(i64::MAX);
        if at < next {
            let old = usize::try_from(next - at).map_or(rest.len(), |old| old.min(rest.len()));
            let (before, after) = rest.split_at(old);
            // A keep-alive is one octet of any value before the next one
            // (RFC 9293 §3.8.4).
            let is_keep_alive = rest.len() == 1 && at + 1 == next;
            if !is_keep_alive {
                note(&mut differing, self.differs_from_history(at, before));
            }
            (at, rest) = (next, after);
        }
        let Ok(at) = u64::try_from(at) else {
            return differing;
        };
        self.sent = self.sent.max(at + rest.len() as u64);
        self.fill(at, rest, piece, &mut differing);
        differing
    }

    /// Puts octets where none are held yet, and compares where some are.
    fn fill(&mut self, at: u64, bytes: &[u8], piece: &Piece, differing: &mut Option<Differing>) {
        let end = at + bytes.len() as u64;
        let overlapping: Vec<(u64, usize)> = self
            .held
            .range(..end)
            .rev()
            .take_while(|(start, held)| *start + held.bytes.len() as u64 > at)
            .map(|(start, held)| (*start, held.bytes.len()))
            .collect();
        let mut from = at;
        for (start, length) in overlapping.into_iter().rev() {
            self.hold(from, slice(bytes, at, from, start), piece);
            let stop = start + length as u64;
            let (first, last) = (start.max(from), stop.min(end));
            if let Some(held) = self.held.get(&start) {
                let old = slice(&held.bytes, start, first, last);
                note(
                    differing,
                    compare(first, old, slice(bytes, at, first, last)),
                );
            }
            from = from.max(stop);
        }
        self.hold(from, slice(bytes, at, from, end), piece);
    }

    fn hold(&mut self, at: u64, bytes: &[u8], piece: &Piece) {
        if !bytes.is_empty() {
            self.octets += bytes.len();
            let bytes = bytes.to_vec();
            self.held.insert(
                at,
                Piece {
                    bytes,
                    ..piece.clone_facts()
                },
            );
        }
    }

    /// Gives the piece that comes next.
    pub(super) fn give(&mut self) -> Option<Piece> {
        self.ready()?;
        let (_, piece) = self.held.pop_first()?;
        self.octets -= piece.bytes.len();
        self.next += piece.bytes.len() as u64;
        self.remember(&piece.bytes);
        Some(piece)
    }

    /// Gives up octets up to that place; how many.
    pub(super) fn skip_to(&mut self, place: u64) -> u64 {
        let octets = place.saturating_sub(self.next);
        if octets > 0 {
            self.next = place;
            self.history.clear();
        }
        octets
    }

    fn remember(&mut self, bytes: &[u8]) {
        let last = bytes.len().saturating_sub(self.history_most);
        let bytes = bytes.get(last..).unwrap_or_default();
        let room = self.history_most - bytes.len();
        let surplus = self.history.len().saturating_sub(room);
        self.history.drain(..surplus);
        self.history.extend(bytes);
    }

    fn differs_from_history(&self, at: i64, bytes: &[u8]) -> Option<Differing> {
        let remembered = self.next - self.history.len() as u64;
        let skip = i64::try_from(remembered).ok()?.saturating_sub(at).max(0);
        let bytes = bytes.get(usize::try_from(skip).ok()?..)?;
        let first = u64::try_from(at + skip).ok()?;
        let from = usize::try_from(first.checked_sub(remembered)?).ok()?;
        let old: Vec<u8> = self.history.iter().skip(from).copied().collect();
        compare(first, &old, bytes)
    }
}

impl Piece {
    /// Everything but its octets.
    fn clone_facts(&self) -> Self {
        Self {
            bytes: Vec::new(),
            ..*self
        }
    }
}

/// The part of `bytes`, which begin at a place, from one place to another.
fn slice(bytes: &[u8], begins: u64, from: u64, to: u64) -> &[u8] {
    let index = |place: u64| usize::try_from(place.saturating_sub(begins)).unwrap_or(usize::MAX);
    let (from, to) = (index(from), index(to).min(bytes.len()));
    bytes.get(from..to).unwrap_or_default()
}

fn compare(first: u64, old: &[u8], new: &[u8]) -> Option<Differing> {
    let mut places = old
        .iter()
        .zip(new)
        .zip(first..)
        .filter(|((old, new), _)| old != new)
        .map(|(_, place)| place);
    let offset = places.next()?;
    let octets = 1 + places.count() as u64;
    Some(Differing { offset, octets })
}

fn note(found: &mut Option<Differing>, more: Option<Differing>) {
    match (found.as_mut(), more) {
        (Some(found), Some(more)) => found.octets += more.octets,
        (None, more) => *found = more,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &[u8]) -> Piece {
        Piece {
            bytes: bytes.to_vec(),
            at: Timestamp::default(),
            acknowledged: None,
            order: 0,
        }
    }

    fn given(stream: &mut Stream) -> Vec<u8> {
        std::iter::from_fn(|| stream.give())
            .flat_map(|piece| piece.bytes)
            .collect()
    }

    #[test]
    fn the_first_value_wins_and_others_are_told() {
        let mut stream = Stream::new(0, 8);
        assert_eq!(stream.insert(2, &piece(b"cd")), None);
        assert_eq!(stream.insert(6, &piece(b"gh")), None);
        let told = stream.insert(0, &piece(b"abCDefGhij"));
        assert_eq!(
            told,
            Some(Differing {
                offset: 2,
                octets: 3
            })
        );
        assert_eq!(given(&mut stream), b"abcdefghij");
        // Only the last eight are remembered.
        assert_eq!(stream.insert(0, &piece(b"XXcdefghij")), None);
        let told = stream.insert(8, &piece(b"iXk"));
        assert_eq!(
            told,
            Some(Differing {
                offset: 9,
                octets: 1
            })
        );
        assert_eq!(given(&mut stream), b"k");
    }

    #[test]
    fn places_go_on_where_numbers_wrap() {
        let mut stream = Stream::new(u32::MAX - 1, 8);
        assert_eq!(stream.place(u32::MAX - 1), Some(0));
        assert_eq!(stream.place(1), Some(3));
        stream.insert(0, &piece(b"abcdef"));
        assert_eq!(given(&mut stream), b"abcdef");
        assert_eq!(stream.place(4), Some(6));
        assert_eq!(stream.place(u32::MAX), Some(1));
    }

    #[test]
    fn a_keep_alive_is_no_other_value() {
        let mut stream = Stream::new(0, 8);
        stream.insert(0, &piece(b"abc"));
        given(&mut stream);
        assert_eq!(stream.insert(2, &piece(b"\0")), None);
        assert!(stream.insert(1, &piece(b"b\0")).is_some());
    }

    proptest::proptest! {
        #[test]
        fn any_pieces_in_any_order_give_the_whole(
            bytes in proptest::collection::vec(0u8..255, 1..200),
            cuts in proptest::collection::vec((0usize..200, 1usize..60), 0..60),
            origin: u32,
        ) {
            let mut stream = Stream::new(origin, 64);
            let mut out = Vec::new();
            let whole = [(0, bytes.len())];
            for (from, length) in cuts.into_iter().chain(whole) {
                let from = from.min(bytes.len());
                let to = (from + length).min(bytes.len());
                let sequence = origin.wrapping_add(u32::try_from(from).unwrap());
                let place = stream.place(sequence).unwrap();
                proptest::prop_assert_eq!(stream.insert(place, &piece(&bytes[from..to])), None);
                out.extend(given(&mut stream));
            }
            proptest::prop_assert_eq!(out, bytes);
            proptest::prop_assert_eq!(stream.octets(), 0);
        }
    }
}
