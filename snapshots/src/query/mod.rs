//! Lists and look-ups, answered from rows.
//!
//! Rows are written with the events they follow from, so an answer is never older than what was acknowledged. Ids rise
//! with time, so the order of keys is the order of creation: a page is a key range, a cursor is a key, and reading stops
//! as soon as the page is full. Nothing here knows the wire: a caller turns rows into answers and errors into statuses.

mod agents;
mod block_history;
mod blocks;
mod lineage;
mod mcp;
mod messages;
mod runs;
mod scan;
mod search;
mod steps;
mod tags;
mod tools;

use retold_events::{codec::DecodeError, store::StoreError};

pub use agents::{AgentFilter, OrderBy, agent, agents, count_agents};
pub use block_history::{BlockVersion, VersionKind, block_history, block_version};
pub use blocks::{BlockFilter, agents_of_block, block, block_agent_count, blocks, count_blocks};
pub use mcp::{all_mcp_servers, mcp_server, mcp_servers};
pub use messages::{Conversations, MessageFilter, message, messages, run_messages, step_messages};
pub(crate) use runs::last_number;
pub use runs::{RunFilter, agent_of_run, asked, open_runs, outputs, run, runs, waiting};
pub use search::{MessageSearch, search_messages};
pub use steps::{JudgedStep, StepFilter, agent_of_step, step, steps, steps_of_run};
pub use tags::tags;
pub use tools::{CUSTOM, EXTERNAL_MCP, ToolFilter, all_tools, count_tools, kind_word, tool, tools};

use crate::row::MalformedRow;

/// A question that gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not of this version. Rows can be rebuilt, see [`crate::rebuild`].
    #[error(transparent)]
    Row(#[from] MalformedRow),
    /// The output of a run, or an event, is not of this version.
    #[error(transparent)]
    Output(#[from] DecodeError),
    /// A cursor that names nothing in the list. It carries the id as clients write it.
    #[error("cursor {0} names nothing that is listed here")]
    UnknownCursor(String),
    /// Two cursors in the wrong order.
    #[error("nothing can follow {after} and precede {before}: they are the wrong way round")]
    ReversedWindow {
        /// The cursor `after`.
        after: String,
        /// The cursor `before`.
        before: String,
    },
}

/// Which way a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Oldest or least first.
    Asc,
    /// Newest or greatest first.
    #[default]
    Desc,
}

/// Which part of a list.
///
/// In most lists the cursors speak of the requested order: `after` gives what follows it there, `before` gives the
/// `limit` items that directly precede it, so that going on with the first or the last id of each page walks the whole
/// list either way. Message lists read them otherwise, see [`messages`] and [`run_messages`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Id> {
    /// Only what follows this.
    pub after: Option<Id>,
    /// Only what precedes this.
    pub before: Option<Id>,
    /// At most so many.
    pub limit: usize,
    /// Which way.
    pub order: Order,
}

impl<Id> Page<Id> {
    /// The first `limit` items.
    #[must_use]
    pub const fn first(limit: usize, order: Order) -> Self {
        Self { after: None, before: None, limit, order }
    }
}

/// Whether `text` holds `part`, whatever the case. `part` is already in lower case.
fn contains_lowered(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(part)
}

/// Whether `found` holds any or all of `wanted`. Nothing wanted is always there.
fn has_tags(found: &[String], wanted: &[String], all: bool) -> bool {
    if all || wanted.is_empty() {
        wanted.iter().all(|tag| found.contains(tag))
    } else {
        wanted.iter().any(|tag| found.contains(tag))
    }
}
