//! An agent's memory: its blocks by label, attached and detached.

use axum::{Json as Answer, extract::State};
use retold_actors::{AgentView, BlockView, agent::Change};
use retold_events::{AgentId, BlockId};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Json, Label, Query},
    openapi::{ListErrors, ReadErrors, WriteErrors},
    page::{self, Page},
    past::Reader,
};
use crate::wire::{
    self, AgentBlocksQuery, AgentState, AsOfQuery, Block, BlockUpdate, Memory, Relations,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(memory))
        .routes(routes!(variables))
        .routes(routes!(list))
        .routes(routes!(retrieve, update))
        .routes(routes!(attach))
        .routes(routes!(detach))
}

/// An agent's memory.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory", tag = "memory",
    operation_id = "retrieve_agent_memory",
    params(("agent_id" = String, Path, description = "The agent"), AsOfQuery),
    responses((status = 200, description = "Its memory", body = Memory), ReadErrors))]
async fn memory(reader: Reader, Id(agent): Id<AgentId>) -> Result<Answer<Memory>, ApiError> {
    Ok(Answer(Memory::of(&reader.agent(agent).await?)))
}

/// Template variables, of which there are none.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/variables", tag = "memory",
    operation_id = "retrieve_agent_variables",
    params(("agent_id" = String, Path, description = "The agent"), AsOfQuery),
    responses((status = 200, description = "`{\"variables\": {}}`", body = Value), ReadErrors))]
async fn variables(reader: Reader, Id(agent): Id<AgentId>) -> Result<Answer<Value>, ApiError> {
    reader.agent(agent).await?;
    Ok(Answer(json!({ "variables": {} })))
}

/// The blocks of an agent.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks", tag = "memory",
    operation_id = "list_core_memory_blocks",
    params(("agent_id" = String, Path, description = "The agent"), wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of its blocks", body = [Block]), ListErrors))]
async fn list(
    reader: Reader,
    Id(agent): Id<AgentId>,
    Query(asked): Query<AgentBlocksQuery>,
) -> Result<Page<Block>, ApiError> {
    let page = page::asked(&asked.page)?;
    let view = reader.agent(agent).await?;
    for cursor in [page.after, page.before].into_iter().flatten() {
        // A block that was detached meanwhile is still a place in the list.
        if !view.state.blocks.contains(&cursor) {
            reader.block(cursor).await?;
        }
    }
    let blocks = page::cut(view.blocks, |block| block.id, &page);
    Ok(Page::of(blocks, |block| block.id.to_string(), |block| Block::from(&block)))
}

/// A block of an agent, by its label.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks/{block_label}", tag = "memory",
    operation_id = "retrieve_core_memory_block",
    params(("agent_id" = String, Path, description = "The agent"), ("block_label" = String, Path, description = "The label"),
        AsOfQuery),
    responses((status = 200, description = "The block", body = Block), ReadErrors))]
async fn retrieve(
    reader: Reader,
    Id(agent): Id<AgentId>,
    Label(label): Label,
) -> Result<Answer<Block>, ApiError> {
    let view = reader.agent(agent).await?;
    Ok(Answer(Block::from(labelled(&view, &label)?)))
}

/// Changes a block of an agent, by its label. Other agents that share it see the change.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/{block_label}", tag = "memory",
    operation_id = "modify_core_memory_block", request_body = BlockUpdate,
    params(("agent_id" = String, Path, description = "The agent"), ("block_label" = String, Path, description = "The label")),
    responses((status = 200, description = "The block after the change", body = Block), WriteErrors))]
async fn update(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Label(label): Label,
    Json(request): Json<BlockUpdate>,
) -> Result<Answer<Block>, ApiError> {
    let view = app.host.agent(agent).await?;
    let block = app.host.edit_block(labelled(&view, &label)?.id, request.into_patch()).await?;
    Ok(Answer(Block::from(&block)))
}

pub(super) fn labelled<'a>(view: &'a AgentView, label: &str) -> Result<&'a BlockView, ApiError> {
    let found = view.blocks.iter().find(|block| block.state.block.label.as_deref() == Some(label));
    found.ok_or_else(|| ApiError::NotFound {
        what: "Block",
        id: format!("label '{label}' of agent {}", view.state.id),
    })
}

/// Makes a block part of an agent's memory.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}", tag = "memory",
    operation_id = "attach_core_memory_block",
    params(("agent_id" = String, Path, description = "The agent"), ("block_id" = String, Path, description = "The block")),
    responses((status = 200, description = "The agent after it", body = AgentState), WriteErrors))]
async fn attach(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Id(block): Id<BlockId>,
) -> Result<Answer<AgentState>, ApiError> {
    let view = app.host.change_agent(agent, Change::AttachBlock(block)).await?;
    Ok(Answer(AgentState::new(&view, Relations::ALL)))
}

/// Takes a block out of an agent's memory.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}", tag = "memory",
    operation_id = "detach_core_memory_block",
    params(("agent_id" = String, Path, description = "The agent"), ("block_id" = String, Path, description = "The block")),
    responses((status = 200, description = "The agent after it", body = AgentState), WriteErrors))]
async fn detach(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Id(block): Id<BlockId>,
) -> Result<Answer<AgentState>, ApiError> {
    let view = app.host.change_agent(agent, Change::DetachBlock(block)).await?;
    Ok(Answer(AgentState::new(&view, Relations::ALL)))
}
