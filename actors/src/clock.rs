//! Time, ids and chance: taken here, at the edge, and passed as arguments everywhere else.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use retold_events::{Timestamp, next_uuid};
use ulid::Ulid;
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock. Untrusted: order never depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the edge where time enters")]
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when told to, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Moves the clock, also backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Makes ids: each greater than all before it, whatever the clock does.
#[derive(Debug)]
pub struct IdSource {
    last: Mutex<Uuid>,
    seed: Option<u64>,
}

impl IdSource {
    /// Ids with random low bits, as a server needs them.
    #[must_use]
    pub const fn random() -> Self {
        Self { last: Mutex::new(Uuid::nil()), seed: None }
    }

    /// Ids that follow from `seed` alone, for tests and simulations.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { last: Mutex::new(Uuid::nil()), seed: Some(seed) }
    }

    /// The next id at `now`.
    pub fn next(&self, now: Timestamp) -> Uuid {
        self.next_after(Uuid::nil(), now)
    }

    /// The next id at `now`, greater also than `floor`: what is stored may come from a clock that ran ahead.
    pub fn next_after(&self, floor: Uuid, now: Timestamp) -> Uuid {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let id = next_uuid((*last).max(floor), now, self.entropy(*last));
        *last = id;
        id
    }

    /// Chance, for things that are no ids.
    pub fn chance(&self, now: Timestamp) -> u64 {
        self.next(now).as_u64_pair().1
    }

    /// An event's own id.
    pub fn ulid(&self, now: Timestamp) -> Ulid {
        let (high, low) = self.next(now).as_u64_pair();
        Ulid::from_parts(
            now.as_micros().max(0).unsigned_abs() / 1000,
            (u128::from(high & 0xffff) << 64) | u128::from(low),
        )
    }

    fn entropy(&self, last: Uuid) -> u64 {
        match self.seed {
            // A step of SplitMix64 over the last id: enough to tell ids apart, the same in every run.
            Some(seed) => {
                let (high, low) = last.as_u64_pair();
                let mut mixed = seed ^ high.rotate_left(32) ^ low;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^ (mixed >> 31)
            }
            None => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is the edge where chance enters"
                )]
                let random = Uuid::new_v4();
                random.as_u64_pair().1 ^ random.as_u64_pair().0
            }
        }
    }
}
