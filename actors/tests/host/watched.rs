//! A store that lets a test see reads, fail them and hold them up, hold up appends one by one, and refuse a stream's.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use bytes::Bytes;
use retold_events::{
    Position, Record, RunId, Seq, StreamId,
    store::{
        Commit, Committed, Conflict, EventStore, Head, OutputBatch, RawGroup, SavedState, Scan,
        Space, StoreError, Table,
    },
};
use tokio::sync::watch;

/// A read about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Events of a stream, from a place on.
    Stream(StreamId, Seq),
    /// Output of a run.
    Outputs(RunId),
}

type Hook = Box<dyn Fn(Read) -> Result<(), StoreError> + Send + Sync>;

/// A store around another. Its hook runs before each read, on the thread that reads.
pub(crate) struct Watched {
    inner: Arc<dyn EventStore>,
    hook: Mutex<Arc<Hook>>,
    barriers: Mutex<VecDeque<Barrier>>,
    refused: Mutex<Option<StreamId>>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn EventStore>) -> Arc<Self> {
        let idle: Hook = Box::new(|_| Ok(()));
        Arc::new(Self {
            inner,
            hook: Mutex::new(Arc::new(idle)),
            barriers: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// From now on `hook` sees every read, and what it gives instead of `Ok` is what the read gives.
    pub(crate) fn on_read(
        &self,
        hook: impl Fn(Read) -> Result<(), StoreError> + Send + Sync + 'static,
    ) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Box::new(hook));
    }

    /// Lets the next appends wait, the first one at the first barrier, before they write anything.
    pub(crate) fn hold_appends(&self, barriers: impl IntoIterator<Item = Barrier>) {
        let mut waiting = self.barriers.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(barriers);
    }

    /// Forgets the barriers that no append has come to.
    pub(crate) fn let_appends_pass(&self) {
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// From now on every commit to this stream is in conflict.
    pub(crate) fn refuse(&self, stream: StreamId) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    fn conflict(&self, commit: &Commit) -> Option<Conflict> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let append = commit.appends.iter().find(|append| Some(append.stream) == refused)?;
        let actual = append.expected.next();
        Some(Conflict { stream: append.stream, expected: append.expected, actual })
    }

    fn see(&self, read: Read) -> Result<(), StoreError> {
        let hook = Arc::clone(&self.hook.lock().unwrap_or_else(PoisonError::into_inner));
        hook(read)
    }
}

/// What a hook gives for a read that fails.
pub(crate) fn failed() -> Result<(), StoreError> {
    Err(io::Error::other("a read failed because a test said so").into())
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// A barrier that threads wait at until the test opens it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Barrier {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<bool>,
    opened: Condvar,
    waiting: watch::Sender<u32>,
}

/// Opens its barrier when it is dropped, also by a failing test, so that no thread waits for ever.
#[derive(Debug)]
pub(crate) struct Opener(Barrier);

impl Barrier {
    /// A closed barrier and what opens it.
    pub(crate) fn closed() -> (Self, Opener) {
        let barrier = Self::default();
        (barrier.clone(), Opener(barrier))
    }

    /// Waits on this thread until the barrier is open.
    pub(crate) fn pass(&self) {
        self.shared.waiting.send_modify(|waiting| *waiting += 1);
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.shared.opened.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether some thread has come to the barrier.
    pub(crate) fn is_reached(&self) -> bool {
        *self.shared.waiting.borrow() > 0
    }

    /// Waits until some thread has come to the barrier.
    pub(crate) async fn reached(&self) {
        let mut waiting = self.shared.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting > 0).await.expect("the sender is held here");
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        *self.0.shared.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.shared.opened.notify_all();
    }
}

impl EventStore for Watched {
    fn append(&self, group: &[Commit]) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        let barrier = self.barriers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(barrier) = barrier {
            barrier.pass();
        }
        let conflicts: Vec<_> = group.iter().map(|commit| self.conflict(commit)).collect();
        let passed: Vec<Commit> = group
            .iter()
            .zip(&conflicts)
            .filter(|(_, conflict)| conflict.is_none())
            .map(|(commit, _)| commit.clone())
            .collect();
        let mut answers = self.inner.append(&passed)?.into_iter();
        let answer = |conflict| match conflict {
            Some(conflict) => Err(conflict),
            None => answers.next().expect("one for each that passed"),
        };
        Ok(conflicts.into_iter().map(answer).collect())
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.see(Read::Stream(stream, from))?;
        self.inner.read_stream(stream, from, limit)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.read_all(from, limit)
    }

    fn stream_head(&self, stream: StreamId) -> Result<Seq, StoreError> {
        self.inner.stream_head(stream)
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    fn snapshot(&self, stream: StreamId, until: Seq) -> Result<Option<SavedState>, StoreError> {
        self.inner.snapshot(stream, until)
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.row(table, key)
    }

    fn rows(&self, table: Table, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.inner.rows(table, scan)
    }

    fn outputs(&self, run: RunId, after: u64, max_bytes: usize) -> Result<Vec<Bytes>, StoreError> {
        self.see(Read::Outputs(run))?;
        self.inner.outputs(run, after, max_bytes)
    }

    fn output_batches(
        &self,
        run: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Vec<OutputBatch>, StoreError> {
        self.inner.output_batches(run, after, max_bytes)
    }

    fn last_output(&self, run: RunId) -> Result<u64, StoreError> {
        self.inner.last_output(run)
    }

    fn groups(&self, from: Position, max_bytes: usize) -> Result<Vec<RawGroup>, StoreError> {
        self.inner.groups(from, max_bytes)
    }

    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
