//! A small generator (splitmix64), so that a seed means the same choices on every machine.

use std::hash::{BuildHasher as _, RandomState};

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to and without `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// A generator of its own for a task, so that tasks do not share their order of choices.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// A seed nobody chose.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0) >> 32
}
