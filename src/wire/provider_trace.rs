//! One model call as clients see it: what was sent and what came back, rebuilt from the log.
//!
//! The request is the provider's own body, as it would be written today. Of the answer the log keeps what it meant and not
//! its bytes, so `response_json` has one form for all providers, [`ModelResponse`].

use retold_actors::replay::Traced;
use retold_events::{AgentId, Message, Part, Role, RunId, StepId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    CompactionSettings, Id, JsonObject, LlmConfig, Time, UsageStatistics, WireStopReason,
    step_end::StepEnd,
};

/// What a model was sent, and what it answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProviderTrace {
    /// Its id: that of its step, with a prefix of its own.
    pub id: String,
    /// Always `null`.
    pub created_by_id: Option<String>,
    /// Always `null`.
    pub last_updated_by_id: Option<String>,
    /// When the call had ended.
    pub created_at: Time,
    /// Always `null`: a call never changes.
    pub updated_at: Option<Time>,
    /// The body of the request in the form of its provider, without headers and keys; where there is no such form, what
    /// was in it: `model`, `system`, `messages`, `tools` and the limits of the answer. See `note`.
    pub request_json: JsonObject,
    /// The answer, in one form for all providers.
    #[schema(value_type = ModelResponse)]
    pub response_json: ModelResponse,
    /// The step.
    #[schema(value_type = Option<String>)]
    pub step_id: Option<Id<StepId>>,
    /// Whose.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<Id<AgentId>>,
    /// Labels of the agent then.
    pub agent_tags: Option<Vec<String>>,
    /// `agent_step`.
    pub call_type: Option<String>,
    /// The run.
    #[schema(value_type = Option<String>)]
    pub run_id: Option<Id<RunId>>,
    /// `retold`.
    pub source: Option<String>,
    /// Always `null`.
    pub org_id: Option<String>,
    /// How the agent's history was compacted then.
    pub compaction_settings: Option<CompactionSettings>,
    /// The agent's model then.
    pub llm_config: Option<LlmConfig>,
    /// Always `null`.
    pub billing_context: Option<String>,
    /// Why the request is not in the form of its provider, where it is not.
    pub note: Option<String>,
}

/// What a model answered, as the log keeps it: calls without the arguments that only steer the loop, and only those calls
/// that the loop took.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelResponse {
    /// `provider/model`.
    pub model: String,
    /// `success|failed|cancelled`. A call that was cancelled has what had come until then.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// What it said and thought, in order.
    pub content: Vec<ResponsePart>,
    /// The calls it made.
    pub tool_calls: Vec<ResponseCall>,
    /// Why the loop ended with this call; `null` when it went on.
    pub stop_reason: Option<WireStopReason>,
    /// Its tokens. Those of a call that was cut short are an estimate.
    pub usage: UsageStatistics,
    /// What went wrong, where the call failed.
    pub error: Option<ResponseError>,
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponsePart {
    /// What it said.
    Text {
        /// The text.
        text: String,
    },
    /// What it thought.
    Reasoning {
        /// The text.
        text: String,
        /// The provider's proof of origin.
        signature: Option<String>,
    },
    /// What it thought, encrypted by the provider.
    RedactedReasoning {
        /// Opaque.
        data: String,
    },
}

/// A call that a model made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseCall {
    /// The provider's id of the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON text of an object.
    pub arguments: String,
}

/// What went wrong in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseError {
    /// What sort of thing.
    pub r#type: String,
    /// A sentence for a person.
    pub message: String,
    /// What the provider said.
    pub detail: Option<String>,
}

impl From<Traced> for ProviderTrace {
    fn from(traced: Traced) -> Self {
        let Traced { step, request, note } = traced;
        let config = &step.config;
        Self {
            id: format!("provider_trace-{}", step.ended.step.uuid()),
            created_by_id: None,
            last_updated_by_id: None,
            created_at: Time(step.at),
            updated_at: None,
            request_json: JsonObject::of(&request),
            response_json: ModelResponse::of(&step),
            step_id: Some(Id(step.ended.step)),
            agent_id: Some(Id(step.agent)),
            agent_tags: Some(config.tags.clone()),
            call_type: Some("agent_step".to_owned()),
            run_id: Some(Id(step.run)),
            source: Some("retold".to_owned()),
            org_id: None,
            compaction_settings: Some(CompactionSettings::new(
                &config.compaction,
                &config.model.handle,
            )),
            llm_config: Some(LlmConfig::new(&config.model, config.agent_type)),
            billing_context: None,
            note,
        }
    }
}

impl ModelResponse {
    fn of(step: &retold_actors::replay::StepTrace) -> Self {
        let ended = &step.ended;
        let said: Vec<&Message> =
            ended.messages.iter().filter(|message| message.role == Role::Assistant).collect();
        let StepEnd { status, error } = StepEnd::of(&ended.outcome, ended.stop_reason);
        let error = error.map(|error| ResponseError {
            r#type: error.error_type.clone(),
            message: error.message.clone(),
            detail: error.detail.clone(),
        });
        Self {
            model: step.model.clone(),
            status,
            content: said.iter().flat_map(|message| &message.content).filter_map(part).collect(),
            tool_calls: said
                .iter()
                .flat_map(|message| &message.tool_calls)
                .map(|call| ResponseCall {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                })
                .collect(),
            stop_reason: ended.stop_reason.map(Into::into),
            usage: UsageStatistics::from(&ended.usage),
            error,
        }
    }
}

/// A part of an answer. Models here answer with no pictures.
fn part(part: &Part) -> Option<ResponsePart> {
    match part {
        Part::Text { text } => Some(ResponsePart::Text { text: text.clone() }),
        Part::Reasoning { text, signature } => {
            Some(ResponsePart::Reasoning { text: text.clone(), signature: signature.clone() })
        }
        Part::RedactedReasoning { data } => {
            Some(ResponsePart::RedactedReasoning { data: data.clone() })
        }
        Part::Image(_) => None,
    }
}
