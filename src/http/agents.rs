//! Agents: list, count, create, retrieve, update, delete, and their compiled system message.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use retold_actors::{
    AgentView, Refusal, Whose,
    agent::{Change, NewAgent},
};
use retold_events::AgentId;
use retold_snapshots::{
    past::Tables,
    query::{self, AgentFilter, OrderBy},
};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Client, Id, Json, OptionalJson, Query},
    openapi::{ListErrors, ReadErrors, WriteErrors},
    page::{self, Page},
    past::Reader,
    path::Dialect,
};
use crate::wire::{
    self, AgentQuery, AgentState, AgentsQuery, AsOfQuery, CreateAgentRequest, DEFAULT_USER_ID,
    Found, RecompileQuery, Relations, ResetMessagesRequest, UpdateAgent, WireStopReason,
    small_model,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(count))
        .routes(routes!(retrieve, update, delete))
        .routes(routes!(recompile))
        .routes(routes!(recompile_system_prompt))
        .routes(routes!(reset_messages))
}

/// Agents, a page at a time.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", operation_id = "list_agents",
    params(AgentsQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of agents", body = [AgentState]), ListErrors))]
async fn list(
    State(app): State<App>,
    reader: Reader,
    client: Client,
    Query(asked): Query<AgentsQuery>,
) -> Result<Page<AgentState>, ApiError> {
    let relations = asked.relations.unwrap_or_else(|| client.list_relations());
    let page = page::asked(&asked.page)?;
    let order_by = order_by(asked.page.order_by.as_deref());
    let Some(filter) = filter(asked) else { return Ok(Page::empty()) };
    let whose = Whose::Server(Tables::AGENTS);
    let rows =
        reader.query(whose, move |store| query::agents(store, &filter, order_by, &page)).await?;
    let ids: Vec<AgentId> = rows.into_iter().map(|(id, _)| id).collect();
    let views = reader.agents(&ids).await?;
    let state = |view| app.agent_state(&view, relations, &reader);
    Ok(Page::of(views, |view| view.state.id.to_string(), state))
}

/// How many agents there are.
#[utoipa::path(get, path = "/v1/agents/count", tag = "agents", operation_id = "count_agents",
    params(AgentsQuery, AsOfQuery),
    responses((status = 200, description = "Their number", body = usize, content_type = "application/json"), ListErrors))]
async fn count(
    reader: Reader,
    Query(asked): Query<AgentsQuery>,
) -> Result<axum::Json<usize>, ApiError> {
    let Some(filter) = filter(asked) else { return Ok(axum::Json(0)) };
    let whose = Whose::Server(Tables::AGENTS);
    let count = reader.query(whose, move |store| query::count_agents(store, &filter)).await?;
    Ok(axum::Json(count))
}

fn order_by(asked: Option<&str>) -> OrderBy {
    match asked {
        Some("updated_at") => OrderBy::UpdatedAt,
        Some("last_run_completion") => OrderBy::LastRunCompletion,
        Some(_) | None => OrderBy::CreatedAt,
    }
}

/// The filter of a query; `None` when it asks for what no agent here can have.
fn filter(asked: AgentsQuery) -> Option<AgentFilter> {
    let of_others = asked.created_by_id.is_some_and(|user| user != DEFAULT_USER_ID);
    if asked.identity_id.is_some() || !asked.identifier_keys.is_empty() || of_others {
        return None;
    }
    Some(AgentFilter {
        name: asked.name,
        query_text: asked.query_text,
        tags: asked.tags,
        match_all_tags: asked.match_all_tags,
        project_id: asked.project_id,
        template_id: asked.template_id,
        base_template_id: asked.base_template_id,
        last_stop_reason: asked.last_stop_reason.map(WireStopReason::stored),
        ids: None,
        show_hidden: asked.show_hidden_agents,
    })
}

/// Makes an agent.
#[utoipa::path(post, path = "/v1/agents", tag = "agents", operation_id = "create_agent",
    request_body = CreateAgentRequest,
    responses((status = 200, description = "The new agent", body = AgentState), WriteErrors))]
async fn create(
    State(app): State<App>,
    Json(request): Json<CreateAgentRequest>,
) -> Result<axum::Json<AgentState>, ApiError> {
    Ok(axum::Json(AgentState::new(&make(&app, request).await?, Relations::ALL)))
}

/// Makes an agent of a request.
pub(super) async fn make(
    app: &App,
    mut request: CreateAgentRequest,
) -> Result<AgentView, ApiError> {
    let handle = request.model_handle(&app.defaults)?;
    let tools = request.tool_names();
    let found = find(app, Some(&handle), request.embedding_handle(&app.defaults), &tools).await?;
    let secrets = request.take_secrets()?;
    let new = request.into_new_agent(&app.defaults, &found)?;
    // Only now: nothing is sealed for a request that makes no sense.
    let secrets = app.seal_new(secrets).await?;
    Ok(app.host.create_agent(NewAgent { secrets, ..new }).await?)
}

/// The models and the tools that a request names.
async fn find(
    app: &App,
    model: Option<&str>,
    embedding: Option<&str>,
    tools: &[String],
) -> Result<Found, ApiError> {
    let catalog = app.host.catalog();
    let model = match model {
        Some(handle) => Some(catalog.resolve_or_refresh(handle).await.map_err(Refusal::from)?.1),
        None => None,
    };
    let embeddings = catalog.embeddings();
    let embedding =
        embedding.and_then(|handle| embeddings.iter().find(|info| info.handle == handle)).cloned();
    let small =
        model.as_ref().and_then(small_model).filter(|handle| catalog.resolve(handle).is_ok());
    let tools = tools.iter().filter_map(|tool| app.host.known_tool(tool)).collect();
    Ok(Found { small_model: small.map(str::to_owned), model, embedding, tools })
}

/// An agent.
#[utoipa::path(get, path = "/v1/agents/{agent_id}", tag = "agents", operation_id = "retrieve_agent",
    params(("agent_id" = String, Path, description = "The agent"), AgentQuery, AsOfQuery),
    responses((status = 200, description = "The agent", body = AgentState), ReadErrors))]
async fn retrieve(
    State(app): State<App>,
    reader: Reader,
    Id(agent): Id<AgentId>,
    Query(asked): Query<AgentQuery>,
) -> Result<axum::Json<AgentState>, ApiError> {
    let view = reader.agent(agent).await?;
    let relations = asked.relations.unwrap_or(Relations::ALL);
    Ok(axum::Json(app.agent_state(&view, relations, &reader)))
}

/// Changes an agent. Absent members stay as they are; lists are replaced.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}", tag = "agents", operation_id = "modify_agent",
    params(("agent_id" = String, Path, description = "The agent")), request_body = UpdateAgent,
    responses((status = 200, description = "The agent after the change", body = AgentState), WriteErrors))]
async fn update(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Json(mut request): Json<UpdateAgent>,
) -> Result<axum::Json<AgentState>, ApiError> {
    let (model, tools) = (request.model_handle(), request.tool_names());
    let found = find(&app, model.as_deref(), request.embedding_handle(), &tools).await?;
    let with_secrets = app.seal_changed(request.take_secrets()?).await?;
    let compute = Change::Configure(Box::new(move |state| {
        with_secrets(state.id, &state.secrets, request.into_patch(state, &found)?)
    }));
    let view = app.host.change_agent(agent, compute).await?;
    Ok(axum::Json(AgentState::new(&view, Relations::ALL)))
}

/// Deletes an agent with its messages and runs. Its blocks stay.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}", tag = "agents", operation_id = "delete_agent",
    params(("agent_id" = String, Path, description = "The agent")),
    responses((status = 200, description = "It is gone", body = serde_json::Value), ReadErrors))]
async fn delete(
    State(app): State<App>,
    dialect: Dialect,
    Id(agent): Id<AgentId>,
) -> Result<Response, ApiError> {
    app.host.delete_agent(agent).await?;
    Ok(match dialect {
        Dialect::Api => StatusCode::NO_CONTENT.into_response(),
        Dialect::V1 => {
            axum::Json(json!({ "message": format!("Agent id={agent} successfully deleted") }))
                .into_response()
        }
    })
}

/// Compiles the system message anew and answers it.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/recompile", tag = "agents", operation_id = "recompile_agent",
    params(("agent_id" = String, Path, description = "The agent"), RecompileQuery),
    responses((status = 200, description = "The system message", body = String, content_type = "application/json"), WriteErrors))]
async fn recompile(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Query(asked): Query<RecompileQuery>,
) -> Result<axum::Json<String>, ApiError> {
    Ok(axum::Json(app.host.recompile(agent, asked.update_timestamp, asked.dry_run).await?))
}

/// The older path of `recompile`.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/system-prompt/recompile", tag = "agents",
    operation_id = "recompile_agent_system_prompt",
    params(("agent_id" = String, Path, description = "The agent"), RecompileQuery),
    responses((status = 200, description = "The system message", body = String, content_type = "application/json"), WriteErrors))]
async fn recompile_system_prompt(
    app: State<App>,
    agent: Id<AgentId>,
    asked: Query<RecompileQuery>,
) -> Result<axum::Json<String>, ApiError> {
    recompile(app, agent, asked).await
}

/// Empties the context window, but for the system message. The history stays.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/reset-messages", tag = "agents", operation_id = "reset_messages",
    params(("agent_id" = String, Path, description = "The agent")), request_body = Option<ResetMessagesRequest>,
    responses((status = 200, description = "The agent after it", body = AgentState), WriteErrors))]
async fn reset_messages(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    OptionalJson(request): OptionalJson<ResetMessagesRequest>,
) -> Result<axum::Json<AgentState>, ApiError> {
    let view = app.host.reset_messages(agent, request.add_default_initial_messages).await?;
    Ok(axum::Json(AgentState::new(&view, Relations::ALL)))
}
