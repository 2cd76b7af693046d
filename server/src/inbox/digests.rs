//! Which content has come already.

use std::collections::{HashMap, VecDeque};

/// So many are remembered.
const MOST: usize = 100_000;

/// Digests of content, and the ids of the messages that had it first.
#[derive(Debug, Default)]
pub(super) struct Digests {
    /// By the first half of the digest: enough to tell content apart.
    ids: HashMap<u128, u128>,
    /// Oldest first.
    order: VecDeque<u128>,
}

impl Digests {
    /// The id of the message that had it.
    pub(super) fn find(&self, sha256: &str) -> Option<String> {
        let id = self.ids.get(&number(sha256)?)?;
        Some(format!("{id:032x}"))
    }

    pub(super) fn add(&mut self, sha256: &str, id: &str) {
        let (Some(digest), Some(id)) = (number(sha256), number(id)) else {
            return;
        };
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        if self.ids.insert(digest, id).is_none() {
            self.order.push_back(digest);
        }
    }
}

/// The first 32 hexadecimal digits.
fn number(hex: &str) -> Option<u128> {
    u128::from_str_radix(hex.get(..32)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let mut digests = Digests::default();
        let hex = |n: usize| format!("{n:032x}{:032x}", 0);
        for n in 0..MOST + 10 {
            digests.add(&hex(n), &hex(n + 1)[..32]);
        }
        assert_eq!(digests.find(&hex(9)), None);
        assert_eq!(digests.find(&hex(10)).as_deref(), Some(&hex(11)[..32]));
        assert_eq!((digests.ids.len(), digests.order.len()), (MOST, MOST));
        assert_eq!(digests.find("not hex"), None);
    }
}
