//! A tool that a user made, as its history left it.

use retold_events::{
    Timestamp, ToolId,
    store::{RowChange, Table},
    tool::{Event, Tool},
};
use serde::{Deserialize, Serialize};

use crate::row::{ToolRow, encode};

/// A tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its id.
    pub id: ToolId,
    /// Everything about it.
    pub tool: Tool,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether it is gone.
    pub deleted: bool,
}

impl State {
    /// The state after the first event of every tool.
    #[must_use]
    pub fn created(id: ToolId, at: Timestamp, tool: Tool) -> Self {
        Self { id, tool, created_at: at, updated_at: at, deleted: false }
    }

    /// The state that `event` begins; `None` when it is no beginning.
    #[must_use]
    pub fn begin(id: ToolId, at: Timestamp, event: &Event) -> Option<Self> {
        match event {
            Event::Created(created) => Some(Self::created(id, at, created.tool.clone())),
            Event::Updated(_) | Event::Deleted(_) => None,
        }
    }

    /// The row of this state, source and all.
    #[must_use]
    pub fn into_row(self) -> ToolRow {
        ToolRow { tool: self.tool, created_at: self.created_at, updated_at: self.updated_at }
    }
}

/// Folds one fact into the state. Total: it has no error to return.
pub fn apply(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::Created(created) => *state = State::created(state.id, at, created.tool.clone()),
        Event::Updated(updated) => {
            state.tool.clone_from(&updated.tool);
            state.updated_at = at;
        }
        Event::Deleted(_) => state.deleted = true,
    }
}

/// The rows that change when `event` happens to `id`, which came to be at `created_at`.
///
/// The source is a row of its own: lists look at thousands of tools, and at the sources of those they show only.
#[must_use]
pub fn project(
    id: ToolId,
    created_at: Option<Timestamp>,
    at: Timestamp,
    event: &Event,
) -> Vec<RowChange> {
    let after = match event {
        Event::Created(created) => Some((&created.tool, at)),
        Event::Updated(updated) => Some((&updated.tool, created_at.unwrap_or(at))),
        Event::Deleted(_) => None,
    };
    let source = after.and_then(|(tool, _)| tool.source.as_ref());
    let row = after.map(|(tool, created_at)| {
        let tool = Tool { source: None, ..tool.clone() };
        encode(&ToolRow { tool, created_at, updated_at: at })
    });
    let change = |table, value| RowChange { table, key: id.as_bytes().to_vec(), value };
    vec![change(Table::Tools, row), change(Table::ToolSources, source.map(encode))]
}
