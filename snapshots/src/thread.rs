//! One message thread of an agent: its system message and what follows it in the context window.

use std::sync::Arc;

use imbl::Vector;
use retold_events::{Image, Message, Part, Role, Timestamp, ToolCall, agent::BlockVersion};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One message thread. Only what is in context is held; the history is in the message rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// The system message as compiled.
    pub system: Arc<Message>,
    /// The time the system message names as its compilation.
    pub compiled_at: Timestamp,
    /// Versions of the blocks it was compiled from.
    pub compiled_from: Vec<BlockVersion>,
    /// Messages in context after the system message, oldest first. Clones share structure, so a turn's view of it
    /// costs nothing and later changes do not touch it.
    #[serde(serialize_with = "serialize", deserialize_with = "deserialize")]
    pub context: Vector<Arc<Message>>,
    /// Messages the thread ever had, the system message included.
    pub total: u64,
    /// Bytes of the messages in context, pictures included.
    pub bytes: u64,
    /// Tokens of the last model call's prompt and answer, as the provider counted them; 0 when not known. Set to the
    /// counted tokens after a compaction.
    pub context_tokens: u64,
}

impl Thread {
    /// A thread of its first messages, the system message first.
    pub(crate) fn new(system: Message, rest: &[Message], compiled_from: Vec<BlockVersion>) -> Self {
        Self {
            compiled_at: system.created_at,
            system: Arc::new(system),
            compiled_from,
            total: 1 + rest.len() as u64,
            context: rest.iter().cloned().map(Arc::new).collect(),
            bytes: rest.iter().map(bytes).sum(),
            context_tokens: 0,
        }
    }

    /// The message whose calls wait for a person or for the client; `None` when nothing waits. What follows it, if
    /// anything, was sent since and cancelled before its turn.
    #[must_use]
    pub fn pending(&self) -> Option<&Arc<Message>> {
        self.context.get(self.pending_at()?)
    }

    fn pending_at(&self) -> Option<usize> {
        let last = self.context.iter().rposition(|message| is_of_agent(message))?;
        (self.context.get(last)?.role == Role::Approval).then_some(last)
    }

    /// All calls of the step that waits: those that wait, and those that are made with them.
    #[must_use]
    pub fn held_calls(&self) -> Vec<&ToolCall> {
        let Some(at) = self.pending_at() else { return Vec::new() };
        let pending = &self.context[at];
        let of_step = |message: &&Arc<Message>| {
            message.step == pending.step
                && matches!(message.role, Role::Assistant | Role::Approval)
                && !message.tool_calls.is_empty()
        };
        let mut held: Vec<&Arc<Message>> =
            self.context.iter().take(at + 1).rev().take(2).filter(of_step).collect();
        held.reverse();
        held.into_iter().flat_map(|message| &message.tool_calls).collect()
    }

    /// Tokens in context by our own count, the system message included.
    #[must_use]
    pub fn counted_tokens(&self) -> u64 {
        self.context.iter().map(|message| u64::from(message.tokens)).sum::<u64>()
            + u64::from(self.system.tokens)
    }

    /// Puts other messages into context.
    pub(crate) fn replace(&mut self, context: Vector<Arc<Message>>) {
        self.bytes = context.iter().map(|message| bytes(message)).sum();
        self.context = context;
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.insert(self.context.len(), message);
    }

    /// The returns of calls that waited come right after them: a provider takes them nowhere else.
    pub(crate) fn answer(&mut self, message: Message) {
        self.insert(self.pending_at().map_or(self.context.len(), |at| at + 1), message);
    }

    fn insert(&mut self, at: usize, message: Message) {
        self.bytes += bytes(&message);
        self.context.insert(at, Arc::new(message));
        self.total += 1;
    }
}

/// Whether calls would wait in a thread of these messages.
pub(crate) fn waits(messages: &[Message]) -> bool {
    let last = messages.iter().rfind(|message| is_of_agent(message));
    last.is_some_and(|last| last.role == Role::Approval)
}

fn is_of_agent(message: &Message) -> bool {
    matches!(message.role, Role::Approval | Role::Assistant | Role::Tool)
}

/// Bytes a message fills in memory, about.
fn bytes(message: &Message) -> u64 {
    const ITSELF: usize = 512;
    let content = message.content.iter().map(|part| match part {
        Part::Text { text } | Part::Reasoning { text, .. } => text.len(),
        Part::RedactedReasoning { data } | Part::Image(Image::Base64 { data, .. }) => data.len(),
        Part::Image(Image::Url { url }) => url.len(),
    });
    let calls = message.tool_calls.iter().map(|call| call.name.len() + call.arguments.len());
    let returns = message.tool_returns.iter().map(|returned| returned.content.len());
    (ITSELF + content.chain(calls).chain(returns).sum::<usize>()) as u64
}

fn serialize<S: Serializer>(
    context: &Vector<Arc<Message>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(context)
}

fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vector<Arc<Message>>, D::Error> {
    Vec::deserialize(deserializer).map(Vector::from)
}
