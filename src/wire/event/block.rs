//! What happens to memory blocks, as it is told.

use retold_events::{
    AgentId, BlockId, RunId,
    block::{self, Author},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::redact;
use crate::wire::{Id, JsonObject};

/// A block came to be.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockCreated {
    /// Everything about it.
    pub block: StoredBlock,
    /// Who made it.
    pub author: StoredAuthor,
}

/// Something about a block changed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockEdited {
    /// Everything about it, after the change.
    pub block: StoredBlock,
    /// Who changed it.
    pub author: StoredAuthor,
    /// The version whose content came back; `null` when the content is new.
    pub restored_version: Option<u64>,
}

/// A block is gone.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockDeleted {
    /// Who deleted it.
    pub author: StoredAuthor,
}

/// A block came to be as a copy of another one, for a fork of an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockForked {
    /// The original.
    #[schema(value_type = String)]
    pub from_block_id: Id<BlockId>,
    /// The last event of the original's stream that is included.
    pub sequence: u64,
    /// Versions its history has before this event.
    pub inherited_versions: u64,
    /// Everything about it.
    pub block: StoredBlock,
}

/// Who changed a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StoredAuthor {
    /// A client, over the API.
    Client,
    /// An agent, with a memory tool.
    Agent {
        /// Which agent.
        #[schema(value_type = String)]
        agent_id: Id<AgentId>,
        /// In which run.
        #[schema(value_type = String)]
        run_id: Id<RunId>,
        /// The name of the tool, where it was noted.
        tool: Option<String>,
    },
}

/// Everything about a block.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredBlock {
    /// The text an agent sees.
    pub value: String,
    /// Upper bound of the value, in characters.
    pub limit: u64,
    /// The name agents know it by.
    pub label: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether agents may only read it.
    pub read_only: bool,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Free JSON of the client.
    pub metadata: JsonObject,
    /// Labels of the client.
    pub tags: Vec<String>,
    /// Name of the template it came from.
    pub template_name: Option<String>,
    /// Whether it is a template.
    pub is_template: bool,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Kept for the client.
    pub template_id: Option<String>,
    /// Kept for the client.
    pub base_template_id: Option<String>,
    /// Kept for the client.
    pub deployment_id: Option<String>,
    /// Kept for the client.
    pub entity_id: Option<String>,
    /// Kept for the client.
    pub preserve_on_migration: Option<bool>,
}

impl From<&block::Created> for BlockCreated {
    fn from(created: &block::Created) -> Self {
        Self { block: (&created.block).into(), author: (&created.author).into() }
    }
}

impl From<&block::Edited> for BlockEdited {
    fn from(edited: &block::Edited) -> Self {
        Self {
            block: (&edited.block).into(),
            author: (&edited.author).into(),
            restored_version: edited.restored,
        }
    }
}

impl From<&block::Deleted> for BlockDeleted {
    fn from(deleted: &block::Deleted) -> Self {
        Self { author: (&deleted.author).into() }
    }
}

impl From<&block::Forked> for BlockForked {
    fn from(forked: &block::Forked) -> Self {
        Self {
            from_block_id: Id(forked.from),
            sequence: forked.version.0,
            inherited_versions: forked.inherited,
            block: (&forked.block).into(),
        }
    }
}

impl From<&Author> for StoredAuthor {
    fn from(author: &Author) -> Self {
        match author {
            Author::Client => Self::Client,
            Author::Agent { agent, run, tool } => {
                Self::Agent { agent_id: Id(*agent), run_id: Id(*run), tool: tool.clone() }
            }
        }
    }
}

impl From<&block::Block> for StoredBlock {
    fn from(block: &block::Block) -> Self {
        Self {
            value: block.value.clone(),
            limit: block.limit,
            label: block.label.clone(),
            description: block.description.clone(),
            read_only: block.read_only,
            hidden: block.hidden,
            metadata: redact::json(&block.metadata),
            tags: block.tags.clone(),
            template_name: block.template_name.clone(),
            is_template: block.is_template,
            project_id: block.project_id.clone(),
            template_id: block.template_id.clone(),
            base_template_id: block.base_template_id.clone(),
            deployment_id: block.deployment_id.clone(),
            entity_id: block.entity_id.clone(),
            preserve_on_migration: block.preserve_on_migration,
        }
    }
}
