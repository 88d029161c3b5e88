//! What a fork begins with: the state of its parent at a moment, without what was under way then.
//!
//! The history is not copied. The fork notes whose rows its history goes back to, and up to which message; messages that
//! runs of the parent got ids for before that moment, but stored after it, are none of the fork's.

use std::{collections::BTreeMap, sync::Arc};

use retold_events::{
    AgentId, ConversationId, MessageId, Timestamp,
    agent::{Config, Forked},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::State;
use crate::{
    Thread,
    run::{OpenRun, ROOM_BELOW},
};

/// Ancestors an agent may have at most. Each makes a read of the history look at one more place.
pub const MAX_ANCESTORS: usize = 64;

/// Where a part of a fork's history is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Among the messages of this agent.
    pub agent: AgentId,
    /// The last of them, by id.
    pub through: MessageId,
    /// Those in between that were not said yet at the moment of the fork.
    pub gaps: Vec<Gap>,
}

/// Ids that a run under way kept for messages to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Only greater ones.
    pub after: MessageId,
    /// The last one.
    pub through: MessageId,
}

impl Ancestor {
    /// Whether a message that this ancestor has is inherited.
    #[must_use]
    pub fn holds(&self, id: MessageId) -> bool {
        id <= self.through && !self.gaps.iter().any(|gap| id > gap.after && id <= gap.through)
    }
}

impl State {
    /// The state after the first event of a fork of `parent`, which is the parent's state at the moment the event names.
    #[must_use]
    pub fn forked(id: AgentId, at: Timestamp, event: &Forked, parent: &Self) -> Self {
        let mut ancestors = parent.ancestors.clone();
        ancestors.push(Ancestor {
            agent: event.parent,
            through: parent.last_message,
            gaps: parent.open_runs.values().flat_map(|run| gaps(parent, run)).collect(),
        });
        Self {
            id,
            created_at: at,
            updated_at: at,
            last_at: at,
            config: Arc::new(Config { name: event.name.clone(), ..Config::clone(&parent.config) }),
            blocks: event.blocks.iter().map(|fork| fork.block).collect(),
            tools: parent.tools.clone(),
            threads: threads(parent),
            open_runs: BTreeMap::new(),
            callbacks: BTreeMap::new(),
            last_message: parent.last_message,
            last_run: None,
            deleted: false,
            ancestors,
            secrets: Arc::clone(&parent.secrets),
        }
    }
}

/// The threads of the parent, their contexts shared. Their system messages are of the parent's blocks.
fn threads(parent: &State) -> BTreeMap<Option<ConversationId>, Thread> {
    let own = |thread: &Thread| Thread { compiled_from: Vec::new(), ..thread.clone() };
    parent.threads.iter().map(|(&conversation, thread)| (conversation, own(thread))).collect()
}

/// The ids that a run holds, each with the room below it where a summary may still find its place: after those that
/// have found theirs.
fn gaps(state: &State, run: &OpenRun) -> Vec<Gap> {
    let thread = state.threads.get(&run.request.conversation);
    let context = || thread.iter().flat_map(|thread| thread.context.iter().map(|said| said.id));
    let gap = |held: MessageId| {
        let room = held.uuid().as_u128().saturating_sub(ROOM_BELOW);
        let room = MessageId::from_uuid(Uuid::from_u128(room));
        let said = context().chain(run.messages.map(|(_, last)| last)).filter(|&id| id < held);
        Gap { after: said.fold(room, MessageId::max), through: held }
    };
    run.held_ids().map(gap).collect()
}
