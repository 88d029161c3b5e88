//! Tokens, counted per step and summed per run.

use retold_events::run::Usage;
use retold_snapshots::row::RunRow;
use serde::Serialize;
use utoipa::ToSchema;

/// Tokens of a run, as the last event of a stream and in a blocking answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LettaUsageStatistics {
    /// `usage_statistics`.
    #[schema(value_type = String)]
    pub message_type: &'static str,
    /// Of the answers.
    pub completion_tokens: u64,
    /// Of the requests.
    pub prompt_tokens: u64,
    /// Both together.
    pub total_tokens: u64,
    /// Model calls.
    pub step_count: u32,
    /// Runs this one set off; there are none.
    pub run_ids: Option<Vec<String>>,
    /// Request tokens from the provider's cache.
    pub cached_input_tokens: Option<u64>,
    /// Request tokens written to the provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Tokens in context at the end.
    pub context_tokens: Option<u64>,
}

impl LettaUsageStatistics {
    /// The sum over `steps` model calls; `context_tokens` 0 is not known.
    #[must_use]
    pub fn new(usage: &Usage, steps: u32, context_tokens: u64) -> Self {
        Self {
            message_type: "usage_statistics",
            completion_tokens: usage.completion_tokens,
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.total_tokens(),
            step_count: steps,
            run_ids: None,
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            context_tokens: (context_tokens > 0).then_some(context_tokens),
        }
    }
}

impl From<&RunRow> for LettaUsageStatistics {
    fn from(row: &RunRow) -> Self {
        Self::new(&row.usage, row.steps, row.context_tokens)
    }
}

/// Tokens of a run, as `GET /v1/runs/{id}/usage` answers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageStatistics {
    /// Of the answers.
    pub completion_tokens: u64,
    /// Of the requests.
    pub prompt_tokens: u64,
    /// Both together.
    pub total_tokens: u64,
    /// Of the requests, in detail; `null` when no provider said.
    pub prompt_tokens_details: Option<PromptTokensDetails>,
    /// Of the answers, in detail; `null` when no provider said.
    pub completion_tokens_details: Option<CompletionTokensDetails>,
}

/// Request tokens in detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct PromptTokensDetails {
    /// From the provider's cache.
    pub cached_tokens: u64,
    /// From the provider's cache, in Anthropic's word.
    pub cache_read_tokens: u64,
    /// Written to the provider's cache.
    pub cache_creation_tokens: u64,
}

/// Answer tokens in detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct CompletionTokensDetails {
    /// Spent on reasoning.
    pub reasoning_tokens: u64,
}

impl PromptTokensDetails {
    /// `None` when the provider did not say.
    #[must_use]
    pub fn of(usage: &Usage) -> Option<Self> {
        if usage.cached_input_tokens.is_none() && usage.cache_write_tokens.is_none() {
            return None;
        }
        let cached = usage.cached_input_tokens.unwrap_or(0);
        Some(Self {
            cached_tokens: cached,
            cache_read_tokens: cached,
            cache_creation_tokens: usage.cache_write_tokens.unwrap_or(0),
        })
    }
}

impl CompletionTokensDetails {
    /// `None` when the provider did not say.
    #[must_use]
    pub fn of(usage: &Usage) -> Option<Self> {
        usage.reasoning_tokens.map(|reasoning_tokens| Self { reasoning_tokens })
    }
}

impl From<&Usage> for UsageStatistics {
    fn from(usage: &Usage) -> Self {
        Self {
            completion_tokens: usage.completion_tokens,
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.total_tokens(),
            prompt_tokens_details: PromptTokensDetails::of(usage),
            completion_tokens_details: CompletionTokensDetails::of(usage),
        }
    }
}
