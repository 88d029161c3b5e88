//! What happens to tools that users make, as it is told.

use retold_events::{
    JsonText,
    tool::{self, Kind},
};
use retold_snapshots::query;
use serde::Serialize;
use utoipa::ToSchema;

use super::redact;
use crate::wire::{JsonObject, PackageRequirement, tool::source_type};

/// A tool came to be.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolCreated {
    /// Everything about it.
    pub tool: StoredTool,
}

/// Something about a tool changed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolUpdated {
    /// Everything about it, after the change.
    pub tool: StoredTool,
}

/// Everything about a tool.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredTool {
    /// The name a model calls.
    pub name: String,
    /// What it does, as its client says.
    pub description: Option<String>,
    /// `custom` or `external_mcp`.
    #[schema(value_type = String)]
    pub tool_type: &'static str,
    /// `python` or `typescript`; `null` where the tool has no source here.
    #[schema(value_type = Option<String>)]
    pub source_type: Option<&'static str>,
    /// The MCP server it is one of.
    pub server_name: Option<String>,
    /// The name it has there.
    pub remote_name: Option<String>,
    /// What a client wrote.
    pub source_code: Option<String>,
    /// `{name, description, parameters}`.
    pub json_schema: JsonObject,
    /// The schema of the arguments that a client gave apart from the source.
    pub args_json_schema: Option<JsonObject>,
    /// Labels of the client.
    pub tags: Vec<String>,
    /// Characters of a return that a model gets to see.
    pub return_char_limit: u32,
    /// Python packages it needs.
    pub pip_requirements: Option<Vec<PackageRequirement>>,
    /// Packages of Node it needs.
    pub npm_requirements: Option<Vec<PackageRequirement>>,
    /// Whether a person has to agree to its calls, in agents it is given to.
    pub default_requires_approval: Option<bool>,
    /// Whether it may run beside other calls of one answer.
    pub enable_parallel_execution: bool,
    /// Free JSON object of the client.
    pub metadata: Option<JsonObject>,
    /// Kept for the client.
    pub project_id: Option<String>,
}

impl From<&tool::Created> for ToolCreated {
    fn from(created: &tool::Created) -> Self {
        Self { tool: (&created.tool).into() }
    }
}

impl From<&tool::Updated> for ToolUpdated {
    fn from(updated: &tool::Updated) -> Self {
        Self { tool: (&updated.tool).into() }
    }
}

impl From<&tool::Tool> for StoredTool {
    fn from(tool: &tool::Tool) -> Self {
        let (language, server_name, remote_name) = match &tool.kind {
            Kind::Custom { language } => (Some(*language), None, None),
            Kind::ExternalMcp { server_name, remote_name } => {
                (None, Some(server_name.clone()), Some(remote_name.clone()))
            }
        };
        let packages = |all: &Option<Vec<tool::Requirement>>| {
            Some(all.as_ref()?.iter().map(PackageRequirement::from).collect())
        };
        Self {
            name: tool.name.clone(),
            description: tool.description.clone(),
            tool_type: query::kind_word(&tool.kind),
            source_type: language.map(source_type),
            server_name,
            remote_name,
            source_code: tool.source.clone(),
            json_schema: schema(&tool.schema),
            args_json_schema: tool.args_schema.as_ref().map(schema),
            tags: tool.tags.clone(),
            return_char_limit: tool.return_char_limit,
            pip_requirements: packages(&tool.pip),
            npm_requirements: packages(&tool.npm),
            default_requires_approval: tool.default_requires_approval,
            enable_parallel_execution: tool.parallel,
            metadata: tool.metadata.as_ref().map(redact::json),
            project_id: tool.project_id.clone(),
        }
    }
}

/// A schema is shown as it is: it names arguments, `password` and `token` among them, and holds no values of them.
fn schema(text: &JsonText) -> JsonObject {
    JsonObject::stored(text)
}
