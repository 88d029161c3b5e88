//! Tools as clients see them.

use retold_actors::tool::{BuiltinTool, RETURN_CHAR_LIMIT};
use retold_events::ToolId;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{DEFAULT_USER_ID, Id, JsonObject};

/// A tool.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tool {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<ToolId>,
    /// `letta_core`, `letta_memory_core`, ...
    #[schema(value_type = String)]
    pub tool_type: &'static str,
    /// What it does; shown to the model.
    pub description: Option<String>,
    /// Always `null`: built-in tools have no source.
    pub source_type: Option<String>,
    /// The name the model calls.
    pub name: Option<String>,
    /// Its type.
    pub tags: Vec<String>,
    /// Always `null`: built-in tools have no source.
    pub source_code: Option<String>,
    /// `{name, description, parameters}`.
    pub json_schema: Option<JsonObject>,
    /// Always `null`.
    pub args_json_schema: Option<JsonObject>,
    /// Characters of a return that a model gets to see.
    pub return_char_limit: usize,
    /// Always `null`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub pip_requirements: Option<()>,
    /// Always `null`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub npm_requirements: Option<()>,
    /// Always `null`: this server asks nobody for approval.
    pub default_requires_approval: Option<bool>,
    /// Whether it may run beside other calls of one answer.
    pub enable_parallel_execution: Option<bool>,
    /// Who made it.
    pub created_by_id: Option<String>,
    /// Who changed it last.
    pub last_updated_by_id: Option<String>,
    /// Always `null`.
    pub metadata_: Option<JsonObject>,
    /// Always `null`.
    pub project_id: Option<String>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a RawValue,
}

impl From<&BuiltinTool> for Tool {
    fn from(tool: &BuiltinTool) -> Self {
        let schema = serde_json::from_str::<&RawValue>(tool.parameters).map(|parameters| {
            let (name, description) = (tool.name, tool.description);
            JsonObject::of(&JsonSchema { name, description, parameters })
        });
        Self {
            id: Id(tool.id),
            tool_type: tool.tool_type,
            description: Some(tool.description.to_owned()),
            source_type: None,
            name: Some(tool.name.to_owned()),
            tags: vec![tool.tool_type.to_owned()],
            source_code: None,
            json_schema: schema.ok(),
            args_json_schema: None,
            return_char_limit: RETURN_CHAR_LIMIT,
            pip_requirements: None,
            npm_requirements: None,
            default_requires_approval: None,
            enable_parallel_execution: Some(tool.parallel),
            created_by_id: Some(DEFAULT_USER_ID.to_owned()),
            last_updated_by_id: Some(DEFAULT_USER_ID.to_owned()),
            metadata_: None,
            project_id: None,
        }
    }
}
