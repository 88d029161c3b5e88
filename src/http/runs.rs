//! Runs: what was asked of agents, and what came of it.

use axum::{Json as Answer, extract::State};
use retold_actors::Whose;
use retold_events::{AgentId, RunId};
use retold_snapshots::{
    past::Tables,
    query::{self, RunFilter},
    row::RunStatus,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Id, Query},
    messages,
    openapi::{ListErrors, ReadErrors},
    page::{self, Page},
    past::Reader,
    turn,
};
use crate::wire::{
    self, AsOfQuery, LettaMessage, Run, RunMessagesQuery, RunMetrics, RunStepsQuery, RunsQuery,
    Step, UsageStatistics, View, WireStopReason,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(list_active))
        .routes(routes!(retrieve, delete))
        .routes(routes!(list_messages))
        .routes(routes!(usage))
        .routes(routes!(metrics))
        .routes(routes!(steps))
}

/// Runs, a page at a time.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", operation_id = "list_runs",
    params(RunsQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of runs", body = [Run]), ListErrors))]
async fn list(reader: Reader, Query(asked): Query<RunsQuery>) -> Result<Page<Run>, ApiError> {
    let page = page::asked(&asked.page)?;
    let Some(filter) = filter(&asked)? else { return Ok(Page::empty()) };
    let whose = match filter.agents[..] {
        [agent] => Whose::Agent(agent),
        _ => Whose::Server(Tables::RUNS),
    };
    let rows = reader.query(whose, move |store| query::runs(store, &filter, &page)).await?;
    Ok(Page::of(rows, |run| run.id.to_string(), |run| Run::new(&run, None)))
}

/// The filter of a query; `None` when it names agents of which none can exist.
fn filter(asked: &RunsQuery) -> Result<Option<RunFilter>, ApiError> {
    let agents: Vec<AgentId> = asked.agent_ids.iter().filter_map(|id| id.parse().ok()).collect();
    if agents.is_empty() && !asked.agent_ids.is_empty() {
        return Ok(None);
    }
    let statuses: Vec<RunStatus> = asked.statuses.iter().map(|status| status.stored()).collect();
    Ok(Some(RunFilter {
        agents,
        background: asked.background,
        stop_reason: asked.stop_reason.map(WireStopReason::stored),
        conversation: page::conversations(asked.conversation_id.as_deref())?,
        // The index of open runs answers that without a look at the others.
        active: !statuses.is_empty()
            && statuses.iter().all(|status| !matches!(status, RunStatus::Ended(_))),
        statuses,
    }))
}

/// Runs that have not ended.
#[utoipa::path(get, path = "/v1/runs/active", tag = "runs", operation_id = "list_active_runs",
    params(RunsQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of runs", body = [Run]), ListErrors))]
async fn list_active(
    reader: Reader,
    Query(asked): Query<RunsQuery>,
) -> Result<Page<Run>, ApiError> {
    list(reader, Query(asked.active())).await
}

/// A run. One that was sent with `/messages/async` and has ended holds its result in `metadata`.
#[utoipa::path(get, path = "/v1/runs/{run_id}", tag = "runs", operation_id = "retrieve_run",
    params(("run_id" = String, Path, description = "The run"), AsOfQuery),
    responses((status = 200, description = "The run", body = Run), ReadErrors))]
async fn retrieve(reader: Reader, Id(run): Id<RunId>) -> Result<Answer<Run>, ApiError> {
    let row = reader.run(run).await?;
    let result = turn::result(&reader, &row).await?;
    Ok(Answer(Run::new(&row, result.as_ref())))
}

/// Removes a run from the lists. Its messages stay.
#[utoipa::path(delete, path = "/v1/runs/{run_id}", tag = "runs", operation_id = "delete_run",
    params(("run_id" = String, Path, description = "The run")),
    responses((status = 200, description = "`null`", body = Option<String>), ReadErrors))]
async fn delete(State(app): State<App>, Id(run): Id<RunId>) -> Result<Answer<()>, ApiError> {
    app.host.delete_run(run).await?;
    Ok(Answer(()))
}

/// The messages of a run, those that were sent to the agent included. `after` is newer and `before` older, whatever the
/// order.
#[utoipa::path(get, path = "/v1/runs/{run_id}/messages", tag = "runs", operation_id = "list_messages_for_run",
    params(("run_id" = String, Path, description = "The run"), wire::MessagePage, AsOfQuery),
    responses((status = 200, description = "A page of messages", body = [LettaMessage]), ListErrors))]
async fn list_messages(
    reader: Reader,
    Id(run): Id<RunId>,
    Query(asked): Query<RunMessagesQuery>,
) -> Result<Page<LettaMessage>, ApiError> {
    let row = reader.run(run).await?;
    let agent_type = turn::agent_type(&reader, &row).await?;
    let page = page::asked(&asked.page)?;
    let (of, whose) = (row.clone(), Whose::Agent(row.agent));
    let messages = reader.query(whose, move |store| query::run_messages(store, &of, &page)).await?;
    let view = View::of_request(agent_type, &row.request);
    Ok(messages::shown(messages, &view))
}

/// The tokens of a run.
#[utoipa::path(get, path = "/v1/runs/{run_id}/usage", tag = "runs", operation_id = "retrieve_usage_for_run",
    params(("run_id" = String, Path, description = "The run"), AsOfQuery),
    responses((status = 200, description = "The sums over its steps", body = UsageStatistics), ReadErrors))]
async fn usage(reader: Reader, Id(run): Id<RunId>) -> Result<Answer<UsageStatistics>, ApiError> {
    Ok(Answer(UsageStatistics::from(&reader.run(run).await?.usage)))
}

/// How long a run took.
#[utoipa::path(get, path = "/v1/runs/{run_id}/metrics", tag = "runs", operation_id = "retrieve_metrics_for_run",
    params(("run_id" = String, Path, description = "The run"), AsOfQuery),
    responses((status = 200, description = "Its times", body = RunMetrics), ReadErrors))]
async fn metrics(reader: Reader, Id(run): Id<RunId>) -> Result<Answer<RunMetrics>, ApiError> {
    Ok(Answer(RunMetrics::from(&reader.run(run).await?)))
}

/// The steps of a run.
#[utoipa::path(get, path = "/v1/runs/{run_id}/steps", tag = "runs", operation_id = "list_steps_for_run",
    params(("run_id" = String, Path, description = "The run"), wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of steps", body = [Step]), ListErrors))]
async fn steps(
    reader: Reader,
    Id(run): Id<RunId>,
    Query(asked): Query<RunStepsQuery>,
) -> Result<Page<Step>, ApiError> {
    let whose = Whose::Agent(reader.run(run).await?.agent);
    let page = page::asked(&asked.page)?;
    let rows = reader.query(whose, move |store| query::steps_of_run(store, run, &page)).await?;
    Ok(Page::of(
        rows,
        |(step, _)| step.id.to_string(),
        |(step, feedback)| Step::new(&step, feedback.as_ref()),
    ))
}
