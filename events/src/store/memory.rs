//! A store in memory: for tests, for trying things out, and as the model the real one is compared with.
//!
//! It writes the same envelopes as the store on disk, so that both give the same positions, hashes and answers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    Commit, Committed, Conflict, EventStore, Head, OutputBatch, RawGroup, SavedState, Scan, Space,
    StoreError, Table,
    group::{self, Tip},
    kept::kept,
    scan_bounds,
};
use crate::{
    Position, Record, RunId, Seq, StreamId,
    envelope::{self, Envelope},
};

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    head: Head,
    closed: bool,
    /// All events, by position.
    events: Vec<Record>,
    /// The same as they would be on disk.
    groups: Vec<RawGroup>,
    streams: HashMap<StreamId, Stream>,
    snapshots: BTreeMap<(StreamId, Seq), Bytes>,
    rows: BTreeMap<(Table, Vec<u8>), Bytes>,
    outputs: BTreeMap<(RunId, u64), (u64, Bytes)>,
}

#[derive(Debug, Clone, Default)]
struct Stream {
    tip: Tip,
    /// Indexes into `events`.
    events: Vec<usize>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            head: Head { epoch: 1, ..Head::default() },
            closed: false,
            events: Vec::new(),
            groups: Vec::new(),
            streams: HashMap::new(),
            snapshots: BTreeMap::new(),
            rows: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it again after it was closed, as a restart would: with the next epoch.
    pub fn reopen(&self) {
        let mut inner = self.lock();
        inner.closed = false;
        inner.head.epoch += 1;
    }

    /// Another store that holds the same, so that one moment can have several futures.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { inner: Mutex::new(self.lock().clone()) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics between the first and the last write of an append, so a poisoned store is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore for MemoryStore {
    fn append(&self, group: &[Commit]) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(StoreError::Closed("it was closed".to_owned()));
        }
        let tip = |stream| Ok(inner.streams.get(&stream).map_or_else(Tip::default, |s| s.tip));
        let plan = group::plan(group, inner.head, tip)?;
        let mut records = Vec::new();
        for packed in plan.streams {
            inner.streams.entry(packed.stream).or_default().tip = packed.tip;
            let mut bytes = Bytes::from(packed.envelopes);
            while !bytes.is_empty() {
                records.push(envelope::read(&mut bytes).map_err(super::damaged("memory"))?);
            }
        }
        records.sort_by_key(|envelope| envelope.record.position);
        if !records.is_empty() {
            let envelopes = records.iter().map(|envelope| envelope.bytes.clone()).collect();
            inner.groups.push(RawGroup { first: plan.first, chain: plan.head.chain, envelopes });
        }
        for Envelope { record, .. } in records {
            let index = inner.events.len();
            inner.streams.entry(record.stream).or_default().events.push(index);
            inner.events.push(record);
        }
        for commit in plan.accepted {
            inner.apply(commit);
        }
        inner.head = plan.head;
        Ok(plan.answers)
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let inner = self.lock();
        let Some(stream) = inner.streams.get(&stream) else { return Ok(Vec::new()) };
        let skip = from.0.saturating_sub(1);
        let indexes = stream.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        Ok(indexes.take(limit.max(1)).map(|&index| inner.events[index].clone()).collect())
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let skip = usize::try_from(from.0.saturating_sub(1)).unwrap_or(usize::MAX);
        Ok(self.lock().events.iter().skip(skip).take(limit.max(1)).cloned().collect())
    }

    fn stream_head(&self, stream: StreamId) -> Result<Seq, StoreError> {
        Ok(self.lock().streams.get(&stream).map_or(Seq(0), |stream| stream.tip.seq))
    }

    fn head(&self) -> Head {
        self.lock().head
    }

    fn snapshot(&self, stream: StreamId, until: Seq) -> Result<Option<SavedState>, StoreError> {
        let inner = self.lock();
        let newest = inner.snapshots.range((stream, Seq(0))..=(stream, until)).next_back();
        Ok(newest.map(|(&(stream, seq), bytes)| SavedState { stream, seq, bytes: bytes.clone() }))
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().rows.get(&(table, key.to_vec())).cloned())
    }

    fn rows(&self, table: Table, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let Some((lower, upper)) = scan_bounds(scan) else { return Ok(Vec::new()) };
        let within = |bound: Bound<Vec<u8>>| bound.map(|key| (table, key));
        let inner = self.lock();
        let found = inner
            .rows
            .range((within(lower), within(upper)))
            .filter(|((_, key), _)| key.starts_with(&scan.prefix))
            .filter(|((found, _), _)| *found == table)
            .map(|((_, key), value)| (Bytes::copy_from_slice(key), value.clone()));
        Ok(if scan.descending {
            found.rev().take(scan.limit).collect()
        } else {
            found.take(scan.limit).collect()
        })
    }

    fn outputs(&self, run: RunId, after: u64, max_bytes: usize) -> Result<Vec<Bytes>, StoreError> {
        let batches = self.output_batches(run, after, max_bytes)?;
        Ok(batches.into_iter().map(|batch| batch.items).collect())
    }

    fn output_batches(
        &self,
        run: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Vec<OutputBatch>, StoreError> {
        let inner = self.lock();
        let mut bytes = 0;
        let mut found = Vec::new();
        for (&(_, first), (last, items)) in inner.outputs.range((run, 0)..=(run, u64::MAX)) {
            if *last <= after {
                continue;
            }
            found.push(OutputBatch { run, first, last: *last, items: items.clone() });
            bytes += items.len();
            if bytes > max_bytes {
                break;
            }
        }
        Ok(found)
    }

    fn last_output(&self, run: RunId) -> Result<u64, StoreError> {
        let inner = self.lock();
        let newest = inner.outputs.range((run, 0)..=(run, u64::MAX)).next_back();
        Ok(newest.map_or(0, |(_, (last, _))| *last))
    }

    fn groups(&self, from: Position, max_bytes: usize) -> Result<Vec<RawGroup>, StoreError> {
        let inner = self.lock();
        let start = inner.groups.partition_point(|group| group.last() < from);
        let mut bytes = 0;
        let mut found = Vec::new();
        for group in &inner.groups[start..] {
            bytes += group.bytes();
            found.push(group.clone());
            if bytes > max_bytes {
                break;
            }
        }
        Ok(found)
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { free: u64::MAX, reserve: 0 })
    }

    fn close(&self) -> Result<(), StoreError> {
        self.lock().closed = true;
        Ok(())
    }
}

impl Inner {
    fn apply(&mut self, commit: &Commit) {
        for change in &commit.rows {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => self.rows.insert(key, value.clone()),
                None => self.rows.remove(&key),
            };
        }
        for batch in &commit.outputs {
            self.outputs.insert((batch.run, batch.first), (batch.last, batch.items.clone()));
        }
        for saved in &commit.snapshots {
            self.snapshots.insert((saved.stream, saved.seq), saved.bytes.clone());
            let of_stream = (saved.stream, Seq(0))..=(saved.stream, Seq(u64::MAX));
            let seqs: BTreeSet<_> = self.snapshots.range(of_stream).map(|(key, _)| key.1).collect();
            for seq in &seqs - &kept(&seqs) {
                self.snapshots.remove(&(saved.stream, seq));
            }
        }
    }
}
