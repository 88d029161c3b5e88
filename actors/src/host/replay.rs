//! Replays and traces of what was: read from the log, a few at a time, and never asked of a model or a tool.

use std::{sync::Arc, time::Duration};

use retold_events::{
    RunId, StepId,
    store::{EventStore, StoreError},
};
use retold_snapshots::{load::LoadError, query::QueryError};
use tokio::sync::Semaphore;

use super::Host;
use crate::{
    Refusal,
    bound::Bound,
    replay::{self, Replay, ReplayError, Traced},
};

/// Replays at the same time: each folds a part of an agent's history and fills a processor meanwhile.
const AT_ONCE: usize = 2;
/// Replays that may wait for their turn or be under way.
const ASKED_FOR: usize = 64;
/// When to come back. A replay takes milliseconds, of a very long history seconds.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The bounds of replays.
#[derive(Debug)]
pub(super) struct Replays {
    asked_for: Arc<Bound>,
    under_way: Arc<Semaphore>,
}

impl Replays {
    pub(super) fn new() -> Self {
        Self { asked_for: Bound::new(ASKED_FOR), under_way: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Host {
    /// Rebuilds a run from the log alone and compares it with what is stored of it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn replay(&self, run: RunId) -> Result<Replay, Refusal> {
        let replayed = self.in_turn(move |store| replay::replay(store, run)).await?;
        replayed.ok_or_else(|| Refusal::no_run(run))
    }

    /// Rebuilds the model call of a step that has ended, with the request as its provider is sent it. `None` when the
    /// step is known and the log does not tell it any more: a client removed its run from the lists.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn trace_step(&self, step: StepId) -> Result<Option<Traced>, Refusal> {
        let catalog = Arc::clone(self.catalog());
        let traced = self.in_turn(move |store| {
            let traced = replay::step_trace(store, step)?;
            Ok(traced.map(|traced| traced.write(&catalog)))
        });
        let unwritten = |error: serde_json::Error| {
            Refusal::Storage(format!("the request of {step} cannot be written: {error}"))
        };
        traced.await?.transpose().map_err(unwritten)
    }

    /// Works on the store when its turn has come. What it saw is durable.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn EventStore) -> Result<T, ReplayError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let replays = &self.0.replays;
        let share = replays.asked_for.try_take();
        let share = share.ok_or(Refusal::Crowded { retry_after: RETRY_AFTER })?;
        let turn = Arc::clone(&replays.under_way).acquire_owned().await;
        let turn = turn.map_err(|_| Refusal::Draining)?;
        let worked = self.read(move |store| {
            let worked = work(store);
            // A client that has left does not end the work: its place is given back only now.
            drop((share, turn));
            match worked {
                Err(ReplayError::Store(error)) => Err(error),
                other => Ok(other),
            }
        });
        worked.await?.map_err(refusal)
    }
}

fn refusal(error: ReplayError) -> Refusal {
    match error {
        ReplayError::Store(error)
        | ReplayError::Query(QueryError::Store(error))
        | ReplayError::Load(LoadError::Store(error)) => from_store(error),
        ReplayError::Query(error) => Refusal::Storage(error.to_string()),
        ReplayError::Load(error @ LoadError::Event { .. }) => Refusal::Storage(error.to_string()),
    }
}

fn from_store(error: StoreError) -> Refusal {
    error.into()
}
