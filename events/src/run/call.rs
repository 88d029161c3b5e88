//! What can happen to the tool calls of a step: they are meant, they return, they are decided by somebody else.
//!
//! A call with an effect outside the server is written down before it is made, and its return as soon as there is one. So
//! after a crash it is known which calls may have happened. A call that a person or the client decides waits in the thread,
//! in a message of its own, until its return enters.

use serde::{Deserialize, Serialize};

use super::Usage;
use crate::{JsonText, Message, RunId, StepId, Timestamp, ToolId, ToolReturn};

/// Calls with effects are about to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolsCalled {
    /// Which run.
    pub run: RunId,
    /// The step whose model made the calls.
    pub step: StepId,
    /// What the model said, with all its calls. It enters the thread when the step ends. `None` for calls that have waited
    /// in the thread for a decision.
    pub said: Option<Said>,
    /// The calls that have effects, in their order.
    pub intents: Vec<Intent>,
}

/// What a model said in a step that is not over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The message, with the calls that are kept.
    pub message: Message,
    /// Whether the answer reached its limit.
    pub cut_by_length: bool,
    /// Tokens of the model call.
    pub usage: Usage,
    /// Hash of the prompt that was sent, see [`super::StepEnded::prompt_hash`].
    pub prompt_hash: [u8; 16],
    /// When the model was called.
    pub model_started_at: Timestamp,
    /// How long it took, in nanoseconds.
    pub model_ns: u64,
}

/// A call about to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The id of the call.
    pub call_id: String,
    /// The tool.
    pub tool: ToolId,
    /// Whether it may be made once more when it is not known whether it happened.
    pub is_idempotent: bool,
    /// The same for every attempt of this call, and no other call's.
    pub key: [u8; 16],
}

/// A call with effects returned, while others of its step are still to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolReturned {
    /// Which run.
    pub run: RunId,
    /// Which step.
    pub step: StepId,
    /// What it returned.
    pub returned: ToolReturn,
}

/// The calls that waited for a decision have their returns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallsResolved {
    /// The run that brought the decision; the one that asked for it when nobody decided.
    pub run: RunId,
    /// The step that asked.
    pub step: StepId,
    /// The returns of all calls of that step, which enter the thread.
    pub message: Message,
    /// Who decided.
    pub by: Resolution,
}

/// Who decided about calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// A client.
    Client,
    /// Nobody: what waited was cancelled.
    Cancelled,
    /// Nobody: it waited for too long.
    Expired,
}

/// What a client says of a call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It may be made, or not.
    Approval {
        /// The id of the call.
        call_id: String,
        /// Whether it may be made.
        approve: bool,
        /// Why.
        reason: Option<String>,
    },
    /// The client made it.
    Returned(ToolReturn),
}

/// A tool that the client runs itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTool {
    /// Its name, which hides a tool of the server of the same name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: JsonText,
}

impl Decision {
    /// The id of the call it is about.
    #[must_use]
    pub fn call_id(&self) -> &str {
        match self {
            Self::Approval { call_id, .. } => call_id,
            Self::Returned(returned) => &returned.call_id,
        }
    }
}
