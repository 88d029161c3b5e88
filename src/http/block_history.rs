//! The history of blocks: what they were, who made them so, and having it back.

use axum::{Json as Answer, extract::State};
use retold_events::{AgentId, BlockId};
use retold_snapshots::query::{self, QueryError};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    agent_blocks::labelled,
    error::ApiError,
    extract::{Id, Json, Label, Query},
    openapi::{ListErrors, WriteErrors},
    page::{self, Page},
};
use crate::wire::{self, Block, BlockHistoryQuery, BlockVersion, RestoreBlockRequest};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(history))
        .routes(routes!(history_in_core_memory))
        .routes(routes!(history_by_label))
        .routes(routes!(restore))
        .routes(routes!(restore_in_core_memory))
        .routes(routes!(restore_by_label))
}

/// The versions of a block, newest first, a page at a time; the number of a version is its cursor. That of a deleted
/// block stays readable, and that of a block of a fork goes on into the block it was copied from.
#[utoipa::path(get, path = "/v1/blocks/{block_id}/history", tag = "blocks", operation_id = "list_block_history",
    params(("block_id" = String, Path, description = "The block"), wire::Page),
    responses((status = 200, description = "A page of its versions", body = [BlockVersion]), ListErrors))]
async fn history(
    State(app): State<App>,
    Id(block): Id<BlockId>,
    Query(asked): Query<BlockHistoryQuery>,
) -> Result<Page<BlockVersion>, ApiError> {
    versions(&app, block, &asked.page).await
}

/// The versions of a block of an agent, by its label.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks/{block_label}/history", tag = "memory",
    operation_id = "list_core_memory_block_history",
    params(("agent_id" = String, Path, description = "The agent"), ("block_label" = String, Path, description = "The label"),
        wire::Page),
    responses((status = 200, description = "A page of its versions", body = [BlockVersion]), ListErrors))]
async fn history_in_core_memory(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Label(label): Label,
    Query(asked): Query<BlockHistoryQuery>,
) -> Result<Page<BlockVersion>, ApiError> {
    let block = labelled(&app.host.agent(agent).await?, &label)?.id;
    versions(&app, block, &asked.page).await
}

/// The versions of a block of an agent, by its label: a shorter path.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/blocks/{block_label}/history", tag = "memory",
    operation_id = "list_agent_block_history",
    params(("agent_id" = String, Path, description = "The agent"), ("block_label" = String, Path, description = "The label"),
        wire::Page),
    responses((status = 200, description = "A page of its versions", body = [BlockVersion]), ListErrors))]
async fn history_by_label(
    app: State<App>,
    agent: Id<AgentId>,
    label: Label,
    asked: Query<BlockHistoryQuery>,
) -> Result<Page<BlockVersion>, ApiError> {
    history_in_core_memory(app, agent, label, asked).await
}

async fn versions(
    app: &App,
    block: BlockId,
    asked: &wire::Page,
) -> Result<Page<BlockVersion>, ApiError> {
    let cursor = |text: &Option<String>| match text {
        Some(text) => {
            let unknown = |_| ApiError::from(QueryError::UnknownCursor(text.clone()));
            text.parse::<u64>().map(Some).map_err(unknown)
        }
        None => Ok(None),
    };
    let (after, before) = (cursor(&asked.after)?, cursor(&asked.before)?);
    let page = query::Page { after, before, limit: asked.limit, order: page::order(asked) };
    let found = app.query(move |store| query::block_history(store, block, &page)).await?;
    let found = found.ok_or_else(|| ApiError::NotFound { what: "Block", id: block.to_string() })?;
    Ok(Page::of(found, |version| version.number.to_string(), BlockVersion::from))
}

/// Brings back everything a block was at one of its versions, as a new version: history is never rewritten. Nothing
/// changes when it is so already. A deleted block stays deleted.
#[utoipa::path(post, path = "/v1/blocks/{block_id}/restore", tag = "blocks", operation_id = "restore_block",
    params(("block_id" = String, Path, description = "The block")), request_body = RestoreBlockRequest,
    responses((status = 200, description = "The block after it", body = Block), WriteErrors))]
async fn restore(
    State(app): State<App>,
    Id(block): Id<BlockId>,
    Json(request): Json<RestoreBlockRequest>,
) -> Result<Answer<Block>, ApiError> {
    let view = app.host.restore_block(block, request.version).await?;
    Ok(Answer(Block::from(&view)))
}

/// Brings back what a block of an agent was, by its label. Other agents that share it see that, too.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/core-memory/blocks/{block_label}/restore", tag = "memory",
    operation_id = "restore_core_memory_block", request_body = RestoreBlockRequest,
    params(("agent_id" = String, Path, description = "The agent"), ("block_label" = String, Path, description = "The label")),
    responses((status = 200, description = "The block after it", body = Block), WriteErrors))]
async fn restore_in_core_memory(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Label(label): Label,
    request: Json<RestoreBlockRequest>,
) -> Result<Answer<Block>, ApiError> {
    let block = labelled(&app.host.agent(agent).await?, &label)?.id;
    restore(State(app), Id(block), request).await
}

/// Brings back what a block of an agent was, by its label: a shorter path.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/blocks/{block_label}/restore", tag = "memory",
    operation_id = "restore_agent_block", request_body = RestoreBlockRequest,
    params(("agent_id" = String, Path, description = "The agent"), ("block_label" = String, Path, description = "The label")),
    responses((status = 200, description = "The block after it", body = Block), WriteErrors))]
async fn restore_by_label(
    app: State<App>,
    agent: Id<AgentId>,
    label: Label,
    request: Json<RestoreBlockRequest>,
) -> Result<Answer<Block>, ApiError> {
    restore_in_core_memory(app, agent, label, request).await
}
