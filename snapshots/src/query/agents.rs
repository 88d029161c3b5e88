//! Lists of agents.

use std::cmp::Ordering;

use retold_events::{
    AgentId, StreamId, Timestamp,
    run::StopReason,
    store::{EventStore, Table},
};

use super::{
    Order, Page, QueryError, contains_lowered, has_tags,
    scan::{self, Found, Window, check_cursors, directed},
};
use crate::row::{AgentRow, TagOwner};

/// Which agents. The default is all that are not hidden.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentFilter {
    /// Its whole name.
    pub name: Option<String>,
    /// Part of its name, whatever the case.
    pub query_text: Option<String>,
    /// Tags it carries; none means any agent.
    pub tags: Vec<String>,
    /// Whether it has to carry all of them rather than one.
    pub match_all_tags: bool,
    /// Its project.
    pub project_id: Option<String>,
    /// Its template.
    pub template_id: Option<String>,
    /// Its base template.
    pub base_template_id: Option<String>,
    /// Why its last run ended.
    pub last_stop_reason: Option<StopReason>,
    /// Only these.
    pub ids: Option<Vec<AgentId>>,
    /// Whether hidden ones are listed, too.
    pub show_hidden: bool,
}

/// What a list of agents is sorted by. Ties go by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OrderBy {
    /// When they came to be. The one order that is read without sorting.
    #[default]
    CreatedAt,
    /// When their configuration or memory last changed.
    UpdatedAt,
    /// When their last run ended. Those that never ran come last, whichever way the list runs.
    LastRunCompletion,
}

/// A page of agents.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there never was such an agent, and in the orders that need its row also
/// when the agent is gone.
pub fn agents(
    store: &dyn EventStore,
    filter: &AgentFilter,
    order_by: OrderBy,
    page: &Page<AgentId>,
) -> Result<Vec<(AgentId, AgentRow)>, QueryError> {
    if order_by != OrderBy::CreatedAt {
        return sorted(store, filter, order_by, page);
    }
    check_cursors(page, |id| Ok(store.stream_head(StreamId::Agent(id))?.0 > 0))?;
    let window = Window::in_order(page)?;
    window.fill(matching(store, filter, &window))
}

/// How many agents there are.
///
/// # Errors
/// [`QueryError`].
pub fn count_agents(store: &dyn EventStore, filter: &AgentFilter) -> Result<usize, QueryError> {
    let mut count = 0;
    for agent in matching(store, filter, &Window::everything()) {
        agent?;
        count += 1;
    }
    Ok(count)
}

/// What lists know of one agent.
///
/// # Errors
/// [`QueryError`].
pub fn agent(store: &dyn EventStore, id: AgentId) -> Result<Option<AgentRow>, QueryError> {
    scan::get(store, Table::Agents, id.as_bytes())
}

fn matching<'a>(
    store: &'a dyn EventStore,
    filter: &'a AgentFilter,
    window: &Window<AgentId>,
) -> Found<'a, AgentId, AgentRow> {
    let query_text = filter.query_text.as_ref().map(|text| text.to_lowercase());
    Box::new(candidates(store, filter, window).filter(move |found| {
        found.as_ref().map_or(true, |(_, row)| filter.matches(query_text.as_deref(), row))
    }))
}

/// The shortest sequence known to hold every match.
fn candidates<'a>(
    store: &'a dyn EventStore,
    filter: &AgentFilter,
    window: &Window<AgentId>,
) -> Found<'a, AgentId, AgentRow> {
    let ids = match &filter.ids {
        Some(ids) => window.sorted(ids),
        None if filter.tags.is_empty() => return scan::whole(store, Table::Agents, window),
        None => scan::tagged(store, &filter.tags, filter.match_all_tags, TagOwner::Agent, window),
    };
    scan::look_up(store, Table::Agents, ids)
}

impl AgentFilter {
    fn matches(&self, query_text: Option<&str>, row: &AgentRow) -> bool {
        (self.show_hidden || !row.hidden)
            && self.name.as_ref().is_none_or(|name| *name == row.name)
            && query_text.is_none_or(|text| contains_lowered(&row.name, text))
            && has_tags(&row.tags, &self.tags, self.match_all_tags)
            && (self.project_id.is_none() || self.project_id == row.project_id)
            && (self.template_id.is_none() || self.template_id == row.template_id)
            && (self.base_template_id.is_none() || self.base_template_id == row.base_template_id)
            && self
                .last_stop_reason
                .is_none_or(|wanted| row.last_run.is_some_and(|run| run.stop_reason == wanted))
    }
}

/// An agent's place in a sorted list.
type Place = (Option<Timestamp>, AgentId);

/// Sorts all that match: rows are small, and neither time is the order of any key.
fn sorted(
    store: &dyn EventStore,
    filter: &AgentFilter,
    order_by: OrderBy,
    page: &Page<AgentId>,
) -> Result<Vec<(AgentId, AgentRow)>, QueryError> {
    let compare = |a: Place, b: Place| compare(a, b, page.order == Order::Desc);
    let cursor = |id: Option<AgentId>| -> Result<Option<Place>, QueryError> {
        let Some(id) = id else { return Ok(None) };
        let row = agent(store, id)?.ok_or_else(|| QueryError::UnknownCursor(id.to_string()))?;
        Ok(Some(order_by.place(id, &row)))
    };
    let (after, before) = (cursor(page.after)?, cursor(page.before)?);
    if let (Some(after), Some(before)) = (after, before)
        && compare(after, before).is_gt()
    {
        let (after, before) = (after.1.to_string(), before.1.to_string());
        return Err(QueryError::ReversedWindow { after, before });
    }
    let mut found =
        matching(store, filter, &Window::everything()).collect::<Result<Vec<_>, _>>()?;
    found.retain(|(id, row)| {
        let place = order_by.place(*id, row);
        after.is_none_or(|after| compare(place, after).is_gt())
            && before.is_none_or(|before| compare(place, before).is_lt())
    });
    found.sort_by(|(a, a_row), (b, b_row)| {
        compare(order_by.place(*a, a_row), order_by.place(*b, b_row))
    });
    if before.is_some() {
        found.drain(..found.len().saturating_sub(page.limit));
    }
    found.truncate(page.limit);
    Ok(found)
}

/// By time, then by creation; without a time last, whichever way.
fn compare((a_time, a): Place, (b_time, b): Place, descending: bool) -> Ordering {
    let untimed = a_time.is_none().cmp(&b_time.is_none());
    untimed.then(directed(a_time.cmp(&b_time).then(a.cmp(&b)), descending))
}

impl OrderBy {
    fn place(self, id: AgentId, row: &AgentRow) -> Place {
        let time = match self {
            Self::CreatedAt => Some(row.created_at),
            Self::UpdatedAt => Some(row.updated_at),
            Self::LastRunCompletion => row.last_run.map(|run| run.at),
        };
        (time, id)
    }
}
