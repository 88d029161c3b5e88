//! What happens to runs and their steps, as it is told.

use std::fmt::Write as _;

use retold_events::{
    AgentId, ConversationId, MessageId, RunId, StepId,
    run::{self, StepOutcome},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{CallDecision, StoredInput, StoredMessage, redact};
use crate::wire::{Id, JsonObject, Time, WireFeedback, WireRunStatus, WireStopReason};

/// A run was accepted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunAccepted {
    /// The new run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// What was sent, in order.
    pub input: Vec<StoredInput>,
    /// How it was asked for.
    pub request: RunRequest,
    /// Answers to tool calls that wait for a person or for the client.
    pub decisions: Vec<CallDecision>,
    /// Names of tools that the client runs itself.
    pub client_tools: Vec<String>,
    /// Which call of another agent it came of; `null` when a client sent it.
    pub asked_by: Option<AskedBy>,
}

/// Which call of another agent a run came of.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AskedBy {
    /// The agent that sent the message.
    #[schema(value_type = String)]
    pub agent_id: Id<AgentId>,
    /// The run in which it did.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// Whether that run waits for the end of this one, and takes it along when it is cancelled.
    pub waits: bool,
    /// Runs between this one and the one that a client sent, from 1.
    pub depth: u16,
}

impl From<&run::AskedBy> for AskedBy {
    fn from(by: &run::AskedBy) -> Self {
        Self { agent_id: Id(by.agent), run_id: Id(by.run), waits: by.waits, depth: by.depth }
    }
}

/// How a run was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunRequest {
    /// `send_message`, `send_message_streaming`, `send_message_async`.
    pub run_type: String,
    /// Which conversation; `null` is the agent's own thread.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Id<ConversationId>>,
    /// Whether it runs detached from its request.
    pub background: bool,
    /// Whether its output is recorded token by token.
    pub stream_tokens: bool,
    /// Model calls at most.
    pub max_steps: u32,
    /// Whether a `send_message` call shows as an assistant message.
    pub use_assistant_message: bool,
    /// The tool whose calls show so.
    pub assistant_message_tool_name: String,
    /// Its argument that holds the text.
    pub assistant_message_tool_kwarg: String,
    /// Message types the client wants to see; `null` is all.
    pub include_return_message_types: Option<Vec<String>>,
    /// Whether compaction shows as messages of its own kind.
    pub include_compaction_messages: bool,
    /// Handle of a model for this run only.
    pub override_model: Option<String>,
    /// System text for this run only.
    pub override_system: Option<String>,
    /// Address called at its end, without credentials and without its query.
    pub callback_url: Option<String>,
    /// Hash of the request, the same for a repeated one; hexadecimal.
    pub fingerprint: Option<String>,
    /// Free JSON of the client.
    pub metadata: Option<JsonObject>,
}

/// A run's turn has come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunStarted {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Ids of the input messages, in their order.
    #[schema(value_type = Vec<String>)]
    pub input_message_ids: Vec<Id<MessageId>>,
}

/// A step began: a model is about to be called.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepStarted {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// The new step.
    #[schema(value_type = String)]
    pub step_id: Id<StepId>,
    /// The message the model is about to say.
    #[schema(value_type = String)]
    pub message_id: Id<MessageId>,
    /// Handle of the model.
    pub model: String,
    /// Name of its provider.
    pub provider: Option<String>,
    /// The kind of its endpoint.
    pub endpoint_type: String,
    /// Its context window, in tokens.
    pub context_window: u32,
}

/// A step ended. What it says enters the thread in the same moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepEnded {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// Which step.
    #[schema(value_type = String)]
    pub step_id: Id<StepId>,
    /// How it ended.
    pub outcome: OutcomeOfStep,
    /// What went wrong, when it failed.
    pub error: Option<WhyFailed>,
    /// Whether the run's input enters the thread now, before `messages`.
    pub input_enters: bool,
    /// What enters the thread.
    pub messages: Vec<StoredMessage>,
    /// Names of the tools that were run, in order.
    pub tools_called: Vec<String>,
    /// Tokens of the model call.
    pub usage: UsageOfStep,
    /// Hash of the prompt that was sent; hexadecimal.
    pub prompt_hash: Option<String>,
    /// Why the loop ended here; `null` when it goes on.
    pub stop_reason: Option<WireStopReason>,
    /// How long things took.
    pub timing: TimingOfStep,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeOfStep {
    /// Well.
    Success,
    /// Badly: nothing of it enters the thread.
    Failed,
    /// Cut short.
    Cancelled,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WhyFailed {
    /// What sort of thing.
    pub error_type: String,
    /// A sentence for a person.
    pub message: String,
    /// What the provider said.
    pub detail: Option<String>,
    /// Seconds the provider asks to wait.
    pub retry_after_s: Option<u32>,
}

/// Tokens of one model call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageOfStep {
    /// Of the request.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
    /// Both together.
    pub total_tokens: u64,
    /// Request tokens from the provider's cache.
    pub cached_input_tokens: Option<u64>,
    /// Request tokens written to the provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
}

/// How long the parts of a step took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct TimingOfStep {
    /// When it began.
    pub started_at: Time,
    /// When the model was called.
    pub model_started_at: Time,
    /// The model call, in nanoseconds.
    pub model_ns: u64,
    /// The tools, in nanoseconds.
    pub tools_ns: u64,
    /// All of it, in nanoseconds.
    pub total_ns: u64,
}

/// Something happened to a run that needs no more words.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct OfRun {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
}

/// A run ended. There is one of these per run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunEnded {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// How: `completed`, `failed` or `cancelled`.
    pub status: WireRunStatus,
    /// Why.
    pub stop_reason: WireStopReason,
    /// What went wrong, when it failed.
    pub error: Option<WhyFailed>,
    /// Whether the end of the process cut it short.
    pub interrupted: bool,
    /// Its input as messages, when it enters the thread only now.
    pub input: Vec<StoredMessage>,
    /// From its acceptance to the first output, in nanoseconds.
    pub ttft_ns: Option<u64>,
    /// From its acceptance to here, in nanoseconds.
    pub total_ns: u64,
}

/// The address a client wanted called was called.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunCallbackSent {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// The status it answered.
    pub status_code: Option<u16>,
    /// Why it did not.
    pub error: Option<String>,
}

/// A client judged a step.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepFeedbackGiven {
    /// The run of the step.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// Which step.
    #[schema(value_type = String)]
    pub step_id: Id<StepId>,
    /// The judgement; `null` takes an earlier one back.
    pub feedback: Option<WireFeedback>,
    /// Labels of the judgement.
    pub tags: Vec<String>,
}

impl From<&run::Accepted> for RunAccepted {
    fn from(accepted: &run::Accepted) -> Self {
        Self {
            run_id: Id(accepted.run),
            input: accepted.input.iter().map(StoredInput::from).collect(),
            request: (&accepted.request).into(),
            decisions: accepted.decisions.iter().map(CallDecision::from).collect(),
            client_tools: accepted.client_tools.iter().map(|tool| tool.name.clone()).collect(),
            asked_by: accepted.asked_by.as_ref().map(AskedBy::from),
        }
    }
}

impl From<&run::Request> for RunRequest {
    fn from(request: &run::Request) -> Self {
        Self {
            run_type: request.run_type.clone(),
            conversation_id: request.conversation.map(Id),
            background: request.background,
            stream_tokens: request.stream_tokens,
            max_steps: request.max_steps,
            use_assistant_message: request.use_assistant_message,
            assistant_message_tool_name: request.assistant_message_tool_name.clone(),
            assistant_message_tool_kwarg: request.assistant_message_tool_kwarg.clone(),
            include_return_message_types: request.include_return_message_types.clone(),
            include_compaction_messages: request.include_compaction_messages,
            override_model: request.override_model.clone(),
            override_system: request.override_system.clone(),
            callback_url: request.callback_url.as_deref().map(redact::url),
            fingerprint: request.fingerprint.map(hex),
            metadata: request.metadata.as_ref().map(redact::json),
        }
    }
}

impl From<&run::Started> for RunStarted {
    fn from(started: &run::Started) -> Self {
        Self {
            run_id: Id(started.run),
            attempt: started.attempt,
            input_message_ids: started.input_ids.iter().copied().map(Id).collect(),
        }
    }
}

impl From<&run::StepStarted> for StepStarted {
    fn from(started: &run::StepStarted) -> Self {
        Self {
            run_id: Id(started.run),
            step_id: Id(started.step),
            message_id: Id(started.message),
            model: started.model.clone(),
            provider: started.provider.clone(),
            endpoint_type: started.endpoint_type.clone(),
            context_window: started.context_window,
        }
    }
}

impl From<&run::StepEnded> for StepEnded {
    fn from(ended: &run::StepEnded) -> Self {
        let (outcome, error) = match &ended.outcome {
            StepOutcome::Success => (OutcomeOfStep::Success, None),
            StepOutcome::Failed { error } => (OutcomeOfStep::Failed, Some(error.into())),
            StepOutcome::Cancelled => (OutcomeOfStep::Cancelled, None),
        };
        Self {
            run_id: Id(ended.run),
            step_id: Id(ended.step),
            outcome,
            error,
            input_enters: ended.input_enters,
            messages: ended.messages.iter().map(StoredMessage::from).collect(),
            tools_called: ended.tools_called.clone(),
            usage: (&ended.usage).into(),
            prompt_hash: ended.prompt_hash.map(hex),
            stop_reason: ended.stop_reason.map(Into::into),
            timing: (&ended.timing).into(),
        }
    }
}

impl From<&run::RunError> for WhyFailed {
    fn from(error: &run::RunError) -> Self {
        Self {
            error_type: error.error_type.clone(),
            message: error.message.clone(),
            detail: error.detail.clone(),
            retry_after_s: error.retry_after_s,
        }
    }
}

impl From<&run::Usage> for UsageOfStep {
    fn from(usage: &run::Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens(),
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            reasoning_tokens: usage.reasoning_tokens,
        }
    }
}

impl From<&run::StepTiming> for TimingOfStep {
    fn from(timing: &run::StepTiming) -> Self {
        Self {
            started_at: Time(timing.started_at),
            model_started_at: Time(timing.model_started_at),
            model_ns: timing.model_ns,
            tools_ns: timing.tools_ns,
            total_ns: timing.total_ns,
        }
    }
}

impl From<&run::Ended> for RunEnded {
    fn from(ended: &run::Ended) -> Self {
        Self {
            run_id: Id(ended.run),
            status: retold_snapshots::row::RunStatus::Ended(ended.status).into(),
            stop_reason: ended.stop_reason.into(),
            error: ended.error.as_ref().map(WhyFailed::from),
            interrupted: ended.interrupted,
            input: ended.input.iter().map(StoredMessage::from).collect(),
            ttft_ns: ended.ttft_ns,
            total_ns: ended.total_ns,
        }
    }
}

impl From<&run::CallbackSent> for RunCallbackSent {
    fn from(sent: &run::CallbackSent) -> Self {
        Self { run_id: Id(sent.run), status_code: sent.status_code, error: sent.error.clone() }
    }
}

impl From<&run::FeedbackGiven> for StepFeedbackGiven {
    fn from(given: &run::FeedbackGiven) -> Self {
        Self {
            run_id: Id(given.run),
            step_id: Id(given.step),
            feedback: given.feedback.map(Into::into),
            tags: given.tags.clone(),
        }
    }
}

fn hex(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(32);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
