//! The read models as they stood at a moment: their rows projected once more, from the events up to it.
//!
//! Rows are a projection, so the past needs no history of them. A [`Past`] is a store that cannot be written to: the same
//! queries run on it unchanged. It holds what may have become of its rows since. What is written once and stays as it
//! is for ever (messages, steps) it knows by key only and reads where everybody reads it: so the past of an agent with
//! a long history is small.

mod fold;
mod store;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use retold_events::{
    AgentId, Position,
    store::{EventStore, StoreError, Table},
};

use crate::load::LoadError;

/// Bytes a row fills beside its key and its content, about.
const ROW_ITSELF: usize = 96;

/// What bounds a fold, which may be of the whole log.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// Bytes that its rows may fill, about.
    pub max_bytes: usize,
    /// Set by whoever does not want it any more.
    pub stop: &'a AtomicBool,
}

/// A past that was not folded.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The events cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its rows are more than it may hold.
    #[error("what is asked for fills more than {max_bytes} bytes at that moment")]
    TooLarge {
        /// What it may hold.
        max_bytes: usize,
    },
    /// Nobody wants it any more.
    #[error("it was given up")]
    Stopped,
}

impl From<StoreError> for PastError {
    fn from(error: StoreError) -> Self {
        Self::Load(error.into())
    }
}

/// Some of the read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tables(u64);

impl Tables {
    /// Every table.
    pub const ALL: Self = Self::of(&Table::ALL);
    /// What lists of agents are answered from.
    pub const AGENTS: Self = Self::of(&[Table::Agents, Table::Tags]);
    /// What lists of blocks, and of who shares them, are answered from.
    pub const BLOCKS: Self = Self::of(&[Table::Blocks, Table::Tags, Table::BlockAgents]);
    /// What lists of runs are answered from.
    pub const RUNS: Self = Self::of(&[Table::Runs, Table::AgentRuns, Table::OpenRuns]);
    /// What lists of steps are answered from.
    pub const STEPS: Self = Self::of(&[Table::RunSteps, Table::Steps, Table::Feedback]);
    /// What lists of tools are answered from.
    pub const TOOLS: Self = Self::of(&[Table::Tools, Table::ToolSources]);
    /// What lists of MCP servers are answered from.
    pub const MCP_SERVERS: Self = Self::of(&[Table::McpServers]);
    /// What the list of tags is answered from.
    pub const TAGS: Self = Self::of(&[Table::Tags]);

    /// These tables.
    #[must_use]
    pub const fn of(tables: &[Table]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < tables.len() {
            bits |= 1 << tables[index] as u64;
            index += 1;
        }
        Self(bits)
    }

    /// Whether this table is one of them.
    #[must_use]
    pub const fn hold(self, table: Table) -> bool {
        self.0 & (1 << table as u64) != 0
    }
}

/// The content of a row at the moment.
#[derive(Debug, Clone)]
enum Content {
    /// This.
    Here(Bytes),
    /// What it is today: it never changes.
    There,
}

impl Content {
    /// Bytes that a row with this content fills, about.
    fn bytes(&self, key: &[u8]) -> usize {
        let content = match self {
            Self::Here(bytes) => bytes.len(),
            Self::There => 0,
        };
        ROW_ITSELF + key.len() + content
    }
}

/// Rows as they stood at a moment. It can be read as a store, and not written.
pub struct Past {
    position: Position,
    tables: Tables,
    /// Whose rows; `None` is everybody's.
    agent: Option<AgentId>,
    live: Arc<dyn EventStore>,
    rows: BTreeMap<Table, BTreeMap<Vec<u8>, Content>>,
    bytes: usize,
    unreadable: Vec<String>,
}

impl Past {
    /// The moment: after the event at this position.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Bytes it fills, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Histories that could not be read to the end, and why. Their rows are as they were before that.
    #[must_use]
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}

impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, tables, agent, rows, bytes, .. } = self;
        let rows = rows.values().map(BTreeMap::len).sum::<usize>();
        f.debug_struct("Past")
            .field("position", position)
            .field("tables", tables)
            .field("agent", agent)
            .field("rows", &rows)
            .field("bytes", bytes)
            .finish_non_exhaustive()
    }
}
