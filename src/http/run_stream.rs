//! Taking up the stream of a run: live or long ended, in the background or not, before or after a restart.

use axum::{extract::State, response::Response};
use retold_events::RunId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, OptionalJson, Query},
    openapi::ReadErrors,
    past::Reader,
    run_reader::check_cursor,
    sse::{self, Reading},
    turn,
};
use crate::wire::{RetrieveStreamRequest, StreamQuery};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(post, get))
}

/// The stream of a run, from the event after `starting_after` on. A number that the run has not come to is not found.
#[utoipa::path(post, path = "/v1/runs/{run_id}/stream", tag = "runs", operation_id = "retrieve_stream_for_run",
    params(("run_id" = String, Path, description = "The run")), request_body = Option<RetrieveStreamRequest>,
    responses((status = 200, description = "The stream", body = super::openapi::EventStream, content_type = "text/event-stream"), ReadErrors))]
async fn post(
    State(app): State<App>,
    Id(run): Id<RunId>,
    OptionalJson(asked): OptionalJson<RetrieveStreamRequest>,
) -> Result<Response, ApiError> {
    resume(&app, run, asked.starting_after.unwrap_or(0), asked.include_pings.unwrap_or(true)).await
}

/// The same for clients that can only ask with GET, as a browser's `EventSource`.
#[utoipa::path(get, path = "/v1/runs/{run_id}/stream", tag = "runs", operation_id = "get_stream_for_run",
    params(("run_id" = String, Path, description = "The run"), StreamQuery),
    responses((status = 200, description = "The stream", body = super::openapi::EventStream, content_type = "text/event-stream"), ReadErrors))]
async fn get(
    State(app): State<App>,
    Id(run): Id<RunId>,
    Query(asked): Query<StreamQuery>,
) -> Result<Response, ApiError> {
    resume(&app, run, asked.starting_after, asked.include_pings).await
}

async fn resume(
    app: &App,
    run: RunId,
    starting_after: u64,
    pings: bool,
) -> Result<Response, ApiError> {
    let row = app.host.run(run).await?;
    let agent_type = turn::agent_type(&Reader::now(&app.host), &row).await?;
    check_cursor(app, run, starting_after).await?;
    let reading = Reading { starting_after, pings, fail_early: false };
    sse::of_run(app, row, agent_type, reading).await
}
