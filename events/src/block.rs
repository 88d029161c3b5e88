//! What can happen to a memory block.

pub(crate) mod v1;

use serde::{Deserialize, Serialize};

use crate::{AgentId, BlockId, JsonText, RunId, Seq};

/// A fact about a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It came to be.
    Created(Created),
    /// Something about it changed.
    Edited(Edited),
    /// It is gone; its id is never used again.
    Deleted(Deleted),
    /// It came to be as a copy of another one, for a fork of an agent.
    Forked(Forked),
}

/// A block came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// Everything about it.
    pub block: Block,
    /// Who made it.
    pub author: Author,
}

/// Something about a block changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edited {
    /// Everything about it, after the change.
    pub block: Block,
    /// Who changed it.
    pub author: Author,
    /// The version whose content came back; `None` when the content is new. Versions are counted as [`Forked`] says.
    pub restored: Option<u64>,
}

/// A block is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleted {
    /// Who deleted it.
    pub author: Author,
}

/// A block came to be as a copy of another one. Its history begins as the original's.
///
/// Versions of a block are counted from 1 along that history: an event's number is its place in its stream, and in a
/// block that was forked `inherited` more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forked {
    /// The original.
    pub from: BlockId,
    /// The last event of the original's stream that is included.
    pub version: Seq,
    /// Versions the history has before this event.
    pub inherited: u64,
    /// Everything about it.
    pub block: Block,
}

/// Who changed a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// A client, over the API.
    Client,
    /// An agent, with a memory tool.
    Agent {
        /// Which agent.
        agent: AgentId,
        /// In which run.
        run: RunId,
        /// The name of the tool; `None` where version 0.1.0 did not note it.
        tool: Option<String>,
    },
}

/// Everything about a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The text an agent sees.
    pub value: String,
    /// Upper bound of the value, in characters.
    pub limit: u64,
    /// The name agents know it by, `^[a-zA-Z0-9_/-]+$`.
    pub label: Option<String>,
    /// What it is for; shown to the model.
    pub description: Option<String>,
    /// Whether agents may only read it. Clients may always edit it.
    pub read_only: bool,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Free JSON object of the client.
    pub metadata: JsonText,
    /// Labels of the client, for finding it again.
    pub tags: Vec<String>,
    /// Name of the template it came from.
    pub template_name: Option<String>,
    /// Whether it is a template.
    pub is_template: bool,
    /// Project, template, base template, deployment, entity: kept for the client, without meaning here.
    pub project_id: Option<String>,
    /// See `project_id`.
    pub template_id: Option<String>,
    /// See `project_id`.
    pub base_template_id: Option<String>,
    /// See `project_id`.
    pub deployment_id: Option<String>,
    /// See `project_id`.
    pub entity_id: Option<String>,
    /// See `project_id`.
    pub preserve_on_migration: Option<bool>,
}
