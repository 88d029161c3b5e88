//! Tools as resources. All of them come with the server, so there is nothing to wait for.

use axum::Json as Answer;
use retold_actors::tool::{BuiltinTool, builtins, by_id};
use retold_events::ToolId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Query},
    openapi::{ListErrors, ReadErrors},
    page::{self, Page},
};
use crate::wire::{self, Tool, ToolsQuery};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(count)).routes(routes!(retrieve))
}

/// Tools, a page at a time.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", operation_id = "list_tools",
    params(ToolsQuery, wire::Page),
    responses((status = 200, description = "A page of tools", body = [Tool]), ListErrors))]
async fn list(Query(asked): Query<ToolsQuery>) -> Result<Page<Tool>, ApiError> {
    page_of(wanted(&asked), &asked.page)
}

/// How many tools there are.
#[utoipa::path(get, path = "/v1/tools/count", tag = "tools", operation_id = "count_tools",
    params(ToolsQuery),
    responses((status = 200, description = "Their number", body = usize, content_type = "application/json"), ListErrors))]
async fn count(Query(asked): Query<ToolsQuery>) -> Answer<usize> {
    Answer(wanted(&asked).len())
}

/// A tool.
#[utoipa::path(get, path = "/v1/tools/{tool_id}", tag = "tools", operation_id = "retrieve_tool",
    params(("tool_id" = String, Path, description = "The tool")),
    responses((status = 200, description = "The tool", body = Tool), ReadErrors))]
async fn retrieve(Id(tool): Id<ToolId>) -> Result<Answer<Tool>, ApiError> {
    by_id(tool)
        .map(|tool| Answer(Tool::from(tool)))
        .ok_or(ApiError::NotFound { what: "Tool", id: tool.to_string() })
}

fn wanted(asked: &ToolsQuery) -> Vec<&'static BuiltinTool> {
    builtins().iter().filter(|tool| is_wanted(tool, asked)).collect()
}

fn is_wanted(tool: &BuiltinTool, asked: &ToolsQuery) -> bool {
    let among =
        |wanted: &[String], text: &str| wanted.is_empty() || wanted.iter().any(|it| it == text);
    among(&asked.names, tool.name)
        && among(&asked.tool_ids, &tool.id.to_string())
        && among(&asked.tool_types, tool.tool_type)
        && asked.search.as_deref().is_none_or(|part| tool.name.contains(&part.to_lowercase()))
        && !asked.exclude_tool_types.iter().any(|kind| kind == tool.tool_type)
        // All tools here are the server's own.
        && !asked.exclude_letta_tools
}

/// A page of tools.
pub(super) fn page_of(tools: Vec<&BuiltinTool>, page: &wire::Page) -> Result<Page<Tool>, ApiError> {
    let page = page::asked(page)?;
    for cursor in [page.after, page.before].into_iter().flatten() {
        by_id(cursor).ok_or(ApiError::NotFound { what: "Cursor", id: cursor.to_string() })?;
    }
    Ok(Page::of(page::cut(tools, |tool| tool.id, &page), |tool| tool.id.to_string(), Tool::from))
}
