//! What can happen to a tool that a user made. The tools that come with the server have no events.
//!
//! Each event holds the whole tool as it is afterwards, so a tool as of any moment is the newest event before it.

use serde::{Deserialize, Serialize};

use crate::JsonText;

/// A fact about a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It came to be.
    Created(Created),
    /// Something about it changed.
    Updated(Updated),
    /// It is gone; its id is never used again, its name may be.
    Deleted(Deleted),
}

/// A tool came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// Everything about it.
    pub tool: Tool,
}

/// Something about a tool changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Updated {
    /// Everything about it, after the change.
    pub tool: Tool,
}

/// A tool is gone. Agents that have it need no event: an id that names no tool is passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleted {}

/// Everything about a tool. Nothing secret: what a call needs to know of those comes from its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// The name a model calls. No two tools of a server share one.
    pub name: String,
    /// What it does, as its client says.
    pub description: Option<String>,
    /// Where its calls go.
    pub kind: Kind,
    /// The source a client gave; `None` where there is none.
    pub source: Option<String>,
    /// `{name, description, parameters}`: what models are offered, and what else the client put there.
    pub schema: JsonText,
    /// The schema of the arguments that a client gave apart from the source.
    pub args_schema: Option<JsonText>,
    /// Labels of the client.
    pub tags: Vec<String>,
    /// Characters of a return that a model gets to see.
    pub return_char_limit: u32,
    /// Python packages it needs; `None` when its client named no list.
    pub pip: Option<Vec<Requirement>>,
    /// Packages of Node it needs; `None` when its client named no list.
    pub npm: Option<Vec<Requirement>>,
    /// Whether a person has to agree to its calls, in agents it is given to; `None` when its client did not say.
    pub default_requires_approval: Option<bool>,
    /// Whether calls of it may run beside other calls of one answer.
    pub parallel: bool,
    /// Free JSON object of the client.
    pub metadata: Option<JsonText>,
    /// Kept for the client, without meaning here.
    pub project_id: Option<String>,
}

/// Where a tool's calls go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// To its source.
    Custom {
        /// What that is written in.
        language: Language,
    },
    /// To an MCP server.
    ExternalMcp {
        /// The name of the server.
        server_name: String,
        /// The name the tool has there.
        remote_name: String,
    },
}

/// What a source is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Language {
    /// Python.
    Python,
    /// TypeScript.
    TypeScript,
}

/// A package that a tool needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// Its name in the registry of its language.
    pub name: String,
    /// Its exact version; `None` for any.
    pub version: Option<String>,
}
