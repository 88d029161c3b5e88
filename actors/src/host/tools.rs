//! Tools: made, seen, changed, deleted.

use std::sync::Arc;

use retold_events::{Position, ToolId, store::EventStore};
use retold_snapshots::{
    agent::State,
    load::{self, LoadError},
    row::ToolRow,
};

use super::{Host, ToolView};
use crate::{
    Refusal,
    pasts::of_load,
    tool::{self, Compute, Known, Source, registry::Target},
};

impl Host {
    /// Makes a tool, or changes the one of this name, which keeps its id. `compute` gives a tool of this name.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn upsert_tool(&self, name: String, compute: Compute) -> Result<ToolView, Refusal> {
        self.check_room()?;
        self.edit_tool(Target::Name(name), compute).await
    }

    /// Changes a tool.
    ///
    /// # Errors
    /// [`Refusal`]; it is invalid where the name is taken, or the tool comes with the server.
    pub async fn update_tool(&self, id: ToolId, compute: Compute) -> Result<ToolView, Refusal> {
        self.check_room()?;
        self.edit_tool(Target::Id(id), compute).await
    }

    async fn edit_tool(&self, target: Target, compute: Compute) -> Result<ToolView, Refusal> {
        let made = self.0.shared.tools.edit(target, compute).await?;
        let (id, row) = made.ok_or_else(|| Refusal::Storage("the tool is gone".to_owned()))?;
        Ok(ToolView::Made { id, row: Arc::new(row) })
    }

    /// Deletes a tool. Agents that have it do so no longer.
    ///
    /// # Errors
    /// [`Refusal`]; it is invalid where the tool comes with the server.
    pub async fn delete_tool(&self, id: ToolId) -> Result<(), Refusal> {
        let nothing: Compute = Arc::new(|_| Ok(None));
        self.0.shared.tools.edit(Target::Id(id), nothing).await.map(drop)
    }

    /// A tool as it stands.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn tool(&self, id: ToolId) -> Result<ToolView, Refusal> {
        if let Some(builtin) = tool::by_id(id) {
            return Ok(ToolView::Builtin(builtin));
        }
        let row = self.0.shared.tools.row(id).await?.ok_or_else(|| missing(id))?;
        Ok(ToolView::Made { id, row: Arc::new(row) })
    }

    /// A tool as it stood.
    ///
    /// # Errors
    /// [`Refusal`]; it is not found when it did not exist yet, or no longer.
    pub async fn tool_at(&self, id: ToolId, position: Position) -> Result<ToolView, Refusal> {
        if let Some(builtin) = tool::by_id(id) {
            return Ok(ToolView::Builtin(builtin));
        }
        let found = self.0.pasts.read(move |store| tool_at(store, id, position)).await?;
        let broken = || Refusal::Storage(format!("the history of {id} could not be folded"));
        found.ok_or_else(broken)?.map_err(of_load)?.ok_or_else(|| missing(id))
    }

    /// What a call of a tool runs. `None` when there is no such tool, or it has no source.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn tool_source(&self, id: ToolId) -> Result<Option<Source>, Refusal> {
        self.0.shared.tools.source(id).await
    }

    /// The tool with this id, or of this name: without its source, so without a wait.
    #[must_use]
    pub fn known_tool(&self, id_or_name: &str) -> Option<Arc<Known>> {
        let tools = &self.0.shared.tools;
        let by_id = id_or_name.parse().ok().and_then(|id| tools.get(id));
        by_id.or_else(|| tools.by_name(id_or_name))
    }

    /// The tools of an agent as they stand; those that are gone are left out.
    pub(super) async fn tools_of(&self, state: &State) -> Result<Vec<ToolView>, Refusal> {
        let made: Vec<ToolId> =
            state.tools.iter().copied().filter(|&id| tool::by_id(id).is_none()).collect();
        let mut made = self.0.shared.tools.rows(made).await?.into_iter().peekable();
        // Both are in the order of the agent's tools.
        let view = |&id: &ToolId| match tool::by_id(id) {
            Some(builtin) => Some(ToolView::Builtin(builtin)),
            None => made
                .next_if(|(next, _)| *next == id)
                .map(|(id, row): (ToolId, ToolRow)| ToolView::Made { id, row: Arc::new(row) }),
        };
        Ok(state.tools.iter().filter_map(view).collect())
    }
}

/// The tools of an agent as they stood; those that were gone are left out.
pub(super) fn tools_at(
    store: &dyn EventStore,
    state: &State,
    position: Position,
) -> Result<Vec<ToolView>, LoadError> {
    let mut tools = Vec::with_capacity(state.tools.len());
    for &id in &state.tools {
        match tool::by_id(id) {
            Some(builtin) => tools.push(ToolView::Builtin(builtin)),
            None => tools.extend(tool_at(store, id, position)?),
        }
    }
    Ok(tools)
}

fn tool_at(
    store: &dyn EventStore,
    id: ToolId,
    position: Position,
) -> Result<Option<ToolView>, LoadError> {
    let loaded = load::tool(store, id, Some(position))?;
    let there = loaded.filter(|loaded| !loaded.state.deleted);
    Ok(there.map(|loaded| ToolView::Made { id, row: Arc::new(loaded.state.into_row()) }))
}

fn missing(id: ToolId) -> Refusal {
    Refusal::NotFound { what: "Tool", id: id.to_string() }
}
