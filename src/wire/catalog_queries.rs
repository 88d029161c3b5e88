//! The queries of lists that no agent owns: blocks, tags, tools and models.

use utoipa::IntoParams;

use super::{
    Order, Page,
    query::{Pairs, QueryProblem},
};

/// Which blocks to list or count.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BlocksQuery {
    /// Which part of the list.
    #[param(ignore)]
    pub page: Page,
    /// The exact label.
    pub label: Option<String>,
    /// Whether only templates are wanted.
    #[param(required = false)]
    pub templates_only: bool,
    /// The exact template name.
    pub name: Option<String>,
    /// Nothing here has identities, so any value finds nothing.
    pub identity_id: Option<String>,
    /// See `identity_id`.
    #[param(required = false)]
    pub identifier_keys: Vec<String>,
    /// The exact project.
    pub project_id: Option<String>,
    /// Tags, any of them unless `match_all_tags`.
    #[param(required = false)]
    pub tags: Vec<String>,
    /// Whether all tags are wanted.
    #[param(required = false)]
    pub match_all_tags: bool,
    /// A part of the label.
    pub label_search: Option<String>,
    /// A part of the description.
    pub description_search: Option<String>,
    /// A part of the value.
    pub value_search: Option<String>,
    /// Agents that have it: more than this.
    pub connected_to_agents_count_gt: Option<i64>,
    /// Agents that have it: fewer than this.
    pub connected_to_agents_count_lt: Option<i64>,
    /// Agents that have it: one of these numbers.
    #[param(required = false)]
    pub connected_to_agents_count_eq: Vec<i64>,
    /// Whether hidden blocks are listed, too.
    #[param(required = false)]
    pub show_hidden_blocks: bool,
}

impl BlocksQuery {
    /// Reads the query of `GET /v1/blocks/` and `/v1/blocks/count`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let count_eq = "connected_to_agents_count_eq";
        let counts = pairs.comma_list(count_eq);
        let counts = counts.iter().map(|count| count.parse::<i64>()).collect::<Result<_, _>>();
        Ok(Self {
            page: Page::read(pairs, 50, Order::Asc)?,
            label: label(pairs, "label")?,
            templates_only: pairs.flag("templates_only")?.unwrap_or(false),
            name: pairs.text("name"),
            identity_id: pairs.text("identity_id"),
            identifier_keys: pairs.some_list("identifier_keys").unwrap_or_default(),
            project_id: pairs.text("project_id"),
            tags: pairs.some_list("tags").unwrap_or_default(),
            match_all_tags: pairs.flag("match_all_tags")?.unwrap_or(false),
            label_search: label(pairs, "label_search")?,
            description_search: pairs.text("description_search"),
            value_search: pairs.text("value_search"),
            connected_to_agents_count_gt: pairs.int("connected_to_agents_count_gt")?,
            connected_to_agents_count_lt: pairs.int("connected_to_agents_count_lt")?,
            connected_to_agents_count_eq: counts
                .map_err(|_| QueryProblem::new(count_eq, "Input should be a valid integer"))?,
            show_hidden_blocks: pairs.flag("show_hidden_blocks")?.unwrap_or(false),
        })
    }
}

fn label(pairs: Pairs<'_>, key: &str) -> Result<Option<String>, QueryProblem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'-');
    match pairs.text(key) {
        Some(label) if !label.bytes().all(fits) => {
            Err(QueryProblem::new(key, "String should match pattern '^[a-zA-Z0-9_/-]+$'"))
        }
        label => Ok(label),
    }
}

/// Which tags to list. Cursors are tags.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TagsQuery {
    /// Which part of the list.
    #[param(ignore)]
    pub page: Page,
    /// A part of the tag; `name` means the same.
    pub query_text: Option<String>,
}

impl TagsQuery {
    /// Reads the query of `GET /v1/tags/`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        Ok(Self {
            page: Page::read(pairs, 50, Order::Asc)?,
            query_text: pairs.text("query_text").or_else(|| pairs.text("name")),
        })
    }
}

/// V1's kinds of tools, whether there are any of them here or not.
const TOOL_TYPES: [&str; 11] = [
    "custom",
    "letta_core",
    "letta_memory_core",
    "letta_multi_agent_core",
    "letta_sleeptime_core",
    "letta_voice_sleeptime_core",
    "letta_builtin",
    "letta_files_core",
    "external_langchain",
    "external_composio",
    "external_mcp",
];

/// Which tools to list or count. Empty lists are no condition.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ToolsQuery {
    /// Which part of the list.
    #[param(ignore)]
    pub page: Page,
    /// Exact names, any of them.
    #[param(required = false)]
    pub names: Vec<String>,
    /// Ids, any of them.
    #[param(required = false)]
    pub tool_ids: Vec<String>,
    /// A part of the name.
    pub search: Option<String>,
    /// Kinds, any of them.
    #[param(required = false)]
    pub tool_types: Vec<String>,
    /// Kinds, none of them.
    #[param(required = false)]
    pub exclude_tool_types: Vec<String>,
    /// Whether only tools that come with the server are wanted.
    #[param(required = false)]
    pub return_only_letta_tools: bool,
    /// Whether only other tools are wanted.
    #[param(required = false)]
    pub exclude_letta_tools: bool,
}

impl ToolsQuery {
    /// Reads the query of `GET /v1/tools/` and `/v1/tools/count`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed. For kinds V1 answers that with 400.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let mut names = pairs.some_list("names").unwrap_or_default();
        names.extend(pairs.text("name"));
        Ok(Self {
            page: Page::read(pairs, 50, Order::Desc)?,
            names,
            tool_ids: pairs.comma_list("tool_ids"),
            search: pairs.text("search"),
            tool_types: tool_types(pairs, "tool_types")?,
            exclude_tool_types: tool_types(pairs, "exclude_tool_types")?,
            return_only_letta_tools: pairs.flag("return_only_letta_tools")?.unwrap_or(false),
            exclude_letta_tools: pairs.flag("exclude_letta_tools")?.unwrap_or(false),
        })
    }
}

fn tool_types(pairs: Pairs<'_>, key: &str) -> Result<Vec<String>, QueryProblem> {
    let types = pairs.comma_list(key);
    for kind in &types {
        check_tool_type(kind).map_err(|message| QueryProblem::new(key, message))?;
    }
    Ok(types)
}

/// Whether a word is a kind of tool.
///
/// # Errors
/// The kinds there are, when it is not.
pub fn check_tool_type(kind: &str) -> Result<(), String> {
    if TOOL_TYPES.contains(&kind) {
        return Ok(());
    }
    Err(format!("{kind:?} is not one of {}", TOOL_TYPES.join(", ")))
}

/// Whether calls of a tool wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ApprovalQuery {
    /// Whether they do; needed where the body does not say.
    pub requires_approval: Option<bool>,
}

impl ApprovalQuery {
    /// Reads the query of `PATCH /v1/agents/{id}/tools/approval/{name}`.
    ///
    /// # Errors
    /// [`QueryProblem`] when it is neither true nor false.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        Ok(Self { requires_approval: Pairs(pairs).flag("requires_approval")? })
    }
}

/// Which models to list.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ModelsQuery {
    /// `base` or `byok`, any of them; there are only `base` ones here. Empty is no condition.
    #[param(required = false)]
    pub provider_category: Vec<String>,
    /// The configured name of the provider.
    pub provider_name: Option<String>,
    /// The kind of provider.
    pub provider_type: Option<String>,
}

impl ModelsQuery {
    /// Reads the query of `GET /v1/models/`.
    ///
    /// # Errors
    /// [`QueryProblem`] when the category is neither of the two.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let categories = pairs.comma_list("provider_category");
        if categories.iter().any(|category| category != "base" && category != "byok") {
            return Err(QueryProblem::new("provider_category", "Input should be 'base' or 'byok'"));
        }
        Ok(Self {
            provider_category: categories,
            provider_name: pairs.text("provider_name"),
            provider_type: pairs.text("provider_type"),
        })
    }
}
