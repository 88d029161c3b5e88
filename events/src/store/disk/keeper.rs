//! What is done beside the writing: sled is synced some time after each group, and the head file too.
//!
//! Nobody who waits for a commit waits for these: the journal has made it durable. But sled must never hold more than a
//! little that is not synced: where the newest of its segments has reached the disk, it takes all before it for whole, and
//! more unsynced data than fits into one would make a store that never opens again. So a writer waits when there is no
//! room ([`UNSYNCED`]), which it hardly ever does: half of it full has sled synced at once. A sync costs sled as much as
//! several groups, and wakes all its threads; that is why there is not one for each group. It must not write anything itself.

use std::{
    fs::File,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::store::{
    StoreError,
    sled::{Changes, Tree, io_failure},
};

/// What sled may hold unsynced, in bytes of [`weight`]: as much as one group may have in values (`pieces.rs`), so that
/// several small ones are no more than a large one.
const UNSYNCED: usize = 1 << 20;
/// Weight of a key: sled rewrites more than the value, now and then the whole node.
const KEY_WEIGHT: usize = 2 << 10;
/// A sync of sled or of the head file comes at most so long after what it is for; the head file proves the end of the log
/// against later damage; a power cut within this leaves an older proof, and the journal all the same.
const PAUSE: Duration = Duration::from_millis(50);

/// What these changes count against [`UNSYNCED`].
pub(super) fn weight(changes: &Changes) -> usize {
    changes.values().flatten().map(Vec::len).sum::<usize>() + changes.len() * KEY_WEIGHT
}

/// A thread that syncs.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tree: Arc<Tree>,
    head: File,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// Weight of what sled has and no sync has covered.
    unsynced: usize,
    /// Since when there is something that neither sled nor the head file has on the disk.
    since: Option<Instant>,
    /// Somebody waits for sled to be synced.
    awaited: bool,
    closing: bool,
    failure: Option<StoreError>,
}

impl Keeper {
    /// Starts the thread. `head` is a handle of the head file.
    pub(super) fn start(tree: Arc<Tree>, head: File) -> Result<Self, StoreError> {
        let shared = Shared { tree, head, work: Mutex::default(), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let run = Arc::clone(&shared);
        let keeper = std::thread::Builder::new().name("keeper".to_owned());
        let thread = Some(keeper.spawn(move || run.run())?);
        Ok(Self { shared, thread })
    }

    /// Waits until sled may be given changes of this weight.
    ///
    /// # Errors
    /// What an earlier sync failed with: nothing may be acknowledged any more.
    pub(super) fn make_room(&self, weight: usize) -> Result<(), StoreError> {
        self.wait_while(|unsynced| unsynced > 0 && unsynced + weight > UNSYNCED)
    }

    /// Waits until everything sled was given is synced.
    ///
    /// # Errors
    /// As [`Keeper::make_room`].
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.wait_while(|unsynced| unsynced > 0)
    }

    fn wait_while(&self, is_too_much: impl Fn(usize) -> bool) -> Result<(), StoreError> {
        let mut work = self.shared.lock();
        while is_too_much(work.unsynced) && work.failure.is_none() {
            work.awaited = true;
            self.shared.changed.notify_all();
            work = self.shared.wait(work);
        }
        work.failure.take().map_or(Ok(()), Err)
    }

    /// Whether nothing has failed so far. Waits for nothing.
    ///
    /// # Errors
    /// As [`Keeper::synced`].
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.shared.lock().failure.take().map_or(Ok(()), Err)
    }

    /// Notes that sled was given changes of this weight and the head file was written: both are synced within [`PAUSE`].
    pub(super) fn wrote(&self, weight: usize) {
        let mut work = self.shared.lock();
        let was_half_full = is_half_full(work.unsynced);
        work.unsynced += weight;
        // In between the thread looks at the clock by itself.
        let is_news = work.since.is_none() || is_half_full(work.unsynced) != was_half_full;
        work.since.get_or_insert_with(Instant::now);
        drop(work);
        if is_news {
            self.shared.changed.notify_all();
        }
    }
}

fn is_half_full(unsynced: usize) -> bool {
    unsynced >= UNSYNCED / 2
}

impl Drop for Keeper {
    /// Waits for the sync under way. What is left is synced by closing the store.
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It cannot panic but by a bug, which then was reported.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut work = self.lock();
        while !work.closing && work.failure.is_none() {
            let Some(since) = work.since else {
                work = self.wait(work);
                continue;
            };
            let pause = PAUSE.saturating_sub(since.elapsed());
            if !(pause.is_zero() || work.awaited || is_half_full(work.unsynced)) {
                let paused = self.changed.wait_timeout(work, pause);
                work = paused.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let covered = work.unsynced;
            work.since = if pause.is_zero() { None } else { Some(since) };
            drop(work);
            let result = self.sync(pause.is_zero());
            work = self.lock();
            work.unsynced -= covered;
            work.awaited = false;
            work.failure = result.err();
            self.changed.notify_all();
        }
    }

    fn sync(&self, head_too: bool) -> Result<(), StoreError> {
        self.tree.sync()?;
        if head_too {
            self.head.sync_data().map_err(io_failure)?;
        }
        Ok(())
    }

    fn wait<'a>(&self, work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        self.changed.wait(work).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
