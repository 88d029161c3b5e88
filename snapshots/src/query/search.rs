//! Searching an agent's history by words, for the tool that lets a model look back.

use retold_events::{AgentId, Message, Role, Timestamp, store::EventStore};

use super::{QueryError, contains_lowered, lineage::Lineage, scan::Window};

/// Messages looked at by one search, at most: some hundred milliseconds of work.
const LOOKED_AT: usize = 100_000;

/// The tool that searches. What it was asked would otherwise be the best answer to itself.
const SEARCH_TOOL: &str = "conversation_search";

/// The tool that agents of the older kinds speak with.
const SPEAKING_TOOL: &str = "send_message";

/// What is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSearch {
    /// Words that must all occur, whatever the case, also inside other words. None at all: everything.
    pub query: String,
    /// Said by whom; `None` is people and the model.
    pub roles: Option<Vec<Role>>,
    /// Not older than this.
    pub start: Option<Timestamp>,
    /// Not newer than this.
    pub end: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

/// What an agent said or heard, newest first. Returns of tools are never found, nor the model's own searches.
///
/// # Errors
/// [`QueryError`].
pub fn search_messages(
    store: &dyn EventStore,
    agent: AgentId,
    search: &MessageSearch,
) -> Result<Vec<Message>, QueryError> {
    let words: Vec<String> = search.query.split_whitespace().map(str::to_lowercase).collect();
    let window = Window { descending: true, limit: search.limit, ..Window::everything() };
    let newest = Lineage::of(store, agent)?.read(store, Window { limit: LOOKED_AT, ..window });
    window.fill(newest.take(LOOKED_AT).filter(|read| {
        read.as_ref().map_or(true, |message| search.admits(message) && speaks_of(message, &words))
    }))
}

impl MessageSearch {
    fn admits(&self, message: &Message) -> bool {
        let wanted = match &self.roles {
            Some(roles) => roles.contains(&message.role) && message.role != Role::Tool,
            None => matches!(message.role, Role::User | Role::Assistant),
        };
        wanted
            && self.start.is_none_or(|start| message.created_at >= start)
            && self.end.is_none_or(|end| message.created_at <= end)
            && !message.tool_calls.iter().any(|call| call.name == SEARCH_TOOL)
    }
}

/// Whether every word occurs in what the message says.
fn speaks_of(message: &Message, words: &[String]) -> bool {
    let mut said = message.text();
    for call in message.tool_calls.iter().filter(|call| call.name == SPEAKING_TOOL) {
        said.push('\n');
        said.push_str(&call.arguments);
    }
    words.iter().all(|word| contains_lowered(&said, word))
}
