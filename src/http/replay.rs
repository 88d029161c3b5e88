//! Runs, told once more by the log alone.

use axum::{Json as Answer, extract::State};
use retold_events::RunId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, error::ApiError, extract::Id, openapi::ReadErrors};
use crate::wire::RunReplay;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(replay))
}

/// Rebuilds a run from its events, without calling a model or a tool, and compares every prompt, message, row and piece
/// of output with what is recorded. The first difference is named.
#[utoipa::path(get, path = "/v1/runs/{run_id}/replay", tag = "runs", operation_id = "replay_run",
    params(("run_id" = String, Path, description = "The run")),
    responses((status = 200, description = "What came of it", body = RunReplay), ReadErrors))]
async fn replay(State(app): State<App>, Id(run): Id<RunId>) -> Result<Answer<RunReplay>, ApiError> {
    Ok(Answer(RunReplay::from(&app.host.replay(run).await?)))
}
