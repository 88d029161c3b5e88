//! Messages of an agent: the history, sending in all its ways, cancelling.

use std::collections::BTreeMap;

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse as _, Response},
};
use retold_actors::{
    Whose,
    run::{CancelOutcome, Send},
};
use retold_events::{AgentId, Message, MessageId, RunId, agent::AgentType};
use retold_snapshots::{
    query::{self, MessageFilter},
    row::RunRow,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App, callback,
    error::ApiError,
    extract::{Id, Json, OptionalJson, Query},
    openapi::{ListErrors, SendErrors, WriteErrors},
    page::{self, Page},
    past::Reader,
    sse::{self, Reading},
    trace::RequestId,
    turn,
};
use crate::wire::{
    self, AsOfQuery, Call, CancelAgentRunRequest, LettaAsyncRequest, LettaMessage, LettaResponse,
    LettaStreamingRequest, MessagesQuery, Run, View, expand,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, send))
        .routes(routes!(send_streaming))
        .routes(routes!(send_async))
        .routes(routes!(cancel))
        .routes(routes!(modify))
}

/// The history of an agent, always oldest first. `after` is newer and `before` older, whatever the order; the order
/// says which end `limit` counts from.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/messages", tag = "messages", operation_id = "list_messages",
    params(("agent_id" = String, Path, description = "The agent"), MessagesQuery, wire::HistoryPage, AsOfQuery),
    responses((status = 200, description = "A page of messages", body = [LettaMessage]), ListErrors))]
async fn list(
    reader: Reader,
    Id(agent): Id<AgentId>,
    Query(asked): Query<MessagesQuery>,
) -> Result<Page<LettaMessage>, ApiError> {
    let agent_type = reader.agent(agent).await?.state.config.agent_type;
    let page = page::asked(&asked.page)?;
    let filter = MessageFilter {
        conversation: page::conversations(asked.conversation_id.as_deref())?,
        ..MessageFilter::default()
    };
    if asked.group_id.is_some() {
        return Ok(Page::empty());
    }
    let whose = Whose::Agent(agent);
    let messages =
        reader.query(whose, move |store| query::messages(store, agent, &filter, &page)).await?;
    let view = View {
        use_assistant_message: asked.use_assistant_message,
        assistant_message_tool_name: asked.assistant_message_tool_name.into(),
        assistant_message_tool_kwarg: asked.assistant_message_tool_kwarg.into(),
        types: asked.include_return_message_types.map(Into::into),
        ..View::history(agent_type)
    };
    Ok(shown(messages, &view))
}

/// A page of messages as a reader wants to see them.
pub(super) fn shown(messages: Vec<Message>, view: &View<'_>) -> Page<LettaMessage> {
    Page::flat(
        messages,
        |message| message.id.to_string(),
        |message| {
            let mut shown = Vec::new();
            expand(&message, view, &mut shown);
            shown
        },
    )
}

/// Sends messages and answers when the run has ended, or streams it if asked to.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages", tag = "messages", operation_id = "send_message",
    params(("agent_id" = String, Path, description = "The agent")), request_body = LettaStreamingRequest,
    responses(
        (status = 200, description = "What the agent said, at once or as it says it",
            content((LettaResponse = "application/json"), (super::openapi::EventStream = "text/event-stream"))),
        SendErrors))]
async fn send(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Json(request): Json<LettaStreamingRequest>,
) -> Result<Response, ApiError> {
    if request.streaming() {
        return stream(&app, agent, request).await;
    }
    let (run, agent_type) = start(&app, agent, request.into_send(agent, Call::Blocking)?).await?;
    let answer = turn::answer(&app, &run, agent_type).await?;
    Ok(Answer(answer).into_response())
}

/// Sends messages and streams what the agent says.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/stream", tag = "messages",
    operation_id = "create_agent_message_stream",
    params(("agent_id" = String, Path, description = "The agent")), request_body = LettaStreamingRequest,
    responses((status = 200, description = "The stream", body = super::openapi::EventStream, content_type = "text/event-stream"), SendErrors))]
async fn send_streaming(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Json(request): Json<LettaStreamingRequest>,
) -> Result<Response, ApiError> {
    stream(&app, agent, request).await
}

async fn stream(
    app: &App,
    agent: AgentId,
    request: LettaStreamingRequest,
) -> Result<Response, ApiError> {
    let pings = request.include_pings();
    let fail_early = !pings && !request.background();
    let (run, agent_type) = start(app, agent, request.into_send(agent, Call::Streaming)?).await?;
    sse::of_run(app, run, agent_type, Reading { starting_after: 0, pings, fail_early }).await
}

/// Sends messages and answers at once with the run that they set off.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/async", tag = "messages",
    operation_id = "create_agent_message_async",
    params(("agent_id" = String, Path, description = "The agent")), request_body = LettaAsyncRequest,
    responses((status = 200, description = "The run", body = Run), SendErrors))]
async fn send_async(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    Json(request): Json<LettaAsyncRequest>,
) -> Result<Answer<Run>, ApiError> {
    if let Some(url) = &request.callback_url {
        callback::check(&app.egress, url)?;
    }
    let (run, _) = start(&app, agent, request.into_send(agent, Call::Async)?).await?;
    Ok(Answer(Run::new(&run, None)))
}

/// Hands messages to the agent. From here on the run goes its way, whoever waits for it.
pub(super) async fn start(
    app: &App,
    agent: AgentId,
    send: Send,
) -> Result<(RunRow, AgentType), ApiError> {
    let agent_type = app.host.agent(agent).await?.state.config.agent_type;
    let sent = app.host.send(agent, send).await?;
    if let Some((parents, parent)) = app.parents.as_ref().zip(RequestId::parent()) {
        parents.note(sent.run.id, parent);
    }
    Ok((sent.run, agent_type))
}

/// Cancels runs of an agent: those named, else all that have not ended. A run that had ended counts as cancelled.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/cancel", tag = "messages", operation_id = "cancel_message",
    params(("agent_id" = String, Path, description = "The agent")), request_body = Option<CancelAgentRunRequest>,
    responses(
        (status = 200, description = "`cancelled` or `failed`, by run", body = BTreeMap<String, String>), WriteErrors))]
async fn cancel(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    OptionalJson(request): OptionalJson<CancelAgentRunRequest>,
) -> Result<Answer<BTreeMap<String, &'static str>>, ApiError> {
    let named = request.run_ids.filter(|runs| !runs.is_empty());
    let runs = named
        .as_ref()
        .map(|runs| runs.iter().filter_map(|run| run.parse::<RunId>().ok()).collect());
    let outcomes = app.host.cancel(agent, runs).await?;
    // What is no run cannot be cancelled.
    let mut told: BTreeMap<String, &str> =
        named.into_iter().flatten().map(|run| (run, "failed")).collect();
    told.extend(outcomes.into_iter().map(|(run, outcome)| (run.to_string(), word(outcome))));
    if told.is_empty() {
        return Err(ApiError::NothingToCancel(agent));
    }
    Ok(Answer(told))
}

fn word(outcome: CancelOutcome) -> &'static str {
    match outcome {
        CancelOutcome::Cancelled | CancelOutcome::AlreadyEnded(_) => "cancelled",
        CancelOutcome::Unknown => "failed",
    }
}

/// Refuses: messages are history.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/messages/{message_id}", tag = "messages",
    operation_id = "modify_message",
    params(("agent_id" = String, Path, description = "The agent"), ("message_id" = String, Path, description = "The message")),
    responses((status = 405, description = "Always", body = serde_json::Value), WriteErrors))]
async fn modify(_: Id<AgentId>, _: Id<MessageId>) -> ApiError {
    ApiError::MessageIsHistory
}
