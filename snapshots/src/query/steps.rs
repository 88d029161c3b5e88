//! Lists of steps, with what clients thought of them.

use retold_events::{
    AgentId, RunId, StepId, Timestamp,
    run::Feedback,
    store::{EventStore, Table},
};

use super::{
    Page, QueryError,
    scan::{self, Key, Window, check_cursors},
};
use crate::row::{FeedbackRow, StepRow, pair_key};

/// Which steps. The default is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepFilter {
    /// Not begun before this.
    pub start_date: Option<Timestamp>,
    /// Not begun after this.
    pub end_date: Option<Timestamp>,
    /// The model: its handle, or its name without the provider.
    pub model: Option<String>,
    /// Of this agent.
    pub agent: Option<AgentId>,
    /// Of these runs; none means any.
    pub runs: Vec<RunId>,
    /// Judged so.
    pub feedback: Option<Feedback>,
    /// Judged at all, or not.
    pub has_feedback: Option<bool>,
    /// Judged with one of these labels; none means anyhow.
    pub tags: Vec<String>,
}

/// A step, and what a client thought of it.
pub type JudgedStep = (StepRow, Option<FeedbackRow>);

/// A page of steps that ended, by their beginning.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there is no such step.
pub fn steps(
    store: &dyn EventStore,
    filter: &StepFilter,
    page: &Page<StepId>,
) -> Result<Vec<JudgedStep>, QueryError> {
    check_cursors(page, |id| Ok(owners(store, id)?.is_some()))?;
    let window = Window::in_order(page)?;
    let places = if filter.runs.is_empty() {
        every_place(store, filter.agent, &window)
    } else {
        places_of_runs(store, &filter.runs, &window)?
    };
    let found = places.filter_map(|place| {
        let found = place.and_then(|(run, step)| judged(store, run, step));
        found.map(|found| found.filter(|found| filter.matches(found))).transpose()
    });
    window.fill(found)
}

/// A page of one run's steps.
///
/// # Errors
/// As [`steps`].
pub fn steps_of_run(
    store: &dyn EventStore,
    run: RunId,
    page: &Page<StepId>,
) -> Result<Vec<JudgedStep>, QueryError> {
    steps(store, &StepFilter { runs: vec![run], ..StepFilter::default() }, page)
}

/// One step.
///
/// # Errors
/// [`QueryError`].
pub fn step(store: &dyn EventStore, id: StepId) -> Result<Option<JudgedStep>, QueryError> {
    match owners(store, id)? {
        Some((run, _)) => judged(store, run, id),
        None => Ok(None),
    }
}

/// Whose a step is; `None` when there never was one.
///
/// # Errors
/// [`QueryError`].
pub fn agent_of_step(store: &dyn EventStore, id: StepId) -> Result<Option<AgentId>, QueryError> {
    Ok(owners(store, id)?.map(|(_, agent)| agent))
}

impl StepFilter {
    fn matches(&self, (step, feedback): &JudgedStep) -> bool {
        let judgement = feedback.as_ref().and_then(|row| row.feedback);
        let begun = step.timing.started_at;
        self.start_date.is_none_or(|start| begun >= start)
            && self.end_date.is_none_or(|end| begun <= end)
            && self.model.as_ref().is_none_or(|model| is_model(&step.model, model))
            && self.agent.is_none_or(|agent| step.agent == agent)
            && (self.feedback.is_none() || self.feedback == judgement)
            && self.has_feedback.is_none_or(|wanted| judgement.is_some() == wanted)
            && (self.tags.is_empty()
                || feedback
                    .as_ref()
                    .is_some_and(|row| row.tags.iter().any(|tag| self.tags.contains(tag))))
    }
}

/// Whether `wanted` names the model of this handle.
fn is_model(handle: &str, wanted: &str) -> bool {
    handle == wanted || handle.split_once('/').is_some_and(|(_, name)| name == wanted)
}

/// Runs and steps, in the order of a window.
type Places<'a> = Box<dyn Iterator<Item = Result<(RunId, StepId), QueryError>> + 'a>;

/// All steps, or all of one agent: the index names the agent, so others cost a key and no row.
fn every_place<'a>(
    store: &'a dyn EventStore,
    agent: Option<AgentId>,
    window: &Window<StepId>,
) -> Places<'a> {
    Box::new(window.rows(store, Table::Steps, &[]).filter_map(move |row| {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(error.into())),
        };
        let (run, owner) = split_owners(&value)?;
        let wanted = agent.is_none_or(|agent| agent == owner);
        wanted.then_some(Ok((run, StepId::of_key(&key)?)))
    }))
}

/// The steps of some runs. Their runs have to be named again after the merge, which only the index can do.
fn places_of_runs<'a>(
    store: &'a dyn EventStore,
    runs: &[RunId],
    window: &Window<StepId>,
) -> Result<Places<'a>, QueryError> {
    if let &[run] = runs {
        let ids = window.ids(store, Table::RunSteps, run.as_bytes());
        return Ok(Box::new(ids.map(move |id| Ok((run, id?)))));
    }
    let of_run = |run: &RunId| window.ids(store, Table::RunSteps, run.as_bytes());
    let ids = scan::merge(runs.iter().map(of_run).collect(), window.descending);
    Ok(Box::new(ids.filter_map(move |id| {
        let place = id
            .map_err(QueryError::from)
            .and_then(|id| Ok(owners(store, id)?.map(|(run, _)| (run, id))));
        place.transpose()
    })))
}

/// Whose a step is.
fn owners(store: &dyn EventStore, step: StepId) -> Result<Option<(RunId, AgentId)>, QueryError> {
    let row = store.row(Table::Steps, step.as_bytes())?;
    Ok(row.and_then(|value| split_owners(&value)))
}

fn split_owners(value: &[u8]) -> Option<(RunId, AgentId)> {
    Some((RunId::of_key(value.get(..16)?)?, AgentId::of_key(value.get(16..)?)?))
}

fn judged(
    store: &dyn EventStore,
    run: RunId,
    step: StepId,
) -> Result<Option<JudgedStep>, QueryError> {
    let key = pair_key(run.as_bytes(), step.as_bytes());
    let Some(row) = scan::get(store, Table::RunSteps, &key)? else { return Ok(None) };
    Ok(Some((row, scan::get(store, Table::Feedback, step.as_bytes())?)))
}
