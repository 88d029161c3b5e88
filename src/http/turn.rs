//! The answer of a run that a client waits for.

use retold_actors::{Refusal, Whose};
use retold_events::{agent::AgentType, output::Item, run::EndStatus};
use retold_snapshots::{
    query::{self, Order, Page},
    row::{RunRow, RunStatus},
};

use super::{App, error::ApiError, past::Reader};
use crate::wire::{LettaResponse, Run};

/// Waits for the end of a run and gives its answer. A cancelled run has one, too: what was said until then.
pub(super) async fn answer(
    app: &App,
    run: &RunRow,
    agent_type: AgentType,
) -> Result<LettaResponse, ApiError> {
    let items = tokio::select! {
        biased;
        items = output(app, run) => items?,
        // The run stays in the log; the server that comes next ends it.
        () = app.leaving.cancelled() => return Err(Refusal::Draining.into()),
    };
    let ended = app.host.run(run.id).await?;
    check(&ended)?;
    // Token by token is how some other client wanted it; the whole messages are in the history.
    if ended.request.stream_tokens {
        return from_history(&Reader::now(&app.host), &ended, agent_type).await;
    }
    Ok(LettaResponse::of_items(&items, &ended, agent_type))
}

/// All that a run shows, once it has ended.
async fn output(app: &App, run: &RunRow) -> Result<Vec<Item>, ApiError> {
    let mut items = Vec::new();
    let mut follow = app.host.follow(run.id, 0);
    while let Some(more) = follow.next().await? {
        items.extend(more.iter().cloned());
    }
    Ok(items)
}

/// Fails as the run did, if it did.
fn check(run: &RunRow) -> Result<(), ApiError> {
    match (run.status, &run.error) {
        (RunStatus::Ended(EndStatus::Failed), Some(error)) => {
            let kept = run.messages.is_some();
            Err(ApiError::RunFailed { run: run.id, error: error.clone(), kept })
        }
        // V1 counts as failed what ended otherwise than asked, at a token limit for instance: that is an answer all the
        // same, and its stop reason says so.
        (RunStatus::Ended(_) | RunStatus::Created | RunStatus::Running, _) => Ok(()),
    }
}

/// The result that an ended run keeps for whoever did not wait for it.
pub(super) async fn result(
    reader: &Reader,
    run: &RunRow,
) -> Result<Option<LettaResponse>, ApiError> {
    if !Run::wants_result(run) || run.error.is_some() {
        return Ok(None);
    }
    match agent_type(reader, run).await {
        Ok(agent_type) => from_history(reader, run, agent_type).await.map(Some),
        // The run is there and says how it ended; its messages went with its agent.
        Err(ApiError::Refused(refusal)) if matches!(*refusal, Refusal::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The loop of a run's agent, which decides how its messages look.
pub(super) async fn agent_type(reader: &Reader, run: &RunRow) -> Result<AgentType, ApiError> {
    Ok(reader.agent(run.agent).await?.state.config.agent_type)
}

/// The answer of an ended run, from what it left in the history.
async fn from_history(
    reader: &Reader,
    run: &RunRow,
    agent_type: AgentType,
) -> Result<LettaResponse, ApiError> {
    let of = run.clone();
    let everything = Page::first(usize::MAX, Order::Asc);
    let whose = Whose::Agent(run.agent);
    let messages =
        reader.query(whose, move |store| query::run_messages(store, &of, &everything)).await?;
    Ok(LettaResponse::of_messages(&messages, run, agent_type))
}
