//! The tools an agent may call.

use axum::{Json as Answer, extract::State};
use retold_actors::{AgentView, Refusal, ToolView, agent::Change, tool::approval_patch};
use retold_events::{AgentId, ToolId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, OptionalJson, Query, ToolName},
    openapi::{ListErrors, WriteErrors},
    page::{self, Page},
    past::Reader,
    validation::Invalid,
};
use crate::wire::{
    self, AgentState, AgentToolsQuery, ApprovalQuery, AsOfQuery, ModifyApprovalRequest, Relations,
    Tool,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(attach))
        .routes(routes!(detach))
        .routes(routes!(modify_approval))
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
    let page = page::asked(&asked.page)?;
    for cursor in [page.after, page.before].into_iter().flatten() {
        // One that it has no longer still has its place in the order.
        if !reader.was_tool(cursor).await? {
            return Err(ApiError::NotFound { what: "Cursor", id: cursor.to_string() });
        }
    }
    let tools = page::cut(view.tools, ToolView::id, &page);
    Ok(Page::of(tools, |tool| tool.id().to_string(), |tool| Tool::from(&tool)))
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

/// Says whether calls of a tool wait for a person when the agent makes them. The body wins over the query; one of them must
/// say.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/approval/{tool_name}", tag = "agents",
    operation_id = "modify_approval_for_tool",
    params(("agent_id" = String, Path, description = "The agent"),
        ("tool_name" = String, Path, description = "The name of the tool"), ApprovalQuery),
    request_body = Option<ModifyApprovalRequest>,
    responses((status = 200, description = "The agent after it", body = AgentState), WriteErrors))]
async fn modify_approval(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    ToolName(tool): ToolName,
    Query(asked): Query<ApprovalQuery>,
    OptionalJson(body): OptionalJson<Option<ModifyApprovalRequest>>,
) -> Result<Answer<AgentState>, ApiError> {
    let wanted = body.map(|body| body.requires_approval).or(asked.requires_approval);
    let wanted =
        wanted.ok_or_else(|| Invalid::query_member("requires_approval", "Field required"))?;
    let view = app.host.agent(agent).await?;
    // One that the agent does not have yet can be guarded before it gets it.
    let is_made = app.host.known_tool(&tool).is_some_and(|known| known.name == tool);
    let is_known = is_made || has_tool(&view, &tool) || has_rule(&view, &tool);
    if !is_known {
        // A rule for a name that is mistyped would guard nothing.
        return Err(Refusal::NotFound { what: "Tool", id: tool }.into());
    }
    let compute =
        Change::Configure(Box::new(move |state| Ok(approval_patch(state, &tool, wanted))));
    let view = app.host.change_agent(agent, compute).await?;
    Ok(Answer(AgentState::new(&view, Relations::ALL)))
}

fn has_tool(view: &AgentView, name: &str) -> bool {
    view.tools.iter().any(|tool| match tool {
        ToolView::Builtin(tool) => tool.name == name,
        ToolView::Made { row, .. } => row.tool.name == name,
    })
}

fn has_rule(view: &AgentView, name: &str) -> bool {
    view.state.config.tool_rules.iter().any(|rule| rule.tool == name)
}
