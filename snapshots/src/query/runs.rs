//! Lists of runs, and what a run showed.

use retold_events::{
    AgentId, RunId, Timestamp, codec,
    output::{Item, Output},
    run::{AskedBy, StopReason},
    store::{EventStore, Scan, Table},
};

use super::{
    Conversations, Page, QueryError,
    scan::{self, Found, Key, Window, check_cursors},
};
use crate::row::{RunRow, RunStatus, StepRow, asked_key, decode};

/// Which runs. The default is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of these agents; none means any.
    pub agents: Vec<AgentId>,
    /// Standing so; none means anyhow.
    pub statuses: Vec<RunStatus>,
    /// Asked for as detached from their request, or not.
    pub background: Option<bool>,
    /// Ended for this reason.
    pub stop_reason: Option<StopReason>,
    /// Of which threads.
    pub conversation: Conversations,
    /// Only those that have not ended.
    pub active: bool,
}

impl RunFilter {
    fn matches(&self, row: &RunRow) -> bool {
        (self.agents.is_empty() || self.agents.contains(&row.agent))
            && (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && self.background.is_none_or(|wanted| row.request.background == wanted)
            && (self.stop_reason.is_none() || self.stop_reason == row.stop_reason)
            && self.conversation.hold(row.request.conversation)
            && !(self.active && matches!(row.status, RunStatus::Ended(_)))
    }
}

/// A page of runs, by creation.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there is no such run, for instance because it was deleted.
pub fn runs(
    store: &dyn EventStore,
    filter: &RunFilter,
    page: &Page<RunId>,
) -> Result<Vec<RunRow>, QueryError> {
    check_cursors(page, |id| Ok(store.row(Table::Runs, id.as_bytes())?.is_some()))?;
    let window = Window::in_order(page)?;
    let found = candidates(store, filter, &window).map(|found| Ok(found?.1));
    window.fill(found.filter(|found| found.as_ref().map_or(true, |row| filter.matches(row))))
}

/// The shortest sequence known to hold every match.
fn candidates<'a>(
    store: &'a dyn EventStore,
    filter: &RunFilter,
    window: &Window<RunId>,
) -> Found<'a, RunId, RunRow> {
    let ids = if filter.active {
        window.ids(store, Table::OpenRuns, &[])
    } else if filter.agents.is_empty() {
        return scan::whole(store, Table::Runs, window);
    } else {
        let of_agent = |agent: &AgentId| window.ids(store, Table::AgentRuns, agent.as_bytes());
        scan::merge(filter.agents.iter().map(of_agent).collect(), window.descending)
    };
    scan::look_up(store, Table::Runs, ids)
}

/// One run.
///
/// # Errors
/// [`QueryError`].
pub fn run(store: &dyn EventStore, id: RunId) -> Result<Option<RunRow>, QueryError> {
    scan::get(store, Table::Runs, id.as_bytes())
}

/// Whose a run is. One that was deleted is known by its steps only.
///
/// # Errors
/// [`QueryError`].
pub fn agent_of_run(store: &dyn EventStore, id: RunId) -> Result<Option<AgentId>, QueryError> {
    if let Some(row) = run(store, id)? {
        return Ok(Some(row.agent));
    }
    let scan = Scan { prefix: id.as_bytes().to_vec(), limit: 1, ..Scan::default() };
    let step = store.rows(Table::RunSteps, &scan)?.into_iter().next();
    Ok(step.map(|(_, row)| decode::<StepRow>(&row)).transpose()?.map(|step| step.agent))
}

/// All runs for which something is left to do: they have not ended, or their callback has not been sent.
///
/// # Errors
/// [`QueryError`].
pub fn open_runs(store: &dyn EventStore) -> Result<Vec<(RunId, AgentId)>, QueryError> {
    let mut open = Vec::new();
    for row in Window::<RunId>::everything().rows(store, Table::OpenRuns, &[]) {
        let (key, value) = row?;
        if let (Some(run), Some(agent)) = (RunId::of_key(&key), AgentId::of_key(&value)) {
            open.push((run, agent));
        }
    }
    Ok(open)
}

/// The run of `agent` that came of a call of another agent; `None` while none has.
///
/// # Errors
/// [`QueryError`].
pub fn asked(
    store: &dyn EventStore,
    by: &AskedBy,
    agent: AgentId,
) -> Result<Option<RunId>, QueryError> {
    let found = store.row(Table::Asked, &asked_key(by, agent))?;
    Ok(found.and_then(|run| RunId::of_key(&run)))
}

/// Agents in which calls wait for a person or for the client since `by` or longer: at most `limit`, each once.
///
/// # Errors
/// [`QueryError`].
pub fn waiting(
    store: &dyn EventStore,
    by: Timestamp,
    limit: usize,
) -> Result<Vec<AgentId>, QueryError> {
    let mut waiting = Vec::new();
    for row in Window::<AgentId>::everything().rows(store, Table::Waiting, &[]) {
        let (key, since) = row?;
        let Some(agent) = key.first_chunk::<16>().and_then(|id| AgentId::of_key(id)) else {
            continue;
        };
        if decode::<Timestamp>(&since)? <= by {
            waiting.push(agent);
        }
        if waiting.len() == limit {
            break;
        }
    }
    waiting.dedup();
    Ok(waiting)
}

/// What a run showed after item number `after`, until `max_bytes` are passed. Empty when there is nothing more yet.
///
/// The first item may have begun at or before `after` when it takes several numbers and its last one is later.
///
/// # Errors
/// [`QueryError`].
pub fn outputs(
    store: &dyn EventStore,
    run: RunId,
    after: u64,
    max_bytes: usize,
) -> Result<Vec<Item>, QueryError> {
    let mut items = Vec::new();
    for batch in store.outputs(run, after, max_bytes)? {
        items.extend(codec::decode_items(&batch)?);
    }
    items.retain(|item| last_number(item) > after);
    Ok(items)
}

/// The last number an item takes.
pub(crate) fn last_number(item: &Item) -> u64 {
    match &item.output {
        Output::Message { span, .. } => item.seq + u64::from(span.saturating_sub(1)),
        // The notice and the summary.
        Output::Compacted { .. } => item.seq + 1,
        Output::Delta { .. } | Output::End { .. } => item.seq,
    }
}
