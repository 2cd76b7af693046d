//! Numbers that only look random.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that only look random, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

impl Dice {
    /// From a new seed, or the one of `HELO_SEED`; it is printed, to repeat a run.
    pub fn new() -> Self {
        let given = std::env::var("HELO_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = SystemTime::now();
            let now = now.duration_since(UNIX_EPOCH).unwrap();
            now.as_secs() << 20 ^ u64::from(now.subsec_nanos())
        });
        println!("HELO_SEED={seed}");
        Self(seed)
    }

    /// From a seed that was rolled before.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Another row of numbers, that this one decides.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.roll())
    }

    /// The next one (splitmix64).
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next one below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap()
    }

    /// So many octets of any value.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll().to_le_bytes()[3]).collect()
    }

    /// A host name that means nothing.
    pub fn name(&mut self) -> String {
        format!("h{:012x}.test", self.roll() & 0xffff_ffff_ffff)
    }
}
