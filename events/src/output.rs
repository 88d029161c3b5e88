//! What a run showed: the numbered items every subscriber of the run sees, live or years later.
//!
//! Items are written in the same batch as the events they belong to and are never folded into a state.

use serde::{Deserialize, Serialize};

use crate::{Message, MessageId, StepId, Timestamp, run};

/// One numbered piece of a run's output. Numbers are 1, 2, 3, ... per run, across restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its number, the cursor of `starting_after`. An item that expands into several wire messages takes one number for
    /// each; this is the first of them.
    pub seq: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What it is.
    pub output: Output,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// A piece of a message that is still being said.
    Delta {
        /// The step that says it.
        step: StepId,
        /// The message it will be part of.
        message: MessageId,
        /// Which part of the message on the wire, from 0: it gives the piece its `otid`.
        part: u32,
        /// The piece.
        delta: Delta,
    },
    /// A whole message, shown when its step was stored.
    Message {
        /// The message. It takes [`Item::seq`] and as many more as it has further wire parts, less one.
        message: Message,
        /// Numbers it takes.
        span: u32,
    },
    /// Older messages gave way to a summary. Takes two numbers: for the notice, and for the summary.
    Compacted {
        /// The summary.
        summary: Message,
        /// See [`crate::agent::ContextCompacted`].
        trigger: String,
        /// Tokens in context before.
        tokens_before: u32,
        /// Tokens in context after.
        tokens_after: u32,
        /// Window of the agent.
        context_window: u32,
        /// Messages in context before.
        messages_before: u32,
        /// Messages in context after.
        messages_after: u32,
    },
    /// The run ended. Always the last item, and the only one of its kind.
    End {
        /// How.
        status: run::EndStatus,
        /// Why.
        stop_reason: run::StopReason,
        /// What went wrong.
        error: Option<run::RunError>,
        /// The sum over all steps.
        usage: run::Usage,
        /// Steps taken.
        steps: u32,
        /// Tokens in context at the end.
        context_tokens: u64,
    },
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delta {
    /// More reasoning.
    Reasoning(String),
    /// More text.
    Text(String),
    /// More of a tool call.
    ToolCall {
        /// The provider's id of the call.
        id: String,
        /// The name, once per call.
        name: Option<String>,
        /// More argument text.
        arguments: String,
    },
}
