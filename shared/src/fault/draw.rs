//! Numbers that look random and are a function of what they are drawn for.
//!
//! The mixing is that of SplitMix64: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast
//! Splittable Pseudorandom Number Generators", OOPSLA 2014, with the constants of its
//! reference implementation by S. Vigna (public domain).

/// The golden ratio's fraction, as SplitMix64 steps.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator with that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// So many octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = Vec::with_capacity(count);
        while octets.len() < count {
            let next = self.next_u64().to_le_bytes();
            let room = (count - octets.len()).min(next.len());
            octets.extend(next.iter().take(room));
        }
        octets
    }
}

/// The number drawn for these, in that order.
pub fn draw(parts: [u64; 4]) -> u64 {
    let step = |state: u64, part: u64| mix((state ^ part).wrapping_add(STEP));
    parts.into_iter().fold(0, step)
}

/// A number below a limit, from one that was drawn.
pub fn below(drawn: u64, limit: u64) -> u64 {
    let product = u128::from(drawn) * u128::from(limit);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// The finalizer of SplitMix64.
const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// A hash that is the same everywhere and always: FNV-1a (draft-eastlake-fnv), mixed.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u64);

impl Hash {
    /// Of nothing.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// And of these octets, as one part.
    #[must_use]
    pub fn part(self, octets: &[u8]) -> Self {
        let step = |state: u64, octet: &u8| (state ^ u64::from(*octet)).wrapping_mul(PRIME);
        // The length keeps parts apart: ("ab", "c") is not ("a", "bc").
        let length = (octets.len() as u64).to_le_bytes();
        Self(octets.iter().chain(&length).fold(self.0, step))
    }

    /// As a number.
    pub const fn finish(self) -> u64 {
        mix(self.0)
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

const PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the reference implementation for the seed 1234567.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut generator = SplitMix64::new(1_234_567);
        let drawn = [(); 3].map(|()| generator.next_u64());
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn draws_are_spread_evenly() {
        let hits = (0..10_000)
            .filter(|&n| below(draw([7, 1, 2, n]), 1_000_000) < 100_000)
            .count();
        assert!((900..1100).contains(&hits), "{hits} of 10000 at a tenth");
    }

    #[test]
    fn parts_are_kept_apart() {
        let hash = |parts: [&str; 2]| {
            let parts = parts.iter();
            parts.fold(Hash::new(), |hash, part| hash.part(part.as_bytes()))
        };
        assert_ne!(hash(["ab", "c"]).finish(), hash(["a", "bc"]).finish());
        assert_eq!(SplitMix64::new(1).octets(11).len(), 11);
    }
}
