//! An MCP server that a user made known, as its history left it.

use retold_events::{
    McpServerId, Timestamp,
    mcp::{Event, Server},
    store::{RowChange, Table},
};
use serde::{Deserialize, Serialize};

use crate::row::{McpServerRow, encode};

/// An MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its id.
    pub id: McpServerId,
    /// Everything about it.
    pub server: Server,
    /// When it was made known.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether it is forgotten.
    pub deleted: bool,
}

impl State {
    /// The state after the first event of every server.
    #[must_use]
    pub fn created(id: McpServerId, at: Timestamp, server: Server) -> Self {
        Self { id, server, created_at: at, updated_at: at, deleted: false }
    }

    /// The state that `event` begins; `None` when it is no beginning.
    #[must_use]
    pub fn begin(id: McpServerId, at: Timestamp, event: &Event) -> Option<Self> {
        match event {
            Event::Created(created) => Some(Self::created(id, at, created.server.clone())),
            Event::Updated(_) | Event::Deleted(_) => None,
        }
    }

    /// The row of this state.
    #[must_use]
    pub fn into_row(self) -> McpServerRow {
        let Self { server, created_at, updated_at, .. } = self;
        McpServerRow { server, created_at, updated_at }
    }
}

/// Folds one fact into the state. Total: it has no error to return.
pub fn apply(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::Created(created) => *state = State::created(state.id, at, created.server.clone()),
        Event::Updated(updated) => {
            state.server.clone_from(&updated.server);
            state.updated_at = at;
        }
        Event::Deleted(_) => state.deleted = true,
    }
}

/// The row that changes when `event` happens to `id`, which was made known at `created_at`.
#[must_use]
pub fn project(
    id: McpServerId,
    created_at: Option<Timestamp>,
    at: Timestamp,
    event: &Event,
) -> Vec<RowChange> {
    let after = match event {
        Event::Created(created) => Some((&created.server, at)),
        Event::Updated(updated) => Some((&updated.server, created_at.unwrap_or(at))),
        Event::Deleted(_) => None,
    };
    let row = after.map(|(server, created_at)| {
        encode(&McpServerRow { server: server.clone(), created_at, updated_at: at })
    });
    vec![RowChange { table: Table::McpServers, key: id.as_bytes().to_vec(), value: row }]
}
