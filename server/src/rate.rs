//! How often each client connects.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Counts the connections of each client address, a minute at a time.
#[derive(Debug)]
pub(crate) struct Rates {
    most: u32,
    clients: HashMap<IpAddr, Minute>,
}

/// The connections of one client in the minute after one of them.
#[derive(Clone, Copy, Debug)]
struct Minute {
    since: Instant,
    connections: u32,
}

const MINUTE: Duration = Duration::from_secs(60);

/// So many clients are remembered at most: the ones of longest ago go first, and may
/// connect anew.
const CLIENTS: usize = 10_000;

impl Rates {
    /// No client may connect more often than so many times a minute; the most there is
    /// stands for as often as it likes.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            clients: HashMap::new(),
        }
    }

    /// Counts a connection: whether it may be. One that may not counts as well, so that
    /// it pays to wait.
    pub(crate) fn allows(&mut self, client: IpAddr, now: Instant) -> bool {
        if self.most == u32::MAX {
            return true;
        }
        let client = client.to_canonical();
        if !self.clients.contains_key(&client) && self.clients.len() >= CLIENTS {
            self.make_room(now);
        }
        let minute = self.clients.entry(client).or_insert(Minute {
            since: now,
            connections: 0,
        });
        if minute.is_over(now) {
            *minute = Minute {
                since: now,
                connections: 0,
            };
        }
        minute.connections = minute.connections.saturating_add(1);
        minute.connections <= self.most
    }

    fn make_room(&mut self, now: Instant) {
        self.clients.retain(|_, minute| !minute.is_over(now));
        if self.clients.len() < CLIENTS {
            return;
        }
        // A tenth at once, so that this is seldom done.
        let mut ages: Vec<Instant> = self.clients.values().map(|one| one.since).collect();
        let (_, youngest, _) = ages.select_nth_unstable(CLIENTS / 10);
        let youngest = *youngest;
        self.clients.retain(|_, minute| minute.since > youngest);
    }
}

impl Minute {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn each_client_has_its_own_minute() {
        let (mut rates, start) = (Rates::new(2), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (number, seconds, allowed) in [
            (1, 0, true),
            (1, 1, true),
            (1, 2, false),
            (2, 2, true),
            (1, 59, false),
            (2, 59, true),
            (1, 60, true),
            (2, 61, false),
            (1, 61, true),
            (1, 62, false),
            (2, 62, true),
        ] {
            let is = rates.allows(client(number), after(seconds));
            assert_eq!(is, allowed, "{number} at {seconds}");
        }
        let mapped = "::ffff:0.0.0.1".parse().unwrap();
        assert!(!rates.allows(mapped, after(63)), "the same client");
    }

    #[test]
    fn without_a_limit_nothing_is_remembered() {
        let mut rates = Rates::new(u32::MAX);
        assert!(rates.allows(client(1), Instant::now()));
        assert!(rates.clients.is_empty());
    }

    #[test]
    fn only_so_many_clients_are_remembered_the_newest_of_them() {
        let (mut rates, start) = (Rates::new(1), Instant::now());
        let all = u32::try_from(CLIENTS).unwrap() * 3;
        for number in 0..all {
            let now = start + Duration::from_micros(number.into());
            assert!(rates.allows(client(number), now));
            assert!(rates.clients.len() <= CLIENTS);
        }
        let now = start + Duration::from_secs(1);
        assert!(!rates.allows(client(all - 1), now), "it was forgotten");
        // A minute later, room is made of those whose minute is over.
        let later = start + Duration::from_secs(120);
        for number in all..all + 5000 {
            rates.allows(client(number), later);
        }
        assert!(rates.clients.len() <= CLIENTS);
    }
}
