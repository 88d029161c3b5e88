//! What can happen to a run and its steps. These are facts of the agent's stream.

mod asked;
mod call;
pub(crate) mod v1;
pub(crate) mod v2;

use serde::{Deserialize, Serialize};

pub use asked::AskedBy;
pub use call::{
    CallsResolved, ClientTool, Decision, Intent, Resolution, Said, ToolReturned, ToolsCalled,
};

use crate::{ConversationId, JsonText, Message, MessageId, Part, Role, RunId, StepId, Timestamp};

/// A run was accepted: its input is safe from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The new run.
    pub run: RunId,
    /// What was sent, in order.
    pub input: Vec<Input>,
    /// How it was asked for.
    pub request: Request,
    /// Answers to the calls that wait for a person or for the client.
    pub decisions: Vec<Decision>,
    /// Tools that the client runs itself, for this run.
    pub client_tools: Vec<ClientTool>,
    /// Which call of another agent it came of; `None` when a client sent it.
    pub asked_by: Option<AskedBy>,
}

/// One message sent to an agent, before it has a place in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Who is speaking: user, system or assistant.
    pub role: Role,
    /// What is said.
    pub content: Vec<Part>,
    /// The speaker's name, when one was given.
    pub name: Option<String>,
    /// The client's own id of the message, or one made for it.
    pub otid: String,
    /// Who sent it, when the client said so.
    pub sender: Option<String>,
    /// Tokens of the content.
    pub tokens: u32,
}

/// How a run was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `send_message`, `send_message_streaming`, `send_message_async`, ...: V1's `metadata.run_type`.
    pub run_type: String,
    /// Which thread; `None` is the agent's own.
    pub conversation: Option<ConversationId>,
    /// Whether the client asked for a run detached from its request.
    pub background: bool,
    /// Whether output is recorded token by token rather than message by message.
    pub stream_tokens: bool,
    /// Model calls at most.
    pub max_steps: u32,
    /// Whether a `send_message` call shows as an assistant message.
    pub use_assistant_message: bool,
    /// The name of the tool whose calls show so.
    pub assistant_message_tool_name: String,
    /// Its argument that holds the text.
    pub assistant_message_tool_kwarg: String,
    /// Message types the client wants to see; `None` is all.
    pub include_return_message_types: Option<Vec<String>>,
    /// Whether compaction shows as messages of its own kind.
    pub include_compaction_messages: bool,
    /// Handle of a model for this run only.
    pub override_model: Option<String>,
    /// System text for this run only.
    pub override_system: Option<String>,
    /// Address to call when the run has ended.
    pub callback_url: Option<String>,
    /// Hash of the request, the same for a repeated one; `None` when the client gave no message ids of its own.
    pub fingerprint: Option<[u8; 16]>,
    /// Free JSON object of the client.
    pub metadata: Option<JsonText>,
}

/// A run's turn has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which run.
    pub run: RunId,
    /// Number of the attempt, from 1. Messages of an older attempt mean nothing.
    pub attempt: u32,
    /// Ids of the input messages, in their order.
    pub input_ids: Vec<MessageId>,
}

/// A step began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStarted {
    /// Which run.
    pub run: RunId,
    /// The new step.
    pub step: StepId,
    /// Id of the message the model is about to say.
    pub message: MessageId,
    /// Handle of the model.
    pub model: String,
    /// Name of its provider.
    pub provider: Option<String>,
    /// The kind of its endpoint.
    pub endpoint_type: String,
    /// Its context window, in tokens.
    pub context_window: u32,
}

/// A step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEnded {
    /// Which run.
    pub run: RunId,
    /// Which step.
    pub step: StepId,
    /// How it ended.
    pub outcome: StepOutcome,
    /// Whether the run's input enters the thread now, before `messages`.
    pub input_enters: bool,
    /// What enters the thread: what the model said, then what its tools returned. No call is without its return.
    pub messages: Vec<Message>,
    /// Names of the tools that were run, in order: what tool rules look at. A call that a rule forbade is none of them.
    pub tools_called: Vec<String>,
    /// Tokens of the model call.
    pub usage: Usage,
    /// Hash of the prompt that was sent: 16 bytes of BLAKE3 over system text, messages and tools.
    pub prompt_hash: Option<[u8; 16]>,
    /// Why the loop ended here; `None` when it goes on.
    pub stop_reason: Option<StopReason>,
    /// How long things took.
    pub timing: StepTiming,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepOutcome {
    /// Well.
    Success,
    /// Badly: nothing of it enters the thread.
    Failed {
        /// Why.
        error: RunError,
    },
    /// Cut short; what was seen until then enters the thread.
    Cancelled,
}

/// How long the parts of a step took, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTiming {
    /// When it began.
    pub started_at: Timestamp,
    /// When the model was called.
    pub model_started_at: Timestamp,
    /// The model call.
    pub model_ns: u64,
    /// The tools.
    pub tools_ns: u64,
    /// All of it.
    pub total_ns: u64,
}

/// Tokens of one model call, or their sum over several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of the requests.
    pub prompt_tokens: u64,
    /// Of the answers.
    pub completion_tokens: u64,
    /// Request tokens from the provider's cache, where it said so.
    pub cached_input_tokens: Option<u64>,
    /// Request tokens written to the provider's cache, where it said so.
    pub cache_write_tokens: Option<u64>,
    /// Answer tokens spent on reasoning, where the provider said so.
    pub reasoning_tokens: Option<u64>,
}

impl Usage {
    /// Request and answer together.
    #[must_use]
    pub const fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// Adds another call's tokens.
    pub fn add(&mut self, other: &Self) {
        fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
            match (a, b) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
            }
        }
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        self.cached_input_tokens = sum(self.cached_input_tokens, other.cached_input_tokens);
        self.cache_write_tokens = sum(self.cache_write_tokens, other.cache_write_tokens);
        self.reasoning_tokens = sum(self.reasoning_tokens, other.reasoning_tokens);
    }
}

/// Somebody asked for a run to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequested {
    /// Which run.
    pub run: RunId,
}

/// A run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Which run.
    pub run: RunId,
    /// How.
    pub status: EndStatus,
    /// Why.
    pub stop_reason: StopReason,
    /// What went wrong, when it failed.
    pub error: Option<RunError>,
    /// Whether the end of the process cut it short, rather than a person or a provider.
    pub interrupted: bool,
    /// The run's input as messages, when it enters the thread only now: it was cancelled while it waited.
    pub input: Vec<Message>,
    /// From its acceptance to the first output, in nanoseconds.
    pub ttft_ns: Option<u64>,
    /// From its acceptance to here, in nanoseconds.
    pub total_ns: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndStatus {
    /// Well.
    Completed,
    /// Badly.
    Failed,
    /// By request.
    Cancelled,
}

/// Why a run or a step ended, in V1's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StopReason {
    /// The model was done.
    EndTurn,
    /// Something failed inside.
    Error,
    /// The provider failed.
    LlmApiError,
    /// The provider's answer was not understandable.
    InvalidLlmResponse,
    /// The model called a tool in a way that cannot be.
    InvalidToolCall,
    /// All steps were used.
    MaxSteps,
    /// The answer reached its limit.
    MaxTokensExceeded,
    /// An older agent answered without a tool call.
    NoToolCall,
    /// A tool rule ended the loop.
    ToolRule,
    /// It was cancelled.
    Cancelled,
    /// The provider wants money.
    InsufficientCredits,
    /// A person has to decide first.
    RequiresApproval,
    /// The system message alone does not fit the window.
    ContextWindowOverflowInSystemPrompt,
}

/// What went wrong in a run or a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// `llm_timeout`, `llm_rate_limit`, `llm_authentication`, `llm_insufficient_credits`, `llm_bad_request`,
    /// `llm_error`, `llm_empty_response`, `internal_error`, `context_window_overflow_in_system_prompt`, `interrupted`.
    pub error_type: String,
    /// A sentence for a person.
    pub message: String,
    /// What the provider said.
    pub detail: Option<String>,
    /// Seconds the provider asks to wait.
    pub retry_after_s: Option<u32>,
}

/// The address a client wanted called was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackSent {
    /// Which run.
    pub run: RunId,
    /// The status it answered, when it did.
    pub status_code: Option<u16>,
    /// Why it did not.
    pub error: Option<String>,
}

/// A client removed a run from the lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Which run.
    pub run: RunId,
}

/// A client judged a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackGiven {
    /// The run of the step.
    pub run: RunId,
    /// Which step.
    pub step: StepId,
    /// The judgement; `None` takes an earlier one back.
    pub feedback: Option<Feedback>,
    /// Labels of the judgement.
    pub tags: Vec<String>,
}

/// A judgement of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Feedback {
    /// Good.
    Positive,
    /// Bad.
    Negative,
}
