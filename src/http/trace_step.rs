//! What models were sent and what they answered, and where the time of a run went: read from the log.

use axum::{Json as Answer, extract::State};
use retold_events::{RunId, StepId};
use retold_snapshots::query::{self, Order, Page};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Query},
    openapi::{ListErrors, ReadErrors},
};
use crate::wire::{ProviderTrace, RunTraceQuery, TraceSpan};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(trace_of_step))
        .routes(routes!(telemetry))
        .routes(routes!(trace_of_run))
}

/// The request of a step as its provider is sent it, without keys, and the answer; `null` when its run was removed.
#[utoipa::path(get, path = "/v1/steps/{step_id}/trace", tag = "steps", operation_id = "retrieve_trace_for_step",
    params(("step_id" = String, Path, description = "The step")),
    responses((status = 200, description = "The model call", body = Option<ProviderTrace>), ReadErrors))]
async fn trace_of_step(
    State(app): State<App>,
    Id(step): Id<StepId>,
) -> Result<Answer<Option<ProviderTrace>>, ApiError> {
    let known = app.query(move |store| query::step(store, step)).await?;
    known.ok_or_else(|| ApiError::NotFound { what: "Step", id: step.to_string() })?;
    Ok(Answer(app.host.trace_step(step).await?.map(ProviderTrace::from)))
}

/// The same as `GET /v1/steps/{step_id}/trace`.
#[utoipa::path(get, path = "/v1/telemetry/{step_id}", tag = "steps", operation_id = "retrieve_provider_trace",
    params(("step_id" = String, Path, description = "The step")),
    responses((status = 200, description = "The model call", body = Option<ProviderTrace>), ReadErrors))]
async fn telemetry(
    app: State<App>,
    step: Id<StepId>,
) -> Result<Answer<Option<ProviderTrace>>, ApiError> {
    trace_of_step(app, step).await
}

/// The spans of a run: all of it, its first token, its model calls and its tools, in the order they began.
#[utoipa::path(get, path = "/v1/runs/{run_id}/trace", tag = "runs", operation_id = "retrieve_trace_for_run",
    params(("run_id" = String, Path, description = "The run"), RunTraceQuery),
    responses((status = 200, description = "Its spans", body = [TraceSpan]), ListErrors))]
async fn trace_of_run(
    State(app): State<App>,
    Id(run): Id<RunId>,
    Query(asked): Query<RunTraceQuery>,
) -> Result<Answer<Vec<TraceSpan>>, ApiError> {
    let row = app.host.run(run).await?;
    let steps = app.query(move |store| {
        // A step has a span of its own, so more steps than spans are not needed.
        let steps = query::steps_of_run(store, run, &Page::first(asked.limit, Order::Asc))?;
        let with_messages = steps.into_iter().map(|(step, _)| {
            let messages =
                query::step_messages(store, &step, &Page::first(usize::MAX, Order::Asc))?;
            Ok((step, messages))
        });
        with_messages.collect::<Result<Vec<_>, _>>()
    });
    let mut spans = TraceSpan::of_run(&row, &steps.await?);
    spans.truncate(asked.limit);
    Ok(Answer(spans))
}
