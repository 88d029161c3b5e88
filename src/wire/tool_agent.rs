//! An agent as its tools see it: what a function that names `agent_state` gets, read-only.
//!
//! Members are named as in an agent's answer, so that tools written for V1 find them; secrets are none of them.

use retold_actors::AgentSeen;
use retold_events::{AgentId, BlockId, ToolId};
use serde::Serialize;

use super::{Id, JsonObject};

/// An agent in the eyes of a tool.
#[derive(Debug, Clone, Serialize)]
pub struct ToolAgentState {
    /// Its id.
    pub id: Id<AgentId>,
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The system prompt before compilation.
    pub system: String,
    /// Handle of its model.
    pub model: String,
    /// IANA name of the time zone its model thinks in.
    pub timezone: String,
    /// Labels of the client.
    pub tags: Vec<String>,
    /// Free JSON object of the client.
    pub metadata: Option<JsonObject>,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Its tools, in the order they were attached.
    pub tools: Vec<SeenTool>,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<SeenBlock>,
    /// Its blocks, once more.
    pub memory: SeenMemory,
}

/// A tool in the eyes of another one.
#[derive(Debug, Clone, Serialize)]
pub struct SeenTool {
    /// Its id.
    pub id: Id<ToolId>,
    /// The name a model calls.
    pub name: String,
}

/// The memory of an agent.
#[derive(Debug, Clone, Serialize)]
pub struct SeenMemory {
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<SeenBlock>,
}

/// A block as it stands when the tool is called.
#[derive(Debug, Clone, Serialize)]
pub struct SeenBlock {
    /// Its id.
    pub id: Id<BlockId>,
    /// The name agents know it by.
    pub label: Option<String>,
    /// The text an agent sees.
    pub value: String,
    /// Upper bound of the value, in characters.
    pub limit: u64,
    /// What it is for.
    pub description: Option<String>,
    /// Whether agents may only read it.
    pub read_only: bool,
}

impl From<&AgentSeen> for ToolAgentState {
    fn from(seen: &AgentSeen) -> Self {
        let AgentSeen { id, config, blocks, tools } = seen;
        let blocks: Vec<SeenBlock> = blocks
            .iter()
            .map(|view| {
                let block = &view.state.block;
                SeenBlock {
                    id: Id(view.id),
                    label: block.label.clone(),
                    value: block.value.clone(),
                    limit: block.limit,
                    description: block.description.clone(),
                    read_only: block.read_only,
                }
            })
            .collect();
        Self {
            id: Id(*id),
            name: config.name.clone(),
            description: config.description.clone(),
            system: config.system.clone(),
            model: config.model.handle.clone(),
            timezone: config.timezone.clone(),
            tags: config.tags.clone(),
            metadata: config.metadata.as_ref().map(JsonObject::stored),
            project_id: config.project_id.clone(),
            tools: tools
                .iter()
                .map(|(id, name)| SeenTool { id: Id(*id), name: name.clone() })
                .collect(),
            memory: SeenMemory { blocks: blocks.clone() },
            blocks,
        }
    }
}
