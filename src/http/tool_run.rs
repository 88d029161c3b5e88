//! Running a tool because a client asks for it. A client that goes away has ended it.

use axum::{Json as Answer, extract::State};
use retold_events::AgentId;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Json, OptionalJson, ToolName},
    openapi::WriteErrors,
};
use crate::wire::{
    ToolExecuteRequest, ToolExecutionResult, ToolReturnMessage, ToolRunFromSource, return_message,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(run_source)).routes(routes!(run_of_agent))
}

/// Runs a tool from its source, once, without keeping it.
#[utoipa::path(post, path = "/v1/tools/run", tag = "tools", operation_id = "run_tool_from_source",
    request_body = ToolRunFromSource,
    responses((status = 200, description = "What it returned", body = ToolReturnMessage), WriteErrors))]
async fn run_source(
    State(app): State<App>,
    Json(request): Json<ToolRunFromSource>,
) -> Result<Answer<ToolReturnMessage>, ApiError> {
    let (key, at) = app.host.fresh_key();
    // A large source takes a while to parse.
    let job = tokio::task::spawn_blocking(move || request.into_job(key)).await;
    let job = job.map_err(|error| ApiError::internal(&error))??;
    let name = job.name.clone();
    let ran = app.host.run_job(job).await?;
    Ok(Answer(return_message(&name, ran, at)))
}

/// Runs a tool of an agent, outside of any conversation.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/tools/{tool_name}/run", tag = "agents",
    operation_id = "run_tool_for_agent", request_body = Option<ToolExecuteRequest>,
    params(("agent_id" = String, Path, description = "The agent"), ("tool_name" = String, Path, description = "The tool")),
    responses((status = 200, description = "What came of it", body = ToolExecutionResult), WriteErrors))]
async fn run_of_agent(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    ToolName(name): ToolName,
    OptionalJson(request): OptionalJson<ToolExecuteRequest>,
) -> Result<Answer<ToolExecutionResult>, ApiError> {
    let arguments = Value::Object(request.args).to_string();
    Ok(Answer(app.host.run_tool(agent, &name, arguments).await?.into()))
}
