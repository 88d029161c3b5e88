//! A past as a store, so that every query reads it as it reads the present.

use std::io;

use bytes::Bytes;
use retold_events::{
    AgentId, Position, Record, RunId, Seq, StreamId,
    store::{
        Commit, Committed, Conflict, EventStore, Head, OutputBatch, RawGroup, SavedState, Scan,
        Space, StoreError, Table, scan_bounds,
    },
};

use super::{Content, Past};
use crate::load::last_at;

impl EventStore for Past {
    fn append(&self, _: &[Commit]) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        Err(StoreError::Closed("the past cannot be changed".to_owned()))
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        Ok(self.until(self.live.read_stream(stream, from, limit)?))
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.until(self.live.read_all(from, limit)?))
    }

    fn stream_head(&self, stream: StreamId) -> Result<Seq, StoreError> {
        last_at(&*self.live, stream, self.position)
    }

    fn head(&self) -> Head {
        let last = self.live.read_all(self.position, 1).ok().and_then(|mut read| read.pop());
        let at = last.map(|record| record.at).unwrap_or_default();
        Head { position: self.position, at, ..Head::default() }
    }

    fn snapshot(&self, stream: StreamId, until: Seq) -> Result<Option<SavedState>, StoreError> {
        self.live.snapshot(stream, until.min(self.stream_head(stream)?))
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.is_elsewhere(table, key)? {
            return self.live.row(table, key);
        }
        let content = self.rows.get(&table).and_then(|rows| rows.get(key));
        content.map(|content| self.content(table, key, content)).transpose()
    }

    fn rows(&self, table: Table, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if self.is_elsewhere(table, &scan.prefix)? {
            return self.live.rows(table, scan);
        }
        let (Some(range), Some(rows)) = (scan_bounds(scan), self.rows.get(&table)) else {
            return Ok(Vec::new());
        };
        let found = rows.range(range).filter(|(key, _)| key.starts_with(&scan.prefix));
        let read = |(key, content): (&Vec<u8>, &Content)| {
            Ok((Bytes::copy_from_slice(key), self.content(table, key, content)?))
        };
        if scan.descending {
            found.rev().take(scan.limit).map(read).collect()
        } else {
            found.take(scan.limit).map(read).collect()
        }
    }

    fn outputs(&self, _: RunId, _: u64, _: usize) -> Result<Vec<Bytes>, StoreError> {
        Err(no_part("the output of runs"))
    }

    fn output_batches(&self, _: RunId, _: u64, _: usize) -> Result<Vec<OutputBatch>, StoreError> {
        Err(no_part("the output of runs"))
    }

    fn last_output(&self, _: RunId) -> Result<u64, StoreError> {
        Err(no_part("the output of runs"))
    }

    fn groups(&self, _: Position, _: usize) -> Result<Vec<RawGroup>, StoreError> {
        Err(no_part("how events were written"))
    }

    fn space(&self) -> io::Result<Space> {
        self.live.space()
    }

    /// Nothing is open here.
    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An empty answer would be a lie.
fn no_part(what: &str) -> StoreError {
    StoreError::Closed(format!("{what} is no part of this past"))
}

impl Past {
    fn until(&self, mut records: Vec<Record>) -> Vec<Record> {
        records.retain(|record| record.position <= self.position);
        records
    }

    /// Whether rows are to be read where everybody reads them: the messages that a fork has from its ancestors, which
    /// were all said before it came to be.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the rows are not part of this past.
    fn is_elsewhere(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        if !self.tables.hold(table) {
            return Err(no_part(&format!("{table:?}")));
        }
        let own = |id: AgentId| key.starts_with(id.as_bytes());
        Ok(table == Table::Messages && !self.agent.is_some_and(own))
    }

    fn content(&self, table: Table, key: &[u8], content: &Content) -> Result<Bytes, StoreError> {
        match content {
            Content::Here(bytes) => Ok(bytes.clone()),
            Content::There => {
                let missing = || StoreError::Damaged {
                    place: format!("row {key:02x?} of {table:?}"),
                    detail: "it was written and is gone".to_owned(),
                };
                self.live.row(table, key)?.ok_or_else(missing)
            }
        }
    }
}
