//! Tools as resources: those that come with the server, and those that users made.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use retold_actors::{
    Refusal, ToolView, Whose,
    tool::{BuiltinTool, builtins, by_id},
};
use retold_events::ToolId;
use retold_snapshots::{
    past::Tables,
    query::{self, Order, ToolFilter},
    row::ToolRow,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Json, Query},
    openapi::{ListErrors, ReadErrors, WriteErrors},
    page::{self, Page},
    past::Reader,
    path::Dialect,
};
use crate::wire::{self, AsOfQuery, Tool, ToolCreate, ToolUpdate, ToolsQuery};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, create, upsert))
        .routes(routes!(count))
        .routes(routes!(add_base_tools))
        .routes(routes!(retrieve, update, delete))
}

/// Tools, a page at a time.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", operation_id = "list_tools",
    params(ToolsQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of tools", body = [Tool]), ListErrors))]
async fn list(reader: Reader, Query(asked): Query<ToolsQuery>) -> Result<Page<Tool>, ApiError> {
    let page = page::asked(&asked.page)?;
    let wanted = Wanted::new(&asked);
    let builtin = page::cut(wanted.builtins(), |tool| tool.id, &page);
    // Built-in tools are older than all others, so they stand at one end of the list.
    let builtin_first = (page.order == Order::Asc) == page.before.is_none();
    let mut rest = page.clone();
    if builtin_first {
        rest.limit -= builtin.len().min(rest.limit);
    }
    let (limit, order) = (page.limit, page.order);
    let made = made(&reader, wanted, rest).await?;
    let mut builtin: Vec<ToolView> = builtin.into_iter().map(ToolView::Builtin).collect();
    if !builtin_first {
        let room = limit - made.len().min(limit);
        match order {
            // With `before`, those nearest to it are wanted.
            Order::Asc => drop(builtin.drain(..builtin.len() - room.min(builtin.len()))),
            Order::Desc => builtin.truncate(room),
        }
    }
    let tools = match order {
        Order::Asc => [builtin, made].concat(),
        Order::Desc => [made, builtin].concat(),
    };
    Ok(Page::of(tools, |tool| tool.id().to_string(), |tool| Tool::from(&tool)))
}

/// The part of a page that users made.
async fn made(
    reader: &Reader,
    wanted: Wanted,
    page: query::Page<ToolId>,
) -> Result<Vec<ToolView>, ApiError> {
    let limit = if wanted.made { page.limit } else { 0 };
    let read = move |store: &dyn retold_events::store::EventStore| {
        let page = query::Page { limit, ..page };
        query::tools(store, &wanted.filter, &page, |id| by_id(id).is_some())
    };
    let rows = reader.query(Whose::Server(Tables::TOOLS), read).await?;
    Ok(rows.into_iter().map(view).collect())
}

/// A row as it is seen.
pub(super) fn view((id, row): (ToolId, ToolRow)) -> ToolView {
    ToolView::Made { id, row: Arc::new(row) }
}

/// How many tools there are.
#[utoipa::path(get, path = "/v1/tools/count", tag = "tools", operation_id = "count_tools",
    params(ToolsQuery, AsOfQuery),
    responses((status = 200, description = "Their number", body = usize, content_type = "application/json"), ListErrors))]
async fn count(reader: Reader, Query(asked): Query<ToolsQuery>) -> Result<Answer<usize>, ApiError> {
    let wanted = Wanted::new(&asked);
    let builtin = wanted.builtins().len();
    if !wanted.made {
        return Ok(Answer(builtin));
    }
    let whose = Whose::Server(Tables::TOOLS);
    let made = reader.query(whose, move |store| query::count_tools(store, &wanted.filter)).await?;
    Ok(Answer(builtin + made))
}

/// Which tools a query asks for.
struct Wanted {
    filter: ToolFilter,
    /// Whether those that come with the server are.
    builtin: bool,
    /// Whether those that users made are.
    made: bool,
}

impl Wanted {
    fn new(asked: &ToolsQuery) -> Self {
        let ids = asked.tool_ids.iter().filter_map(|id| id.parse().ok()).collect();
        Self {
            filter: ToolFilter {
                names: asked.names.clone(),
                // Text that is no id names no tool.
                ids: (!asked.tool_ids.is_empty()).then_some(ids),
                search: asked.search.clone(),
                kinds: asked.tool_types.clone(),
                other_kinds_than: asked.exclude_tool_types.clone(),
            },
            builtin: !asked.exclude_letta_tools,
            made: !asked.return_only_letta_tools,
        }
    }

    fn builtins(&self) -> Vec<&'static BuiltinTool> {
        let matches = |tool: &&BuiltinTool| self.filter.matches(tool.id, tool.name, tool.tool_type);
        builtins().iter().filter(|_| self.builtin).filter(matches).collect()
    }
}

/// Makes a tool from its source. One of the same name is changed instead, and keeps its id.
#[utoipa::path(post, path = "/v1/tools", tag = "tools", operation_id = "create_tool", request_body = ToolCreate,
    responses((status = 200, description = "The tool", body = Tool), WriteErrors))]
async fn create(app: State<App>, request: Json<ToolCreate>) -> Result<Answer<Tool>, ApiError> {
    upsert(app, request).await
}

/// Makes a tool from its source, or changes the one of the same name.
#[utoipa::path(put, path = "/v1/tools", tag = "tools", operation_id = "upsert_tool", request_body = ToolCreate,
    responses((status = 200, description = "The tool", body = Tool), WriteErrors))]
async fn upsert(
    State(app): State<App>,
    Json(request): Json<ToolCreate>,
) -> Result<Answer<Tool>, ApiError> {
    // A large source takes a while to parse.
    let derived = tokio::task::spawn_blocking(move || request.derive()).await;
    let derived = derived.map_err(|error| ApiError::internal(&error))??;
    let name = derived.name().to_owned();
    let compute = Arc::new(move |old: Option<&_>| Ok(Some(derived.over(old)?)));
    Ok(Answer(Tool::from(&app.host.upsert_tool(name, compute).await?)))
}

/// Makes the tools that come with the server. They are always there, so nothing changes.
#[utoipa::path(post, path = "/v1/tools/add-base-tools", tag = "tools", operation_id = "add_base_tools",
    responses((status = 200, description = "The tools that come with the server", body = [Tool])))]
async fn add_base_tools() -> Answer<Vec<Tool>> {
    Answer(builtins().iter().map(Tool::from).collect())
}

/// A tool.
#[utoipa::path(get, path = "/v1/tools/{tool_id}", tag = "tools", operation_id = "retrieve_tool",
    params(("tool_id" = String, Path, description = "The tool"), AsOfQuery),
    responses((status = 200, description = "The tool", body = Tool), ReadErrors))]
async fn retrieve(reader: Reader, Id(tool): Id<ToolId>) -> Result<Answer<Tool>, ApiError> {
    Ok(Answer(Tool::from(&reader.tool(tool).await?)))
}

/// Changes a tool. Absent members and `null` stay as they are; name and schema follow from a new source.
#[utoipa::path(patch, path = "/v1/tools/{tool_id}", tag = "tools", operation_id = "modify_tool",
    params(("tool_id" = String, Path, description = "The tool")), request_body = ToolUpdate,
    responses((status = 200, description = "The tool after the change", body = Tool), WriteErrors))]
async fn update(
    State(app): State<App>,
    Id(tool): Id<ToolId>,
    Json(request): Json<ToolUpdate>,
) -> Result<Answer<Tool>, ApiError> {
    let gone = move || Refusal::NotFound { what: "Tool", id: tool.to_string() };
    let compute = Arc::new(move |old: Option<&_>| Ok(Some(request.over(old.ok_or_else(gone)?)?)));
    Ok(Answer(Tool::from(&app.host.update_tool(tool, compute).await?)))
}

/// Deletes a tool. Agents that have it do so no longer.
#[utoipa::path(delete, path = "/v1/tools/{tool_id}", tag = "tools", operation_id = "delete_tool",
    params(("tool_id" = String, Path, description = "The tool")),
    responses((status = 200, description = "`null`", body = Option<String>), WriteErrors))]
async fn delete(
    State(app): State<App>,
    dialect: Dialect,
    Id(tool): Id<ToolId>,
) -> Result<Response, ApiError> {
    app.host.delete_tool(tool).await?;
    Ok(match dialect {
        Dialect::Api => StatusCode::NO_CONTENT.into_response(),
        Dialect::V1 => Answer(()).into_response(),
    })
}
