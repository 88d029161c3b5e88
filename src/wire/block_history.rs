//! The history of a block as clients see it: its versions, and who made each.

use retold_events::{BlockId, block::Author};
use retold_snapshots::query;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Id, Time};

/// One version of a block.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockVersion {
    /// Its number: 1 is the oldest, and there is no gap. It is also the cursor of the list.
    pub version: u64,
    /// The block whose version it is: the block itself or, before it was forked, the one it was forked from.
    #[schema(value_type = String)]
    pub block_id: Id<BlockId>,
    /// The position of its event in the log.
    pub position: u64,
    /// When it came to be.
    pub created_at: Time,
    /// How it came to be.
    pub kind: BlockVersionKind,
    /// Who made it.
    pub author: BlockAuthor,
    /// The version whose content came back, of one that is `restored`.
    pub restored_version: Option<u64>,
    /// The block it was copied from, of one that is `forked`.
    #[schema(value_type = Option<String>)]
    pub forked_from_id: Option<Id<BlockId>>,
    /// The text an agent saw. Of a deletion, this and what follows is what was there before.
    pub value: String,
    /// Upper bound of the value, in characters.
    pub limit: u64,
    /// The name agents knew it by.
    pub label: Option<String>,
    /// What it was for.
    pub description: Option<String>,
    /// Whether agents could only read it.
    pub read_only: bool,
}

/// How a version of a block came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockVersionKind {
    /// The block was made.
    Created,
    /// Something about it changed.
    Edited,
    /// What it was before came back.
    Restored,
    /// It was copied for the fork of an agent.
    Forked,
    /// It was deleted.
    Deleted,
}

/// Who made a version of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BlockAuthor {
    /// What kind of author.
    #[serde(rename = "type")]
    pub kind: BlockAuthorType,
    /// The agent, where it was one or its tool.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<Id<retold_events::AgentId>>,
    /// The run in which it did so.
    #[schema(value_type = Option<String>)]
    pub run_id: Option<Id<retold_events::RunId>>,
    /// The tool with which it did so.
    pub tool_name: Option<String>,
}

/// What kind of author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockAuthorType {
    /// A client of the API.
    User,
    /// An agent, where it is not known with which tool: version 0.1.0 did not note it.
    Agent,
    /// An agent, with one of its tools.
    Tool,
}

impl From<query::BlockVersion> for BlockVersion {
    fn from(version: query::BlockVersion) -> Self {
        let query::BlockVersion { number, block, position, at, kind, author, content } = version;
        let (kind, restored, original) = match kind {
            query::VersionKind::Created => (BlockVersionKind::Created, None, None),
            query::VersionKind::Edited => (BlockVersionKind::Edited, None, None),
            query::VersionKind::Restored(of) => (BlockVersionKind::Restored, Some(of), None),
            query::VersionKind::Forked(from) => (BlockVersionKind::Forked, None, Some(Id(from))),
            query::VersionKind::Deleted => (BlockVersionKind::Deleted, None, None),
        };
        Self {
            version: number,
            block_id: Id(block),
            position: position.0,
            created_at: Time(at),
            kind,
            // A fork is made by a client.
            author: author.unwrap_or(Author::Client).into(),
            restored_version: restored,
            forked_from_id: original,
            value: content.value,
            limit: content.limit,
            label: content.label,
            description: content.description,
            read_only: content.read_only,
        }
    }
}

impl From<Author> for BlockAuthor {
    fn from(author: Author) -> Self {
        match author {
            Author::Client => {
                let kind = BlockAuthorType::User;
                Self { kind, agent_id: None, run_id: None, tool_name: None }
            }
            Author::Agent { agent, run, tool } => {
                let kind =
                    if tool.is_some() { BlockAuthorType::Tool } else { BlockAuthorType::Agent };
                Self { kind, agent_id: Some(Id(agent)), run_id: Some(Id(run)), tool_name: tool }
            }
        }
    }
}

/// Which version of a block is to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub struct RestoreBlockRequest {
    /// Its number in the block's history.
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use retold_events::{AgentId, RunId};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_author_is_a_user_an_agent_or_a_tool() {
        let (agent, run) =
            (AgentId::from_uuid(Uuid::from_u128(1)), RunId::from_uuid(Uuid::from_u128(2)));
        let shown = |author: Author| serde_json::to_value(BlockAuthor::from(author)).unwrap();
        let nobody = json!({ "type": "user", "agent_id": null, "run_id": null, "tool_name": null });
        assert_eq!(shown(Author::Client), nobody);
        let by =
            |tool: Option<&str>| shown(Author::Agent { agent, run, tool: tool.map(str::to_owned) });
        assert_eq!(
            by(Some("memory_insert")),
            json!({ "type": "tool", "agent_id": agent.to_string(), "run_id": run.to_string(),
                "tool_name": "memory_insert" })
        );
        assert_eq!(by(None)["type"], "agent", "who wrote with version 0.1.0");
    }
}
