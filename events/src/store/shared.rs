//! A store in an `Arc` is a store: so that a test keeps one in hand while a log owns it.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    Commit, Committed, Conflict, EventStore, Head, OutputBatch, RawGroup, SavedState, Scan, Space,
    StoreError, Table,
};
use crate::{Position, Record, RunId, Seq, StreamId};

impl<S: EventStore + ?Sized> EventStore for Arc<S> {
    fn append(&self, group: &[Commit]) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        (**self).append(group)
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        (**self).read_stream(stream, from, limit)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        (**self).read_all(from, limit)
    }

    fn stream_head(&self, stream: StreamId) -> Result<Seq, StoreError> {
        (**self).stream_head(stream)
    }

    fn head(&self) -> Head {
        (**self).head()
    }

    fn snapshot(&self, stream: StreamId, until: Seq) -> Result<Option<SavedState>, StoreError> {
        (**self).snapshot(stream, until)
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        (**self).row(table, key)
    }

    fn rows(&self, table: Table, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        (**self).rows(table, scan)
    }

    fn outputs(&self, run: RunId, after: u64, max_bytes: usize) -> Result<Vec<Bytes>, StoreError> {
        (**self).outputs(run, after, max_bytes)
    }

    fn output_batches(
        &self,
        run: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Vec<OutputBatch>, StoreError> {
        (**self).output_batches(run, after, max_bytes)
    }

    fn last_output(&self, run: RunId) -> Result<u64, StoreError> {
        (**self).last_output(run)
    }

    fn groups(&self, from: Position, max_bytes: usize) -> Result<Vec<RawGroup>, StoreError> {
        (**self).groups(from, max_bytes)
    }

    fn space(&self) -> io::Result<Space> {
        (**self).space()
    }

    fn check(&self) -> Result<(), StoreError> {
        (**self).check()
    }

    fn close(&self) -> Result<(), StoreError> {
        (**self).close()
    }
}
