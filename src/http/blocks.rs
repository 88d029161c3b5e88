//! Memory blocks as resources of their own.

use axum::{Json as Answer, extract::State};
use retold_actors::Whose;
use retold_events::{AgentId, BlockId};
use retold_snapshots::{
    past::Tables,
    query::{self, BlockFilter},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Client, Id, Json, Query},
    openapi::{ListErrors, ReadErrors, WriteErrors},
    page::{self, Page},
    past::Reader,
};
use crate::wire::{
    self, AgentState, AsOfQuery, Block, BlockAgentsQuery, BlockUpdate, BlocksQuery, CreateBlock,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(count))
        .routes(routes!(retrieve, update, delete))
        .routes(routes!(agents))
}

/// Blocks, a page at a time.
#[utoipa::path(get, path = "/v1/blocks", tag = "blocks", operation_id = "list_blocks",
    params(BlocksQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of blocks", body = [Block]), ListErrors))]
async fn list(reader: Reader, Query(asked): Query<BlocksQuery>) -> Result<Page<Block>, ApiError> {
    let page = page::asked(&asked.page)?;
    let Some(filter) = filter(asked) else { return Ok(Page::empty()) };
    let whose = Whose::Server(Tables::BLOCKS);
    let rows = reader.query(whose, move |store| query::blocks(store, &filter, &page)).await?;
    Ok(Page::of(rows, |(id, _)| id.to_string(), |(id, row)| Block::of_row(id, &row)))
}

/// How many blocks there are.
#[utoipa::path(get, path = "/v1/blocks/count", tag = "blocks", operation_id = "count_blocks",
    params(BlocksQuery, AsOfQuery),
    responses((status = 200, description = "Their number", body = usize, content_type = "application/json"), ListErrors))]
async fn count(
    reader: Reader,
    Query(asked): Query<BlocksQuery>,
) -> Result<Answer<usize>, ApiError> {
    let Some(filter) = filter(asked) else { return Ok(Answer(0)) };
    let whose = Whose::Server(Tables::BLOCKS);
    Ok(Answer(reader.query(whose, move |store| query::count_blocks(store, &filter)).await?))
}

/// The filter of a query; `None` when it asks for what no block here can have.
fn filter(asked: BlocksQuery) -> Option<BlockFilter> {
    if asked.identity_id.is_some() || !asked.identifier_keys.is_empty() {
        return None;
    }
    Some(BlockFilter {
        label: asked.label,
        name: asked.name,
        templates_only: asked.templates_only,
        project_id: asked.project_id,
        tags: asked.tags,
        match_all_tags: asked.match_all_tags,
        label_search: asked.label_search,
        description_search: asked.description_search,
        value_search: asked.value_search,
        connected_agents_gt: asked.connected_to_agents_count_gt,
        connected_agents_lt: asked.connected_to_agents_count_lt,
        connected_agents_eq: asked.connected_to_agents_count_eq,
        show_hidden: asked.show_hidden_blocks,
    })
}

/// Makes a block.
#[utoipa::path(post, path = "/v1/blocks", tag = "blocks", operation_id = "create_block", request_body = CreateBlock,
    responses((status = 200, description = "The new block", body = Block), WriteErrors))]
async fn create(
    State(app): State<App>,
    Json(request): Json<CreateBlock>,
) -> Result<Answer<Block>, ApiError> {
    let view = app.host.create_block(request.into_block()?).await?;
    Ok(Answer(Block::from(&view)))
}

/// A block.
#[utoipa::path(get, path = "/v1/blocks/{block_id}", tag = "blocks", operation_id = "retrieve_block",
    params(("block_id" = String, Path, description = "The block"), AsOfQuery),
    responses((status = 200, description = "The block", body = Block), ReadErrors))]
async fn retrieve(reader: Reader, Id(block): Id<BlockId>) -> Result<Answer<Block>, ApiError> {
    Ok(Answer(Block::from(&reader.block(block).await?)))
}

/// Changes a block. Absent members and `null` stay as they are.
#[utoipa::path(patch, path = "/v1/blocks/{block_id}", tag = "blocks", operation_id = "modify_block",
    params(("block_id" = String, Path, description = "The block")), request_body = BlockUpdate,
    responses((status = 200, description = "The block after the change", body = Block), WriteErrors))]
async fn update(
    State(app): State<App>,
    Id(block): Id<BlockId>,
    Json(request): Json<BlockUpdate>,
) -> Result<Answer<Block>, ApiError> {
    let view = app.host.edit_block(block, request.into_patch()).await?;
    Ok(Answer(Block::from(&view)))
}

/// Deletes a block and detaches it from all agents.
#[utoipa::path(delete, path = "/v1/blocks/{block_id}", tag = "blocks", operation_id = "delete_block",
    params(("block_id" = String, Path, description = "The block")),
    responses((status = 200, description = "`null`", body = Option<String>), ReadErrors))]
async fn delete(State(app): State<App>, Id(block): Id<BlockId>) -> Result<Answer<()>, ApiError> {
    app.host.delete_block(block).await?;
    Ok(Answer(()))
}

/// The agents that share a block.
#[utoipa::path(get, path = "/v1/blocks/{block_id}/agents", tag = "blocks", operation_id = "list_agents_for_block",
    params(("block_id" = String, Path, description = "The block"), BlockAgentsQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of agents", body = [AgentState]), ListErrors))]
async fn agents(
    State(app): State<App>,
    reader: Reader,
    client: Client,
    Id(block): Id<BlockId>,
    Query(asked): Query<BlockAgentsQuery>,
) -> Result<Page<AgentState>, ApiError> {
    let page = page::asked(&asked.page)?;
    reader.block(block).await?;
    let whose = Whose::Server(Tables::BLOCKS);
    let ids: Vec<AgentId> =
        reader.query(whose, move |store| query::agents_of_block(store, block, &page)).await?;
    let views = reader.agents(&ids).await?;
    let relations = asked.relations.unwrap_or_else(|| client.list_relations());
    let state = |view| app.agent_state(&view, relations, &reader);
    Ok(Page::of(views, |view| view.state.id.to_string(), state))
}
