//! The agent that makes calls: what its tools get of it.
//!
//! Secrets are sealed here and stay so: whoever runs the tool opens them.

use std::sync::Arc;

use retold_events::{AgentId, BlockId, Secret, ToolId, agent::Config, log::Log};
use retold_snapshots::{agent::State, secret::HeldSecret};

use crate::{
    AgentSeen, Refusal,
    block::{Blocks, Seen},
    tool::registry::Registry,
};

/// What tools of users that name it are given the agent by.
const AGENT_STATE: &str = "agent_state";

/// An agent as it was when the step of its calls began.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) agent: AgentId,
    pub(crate) config: Arc<Config>,
    pub(crate) blocks: Vec<BlockId>,
    pub(crate) tools: Vec<ToolId>,
    secrets: Arc<Vec<HeldSecret>>,
}

impl Caller {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            agent: state.id,
            config: Arc::clone(&state.config),
            blocks: state.blocks.clone(),
            tools: state.tools.clone(),
            secrets: Arc::clone(&state.secrets),
        }
    }

    /// Its secrets, sealed.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        self.secrets.iter().map(|held| held.secret.clone()).collect()
    }

    /// The agent as the tool of this source may look at it; `None` for one that does not ask. Its blocks are those of this
    /// moment, durable: what a tool sees may leave the server.
    pub(crate) async fn seen_by(
        &self,
        source: &str,
        log: &Log,
        blocks: &Blocks,
        tools: &Registry,
    ) -> Result<Option<AgentSeen>, Refusal> {
        if !source.contains(AGENT_STATE) {
            return Ok(None);
        }
        let seen: Vec<Seen> = blocks.see_all(&self.blocks).await?;
        if let Some(newest) = seen.iter().filter_map(|block| block.ticket).max() {
            log.durable(newest).await?;
        }
        let named = |&id: &ToolId| tools.get(id).map(|known| (id, known.name.clone()));
        Ok(Some(AgentSeen {
            id: self.agent,
            config: Arc::clone(&self.config),
            blocks: seen.into_iter().map(|block| block.view).collect(),
            tools: self.tools.iter().filter_map(named).collect(),
        }))
    }
}
