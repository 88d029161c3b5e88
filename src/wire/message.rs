//! Messages as clients see them, one type per `message_type`.
//!
//! The members that all of them have come first and in one order, as the retired server sent them; then each type's own.

use std::fmt;

use retold_events::{MessageId, RunId, StepId};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Content, Id, JsonObject, Time, WireStopReason};

/// The id of a wire message. Most are ids of stored messages; pings and compaction notices have ids of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireId {
    /// A stored message.
    Message(MessageId),
    /// A compaction notice: a bare UUID.
    Bare(Uuid),
    /// A ping.
    Ping(Uuid),
}

impl fmt::Display for WireId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(id) => write!(f, "{id}"),
            Self::Bare(uuid) => write!(f, "{uuid}"),
            Self::Ping(uuid) => write!(f, "ping-{uuid}"),
        }
    }
}

impl Serialize for WireId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What all wire messages have.
#[derive(Debug, Clone)]
pub struct Head {
    /// Id of the stored message.
    pub id: WireId,
    /// When it was made.
    pub date: Time,
    /// The speaker's or the tool's name.
    pub name: Option<String>,
    /// Names this part of the message; the same for all deltas of a part.
    pub otid: Option<String>,
    /// Who sent it.
    pub sender_id: Option<String>,
    /// The step that made it.
    pub step_id: Option<Id<StepId>>,
    /// Whether it records a failure.
    pub is_err: Option<bool>,
    /// Set on what was cut short by a cancel or a crash; left out otherwise.
    pub interrupted: Option<bool>,
    /// Its number in the stream.
    pub seq_id: Option<u64>,
    /// The run it belongs to.
    pub run_id: Option<Id<RunId>>,
}

macro_rules! wire_messages {
    ($(
        $(#[$doc:meta])*
        $name:ident / $tag:ident = $variant:ident $wire:tt {
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Serialize, ToSchema)]
            pub struct $name {
                /// Id of the stored message.
                #[schema(value_type = String)]
                pub id: WireId,
                /// When it was made.
                pub date: Time,
                /// The speaker's or the tool's name.
                pub name: Option<String>,
                /// The kind of message.
                pub message_type: $tag,
                /// Names this part of the message.
                pub otid: Option<String>,
                /// Who sent it.
                pub sender_id: Option<String>,
                /// The step that made it.
                #[schema(value_type = Option<String>)]
                pub step_id: Option<Id<StepId>>,
                /// Whether it records a failure.
                pub is_err: Option<bool>,
                /// Set on what was cut short by a cancel or a crash; left out otherwise, since V1 does not know it.
                #[serde(skip_serializing_if = "Option::is_none")]
                #[schema(required = false)]
                pub interrupted: Option<bool>,
                /// Its number in a background stream.
                pub seq_id: Option<u64>,
                /// The run it belongs to.
                #[schema(value_type = Option<String>)]
                pub run_id: Option<Id<RunId>>,
                $($(#[$field_doc])* pub $field: $type,)*
            }

            #[doc = concat!("The constant `", $wire, "`.")]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
            pub enum $tag {
                #[doc = concat!("`", $wire, "`")]
                #[serde(rename = $wire)]
                Constant,
            }

            impl $name {
                pub(crate) fn new(head: Head, $($field: $type),*) -> Self {
                    let Head {
                        id,
                        date,
                        name,
                        otid,
                        sender_id,
                        step_id,
                        is_err,
                        interrupted,
                        seq_id,
                        run_id,
                    } = head;
                    Self {
                        id,
                        date,
                        name,
                        message_type: $tag::Constant,
                        otid,
                        sender_id,
                        step_id,
                        is_err,
                        interrupted,
                        seq_id,
                        run_id,
                        $($field,)*
                    }
                }
            }

            impl From<$name> for LettaMessage {
                fn from(message: $name) -> Self {
                    Self::$variant(message)
                }
            }
        )*

        /// A message as clients see it. `message_type` tells which.
        #[derive(Debug, Clone, Serialize, ToSchema)]
        #[serde(untagged)]
        pub enum LettaMessage {
            $(
                #[doc = concat!("`", $wire, "`")]
                $variant($name),
            )*
        }

        impl LettaMessage {
            /// Its `message_type`.
            #[must_use]
            pub fn message_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $wire,)*
                }
            }

            /// Gives it its number in a background stream.
            pub fn set_seq_id(&mut self, seq: u64) {
                match self {
                    $(Self::$variant(message) => message.seq_id = Some(seq),)*
                }
            }
        }
    };
}

wire_messages! {
    /// The server, to the model.
    SystemMessage / SystemMessageType = System "system_message" {
        /// What it says.
        content: String,
    }
    /// A person or a program.
    UserMessage / UserMessageType = User "user_message" {
        /// What is said.
        content: Content,
    }
    /// What the agent says.
    AssistantMessage / AssistantMessageType = Assistant "assistant_message" {
        /// What is said; in a token stream, the piece that was added.
        content: Content,
    }
    /// What the agent thinks.
    ReasoningMessage / ReasoningMessageType = Reasoning "reasoning_message" {
        /// Whether the model thinks by itself.
        source: ReasoningSource,
        /// The thought; in a token stream, the piece that was added.
        reasoning: String,
        /// The provider's proof of origin.
        signature: Option<String>,
    }
    /// A thought that the provider hides.
    HiddenReasoningMessage / HiddenReasoningMessageType = HiddenReasoning "hidden_reasoning_message" {
        /// How it is hidden.
        state: HiddenReasoningState,
        /// The provider's opaque data.
        hidden_reasoning: Option<String>,
    }
    /// Tools the agent calls.
    ToolCallMessage / ToolCallMessageType = ToolCall "tool_call_message" {
        /// The first call, or a piece of one.
        tool_call: OneToolCall,
        /// All calls, or the same piece.
        tool_calls: ManyToolCalls,
    }
    /// Tools the agent wants to call, which wait for a person or for the client.
    ApprovalRequestMessage / ApprovalRequestMessageType = ApprovalRequest "approval_request_message" {
        /// The first call.
        tool_call: OneToolCall,
        /// All calls.
        tool_calls: ManyToolCalls,
    }
    /// What tools returned. The first one's members stand at the top level, too.
    ToolReturnMessage / ToolReturnMessageType = ToolReturn "tool_return_message" {
        /// The returned text.
        tool_return: String,
        /// Whether it did what was asked.
        status: ToolReturnStatus,
        /// The call it answers.
        tool_call_id: String,
        /// Lines of its standard output.
        stdout: Option<Vec<String>>,
        /// Lines of its standard error.
        stderr: Option<Vec<String>>,
        /// All returns.
        tool_returns: Vec<ToolReturn>,
    }
    /// A summary that stands for older messages.
    SummaryMessage / SummaryMessageType = Summary "summary_message" {
        /// The summary.
        summary: String,
        /// What the compaction did.
        compaction_stats: Option<CompactionStats>,
    }
    /// Something happened to the conversation.
    EventMessage / EventMessageType = Event "event_message" {
        /// `compaction`.
        #[schema(value_type = String)]
        event_type: &'static str,
        /// `{trigger, context_token_estimate, context_window}`.
        event_data: JsonObject,
    }
    /// A sign of life.
    LettaPing / PingType = Ping "ping" {}
}

/// Who thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningSource {
    /// A model that reasons by itself.
    ReasonerModel,
    /// Inner thoughts that an older agent asks any model for.
    NonReasonerModel,
}

/// How a thought is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HiddenReasoningState {
    /// Encrypted by the provider.
    Redacted,
    /// Left out by the provider.
    Omitted,
}

/// Whether a tool did what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolReturnStatus {
    /// It did.
    Success,
    /// It did not.
    Error,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// JSON text of an object.
    pub arguments: String,
    /// The provider's id of the call.
    pub tool_call_id: String,
}

/// A piece of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolCallDelta {
    /// The tool, once per call.
    pub name: Option<String>,
    /// More argument text.
    pub arguments: Option<String>,
    /// The provider's id of the call.
    pub tool_call_id: Option<String>,
}

/// `tool_call`: a call, or a piece of one in a token stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OneToolCall {
    /// A whole call.
    Call(ToolCall),
    /// A piece.
    Delta(ToolCallDelta),
}

/// `tool_calls`: all calls, or in a token stream the same piece as `tool_call`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ManyToolCalls {
    /// Whole calls.
    Calls(Vec<ToolCall>),
    /// A piece.
    Delta(ToolCallDelta),
}

/// What one tool returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolReturn {
    /// `tool`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// The returned text.
    pub tool_return: String,
    /// Whether it did what was asked.
    pub status: ToolReturnStatus,
    /// The call it answers.
    pub tool_call_id: String,
    /// Lines of its standard output.
    pub stdout: Option<Vec<String>>,
    /// Lines of its standard error.
    pub stderr: Option<Vec<String>>,
}

/// What a compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
pub struct CompactionStats {
    /// What set it off.
    pub trigger: String,
    /// Tokens in context before.
    pub context_tokens_before: Option<u64>,
    /// Tokens in context after.
    pub context_tokens_after: Option<u64>,
    /// The window of the agent, in tokens.
    pub context_window: u64,
    /// Messages in context before.
    pub messages_count_before: u64,
    /// Messages in context after.
    pub messages_count_after: u64,
}

/// Why a run ended, as an event of a stream and in a blocking answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct LettaStopReason {
    /// `stop_reason`.
    #[schema(value_type = String)]
    pub message_type: &'static str,
    /// Why.
    pub stop_reason: WireStopReason,
}

impl LettaStopReason {
    /// The event of a reason.
    #[must_use]
    pub fn new(reason: impl Into<WireStopReason>) -> Self {
        Self { message_type: "stop_reason", stop_reason: reason.into() }
    }
}

/// What went wrong in a run, as the named event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LettaErrorMessage {
    /// `error_message`.
    #[schema(value_type = String)]
    pub message_type: &'static str,
    /// The run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// `llm_timeout`, `llm_rate_limit`, ...
    pub error_type: String,
    /// A sentence for a person.
    pub message: String,
    /// What the provider said.
    pub detail: Option<String>,
    /// Its number in a background stream.
    pub seq_id: Option<u64>,
}
