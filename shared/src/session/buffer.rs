//! Bytes of one direction that are not yet part of a unit.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::time::Timestamp;

/// Bytes waiting to become units, with the reads that brought them.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: BytesMut,
    /// How many bytes have left the buffer so far.
    taken: u64,
    reads: VecDeque<Read>,
    ordinal: u64,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    ordinal: u64,
    at: Timestamp,
    /// Offsets in the whole stream of the first byte and the one past the last.
    start: u64,
    end: u64,
}

/// Bytes that left the buffer together, and when they had come.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) at: Timestamp,
    pub(super) began: Option<Timestamp>,
    pub(super) read: Option<u64>,
}

impl Buffer {
    /// Appends what one read brought.
    pub(super) fn push(&mut self, bytes: &[u8], at: Timestamp) {
        if bytes.is_empty() {
            return;
        }
        let start = self.taken + self.bytes.len() as u64;
        self.ordinal += 1;
        self.reads.push_back(Read {
            ordinal: self.ordinal,
            at,
            start,
            end: start + bytes.len() as u64,
        });
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// When the first byte in the buffer was read.
    pub(super) fn first_at(&self) -> Option<Timestamp> {
        self.reads.front().map(|read| read.at)
    }

    /// Takes the first `count` bytes, or all if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Taken {
        let bytes = self.bytes.split_to(count.min(self.bytes.len())).freeze();
        let (from, to) = (self.taken, self.taken + bytes.len() as u64);
        self.taken = to;
        let first = self.reads.front().copied();
        while self.reads.len() > 1 && self.reads.front().is_some_and(|read| read.end < to) {
            self.reads.pop_front();
        }
        let last = self.reads.front().copied();
        if last.is_some_and(|read| read.end <= to) {
            self.reads.pop_front();
        }
        let at = last.map_or_else(Timestamp::default, |read| read.at);
        Taken {
            bytes,
            at,
            began: first.map(|read| read.at).filter(|&began| began < at),
            read: last
                .filter(|read| read.end > to || read.start < from)
                .map(|read| read.ordinal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_first_and_last_byte() {
        let at = Timestamp::from_nanos;
        let mut buffer = Buffer::default();
        buffer.push(b"ab", at(1));
        buffer.push(b"cdef", at(2));
        let first = buffer.take(3);
        assert_eq!(
            (&first.bytes[..], first.at, first.began, first.read),
            (&b"abc"[..], at(2), Some(at(1)), Some(2))
        );
        let second = buffer.take(3);
        assert_eq!(
            (second.at, second.began, second.read),
            (at(2), None, Some(2))
        );
        buffer.push(b"gh", at(3));
        let third = buffer.take(9);
        assert_eq!(
            (&third.bytes[..], third.at, third.began, third.read),
            (&b"gh"[..], at(3), None, None)
        );
    }
}
