//! Tools as clients see them.

use retold_actors::{
    ToolView,
    tool::{BuiltinTool, RETURN_CHAR_LIMIT},
};
use retold_events::{
    ToolId,
    tool::{Kind, Language, Requirement},
};
use retold_snapshots::{query, row::ToolRow};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{DEFAULT_USER_ID, Id, JsonObject};

/// A tool.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tool {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<ToolId>,
    /// `custom`, `external_mcp`, and of those that come with the server `letta_core`, `letta_memory_core`, ...
    #[schema(value_type = String)]
    pub tool_type: &'static str,
    /// What it does; shown to the model.
    pub description: Option<String>,
    /// `python` or `typescript`; `null` where there is no source.
    pub source_type: Option<String>,
    /// The name the model calls.
    pub name: Option<String>,
    /// Labels of the client; its type, when it comes with the server.
    pub tags: Vec<String>,
    /// What a client wrote; `null` for tools that come with the server.
    pub source_code: Option<String>,
    /// `{name, description, parameters}`.
    pub json_schema: Option<JsonObject>,
    /// The schema of the arguments that a client gave apart from the source.
    pub args_json_schema: Option<JsonObject>,
    /// Characters of a return that a model gets to see.
    pub return_char_limit: usize,
    /// Python packages it needs.
    pub pip_requirements: Option<Vec<PackageRequirement>>,
    /// Packages of Node it needs.
    pub npm_requirements: Option<Vec<PackageRequirement>>,
    /// Whether a person has to agree to its calls, in agents it is given to from now on.
    pub default_requires_approval: Option<bool>,
    /// Whether it may run beside other calls of one answer.
    pub enable_parallel_execution: Option<bool>,
    /// Who made it.
    pub created_by_id: Option<String>,
    /// Who changed it last.
    pub last_updated_by_id: Option<String>,
    /// Free JSON object of the client.
    pub metadata_: Option<JsonObject>,
    /// Kept for the client.
    pub project_id: Option<String>,
}

/// A package that a tool needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageRequirement {
    /// Its name in the registry of its language.
    pub name: String,
    /// Its exact version; any when absent.
    #[serde(default)]
    pub version: Option<String>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a RawValue,
}

impl Tool {
    /// A tool that a user made.
    #[must_use]
    pub fn made(id: ToolId, row: &ToolRow) -> Self {
        let tool = &row.tool;
        let packages =
            |all: &Option<Vec<Requirement>>| Some(all.as_ref()?.iter().map(Into::into).collect());
        Self {
            id: Id(id),
            tool_type: query::kind_word(&tool.kind),
            description: tool.description.clone(),
            source_type: language(&tool.kind).map(|language| source_type(language).to_owned()),
            name: Some(tool.name.clone()),
            tags: tool.tags.clone(),
            source_code: tool.source.clone(),
            json_schema: Some(JsonObject::stored(&tool.schema)),
            args_json_schema: tool.args_schema.as_ref().map(JsonObject::stored),
            return_char_limit: usize::try_from(tool.return_char_limit).unwrap_or(usize::MAX),
            pip_requirements: packages(&tool.pip),
            npm_requirements: packages(&tool.npm),
            default_requires_approval: tool.default_requires_approval,
            enable_parallel_execution: Some(tool.parallel),
            created_by_id: Some(DEFAULT_USER_ID.to_owned()),
            last_updated_by_id: Some(DEFAULT_USER_ID.to_owned()),
            metadata_: tool.metadata.as_ref().map(JsonObject::stored),
            project_id: tool.project_id.clone(),
        }
    }
}

impl From<&ToolView> for Tool {
    fn from(view: &ToolView) -> Self {
        match view {
            ToolView::Builtin(tool) => Self::from(*tool),
            ToolView::Made { id, row } => Self::made(*id, row),
        }
    }
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

impl From<&Requirement> for PackageRequirement {
    fn from(stored: &Requirement) -> Self {
        Self { name: stored.name.clone(), version: stored.version.clone() }
    }
}

fn language(kind: &Kind) -> Option<Language> {
    match kind {
        Kind::Custom { language } => Some(*language),
        Kind::ExternalMcp { .. } => None,
    }
}

/// V1's word for a language.
pub(crate) fn source_type(language: Language) -> &'static str {
    match language {
        Language::Python => "python",
        Language::TypeScript => "typescript",
    }
}
