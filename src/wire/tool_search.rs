//! Searching tools: what a client asks, and what it is answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Problem, Tool};

/// What to look for among the tools.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct ToolSearchRequest {
    /// Words; the newest tools when absent.
    pub query: Option<String>,
    /// `vector`, `fts` or `hybrid`: all are answered by the words themselves.
    pub search_mode: Option<String>,
    /// Kinds, any of them.
    pub tool_types: Option<Vec<String>>,
    /// Tags, any of them.
    pub tags: Option<Vec<String>>,
    /// At most so many, 1 to 100; 50 when absent.
    pub limit: Option<usize>,
}

impl ToolSearchRequest {
    /// How many results are wanted.
    ///
    /// # Errors
    /// [`Problem::Unprocessable`] when a member has another value than V1 takes.
    pub fn checked(&self) -> Result<usize, Problem> {
        if let Some(mode) = &self.search_mode
            && !["vector", "fts", "hybrid"].contains(&mode.as_str())
        {
            return Err(Problem::Unprocessable(format!(
                "search_mode: Input should be 'vector', 'fts' or 'hybrid', not {mode:?}"
            )));
        }
        match self.limit.unwrap_or(50) {
            limit @ 1..=100 => Ok(limit),
            limit => {
                Err(Problem::Unprocessable(format!("limit: {limit} is not between 1 and 100")))
            }
        }
    }
}

/// A tool that was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolSearchResult {
    /// The tool.
    pub tool: Tool,
    /// The text that was looked at.
    pub embedded_text: Option<String>,
    /// Its place among the results, from 1.
    pub fts_rank: Option<usize>,
    /// Always `null`: tools are found by their words.
    pub vector_rank: Option<usize>,
    /// How well it fits: more is better, and comparable within one answer only.
    pub combined_score: f64,
}

/// Whether calls of a tool wait for a person.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyApprovalRequest {
    /// Whether they do.
    pub requires_approval: bool,
}
