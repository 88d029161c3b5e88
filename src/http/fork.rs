//! Forking an agent.

use axum::{Json as Answer, extract::State};
use retold_events::AgentId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, OptionalJson, Query},
    openapi::WriteErrors,
};
use crate::wire::{AgentState, AsOfQuery, ForkAgentRequest, Relations};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(fork))
}

/// Makes an agent that goes on from a moment of this one, deleted since or not: with the memory, the conversation, the
/// tools and the settings it had then, and blocks of its own. It shares the history before that moment without a copy,
/// so this takes as long for a long history as for a short one. What was under way at that moment is not part of it.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/fork", tag = "agents", operation_id = "fork_agent",
    params(("agent_id" = String, Path, description = "The agent to go on from"), AsOfQuery),
    request_body = Option<ForkAgentRequest>,
    responses((status = 200, description = "The new agent", body = AgentState), WriteErrors))]
async fn fork(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Query(asked): Query<AsOfQuery>,
    OptionalJson(request): OptionalJson<ForkAgentRequest>,
) -> Result<Answer<AgentState>, ApiError> {
    let (as_of, name) = request.into_parts()?;
    let view = app.host.fork(agent, as_of.or(asked.as_of), name).await?;
    Ok(Answer(AgentState::new(&view, Relations::ALL)))
}
