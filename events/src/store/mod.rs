//! The log as a promise: what is atomic, what is durable when, what can be read.
//!
//! [`EventStore`] is blocking on purpose; [`crate::log::Log`] decides which thread blocks. One conformance suite
//! (`conformance`, with the feature `testing`) holds for every implementation.

pub mod archive;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod disk;
mod faulty;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod group;
mod kept;
mod made;
mod memory;
mod raw;
mod shared;
mod sled;
pub mod verify;
mod watchdog;

use std::{fmt, io, ops::Bound};

use bytes::Bytes;

use crate::{NewEvent, Position, Record, RunId, Seq, StreamId, Timestamp};

pub use disk::{Restoring, SledOptions, SledStore};
pub use faulty::{Failure, Faults, FaultyStore, Hold, Moment};
pub use kept::KEPT_STATE_EVENTS;
pub use memory::MemoryStore;
pub use raw::RawGroup;

/// Longest payload of one event. Far above anything the server writes, far below what a length field could claim.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Longest key of a row. Longer ones would make pages that sled keeps in files it never syncs.
pub const MAX_KEY_BYTES: usize = 1024;

/// Where events, and what is derived in the same moment, are kept.
///
/// An unknown stream has no events, which is not an error; appending nothing writes nothing.
pub trait EventStore: Send + Sync + std::fmt::Debug + 'static {
    /// Writes a group of commits with one sync. Each commit is all or nothing; one that conflicts does not hinder the
    /// others. Commits are judged in order, each against the streams as the earlier ones of the group left them.
    /// Durable on return. Only one thread may call this.
    ///
    /// # Errors
    /// Any storage error; then nothing of the group may be acknowledged and the store must not be written to again.
    fn append(&self, group: &[Commit]) -> Result<Vec<Result<Committed, Conflict>>, StoreError>;

    /// Reads a stream from `from` on, oldest first, at most `limit` events and at least one if there is one.
    ///
    /// # Errors
    /// Storage errors, and [`StoreError::Damaged`] for bytes that fail their checks.
    fn read_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Reads all streams from `from` on in global order, at most `limit` events and at least one if there is one.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// The last event of a stream: its place, 0 for an unknown stream.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn stream_head(&self, stream: StreamId) -> Result<Seq, StoreError>;

    /// The last durable event of all.
    fn head(&self) -> Head;

    /// The newest saved state of a stream at or before `until` that is not damaged: found by its key, however many there
    /// are. Kept are the newest two, and the first at or after each multiple of [`KEPT_STATE_EVENTS`].
    ///
    /// # Errors
    /// Storage errors only: what a saved state holds is its reader's affair.
    fn snapshot(&self, stream: StreamId, until: Seq) -> Result<Option<SavedState>, StoreError>;

    /// One row of a read model.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Rows of a read model whose keys start with `scan.prefix`, in key order or against it.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn rows(&self, table: Table, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// Output of a run: the batches that hold item `after + 1` and later ones, in order, until `max_bytes` are passed.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn outputs(&self, run: RunId, after: u64, max_bytes: usize) -> Result<Vec<Bytes>, StoreError>;

    /// The same, each with the numbers of its items.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn output_batches(
        &self,
        run: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Vec<OutputBatch>, StoreError>;

    /// Number of the last item of a run's output; 0 when there is none.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn last_output(&self, run: RunId) -> Result<u64, StoreError>;

    /// Groups of events as they were written, from the one that holds `from` on, until `max_bytes` are passed, and at
    /// least one if there is one.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    fn groups(&self, from: Position, max_bytes: usize) -> Result<Vec<RawGroup>, StoreError>;

    /// Room left for new work.
    ///
    /// # Errors
    /// When the file system does not answer.
    fn space(&self) -> io::Result<Space>;

    /// Whether what goes on beside the calls is well, so that a failure there does not wait for the next group. Only the
    /// thread that appends may call this.
    ///
    /// # Errors
    /// What failed; then it is as after a failed [`EventStore::append`].
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Closes for writing and syncs what is open. Reads may fail afterwards.
    ///
    /// # Errors
    /// Storage errors.
    fn close(&self) -> Result<(), StoreError>;
}

/// What is written together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Events, by stream. A stream occurs once.
    pub appends: Vec<Append>,
    /// Rows of read models that follow from them.
    pub rows: Vec<RowChange>,
    /// Output of runs that belongs to them.
    pub outputs: Vec<OutputBatch>,
    /// States saved on the occasion. A cache: losing one loses nothing.
    pub snapshots: Vec<SavedState>,
}

/// Events for one stream.
#[derive(Debug, Clone)]
pub struct Append {
    /// Which stream.
    pub stream: StreamId,
    /// Its last place as the writer knows it.
    pub expected: Seq,
    /// What is new.
    pub events: Vec<NewEvent>,
}

/// One change of a read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// Which read model.
    pub table: Table,
    /// Which row.
    pub key: Vec<u8>,
    /// Its new content; `None` removes it.
    pub value: Option<Bytes>,
}

/// Items of one run's output that were recorded together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputBatch {
    /// Which run.
    pub run: RunId,
    /// Number of the first item.
    pub first: u64,
    /// Number of the last item (of its last wire message).
    pub last: u64,
    /// Encoded items, see [`crate::codec::encode_items`].
    pub items: Bytes,
}

/// A saved state of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// Which stream.
    pub stream: StreamId,
    /// The last event it includes.
    pub seq: Seq,
    /// Encoded state; opaque here.
    pub bytes: Bytes,
}

/// What a commit got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Position of its last event; the head when it had none.
    pub position: Position,
}

/// A commit that expected another place of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is at {actual:?}, not at {expected:?}")]
pub struct Conflict {
    /// Which stream.
    pub stream: StreamId,
    /// Where the writer thought it was.
    pub expected: Seq,
    /// Where it is.
    pub actual: Seq,
}

/// The last durable event of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Its position; 0 when there is none.
    pub position: Position,
    /// Hash over everything up to it.
    pub chain: [u8; 16],
    /// The number of times the store was opened for writing, this time included.
    pub epoch: u32,
    /// When it happened.
    pub at: Timestamp,
}

/// The read models. The numbers are part of the keys on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// agent -> row.
    Agents = 1,
    /// tag, 0, kind, owner -> nothing.
    Tags = 2,
    /// block -> row.
    Blocks = 3,
    /// block, agent -> nothing.
    BlockAgents = 4,
    /// agent, first message -> the messages stored together.
    Messages = 5,
    /// run -> row.
    Runs = 6,
    /// agent, run -> nothing.
    AgentRuns = 7,
    /// run -> agent, while something is left to do for it.
    OpenRuns = 8,
    /// run, step -> row.
    RunSteps = 9,
    /// step -> run, agent.
    Steps = 10,
    /// step -> row.
    Feedback = 11,
    /// agent that was forked -> where its history goes back to.
    Ancestors = 12,
    /// tool -> row, without its source.
    Tools = 13,
    /// tool -> its source, where it has one.
    ToolSources = 14,
    /// MCP server -> row.
    McpServers = 15,
    /// asking run, key of its call, asked agent -> the run that came of it.
    Asked = 16,
    /// agent, conversation -> since when calls wait there for a person or for the client.
    Waiting = 17,
}

impl Table {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Agents,
        Self::Tags,
        Self::Blocks,
        Self::BlockAgents,
        Self::Messages,
        Self::Runs,
        Self::AgentRuns,
        Self::OpenRuns,
        Self::RunSteps,
        Self::Steps,
        Self::Feedback,
        Self::Ancestors,
        Self::Tools,
        Self::ToolSources,
        Self::McpServers,
        Self::Asked,
        Self::Waiting,
    ];

    /// The read model of a number; `None` when it was never given out.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }
}

/// Which rows, from which end, how many.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// What their keys start with.
    pub prefix: Vec<u8>,
    /// Only keys greater than this (a whole key).
    pub after: Option<Vec<u8>>,
    /// Only keys less than this (a whole key).
    pub before: Option<Vec<u8>>,
    /// Against key order.
    pub descending: bool,
    /// At most so many.
    pub limit: usize,
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Below this, no new work is accepted.
    pub reserve: u64,
}

/// A store that cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the data directory {dir} is in use by another server; stop that one or use another --data-dir"
    )]
    InUse {
        /// The directory.
        dir: String,
    },
    /// Written by a later version of this program.
    #[error(
        "the data directory {dir} has format {found}, this version reads up to {known}; use a newer retold"
    )]
    NewerFormat {
        /// The directory.
        dir: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The directory is there but cannot be used.
    #[error("the data directory {dir} cannot be used: {source}")]
    Unusable {
        /// The directory.
        dir: String,
        /// Why.
        source: io::Error,
    },
    /// The log ends before its head file says it should, or differs from it.
    #[error("the log in {dir} is not the one its head file describes: {detail}; restore a backup")]
    NotTheLog {
        /// The directory.
        dir: String,
        /// What differs.
        detail: String,
    },
    /// Bytes failed their checks.
    #[error("damaged data at {place}: {detail}")]
    Damaged {
        /// Where: stream and place, or key.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// No room left.
    #[error("the disk is full")]
    Full,
    /// The disk failed.
    #[error("storage failed: {0}")]
    Io(#[from] io::Error),
    /// It was closed, or failed before.
    #[error("the store is closed: {0}")]
    Closed(String),
}

/// Says of bytes at `place` that they are damaged.
fn damaged<E: fmt::Display>(place: impl fmt::Display) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Damaged { place: place.to_string(), detail: error.to_string() }
}

/// Keys from one bound to another.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The range of keys a scan speaks of; `None` when it is empty. Keys in it may still lack the prefix.
#[must_use]
pub fn scan_bounds(scan: &Scan) -> Option<KeyRange> {
    let lower = match &scan.after {
        Some(after) if *after >= scan.prefix => Bound::Excluded(after.clone()),
        Some(_) | None => Bound::Included(scan.prefix.clone()),
    };
    let end = successor(&scan.prefix);
    let upper = match (&scan.before, end) {
        (Some(before), Some(end)) => Bound::Excluded(before.clone().min(end)),
        (Some(before), None) => Bound::Excluded(before.clone()),
        (None, Some(end)) => Bound::Excluded(end),
        (None, None) => Bound::Unbounded,
    };
    let is_empty = match (&lower, &upper) {
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        (_, Bound::Unbounded | Bound::Included(_)) | (Bound::Unbounded, _) => false,
    };
    (!is_empty).then_some((lower, upper))
}

/// The least key greater than every key that starts with `prefix`; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}
