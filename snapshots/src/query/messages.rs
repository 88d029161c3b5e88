//! Message lists: of an agent, of a run, of a step.
//!
//! A row holds the messages that were stored together, under the id of the first; rows never reach over one another, so
//! the row of a message is the last one whose key is not greater than its id.

use retold_events::{
    AgentId, ConversationId, Message, MessageId, Role, RunId,
    store::{EventStore, Scan, Table},
};
use uuid::Uuid;

use super::{
    Page, QueryError,
    scan::{Key, Rows, Window, check_cursors},
};
use crate::row::{RunRow, RunStatus, StepRow, decode, pair_key};

/// Which threads of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Conversations {
    /// All of them.
    #[default]
    All,
    /// Its own.
    Default,
    /// One conversation.
    Of(ConversationId),
}

impl Conversations {
    /// Whether something of `conversation` is wanted; `None` is the agent's own thread.
    pub(super) fn hold(self, conversation: Option<ConversationId>) -> bool {
        match self {
            Self::All => true,
            Self::Default => conversation.is_none(),
            Self::Of(wanted) => conversation == Some(wanted),
        }
    }
}

/// Which messages. The default is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageFilter {
    /// Of which threads.
    pub conversation: Conversations,
    /// Said by whom; `None` is anybody.
    pub roles: Option<Vec<Role>>,
    /// Whether those that record a failure are left out.
    pub without_errors: bool,
}

impl MessageFilter {
    fn matches(&self, message: &Message) -> bool {
        self.conversation.hold(message.conversation)
            && self.roles.as_ref().is_none_or(|roles| roles.contains(&message.role))
            && !(self.without_errors && message.is_err)
    }
}

/// A page of an agent's history, **oldest first whatever the order**.
///
/// Cursors speak of time: `after` gives newer messages, `before` older ones. The order says only from which end the
/// limit counts: the newest that fit (`Desc`), or the oldest.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when the agent has no such message.
pub fn messages(
    store: &dyn EventStore,
    agent: AgentId,
    filter: &MessageFilter,
    page: &Page<MessageId>,
) -> Result<Vec<Message>, QueryError> {
    check_cursors(page, |id| Ok(row_of(store, agent, id)?.is_some()))?;
    let mut window = Window::chronological(page)?;
    window.turned = window.descending;
    let edge = match window.low {
        Some(low) => row_of(store, agent, low)?,
        None => None,
    };
    let read = read(store, agent, window, edge);
    window.fill(read.filter(|read| read.as_ref().map_or(true, |found| filter.matches(found))))
}

/// One message.
///
/// # Errors
/// [`QueryError`].
pub fn message(
    store: &dyn EventStore,
    agent: AgentId,
    id: MessageId,
) -> Result<Option<Message>, QueryError> {
    let row = row_of(store, agent, id)?;
    Ok(row.and_then(|row| row.messages.into_iter().find(|message| message.id == id)))
}

/// A page of what a run left in its thread, its input included, in the requested order. Cursors speak of time.
///
/// Of a run under way it gives what the steps that ended have stored.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when the agent has no such message.
pub fn run_messages(
    store: &dyn EventStore,
    run: &RunRow,
    page: &Page<MessageId>,
) -> Result<Vec<Message>, QueryError> {
    let span = match run.status {
        RunStatus::Ended(_) => run.messages.map(|(first, last)| (first, Some(last))),
        RunStatus::Created | RunStatus::Running => {
            first_stored(store, run.id)?.map(|id| (id, None))
        }
    };
    span_messages(store, run.agent, span, page, |message| message.run == Some(run.id))
}

/// A page of what a step left in its thread, in the requested order. Cursors speak of time.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when the agent has no such message.
pub fn step_messages(
    store: &dyn EventStore,
    step: &StepRow,
    page: &Page<MessageId>,
) -> Result<Vec<Message>, QueryError> {
    let ids = &step.messages;
    let span = ids.iter().min().map(|&first| (first, ids.iter().max().copied()));
    span_messages(store, step.agent, span, page, |message| ids.contains(&message.id))
}

/// A page of the messages of one span, both its ends included.
fn span_messages(
    store: &dyn EventStore,
    agent: AgentId,
    span: Option<(MessageId, Option<MessageId>)>,
    page: &Page<MessageId>,
    keep: impl Fn(&Message) -> bool,
) -> Result<Vec<Message>, QueryError> {
    check_cursors(page, |id| Ok(row_of(store, agent, id)?.is_some()))?;
    let mut window = Window::chronological(page)?;
    let Some((first, last)) = span else { return Ok(Vec::new()) };
    let edge = row_of(store, agent, page.after.map_or(first, |after| after.max(first)))?;
    if let Some(end) = last.and_then(following) {
        window.high = Some(window.high.map_or(end, |high| high.min(end)));
    }
    let read = read(store, agent, window, edge);
    window.fill(
        read.filter(|read| read.as_ref().map_or(true, |found| found.id >= first && keep(found))),
    )
}

/// The first message that the ended steps of a run stored.
fn first_stored(store: &dyn EventStore, run: RunId) -> Result<Option<MessageId>, QueryError> {
    let prefix = run.as_bytes().to_vec();
    for row in Rows::new(store, Table::RunSteps, Scan { prefix, limit: 8, ..Scan::default() }) {
        let step: StepRow = decode(&row?.1)?;
        if let Some(&first) = step.messages.iter().min() {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// Messages that were stored together.
pub(super) struct StoredRow {
    key: Vec<u8>,
    messages: Vec<Message>,
}

/// The row that holds a message; `None` when the agent has no such message.
fn row_of(
    store: &dyn EventStore,
    agent: AgentId,
    id: MessageId,
) -> Result<Option<StoredRow>, QueryError> {
    let scan = Scan {
        prefix: agent.as_bytes().to_vec(),
        before: following(id).map(|next| pair_key(agent.as_bytes(), next.as_bytes())),
        descending: true,
        limit: 1,
        ..Scan::default()
    };
    let Some((key, value)) = store.rows(Table::Messages, &scan)?.into_iter().next() else {
        return Ok(None);
    };
    let messages: Vec<Message> = decode(&value)?;
    let holds = messages.iter().any(|message| message.id == id);
    Ok(holds.then(|| StoredRow { key: key.to_vec(), messages }))
}

/// The messages within a window, read row by row from the end the window names. `edge` is the row that holds its low
/// end: that row begins before the window and may reach into it.
pub(super) fn read<'a>(
    store: &'a dyn EventStore,
    agent: AgentId,
    window: Window<MessageId>,
    edge: Option<StoredRow>,
) -> impl Iterator<Item = Result<Message, QueryError>> + 'a {
    let (edge_key, edge) = edge.map_or((None, None), |row| (Some(row.key), Some(row.messages)));
    let scan = Scan {
        prefix: agent.as_bytes().to_vec(),
        after: edge_key,
        before: window.high.map(|high| pair_key(agent.as_bytes(), high.as_bytes())),
        descending: window.descending,
        // Most rows hold two messages or more.
        limit: (window.limit / 2).clamp(4, 64),
    };
    let rows = Rows::new(store, Table::Messages, scan).map(|row| Ok(decode(&row?.1)?));
    let edge = edge.map(Ok);
    let (first, last) = if window.descending { (None, edge) } else { (edge, None) };
    let rows = first.into_iter().chain(rows).chain(last);
    rows.flat_map(move |row| in_direction(row, window.descending))
        .filter(move |read| read.as_ref().map_or(true, |message| window.holds(message.id)))
}

fn in_direction(
    row: Result<Vec<Message>, QueryError>,
    descending: bool,
) -> Vec<Result<Message, QueryError>> {
    match row {
        Ok(mut messages) => {
            if descending {
                messages.reverse();
            }
            messages.into_iter().map(Ok).collect()
        }
        Err(error) => vec![Err(error)],
    }
}

/// The least id greater than `id`.
fn following<Id: Key>(id: Id) -> Option<Id> {
    let next = u128::from_be_bytes(*id.bytes()).checked_add(1)?;
    Some(Id::from_bytes(*Uuid::from_u128(next).as_bytes()))
}
