//! What is done beside the writing: sled is synced for each group while the next one is written to the journal, and the
//! head file a moment after it was written.
//!
//! Nobody who waits for a commit waits for these: the journal has made it durable. But sled never holds more than one
//! group that is not synced: where the newest of its segments has reached the disk, it takes all before it for whole, and
//! more unsynced data than fits into one would make a store that never opens again. It must not write anything itself.

use std::{
    fs::File,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::store::{
    StoreError,
    sled::{Tree, io_failure},
};

/// Pause between two syncs of the head file. It proves the end of the log against later damage; a power cut within this
/// leaves an older proof, and the journal all the same.
const HEAD_PAUSE: Duration = Duration::from_millis(50);

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
    /// sled is to be synced, or being synced.
    tree: bool,
    /// The head file was written.
    head: bool,
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

    /// Waits until sled is synced for what was applied before the last [`Keeper::sync`].
    ///
    /// # Errors
    /// What an earlier sync failed with: nothing may be acknowledged any more.
    pub(super) fn synced(&self) -> Result<(), StoreError> {
        let mut work = self.shared.lock();
        while work.tree && work.failure.is_none() {
            work = self.shared.wait(work);
        }
        match work.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Whether nothing has failed so far. Waits for nothing.
    ///
    /// # Errors
    /// As [`Keeper::synced`].
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.shared.lock().failure.take().map_or(Ok(()), Err)
    }

    /// Has sled synced for what was applied, and the head file some time after.
    pub(super) fn sync(&self) {
        let mut work = self.shared.lock();
        (work.tree, work.head) = (true, true);
        drop(work);
        self.shared.changed.notify_all();
    }
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
        let mut head_due = Instant::now();
        let mut work = self.lock();
        loop {
            if work.closing || work.failure.is_some() {
                return;
            }
            if work.tree {
                drop(work);
                let result = self.tree.sync();
                work = self.lock();
                work.tree = false;
                work.failure = result.err();
                self.changed.notify_all();
            } else if work.head {
                let pause = head_due.saturating_duration_since(Instant::now());
                if pause.is_zero() {
                    work.head = false;
                    drop(work);
                    let result = self.head.sync_data();
                    head_due = Instant::now() + HEAD_PAUSE;
                    work = self.lock();
                    work.failure = result.map_err(io_failure).err();
                } else {
                    let paused = self.changed.wait_timeout(work, pause);
                    work = paused.unwrap_or_else(PoisonError::into_inner).0;
                }
            } else {
                work = self.wait(work);
            }
        }
    }

    fn wait<'a>(&self, work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        self.changed.wait(work).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
