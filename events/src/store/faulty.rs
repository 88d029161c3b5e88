//! A store that fails when told to: around any other store, for tests.
//!
//! It fails the way a real one does: after the first error nothing is written any more, until the wrapped store is put
//! into a new one, as after a restart. It must not invent failures that a disk cannot have.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Commit, Committed, Conflict, EventStore, Head, OutputBatch, RawGroup, SavedState, Scan, Space,
    StoreError, Table,
};
use crate::{Position, Record, RunId, Seq, StreamId};

/// A store with faults that [`Faults`] commands.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
}

/// What goes wrong, shared between a [`FaultyStore`] and the test that commands it.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

/// How an append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The disk reports an error.
    Io,
    /// The disk is full.
    Full,
}

/// A moment of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is written yet.
    Before,
    /// All is written and visible, and not yet reported: where a crash tears an acknowledgement off.
    After,
}

/// Appends hang while this lives.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    appends: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
    /// How many appends have come to a hold.
    hanging: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    appends: u64,
    /// The number of the append that fails, when within it, and how.
    failing: Option<(u64, Moment, Failure)>,
    failing_beside: Option<Failure>,
    hold: Option<Moment>,
    latency: Duration,
    space: Option<Space>,
    failed: bool,
    reads_fail: bool,
}

impl<S> FaultyStore<S> {
    /// Puts `inner` under the command of `faults`.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// The wrapped store, as a restart would find it.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn readable(&self) -> Result<&S, StoreError> {
        if self.faults.lock().reads_fail {
            return Err(io::Error::other("a read failed because a test said so").into());
        }
        Ok(&self.inner)
    }
}

impl Faults {
    /// No faults yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the `nth` append from now fail; 1 is the next. With [`Moment::Before`] it leaves nothing; with
    /// [`Moment::After`] it is written in full and reported as failed.
    pub fn fail_append(&self, nth: u64, moment: Moment, failure: Failure) {
        let mut state = self.lock();
        state.failing = Some((state.appends + nth, moment, failure));
    }

    /// Lets what goes on beside the calls fail.
    pub fn fail_beside(&self, failure: Failure) {
        self.lock().failing_beside = Some(failure);
    }

    /// Lets every read fail, or none.
    pub fn fail_reads(&self, fail: bool) {
        self.lock().reads_fail = fail;
    }

    /// Lets every append take so much longer.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// Pretends another amount of room; `None` tells the truth again.
    pub fn set_space(&self, space: Option<Space>) {
        self.lock().space = space;
    }

    /// Lets appends hang at `moment` until the hold is dropped.
    #[must_use]
    pub fn hold(&self, moment: Moment) -> Hold {
        self.lock().hold = Some(moment);
        Hold { shared: Arc::clone(&self.shared), appends: *self.shared.hanging.borrow() }
    }

    /// Appends that were begun so far.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.lock().appends
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an append that begins, and gives its number.
    fn begin(&self) -> Result<u64, StoreError> {
        let mut state = self.lock();
        if state.failed {
            return Err(StoreError::Closed("it failed before".to_owned()));
        }
        state.appends += 1;
        let (number, latency) = (state.appends, state.latency);
        drop(state);
        if !latency.is_zero() {
            std::thread::sleep(latency);
        }
        Ok(number)
    }

    /// Passes a moment of append `number`: hangs or fails there if it should.
    fn pass(&self, number: u64, now: Moment) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.hold == Some(now) {
            self.shared.hanging.send_modify(|hanging| *hanging += 1);
        }
        while state.hold == Some(now) {
            state = self.shared.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.failing {
            Some((failing, moment, failure)) if failing == number && moment == now => {
                state.failed = true;
                Err(failure.error())
            }
            _ => Ok(()),
        }
    }
}

impl Hold {
    /// Waits until an append hangs here.
    pub async fn reached(&self) {
        let mut hanging = self.shared.hanging.subscribe();
        // The sender is in `self.shared`, so waiting cannot fail.
        let _ = hanging.wait_for(|hanging| *hanging > self.appends).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).hold = None;
        self.shared.released.notify_all();
    }
}

impl Failure {
    fn error(self) -> StoreError {
        match self {
            Self::Io => io::Error::other("the disk failed because a test said so").into(),
            Self::Full => StoreError::Full,
        }
    }
}

impl<S: EventStore> EventStore for FaultyStore<S> {
    fn append(&self, group: &[Commit]) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        let number = self.faults.begin()?;
        self.faults.pass(number, Moment::Before)?;
        let answers = self.inner.append(group)?;
        self.faults.pass(number, Moment::After)?;
        Ok(answers)
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.readable()?.read_stream(stream, from, limit)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.readable()?.read_all(from, limit)
    }

    fn stream_head(&self, stream: StreamId) -> Result<Seq, StoreError> {
        self.readable()?.stream_head(stream)
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    fn snapshot(&self, stream: StreamId, until: Seq) -> Result<Option<SavedState>, StoreError> {
        self.readable()?.snapshot(stream, until)
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.readable()?.row(table, key)
    }

    fn rows(&self, table: Table, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.readable()?.rows(table, scan)
    }

    fn outputs(&self, run: RunId, after: u64, max_bytes: usize) -> Result<Vec<Bytes>, StoreError> {
        self.readable()?.outputs(run, after, max_bytes)
    }

    fn output_batches(
        &self,
        run: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Vec<OutputBatch>, StoreError> {
        self.readable()?.output_batches(run, after, max_bytes)
    }

    fn last_output(&self, run: RunId) -> Result<u64, StoreError> {
        self.readable()?.last_output(run)
    }

    fn groups(&self, from: Position, max_bytes: usize) -> Result<Vec<RawGroup>, StoreError> {
        self.readable()?.groups(from, max_bytes)
    }

    fn space(&self) -> io::Result<Space> {
        let pretended = self.faults.lock().space;
        pretended.map_or_else(|| self.inner.space(), Ok)
    }

    fn check(&self) -> Result<(), StoreError> {
        let mut state = self.faults.lock();
        match state.failing_beside {
            Some(failure) => {
                state.failed = true;
                Err(failure.error())
            }
            None => self.inner.check(),
        }
    }

    fn close(&self) -> Result<(), StoreError> {
        if self.faults.lock().failed {
            // A process that ended closes nothing, and by now another may have what it had open.
            return Ok(());
        }
        self.inner.close()
    }
}
