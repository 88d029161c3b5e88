//! The log as the rest of the program sees it: a committer thread that writes groups, and reads that never run ahead of it.
//!
//! One thread owns all writing. It takes whatever waits, writes it as one group with one sync, and only then answers: so a
//! lone commit goes at once, and under load the last sync's duration is the window in which the next group gathers. What
//! a group writes can be seen by readers a moment before it is durable; so every read ends by waiting for the groups that
//! had begun before it ended. Nothing that a crash could take back ever leaves a read.
//!
//! After the first storage error nothing is written again: what the disk then holds is unknown, and a retried sync
//! reports success for data that is gone. The process is expected to end and to start anew. It must not know what events
//! mean.

mod committer;
mod metrics;
mod rest;
#[cfg(test)]
mod tests;
mod watcher;

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    task::spawn_blocking,
    time::Instant,
};

use self::watcher::Watched;
pub use self::{metrics::Metrics, watcher::Watch};
use crate::{
    defect::Defect,
    store::{
        Commit, Committed, Conflict, EventStore, Head, MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, Space,
        StoreError,
    },
};

/// Commits that may wait at once. A turn waits for one or two, so this is some thousand agents at work; at the measured
/// rate it is about a tenth of a second of writing.
pub const QUEUED_COMMITS: usize = 4096;

/// How long an answer of [`Log::space`] is used again: a full disk is noticed within this, and asking costs a system call.
const SPACE_IS_FRESH_FOR: Duration = Duration::from_millis(250);

/// The log: cheap to clone. Dropping the last one writes what waits, then closes the store.
#[derive(Debug, Clone)]
pub struct Log {
    owner: Arc<Owner>,
}

/// Room for one commit in the queue.
#[derive(Debug)]
pub struct Permit {
    /// `None` after a failure, when there is no queue any more.
    _room: Option<OwnedSemaphorePermit>,
}

/// The place of a commit in the order of all commits since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// Of a commit that was refused at once: it is never durable, and whoever waits for it must not be told that it is.
    const NEVER: Self = Self(u64::MAX);
}

/// A commit that was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A stream was not where the writer thought; nothing of the commit was written.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// An event or a row's key is longer than the log takes; nothing of the commit was written.
    #[error("{what} of {bytes} bytes is longer than the log takes")]
    TooLong {
        /// `an event` or `a key`.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The commit was refused when it was queued or written, for a reason its caller was told; nothing of it is there.
    #[error("the commit was refused, nothing of it was written")]
    Refused,
    /// The store failed, now or before, or is closed. Whether the commit is there will be known after the next start.
    #[error(transparent)]
    Storage(Arc<StoreError>),
}

/// What is done with a commit's answer.
type Done = Box<dyn FnOnce(Result<Committed, AppendError>) + Send>;

struct Pending {
    ticket: u64,
    commit: Commit,
    done: Done,
    queued: Instant,
    /// Held until the answer was given, so that the bound covers what is being written too.
    _permit: Permit,
}

/// Ends the committer with the last [`Log`].
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn EventStore>,
    permits: Arc<Semaphore>,
    queue: Mutex<Queue>,
    queued: Condvar,
    /// Groups whose writing has begun: everything a read can see belongs to one of them.
    begun: AtomicU64,
    /// Groups that are durable.
    durable: AtomicU64,
    progress: watch::Sender<Progress>,
    /// Tickets of commits that were in conflict. A writer that is alone on its streams never gets one.
    refused: Mutex<HashSet<u64>>,
    failure: OnceLock<Arc<StoreError>>,
    space: Mutex<Option<(Instant, Space)>>,
    watched: Watched,
    metrics: Metrics,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    last_ticket: u64,
    closing: bool,
}

/// How far the committer has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    groups: u64,
    ticket: u64,
    head: Head,
    failed: bool,
    closed: bool,
}

impl Log {
    /// Starts the committer thread over `store`, whose only writer it is from now on.
    ///
    /// # Panics
    /// When the system gives no thread.
    #[must_use]
    pub fn open(store: Arc<dyn EventStore>) -> Self {
        let head = store.head();
        let progress = Progress { groups: 0, ticket: 0, head, failed: false, closed: false };
        let shared = Arc::new(Shared {
            store,
            permits: Arc::new(Semaphore::new(QUEUED_COMMITS)),
            queue: Mutex::default(),
            queued: Condvar::new(),
            begun: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            progress: watch::Sender::new(progress),
            refused: Mutex::default(),
            failure: OnceLock::new(),
            space: Mutex::default(),
            watched: Watched::default(),
            metrics: Metrics::default(),
        });
        let run = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer::run(&run))
            .expect("the system gives a thread at start");
        Self { owner: Arc::new(Owner { shared }) }
    }

    /// Waits for room in the queue. After a failure of the store it returns at once; [`Log::submit`] then gives the error.
    pub async fn reserve(&self) -> Permit {
        let permits = Arc::clone(&self.shared().permits);
        Permit { _room: permits.acquire_owned().await.ok() }
    }

    /// Queues a commit. The order of calls, across all threads, is the order of the log.
    ///
    /// `done` gets the answer on the committer thread, after the sync, and must be quick. When nothing can be written any
    /// more it is called at once, on the calling thread.
    pub fn submit(
        &self,
        permit: Permit,
        commit: Commit,
        done: impl FnOnce(Result<Committed, AppendError>) + Send + 'static,
    ) -> Ticket {
        self.submit_shown(permit, commit, |_| (), done)
    }

    /// Queues a commit as [`Log::submit`] does, and calls `show` with its ticket before it can be durable: whoever hears of
    /// it by its durability finds what `show` did. `show` runs on the calling thread with the queue held, so it must be
    /// quick and may not ask anything of the log.
    pub fn submit_shown(
        &self,
        permit: Permit,
        commit: Commit,
        show: impl FnOnce(Ticket),
        done: impl FnOnce(Result<Committed, AppendError>) + Send + 'static,
    ) -> Ticket {
        self.shared().submit(permit, commit, show, Box::new(done))
    }

    /// Waits for room, writes, and waits until it is durable.
    ///
    /// # Errors
    /// [`AppendError`]; only after [`AppendError::Storage`] is it open whether the commit was written.
    pub async fn append(&self, commit: Commit) -> Result<Committed, AppendError> {
        let permit = self.reserve().await;
        let (sender, receiver) = oneshot::channel();
        // The caller may have gone; the commit is written all the same.
        self.submit(permit, commit, move |answer| drop(sender.send(answer)));
        receiver.await.unwrap_or_else(|_| Err(AppendError::Storage(self.shared().error())))
    }

    /// Whether the commit of `ticket` and all before it are durable. One that was refused never is.
    #[must_use]
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        let shared = self.shared();
        shared.progress.borrow().ticket >= ticket.0 && !shared.refused().contains(&ticket.0)
    }

    /// Waits until the commit of `ticket` and all before it are durable.
    ///
    /// # Errors
    /// [`AppendError::Storage`] when the store failed before, [`AppendError::Refused`] when the commit never will be.
    pub async fn durable(&self, ticket: Ticket) -> Result<(), AppendError> {
        let shared = self.shared();
        if ticket == Ticket::NEVER && !shared.is_closed() {
            if Defect::RefusedIsDurable.is_on() {
                return Ok(());
            }
            return Err(AppendError::Refused);
        }
        let reached = |progress: &Progress| progress.ticket >= ticket.0;
        shared.wait_for(reached).await.map_err(AppendError::Storage)?;
        let refused = shared.refused().contains(&ticket.0) && !Defect::RefusedIsDurable.is_on();
        if refused { Err(AppendError::Refused) } else { Ok(()) }
    }

    /// Reads on a blocking thread. Gives its answer only once everything `f` may have seen is durable.
    ///
    /// # Errors
    /// What `f` gives, and [`StoreError::Closed`] when the store failed before what `f` saw was durable.
    ///
    /// # Panics
    /// When `f` does.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn EventStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.shared().store);
        let seen = match spawn_blocking(move || f(&*store)).await {
            Ok(seen) => seen,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(StoreError::Closed("the process is ending".to_owned())),
        };
        self.shared().gate().await?;
        seen
    }

    /// Reads on the calling thread: for a lookup of a row or a stream head, which takes microseconds when it is in sled's
    /// cache, where handing it to another thread takes ten times as long. Gated as [`Log::read`] is. Not for scans.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn read_inline<T>(
        &self,
        f: impl FnOnce(&dyn EventStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let seen = f(&*self.shared().store);
        self.shared().gate().await?;
        seen
    }

    /// The last durable event of all.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared().progress.borrow().head
    }

    /// Room for new work, at most a quarter of a second old. When the file system does not answer there is none.
    #[must_use]
    pub fn space(&self) -> Space {
        let mut known = self.shared().space.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match *known {
            Some((at, space)) if now.duration_since(at) < SPACE_IS_FRESH_FOR => space,
            _ => {
                let space = self.shared().store.space().unwrap_or(Space { free: 0, reserve: 1 });
                *known = Some((now, space));
                space
            }
        }
    }

    /// What this log measures of itself.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared().metrics
    }

    /// Why the store failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<StoreError>> {
        self.shared().failure.get().cloned()
    }

    /// Waits for the store to fail. Never ends otherwise.
    pub async fn failed(&self) -> Arc<StoreError> {
        let mut progress = self.shared().progress.subscribe();
        // The sender lives as long as this log, so waiting cannot fail.
        let _ = progress.wait_for(|progress| progress.failed).await;
        self.shared().error()
    }

    /// Writes what waits, closes the store, and refuses everything that comes later.
    pub async fn close(&self) {
        self.shared().start_closing();
        let mut progress = self.shared().progress.subscribe();
        let _ = progress.wait_for(|progress| progress.closed).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.start_closing();
    }
}

impl Shared {
    fn submit(
        &self,
        permit: Permit,
        commit: Commit,
        show: impl FnOnce(Ticket),
        done: Done,
    ) -> Ticket {
        let refusal = check(&commit).err();
        let mut queue = self.lock_queue();
        let closed = queue.closing || self.failure.get().is_some();
        let refusal = if closed { Some(AppendError::Storage(self.error())) } else { refusal };
        let done = if Defect::AnswerBeforeSync.is_on() { self.answered_now(done) } else { done };
        if let Some(refusal) = refusal {
            drop(queue);
            show(Ticket::NEVER);
            done(Err(refusal));
            return Ticket::NEVER;
        }
        queue.last_ticket += 1;
        let ticket = queue.last_ticket;
        show(Ticket(ticket));
        self.metrics.queued(committer::size(&commit).0);
        let queued = Instant::now();
        queue.waiting.push_back(Pending { ticket, commit, done, queued, _permit: permit });
        drop(queue);
        self.queued.notify_one();
        Ticket(ticket)
    }

    /// Gives the answer at once: a defect.
    fn answered_now(&self, done: Done) -> Done {
        done(Ok(Committed { position: self.progress.borrow().head.position }));
        Box::new(|_| ())
    }

    /// Waits until every group that had begun by now is durable.
    async fn gate(&self) -> Result<(), StoreError> {
        if Defect::ReadAhead.is_on() {
            return Ok(());
        }
        let begun = self.begun.load(Ordering::SeqCst);
        if self.durable.load(Ordering::SeqCst) >= begun {
            return Ok(());
        }
        let reached = |progress: &Progress| progress.groups >= begun;
        self.wait_for(reached).await.map_err(|error| StoreError::Closed(error.to_string()))
    }

    async fn wait_for(&self, reached: impl Fn(&Progress) -> bool) -> Result<(), Arc<StoreError>> {
        let mut progress = self.progress.subscribe();
        let ended = |progress: &Progress| progress.failed || progress.closed;
        let found = progress.wait_for(|now| reached(now) || ended(now)).await.map(|now| *now);
        match found {
            Ok(now) if reached(&now) => Ok(()),
            Ok(_) | Err(_) => Err(self.error()),
        }
    }

    /// Why nothing can be written any more.
    fn error(&self) -> Arc<StoreError> {
        let closed = || Arc::new(StoreError::Closed("it was closed".to_owned()));
        self.failure.get().cloned().unwrap_or_else(closed)
    }

    fn is_closed(&self) -> bool {
        self.failure.get().is_some() || self.lock_queue().closing
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_closing(&self) {
        self.lock_queue().closing = true;
        self.queued.notify_one();
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements that touch it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses what the store could only answer with a failure.
fn check(commit: &Commit) -> Result<(), AppendError> {
    let events = commit.appends.iter().flat_map(|append| &append.events);
    let too_long = |what, bytes| Err(AppendError::TooLong { what, bytes });
    for bytes in events.map(|event| event.encoded.payload.len()) {
        if bytes > MAX_PAYLOAD_BYTES {
            return too_long("an event", bytes);
        }
    }
    for bytes in commit.rows.iter().map(|row| row.key.len()) {
        if bytes > MAX_KEY_BYTES {
            return too_long("a key", bytes);
        }
    }
    Ok(())
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.waiting.len())
            .field("last_ticket", &self.last_ticket)
            .field("closing", &self.closing)
            .finish()
    }
}
