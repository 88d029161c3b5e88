//! Message lists: of an agent, of a run, of a step.
//!
//! A fork's history begins with that of the agent it comes from, see [`super::lineage`]; a list does not show the seam.

use retold_events::{
    AgentId, ConversationId, Message, MessageId, Role, RunId,
    store::{EventStore, Scan, Table},
};

use super::{
    Page, QueryError,
    lineage::{Lineage, following, preceding},
    scan::{Rows, Window, check_cursors},
};
use crate::row::{RunRow, RunStatus, StepRow, decode};

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
    let lineage = Lineage::of(store, agent)?;
    check_cursors(page, |id| Ok(lineage.message(store, id)?.is_some()))?;
    let mut window = Window::chronological(page)?;
    window.turned = window.descending;
    let read = lineage.read(store, window);
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
    Lineage::of(store, agent)?.message(store, id)
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
    let lineage = Lineage::of(store, agent)?;
    check_cursors(page, |id| Ok(lineage.message(store, id)?.is_some()))?;
    let mut window = Window::chronological(page)?;
    let Some((first, last)) = span else { return Ok(Vec::new()) };
    window.low = window.low.max(preceding(first));
    if let Some(end) = last.and_then(following) {
        window.high = Some(window.high.map_or(end, |high| high.min(end)));
    }
    let read = lineage.read(store, window);
    window.fill(read.filter(|read| read.as_ref().map_or(true, &keep)))
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
