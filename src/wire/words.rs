//! V1's words for stored enums, in one place so that every answer and every filter uses the same ones.

use retold_events::{
    Role,
    agent::{AgentType, CompactionMode},
    run::{EndStatus, Feedback, StopReason},
};
use retold_snapshots::row::RunStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident of $stored:ty as $schema:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $pattern:pat => $back:expr, $word:tt;)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[schema(as = $schema)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All words, in V1's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The enum of a word; `None` for any other text.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.word() == word)
            }

            /// What it stands for.
            #[must_use]
            pub const fn stored(self) -> $stored {
                match self {
                    $(Self::$variant => $back,)*
                }
            }
        }

        impl From<$stored> for $name {
            fn from(stored: $stored) -> Self {
                match stored {
                    $($pattern => Self::$variant,)*
                }
            }
        }
    )*};
}

words! {
    /// Why a run or a step ended.
    WireStopReason of StopReason as StopReasonType {
        /// The model was done.
        EndTurn = StopReason::EndTurn => StopReason::EndTurn, "end_turn";
        /// Something failed inside.
        Error = StopReason::Error => StopReason::Error, "error";
        /// The provider failed.
        LlmApiError = StopReason::LlmApiError => StopReason::LlmApiError, "llm_api_error";
        /// The provider's answer was not understandable.
        InvalidLlmResponse = StopReason::InvalidLlmResponse => StopReason::InvalidLlmResponse, "invalid_llm_response";
        /// The model called a tool in a way that cannot be.
        InvalidToolCall = StopReason::InvalidToolCall => StopReason::InvalidToolCall, "invalid_tool_call";
        /// All steps were used.
        MaxSteps = StopReason::MaxSteps => StopReason::MaxSteps, "max_steps";
        /// The answer reached its limit.
        MaxTokensExceeded = StopReason::MaxTokensExceeded => StopReason::MaxTokensExceeded, "max_tokens_exceeded";
        /// An older agent answered without a tool call.
        NoToolCall = StopReason::NoToolCall => StopReason::NoToolCall, "no_tool_call";
        /// A tool rule ended the loop.
        ToolRule = StopReason::ToolRule => StopReason::ToolRule, "tool_rule";
        /// It was cancelled.
        Cancelled = StopReason::Cancelled => StopReason::Cancelled, "cancelled";
        /// The provider wants money.
        InsufficientCredits = StopReason::InsufficientCredits => StopReason::InsufficientCredits, "insufficient_credits";
        /// A person has to decide first.
        RequiresApproval = StopReason::RequiresApproval => StopReason::RequiresApproval, "requires_approval";
        /// The system message alone does not fit the window.
        ContextWindowOverflowInSystemPrompt =
            StopReason::ContextWindowOverflowInSystemPrompt => StopReason::ContextWindowOverflowInSystemPrompt,
            "context_window_overflow_in_system_prompt";
    }

    /// Where a run stands.
    WireRunStatus of RunStatus as RunStatus {
        /// Accepted, waiting for its turn.
        Created = RunStatus::Created => RunStatus::Created, "created";
        /// Under way.
        Running = RunStatus::Running => RunStatus::Running, "running";
        /// Ended well.
        Completed = RunStatus::Ended(EndStatus::Completed) => RunStatus::Ended(EndStatus::Completed), "completed";
        /// Ended badly.
        Failed = RunStatus::Ended(EndStatus::Failed) => RunStatus::Ended(EndStatus::Failed), "failed";
        /// Ended by request.
        Cancelled = RunStatus::Ended(EndStatus::Cancelled) => RunStatus::Ended(EndStatus::Cancelled), "cancelled";
    }

    /// A judgement of a step.
    WireFeedback of Feedback as FeedbackType {
        /// Good.
        Positive = Feedback::Positive => Feedback::Positive, "positive";
        /// Bad.
        Negative = Feedback::Negative => Feedback::Negative, "negative";
    }

    /// Which messages give way to a summary.
    WireCompactionMode of CompactionMode as CompactionMode {
        /// All but the system message.
        All = CompactionMode::All => CompactionMode::All, "all";
        /// The older share.
        SlidingWindow = CompactionMode::SlidingWindow => CompactionMode::SlidingWindow, "sliding_window";
        /// All, summarized by the agent's own model and prompt.
        SelfCompactAll = CompactionMode::SelfCompactAll => CompactionMode::SelfCompactAll, "self_compact_all";
        /// The older share, summarized by the agent's own model and prompt.
        SelfCompactSlidingWindow = CompactionMode::SelfCompactSlidingWindow => CompactionMode::SelfCompactSlidingWindow,
            "self_compact_sliding_window";
    }

    /// Which loop an agent runs. V1 has more of them; they are refused.
    WireAgentType of AgentType as AgentType {
        /// The oldest loop.
        Memgpt = AgentType::Memgpt => AgentType::Memgpt, "memgpt_agent";
        /// The older loop.
        MemgptV2 = AgentType::MemgptV2 => AgentType::MemgptV2, "memgpt_v2_agent";
        /// The current loop.
        LettaV1 = AgentType::LettaV1 => AgentType::LettaV1, "letta_v1_agent";
    }

    /// Who may be speaking in a message of a client.
    InputRole of Role as InputRole {
        /// A person or a program.
        User = Role::User | Role::Tool | Role::Summary => Role::User, "user";
        /// The server, to the model.
        System = Role::System => Role::System, "system";
        /// The agent.
        Assistant = Role::Assistant | Role::Approval => Role::Assistant, "assistant";
    }
}

/// Message types that `include_return_message_types` may name.
pub const MESSAGE_TYPES: [&str; 11] = [
    "system_message",
    "user_message",
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
    "approval_response_message",
    "summary_message",
    "event_message",
];
