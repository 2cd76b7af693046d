//! All connections of a capture.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use shared::time::Timestamp;

use super::connection::Connection;
use super::event::{Event, Side};
use super::segment::{End, Segment};
use crate::Limits;

/// The two ends of a connection, whichever of them sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    low: SocketAddr,
    high: SocketAddr,
}

impl Key {
    fn of(segment: &Segment<'_>) -> Self {
        Self {
            low: segment.from.min(segment.to),
            high: segment.from.max(segment.to),
        }
    }
}

/// What is told of a connection.
pub struct Told<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// What happened in it.
    pub events: Vec<Event>,
    /// It is over, or there is no more of it.
    pub over: bool,
}

/// The connections that are followed, each with what its owner keeps beside it.
///
/// An owner is told of what happens, and says whether it wants to hear more.
pub struct Table<S> {
    limits: Limits,
    entries: HashMap<Key, Entry<S>>,
    /// By the packet that was their last.
    by_age: BTreeMap<u64, Key>,
    packets: u64,
    /// Connections that were reset, with the packet at which they end.
    reset: VecDeque<(u64, Key, u64)>,
    waiting: usize,
}

struct Entry<S> {
    /// `None`: over, or nobody wants to hear of it. It stays for a while so that what
    /// still comes is not taken for a new one.
    connection: Option<Connection>,
    first: SocketAddr,
    syns: [Option<u32>; 2],
    origins: [Option<u32>; 2],
    born: u64,
    age: u64,
    last: Timestamp,
    owner: S,
}

/// Packets that a connection is given after an RST: it may have overtaken others in
/// the capture.
const AFTER_RESET: u64 = 64;

/// A connection of which the beginning is missing may take the place of one that was
/// over so long ago: twice the longest life of a segment (RFC 9293 §3.4.2).
const FORGOTTEN: Duration = Duration::from_secs(240);

impl<S: Default> Table<S> {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            by_age: BTreeMap::new(),
            packets: 0,
            reset: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Takes a segment; `tell` is called with what is known now, and answers whether
    /// more of the connection is wanted.
    pub fn handle(
        &mut self,
        segment: &Segment<'_>,
        tell: &mut dyn FnMut(&mut S, Told<'_>) -> bool,
    ) {
        self.packets += 1;
        self.end_what_was_reset(tell);
        let key = Key::of(segment);
        if let Some(entry) = self.entries.get(&key)
            && entry.is_followed_by(segment)
        {
            self.end(key, tell);
            self.remove(key);
        }
        if !self.entries.contains_key(&key) {
            if segment.flags.end == End::Reset {
                return;
            }
            self.make_room(tell);
            self.insert(key, segment);
        }
        self.give(key, segment, tell);
    }

    /// There are no more packets.
    pub fn finish(&mut self, tell: &mut dyn FnMut(&mut S, Told<'_>) -> bool) {
        let mut rest: Vec<(u64, Key)> = self
            .entries
            .iter()
            .map(|(key, entry)| (entry.born, *key))
            .collect();
        rest.sort_unstable_by_key(|(born, _)| *born);
        for (_, key) in rest {
            self.end(key, tell);
        }
    }

    fn insert(&mut self, key: Key, segment: &Segment<'_>) {
        let entry = Entry {
            connection: Some(Connection::new(segment, self.limits)),
            first: segment.from,
            syns: [None; 2],
            origins: [None; 2],
            born: self.packets,
            age: self.packets,
            last: segment.at,
            owner: S::default(),
        };
        self.entries.insert(key, entry);
        self.by_age.insert(self.packets, key);
    }

    fn give(
        &mut self,
        key: Key,
        segment: &Segment<'_>,
        tell: &mut dyn FnMut(&mut S, Told<'_>) -> bool,
    ) {
        let (packets, full) = (self.packets, self.waiting > self.limits.waiting_in_all);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        self.by_age.remove(&entry.age);
        entry.age = packets;
        self.by_age.insert(packets, key);
        let Some(connection) = &mut entry.connection else {
            return;
        };
        entry.last = segment.at;
        let before = connection.held();
        let mut events = Vec::new();
        connection.handle(segment, &mut events);
        if full {
            connection.give_up_all(&mut events);
        }
        entry.syns = Side::BOTH.map(|side| connection.syn(side));
        entry.origins = Side::BOTH.map(|side| connection.origin(side));
        self.waiting = self.waiting + connection.held() - before;
        if segment.flags.end == End::Reset {
            self.reset
                .push_back((packets + AFTER_RESET, key, entry.born));
        }
        if connection.is_over() {
            // The events of its end come together with these.
            Self::tell_end(entry, events, &mut self.waiting, tell);
            return;
        }
        let told = Told {
            connection,
            events,
            over: false,
        };
        if !tell(&mut entry.owner, told) {
            self.waiting -= connection.held();
            entry.connection = None;
        }
    }

    /// Ends what is followed under that key.
    fn end(&mut self, key: Key, tell: &mut dyn FnMut(&mut S, Told<'_>) -> bool) {
        if let Some(entry) = self.entries.get_mut(&key) {
            Self::tell_end(entry, Vec::new(), &mut self.waiting, tell);
        }
    }

    fn tell_end(
        entry: &mut Entry<S>,
        mut events: Vec<Event>,
        waiting: &mut usize,
        tell: &mut dyn FnMut(&mut S, Told<'_>) -> bool,
    ) {
        let Some(mut connection) = entry.connection.take() else {
            return;
        };
        *waiting -= connection.held();
        connection.finish(&mut events);
        let told = Told {
            connection: &connection,
            events,
            over: true,
        };
        tell(&mut entry.owner, told);
        entry.owner = S::default();
    }

    fn end_what_was_reset(&mut self, tell: &mut dyn FnMut(&mut S, Told<'_>) -> bool) {
        while let Some(&(due, key, born)) = self.reset.front() {
            if due > self.packets {
                return;
            }
            self.reset.pop_front();
            if self
                .entries
                .get(&key)
                .is_some_and(|entry| entry.born == born)
            {
                self.end(key, tell);
            }
        }
    }

    fn make_room(&mut self, tell: &mut dyn FnMut(&mut S, Told<'_>) -> bool) {
        while self.entries.len() >= self.limits.connections.max(1) {
            let Some((_, &key)) = self.by_age.first_key_value() else {
                return;
            };
            self.end(key, tell);
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.by_age.remove(&entry.age);
        }
    }
}

impl<S> Entry<S> {
    /// The segment belongs to a new connection between the same two ends.
    fn is_followed_by(&self, segment: &Segment<'_>) -> bool {
        let index = usize::from(segment.from != self.first);
        let syn = self.syns.get(index).copied().flatten();
        let origin = self.origins.get(index).copied().flatten();
        if !segment.flags.syn {
            let forgotten = segment.at.since(self.last) > FORGOTTEN;
            return self.connection.is_none() && forgotten && !segment.payload.is_empty();
        }
        match (syn, origin) {
            (Some(syn), _) => syn != segment.sequence,
            // It may have been overtaken by its own data.
            (None, Some(origin)) => {
                origin.wrapping_sub(segment.sequence) > NEAR || self.connection.is_none()
            }
            (None, None) => self.connection.is_none(),
        }
    }
}

/// How far behind its SYN data may be that was captured before it.
const NEAR: u32 = 1 << 16;
