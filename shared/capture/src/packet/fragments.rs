//! IP datagrams that came in fragments (RFC 791 §3.2, RFC 8200 §4.5).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use etherparse::IpFragOffset;
use etherparse::IpNumber;
use etherparse::defrag::IpDefragBuf;

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) number: u32,
    pub(super) protocol: u8,
}

/// One fragment.
pub(super) struct Fragment<'a> {
    pub(super) id: Id,
    pub(super) offset: IpFragOffset,
    pub(super) more: bool,
    pub(super) payload: &'a [u8],
}

/// Datagrams that are being put together.
pub(super) struct Fragments {
    most: usize,
    waiting: HashMap<Id, IpDefragBuf>,
    /// Oldest first; what was put together meanwhile is still among them.
    order: VecDeque<Id>,
}

impl Fragments {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            waiting: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes a fragment; gives the payload of the datagram if that is whole now.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        let id = fragment.id;
        if !self.waiting.contains_key(&id) {
            self.make_room();
            let buffer = IpDefragBuf::new(IpNumber(id.protocol), Vec::new(), Vec::new());
            self.waiting.insert(id, buffer);
            self.order.push_back(id);
        }
        let buffer = self.waiting.get_mut(&id)?;
        if buffer
            .add(fragment.offset, fragment.more, fragment.payload)
            .is_err()
        {
            // Fragments that contradict each other: neither is to be trusted.
            self.waiting.remove(&id);
            return None;
        }
        if !buffer.is_complete() {
            return None;
        }
        self.waiting.remove(&id).map(|buffer| buffer.take_bufs().0)
    }

    fn make_room(&mut self) {
        while self.order.len() >= self.most {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.waiting.remove(&oldest);
        }
    }
}
