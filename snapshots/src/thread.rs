//! One message thread of an agent: its system message and what follows it in the context window.

use std::sync::Arc;

use imbl::Vector;
use retold_events::{Message, Timestamp, agent::BlockVersion};
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
            context_tokens: 0,
        }
    }

    /// Tokens in context by our own count, the system message included.
    #[must_use]
    pub fn counted_tokens(&self) -> u64 {
        self.context.iter().map(|message| u64::from(message.tokens)).sum::<u64>()
            + u64::from(self.system.tokens)
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.context.push_back(Arc::new(message));
        self.total += 1;
    }
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
