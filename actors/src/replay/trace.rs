//! One model call, as it was sent and as it was answered: rebuilt from the log.

use std::sync::Arc;

use retold_events::{
    AgentId, Message, RunId, StepId, Timestamp,
    agent::{Config, Event},
    run::StepEnded,
    store::EventStore,
};
use retold_models::{Catalog, Prompt, neutral};
use retold_snapshots::query;
use serde_json::value::RawValue;

use super::{
    ReplayError,
    prompts::{Prompts, UnderWay},
    walk::Walk,
};

/// A model call that has ended, with all that it was made of.
#[derive(Debug)]
pub struct StepTrace {
    /// Whose.
    pub agent: AgentId,
    /// Its run.
    pub run: RunId,
    /// When it ended.
    pub at: Timestamp,
    /// Handle of the model.
    pub model: String,
    /// How it ended: the answer, its cost, its times.
    pub ended: StepEnded,
    /// The agent's configuration as the step saw it.
    pub config: Arc<Config>,
    under_way: UnderWay,
}

/// A model call with its request in the words of its provider.
#[derive(Debug)]
pub struct Traced {
    /// The call.
    pub step: StepTrace,
    /// The body of the request.
    pub request: Box<RawValue>,
    /// Why the request is not in the form of its provider, where it is not.
    pub note: Option<String>,
}

impl StepTrace {
    /// The messages that the model and its tools left in the history.
    #[must_use]
    pub fn answer(&self) -> &[Message] {
        &self.ended.messages
    }

    /// Gives the prompt to `read`.
    pub fn with_prompt<T>(&self, read: impl FnOnce(&Prompt<'_>) -> T) -> T {
        read(&self.under_way.asked().prompt())
    }

    /// Writes the request as `catalog` would send it today. Nobody is called.
    ///
    /// # Errors
    /// Never for what a model was sent: a prompt that was written once can be written again.
    pub(crate) fn write(self, catalog: &Catalog) -> serde_json::Result<Traced> {
        let (request, note) = match catalog.resolve(&self.model) {
            Ok((model, _)) => (self.with_prompt(|prompt| model.request(prompt)), None),
            Err(error) => {
                let note = format!(
                    "the model is no longer configured, so the request is shown in a neutral form: {error}"
                );
                (None, Some(note))
            }
        };
        let request = match request {
            Some(request) => request,
            None => self.with_prompt(|prompt| neutral::request(&self.model, prompt))?,
        };
        Ok(Traced { step: self, request, note })
    }
}

/// Rebuilds the model call of a step that has ended; `None` when there is no such step, or its run is no longer told.
///
/// # Errors
/// [`ReplayError`].
pub(crate) fn step_trace(
    store: &dyn EventStore,
    step: StepId,
) -> Result<Option<StepTrace>, ReplayError> {
    let Some((found, _)) = query::step(store, step)? else { return Ok(None) };
    let Some(row) = query::run(store, found.run)? else { return Ok(None) };
    let Ok(mut walk) = Walk::begin(store, &row)? else { return Ok(None) };
    let mut prompts = Prompts::new(row.id);
    while let Some(Ok((record, event))) = walk.next()? {
        walk.fold(&record, &event);
        if let Event::StepEnded(ended) = event {
            if ended.step == step {
                let under_way = prompts.under_way().cloned();
                return Ok(under_way.map(|under_way| StepTrace {
                    agent: row.agent,
                    run: row.id,
                    at: record.at,
                    model: under_way.view().model.clone(),
                    config: Arc::clone(&under_way.view().config),
                    ended,
                    under_way,
                }));
            }
            continue;
        }
        prompts.after(store, walk.state(), &record, &event);
    }
    Ok(None)
}
