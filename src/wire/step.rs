//! Steps as clients see them.

use retold_events::{AgentId, RunId, StepId};
use retold_snapshots::row::{FeedbackRow, StepRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CompletionTokensDetails, Id, JsonObject, PromptTokensDetails, WireFeedback, WireStopReason,
    step_end::StepEnd,
};

/// A step: one model call of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Step {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<StepId>,
    /// Always `null`.
    pub origin: Option<String>,
    /// Always `null`: providers are configured, not stored.
    pub provider_id: Option<String>,
    /// Its run.
    #[schema(value_type = Option<String>)]
    pub run_id: Option<Id<RunId>>,
    /// Whose.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<Id<AgentId>>,
    /// Name of the provider.
    pub provider_name: Option<String>,
    /// `base`.
    pub provider_category: Option<String>,
    /// The provider's own name of the model.
    pub model: Option<String>,
    /// `provider/model`.
    pub model_handle: Option<String>,
    /// Always `null`.
    pub model_endpoint: Option<String>,
    /// The model's window, in tokens.
    pub context_window_limit: Option<u32>,
    /// Of the answer.
    pub completion_tokens: Option<u64>,
    /// Of the request.
    pub prompt_tokens: Option<u64>,
    /// Both together.
    pub total_tokens: Option<u64>,
    /// Request tokens from the provider's cache.
    pub cached_input_tokens: Option<u64>,
    /// Request tokens written to the provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Of the answer, in detail.
    pub completion_tokens_details: Option<CompletionTokensDetails>,
    /// Of the request, in detail.
    pub prompt_tokens_details: Option<PromptTokensDetails>,
    /// Why the loop ended here, if it did.
    pub stop_reason: Option<WireStopReason>,
    /// Labels of the judgement.
    pub tags: Vec<String>,
    /// Always `null`.
    pub tid: Option<String>,
    /// Always `null`.
    pub trace_id: Option<String>,
    /// Always `null`.
    pub request_id: Option<String>,
    /// Always empty: `GET /v1/steps/{id}/messages` has them.
    #[schema(value_type = Vec<Object>)]
    pub messages: [(); 0],
    /// A client's judgement.
    pub feedback: Option<WireFeedback>,
    /// Always `null`.
    pub project_id: Option<String>,
    /// What sort of thing went wrong.
    pub error_type: Option<String>,
    /// `{message, detail}` of what went wrong.
    pub error_data: Option<JsonObject>,
    /// `success|failed|cancelled`: cancelled by a client; what the end of the server cut short failed.
    #[schema(value_type = String)]
    pub status: &'static str,
}

/// What went wrong in a step.
#[derive(Serialize)]
struct ErrorData<'a> {
    message: &'a str,
    detail: Option<&'a str>,
}

impl Step {
    /// A stored step as it is answered.
    #[must_use]
    pub fn new(row: &StepRow, feedback: Option<&FeedbackRow>) -> Self {
        let StepEnd { status, error } = StepEnd::of(&row.outcome, row.stop_reason);
        let name = row.model.split_once('/').map_or(row.model.as_str(), |(_, name)| name);
        Self {
            id: Id(row.id),
            origin: None,
            provider_id: None,
            run_id: Some(Id(row.run)),
            agent_id: Some(Id(row.agent)),
            provider_name: row.provider.clone(),
            provider_category: Some("base".to_owned()),
            model: Some(name.to_owned()),
            model_handle: Some(row.model.clone()),
            model_endpoint: None,
            context_window_limit: Some(row.context_window),
            completion_tokens: Some(row.usage.completion_tokens),
            prompt_tokens: Some(row.usage.prompt_tokens),
            total_tokens: Some(row.usage.total_tokens()),
            cached_input_tokens: row.usage.cached_input_tokens,
            cache_write_tokens: row.usage.cache_write_tokens,
            reasoning_tokens: row.usage.reasoning_tokens,
            completion_tokens_details: CompletionTokensDetails::of(&row.usage),
            prompt_tokens_details: PromptTokensDetails::of(&row.usage),
            stop_reason: row.stop_reason.map(Into::into),
            tags: feedback.map(|row| row.tags.clone()).unwrap_or_default(),
            tid: None,
            trace_id: None,
            request_id: None,
            messages: [],
            feedback: feedback.and_then(|row| row.feedback).map(Into::into),
            project_id: None,
            error_type: error.as_ref().map(|error| error.error_type.clone()),
            error_data: error.as_ref().map(|error| {
                let detail = error.detail.as_deref();
                JsonObject::of(&ErrorData { message: &error.message, detail })
            }),
            status,
        }
    }
}

/// Measurements of a step.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepMetrics {
    /// The step.
    #[schema(value_type = String)]
    pub id: Id<StepId>,
    /// Always `null`.
    pub provider_id: Option<String>,
    /// Its run.
    #[schema(value_type = Option<String>)]
    pub run_id: Option<Id<RunId>>,
    /// Whose.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<Id<AgentId>>,
    /// When it began, in nanoseconds since 1970.
    pub step_start_ns: Option<i64>,
    /// When the model was called, in nanoseconds since 1970.
    pub llm_request_start_ns: Option<i64>,
    /// The model call, in nanoseconds.
    pub llm_request_ns: Option<u64>,
    /// The tools, in nanoseconds.
    pub tool_execution_ns: Option<u64>,
    /// All of it, in nanoseconds.
    pub step_ns: Option<u64>,
    /// Always `null`.
    pub base_template_id: Option<String>,
    /// Always `null`.
    pub template_id: Option<String>,
    /// Always `null`.
    pub project_id: Option<String>,
}

impl From<&StepRow> for StepMetrics {
    fn from(row: &StepRow) -> Self {
        let timing = row.timing;
        let nanos = |at: retold_events::Timestamp| at.as_micros().saturating_mul(1000);
        Self {
            id: Id(row.id),
            provider_id: None,
            run_id: Some(Id(row.run)),
            agent_id: Some(Id(row.agent)),
            step_start_ns: Some(nanos(timing.started_at)),
            llm_request_start_ns: Some(nanos(timing.model_started_at)),
            llm_request_ns: Some(timing.model_ns),
            tool_execution_ns: Some(timing.tools_ns),
            step_ns: Some(timing.total_ns),
            base_template_id: None,
            template_id: None,
            project_id: None,
        }
    }
}

/// A client's judgement of a step. A `feedback` of `null` takes an earlier one back.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct ModifyFeedbackRequest {
    /// The judgement.
    pub feedback: Option<WireFeedback>,
    /// Labels of the judgement.
    pub tags: Option<Vec<String>>,
}
