//! Steps: the model calls of runs.

use axum::{Json as Answer, extract::State};
use retold_actors::Whose;
use retold_events::{AgentId, StepId, agent::AgentType};
use retold_snapshots::{
    past::Tables,
    query::{self, StepFilter},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Json, Query},
    messages,
    openapi::{ListErrors, ReadErrors, WriteErrors},
    page::{self, Page},
    past::Reader,
};
use crate::wire::{
    self, AsOfQuery, LettaMessage, ModifyFeedbackRequest, Step, StepMessagesQuery, StepMetrics,
    StepsQuery, View, WireFeedback,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(retrieve))
        .routes(routes!(metrics))
        .routes(routes!(feedback))
        .routes(routes!(list_messages))
}

/// Steps, a page at a time.
#[utoipa::path(get, path = "/v1/steps", tag = "steps", operation_id = "list_steps",
    params(StepsQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of steps", body = [Step]), ListErrors))]
async fn list(reader: Reader, Query(asked): Query<StepsQuery>) -> Result<Page<Step>, ApiError> {
    let page = page::asked(&asked.page)?;
    let Some(filter) = filter(asked) else { return Ok(Page::empty()) };
    let whose = filter.agent.map_or(Whose::Server(Tables::STEPS), Whose::Agent);
    let rows = reader.query(whose, move |store| query::steps(store, &filter, &page)).await?;
    Ok(Page::of(
        rows,
        |(step, _)| step.id.to_string(),
        |(step, feedback)| Step::new(&step, feedback.as_ref()),
    ))
}

/// The filter of a query; `None` when it asks for what no step here has.
fn filter(asked: StepsQuery) -> Option<StepFilter> {
    let agent = asked.agent_id.map(|id| id.parse::<AgentId>());
    if asked.project_id.is_some() || !asked.trace_ids.is_empty() {
        return None;
    }
    Some(StepFilter {
        start_date: asked.start_date.map(|time| time.0),
        end_date: asked.end_date.map(|time| time.0),
        model: asked.model,
        agent: agent.transpose().ok()?,
        runs: Vec::new(),
        feedback: asked.feedback.map(WireFeedback::stored),
        has_feedback: asked.has_feedback,
        tags: asked.tags,
    })
}

/// A step.
#[utoipa::path(get, path = "/v1/steps/{step_id}", tag = "steps", operation_id = "retrieve_step",
    params(("step_id" = String, Path, description = "The step"), AsOfQuery),
    responses((status = 200, description = "The step", body = Step), ReadErrors))]
async fn retrieve(reader: Reader, Id(step): Id<StepId>) -> Result<Answer<Step>, ApiError> {
    let (row, feedback) = reader.step(step).await?;
    Ok(Answer(Step::new(&row, feedback.as_ref())))
}

/// How long the parts of a step took.
#[utoipa::path(get, path = "/v1/steps/{step_id}/metrics", tag = "steps", operation_id = "retrieve_metrics_for_step",
    params(("step_id" = String, Path, description = "The step"), AsOfQuery),
    responses((status = 200, description = "Its times", body = StepMetrics), ReadErrors))]
async fn metrics(reader: Reader, Id(step): Id<StepId>) -> Result<Answer<StepMetrics>, ApiError> {
    Ok(Answer(StepMetrics::from(&reader.step(step).await?.0)))
}

/// Judges a step; `null` takes a judgement back.
#[utoipa::path(patch, path = "/v1/steps/{step_id}/feedback", tag = "steps", operation_id = "modify_feedback_for_step",
    params(("step_id" = String, Path, description = "The step")), request_body = ModifyFeedbackRequest,
    responses((status = 200, description = "The step after it", body = Step), WriteErrors))]
async fn feedback(
    State(app): State<App>,
    Id(step): Id<StepId>,
    Json(request): Json<ModifyFeedbackRequest>,
) -> Result<Answer<Step>, ApiError> {
    let judgement = request.feedback.map(WireFeedback::stored);
    app.host.give_feedback(step, judgement, request.tags.unwrap_or_default()).await?;
    let (row, feedback) = Reader::now(&app.host).step(step).await?;
    Ok(Answer(Step::new(&row, feedback.as_ref())))
}

/// The messages of a step. `after` is newer and `before` older, whatever the order.
#[utoipa::path(get, path = "/v1/steps/{step_id}/messages", tag = "steps", operation_id = "list_messages_for_step",
    params(("step_id" = String, Path, description = "The step"), wire::MessagePage, AsOfQuery),
    responses((status = 200, description = "A page of messages", body = [LettaMessage]), ListErrors))]
async fn list_messages(
    reader: Reader,
    Id(step): Id<StepId>,
    Query(asked): Query<StepMessagesQuery>,
) -> Result<Page<LettaMessage>, ApiError> {
    let (row, _) = reader.step(step).await?;
    let agent_type: AgentType = reader.agent(row.agent).await?.state.config.agent_type;
    let page = page::asked(&asked.page)?;
    let whose = Whose::Agent(row.agent);
    let messages =
        reader.query(whose, move |store| query::step_messages(store, &row, &page)).await?;
    let view = View::history(agent_type);
    Ok(messages::shown(messages, &view))
}
