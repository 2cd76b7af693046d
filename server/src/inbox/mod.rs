//! What was received: an account of each message, in order, for whoever asks.
//!
//! The messages themselves are where the store put them, and in memory they are
//! here; this keeps what is known about them, the newest of them, notices those that
//! came before, and wakes those who wait for more.

mod digests;
mod oddities;
mod received;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use self::digests::Digests;

pub use oddities::{EightBit, Finding, Oddities, Smuggling, Tally};
pub use received::{Envelope, HeaderSection, Place, Received, Recipient};

/// So many accounts are remembered, or as many as there may be messages in memory.
const MOST: usize = 10_000;

/// So many octets of accounts are remembered: a message may have a thousand
/// recipients.
const MOST_OCTETS: usize = 16 << 20;

/// The accounts.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    /// How many were received in all.
    count: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    messages: VecDeque<Received>,
    /// About the memory that the accounts take.
    weight: usize,
    count: u64,
    duplicates: u64,
    digests: Digests,
    held: Held,
}

/// The messages whose content is in memory.
#[derive(Debug)]
struct Held {
    /// Their numbers, oldest first.
    numbers: VecDeque<u64>,
    octets: u64,
    most: usize,
    most_octets: u64,
}

impl Default for Inbox {
    /// One that holds 1000 messages and 256 MiB.
    fn default() -> Self {
        Self::new(1000, 256 << 20)
    }
}

impl Inbox {
    /// Holds so many messages and octets of them in memory, if they come that way.
    pub fn new(most: usize, most_octets: u64) -> Self {
        let held = Held {
            numbers: VecDeque::new(),
            octets: 0,
            most,
            most_octets,
        };
        let state = State {
            messages: VecDeque::new(),
            weight: 0,
            count: 0,
            duplicates: 0,
            digests: Digests::default(),
            held,
        };
        Self {
            state: Mutex::new(state),
            count: watch::channel(0).0,
        }
    }

    /// Takes an account, gives it its number, and says whether it came before: returns
    /// it as it is then.
    pub fn add(&self, received: Received) -> Received {
        let mut state = self.lock();
        let received = state.add(received);
        let count = state.count;
        drop(state);
        self.count.send_replace(count);
        received
    }

    /// The id of a message with that digest that came before.
    pub fn earlier(&self, sha256: &str) -> Option<String> {
        self.lock().digests.find(sha256)
    }

    /// Those for which something holds, oldest first.
    pub fn select(&self, holds: impl FnMut(&Received) -> bool) -> Vec<Received> {
        self.after(0, usize::MAX, holds)
    }

    /// Those after that number for which something holds, oldest first, and no more of
    /// them than wanted.
    pub fn after(
        &self,
        number: u64,
        most: usize,
        mut holds: impl FnMut(&Received) -> bool,
    ) -> Vec<Received> {
        let state = self.lock();
        let from = state.messages.partition_point(|one| one.number <= number);
        let later = state.messages.range(from..);
        later.filter(|one| holds(one)).take(most).cloned().collect()
    }

    /// The message with that id.
    pub fn find(&self, id: &str) -> Option<Received> {
        let state = self.lock();
        state.messages.iter().find(|one| one.id == id).cloned()
    }

    /// Forgets those for which something holds, and returns how many they were.
    pub fn forget(&self, holds: impl Fn(&Received) -> bool) -> u64 {
        let mut state = self.lock();
        let before = state.messages.len();
        state.messages.retain(|one| !holds(one));
        let (weight, held) = (state.weight(), state.held_numbers());
        state.weight = weight;
        state.held.octets = held.iter().map(|(_, octets)| octets).sum();
        state.held.numbers = held.into_iter().map(|(number, _)| number).collect();
        (before - state.messages.len()) as u64
    }

    /// Forgets all of them; the counts go on.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.messages.clear();
        state.weight = 0;
        state.digests = Digests::default();
        state.held.numbers.clear();
        state.held.octets = 0;
    }

    /// Follows how many were received in all.
    pub fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// How many of them had come before.
    pub fn duplicates(&self) -> u64 {
        self.lock().duplicates
    }

    /// A thread that panicked while it held the lock left whole accounts behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What all accounts take.
    fn weight(&self) -> usize {
        self.messages.iter().map(Received::weight).sum()
    }

    /// Those whose content is in memory: their numbers, and how much it is.
    fn held_numbers(&self) -> Vec<(u64, u64)> {
        let in_memory = |one: &&Received| matches!(one.place, Place::Memory(_));
        let held = self.messages.iter().filter(in_memory);
        held.map(|one| (one.number, one.held())).collect()
    }

    fn add(&mut self, mut received: Received) -> Received {
        self.count += 1;
        received.number = self.count;
        received.duplicate_of = self.digests.find(&received.sha256);
        match &received.duplicate_of {
            Some(_) => self.duplicates += 1,
            None => self.digests.add(&received.sha256, &received.id),
        }
        if let Place::Memory(octets) = &received.place {
            self.held.octets += octets.len() as u64;
            self.held.numbers.push_back(received.number);
        }
        self.weight += received.weight();
        self.messages.push_back(received.clone());
        let most = MOST.max(self.held.most);
        while self.messages.len() > most || self.weight > MOST_OCTETS {
            self.drop_oldest();
        }
        while self.held.is_too_much() {
            self.forget_oldest();
        }
        received
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.messages.pop_front() else {
            return;
        };
        self.weight = self.weight.saturating_sub(oldest.weight());
        if self.held.numbers.front() == Some(&oldest.number) {
            self.held.numbers.pop_front();
            self.held.octets -= oldest.held();
        }
    }

    /// Lets the oldest content in memory go; its account stays.
    fn forget_oldest(&mut self) {
        let Some(number) = self.held.numbers.pop_front() else {
            return;
        };
        let found = self
            .messages
            .binary_search_by_key(&number, |one| one.number);
        if let Some(oldest) = found.ok().and_then(|at| self.messages.get_mut(at)) {
            self.held.octets -= oldest.held();
            oldest.place = Place::Forgotten;
        }
    }
}

impl Held {
    fn is_too_much(&self) -> bool {
        !self.numbers.is_empty()
            && (self.numbers.len() > self.most || self.octets > self.most_octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: u128, octets: usize) -> Received {
        let content = vec![b'x'; octets];
        let mut received = Received::sample(id, &content);
        received.place = Place::Memory(content.into());
        received
    }

    /// The numbers of those that are in memory still.
    fn in_memory(inbox: &Inbox) -> Vec<u64> {
        let held = inbox.select(|one| matches!(one.place, Place::Memory(_)));
        held.iter().map(|one| one.number).collect()
    }

    #[test]
    fn the_newest_are_held_by_number_and_by_octets() {
        let inbox = Inbox::new(3, 100);
        for id in 1..=5 {
            inbox.add(held(id, 10));
        }
        assert_eq!(in_memory(&inbox), [3, 4, 5]);
        inbox.add(held(6, 95));
        assert_eq!(in_memory(&inbox), [6]);
        inbox.add(held(7, 5));
        assert_eq!(in_memory(&inbox), [6, 7]);
        // The accounts stay, and so do those that were never in memory.
        inbox.add(Received::sample(8, b""));
        assert_eq!(inbox.select(|_| true).len(), 8);
        let first = inbox.find(&format!("{:032x}", 1)).unwrap();
        assert!(matches!(first.place, Place::Forgotten));
        assert_eq!(first.content().unwrap(), None);
        assert_eq!(*inbox.count().borrow(), 8);
        assert_eq!(inbox.lock().held.octets, 100);
    }

    #[test]
    fn what_came_before_is_told_and_counted() {
        let inbox = Inbox::default();
        for (id, content) in [(1, "a"), (2, "b"), (3, "a"), (4, "a")] {
            inbox.add(Received::sample(id, content.as_bytes()));
        }
        let told = inbox.select(|one| one.duplicate_of.is_some());
        let first = format!("{:032x}", 1);
        assert_eq!(
            told.iter().map(|one| one.number).collect::<Vec<_>>(),
            [3, 4]
        );
        assert!(
            told.iter()
                .all(|one| one.duplicate_of.as_ref() == Some(&first))
        );
        assert_eq!(inbox.duplicates(), 2);
        inbox.clear();
        inbox.add(Received::sample(5, b"a"));
        assert_eq!(inbox.select(|one| one.duplicate_of.is_some()).len(), 0);
        assert_eq!((inbox.duplicates(), *inbox.count().borrow()), (2, 5));
    }

    #[test]
    fn accounts_are_bounded_by_number_and_by_what_they_take() {
        let inbox = Inbox::default();
        for id in 0..MOST + 5 {
            inbox.add(Received::sample(id as u128, b""));
        }
        assert_eq!(inbox.select(|_| true).len(), MOST);
        for id in 0..10 {
            let mut large = held(id, 10);
            large.envelope.parameters = "x".repeat(MOST_OCTETS / 4);
            inbox.add(large);
        }
        assert_eq!(inbox.select(|_| true).len(), 3);
        assert_eq!(in_memory(&inbox).len(), 3);
        let state = inbox.lock();
        assert_eq!(state.held.octets, 30);
        let weight: usize = state.messages.iter().map(Received::weight).sum();
        assert_eq!(state.weight, weight);
        assert!(weight <= MOST_OCTETS);
    }
}
