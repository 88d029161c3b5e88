//! The tools an agent may call.

use axum::{Json as Answer, extract::State};
use retold_actors::{
    agent::Change,
    tool::{BuiltinTool, by_id},
};
use retold_events::{AgentId, ToolId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Query},
    openapi::{ListErrors, WriteErrors},
    page::Page,
    past::Reader,
    tools,
};
use crate::wire::{self, AgentState, AgentToolsQuery, AsOfQuery, Relations, Tool};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(attach)).routes(routes!(detach))
}

/// The tools of an agent.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/tools", tag = "agents", operation_id = "list_tools_for_agent",
    params(("agent_id" = String, Path, description = "The agent"), wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of its tools", body = [Tool]), ListErrors))]
async fn list(
    reader: Reader,
    Id(agent): Id<AgentId>,
    Query(asked): Query<AgentToolsQuery>,
) -> Result<Page<Tool>, ApiError> {
    let view = reader.agent(agent).await?;
    let attached: Vec<&BuiltinTool> =
        view.state.tools.iter().filter_map(|&tool| by_id(tool)).collect();
    tools::page_of(attached, &asked.page)
}

/// Lets an agent call a tool.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/attach/{tool_id}", tag = "agents",
    operation_id = "attach_tool_to_agent",
    params(("agent_id" = String, Path, description = "The agent"), ("tool_id" = String, Path, description = "The tool")),
    responses((status = 200, description = "The agent after it", body = AgentState), WriteErrors))]
async fn attach(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Id(tool): Id<ToolId>,
) -> Result<Answer<AgentState>, ApiError> {
    let view = app.host.change_agent(agent, Change::AttachTool(tool)).await?;
    Ok(Answer(AgentState::new(&view, Relations::ALL)))
}

/// No longer lets an agent call a tool.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/detach/{tool_id}", tag = "agents",
    operation_id = "detach_tool_from_agent",
    params(("agent_id" = String, Path, description = "The agent"), ("tool_id" = String, Path, description = "The tool")),
    responses((status = 200, description = "The agent after it", body = AgentState), WriteErrors))]
async fn detach(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Id(tool): Id<ToolId>,
) -> Result<Answer<AgentState>, ApiError> {
    let view = app.host.change_agent(agent, Change::DetachTool(tool)).await?;
    Ok(Answer(AgentState::new(&view, Relations::ALL)))
}
