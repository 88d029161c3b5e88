//! What happens to the tool calls of a step, as it is told.

use retold_events::{
    RunId, StepId, ToolId,
    run::{self, Resolution},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{StoredMessage, StoredToolReturn};
use crate::wire::Id;

/// Tool calls with effects are about to be made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepToolsCalled {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// Which step.
    #[schema(value_type = String)]
    pub step_id: Id<StepId>,
    /// What the model said with them; `null` for calls that waited for a decision.
    pub message: Option<StoredMessage>,
    /// The calls that have effects, in their order.
    pub intents: Vec<CallIntent>,
}

/// A call about to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CallIntent {
    /// The id of the call.
    pub tool_call_id: String,
    /// The tool.
    #[schema(value_type = String)]
    pub tool_id: Id<ToolId>,
    /// Whether it may be made once more when it is not known whether it happened.
    pub is_idempotent: bool,
}

/// A tool call with effects returned, while others of its step are still to be made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepToolReturned {
    /// Which run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// Which step.
    #[schema(value_type = String)]
    pub step_id: Id<StepId>,
    /// What it returned.
    pub returned: StoredToolReturn,
}

/// Tool calls that waited for a decision have their returns, which enter the thread.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepCallsResolved {
    /// The run that brought the decision; the one that asked for it when nobody decided.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// The step that asked.
    #[schema(value_type = String)]
    pub step_id: Id<StepId>,
    /// The returns.
    pub message: StoredMessage,
    /// Who decided.
    pub by: ResolvedBy,
}

/// Who decided about calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResolvedBy {
    /// A client.
    Client,
    /// Nobody: what waited was cancelled.
    Cancelled,
    /// Nobody: it waited for too long.
    Expired,
}

/// What a client says of a call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CallDecision {
    /// It may be made, or not.
    Approval {
        /// The id of the call.
        tool_call_id: String,
        /// Whether it may be made.
        approve: bool,
        /// Why.
        reason: Option<String>,
    },
    /// The client made it.
    Tool {
        /// What it returned.
        returned: StoredToolReturn,
    },
}

impl From<&run::Decision> for CallDecision {
    fn from(decision: &run::Decision) -> Self {
        match decision {
            run::Decision::Approval { call_id, approve, reason } => Self::Approval {
                tool_call_id: call_id.clone(),
                approve: *approve,
                reason: reason.clone(),
            },
            run::Decision::Returned(returned) => Self::Tool { returned: returned.into() },
        }
    }
}

impl From<&run::ToolsCalled> for StepToolsCalled {
    fn from(called: &run::ToolsCalled) -> Self {
        let intent = |intent: &run::Intent| CallIntent {
            tool_call_id: intent.call_id.clone(),
            tool_id: Id(intent.tool),
            is_idempotent: intent.is_idempotent,
        };
        Self {
            run_id: Id(called.run),
            step_id: Id(called.step),
            message: called.said.as_ref().map(|said| (&said.message).into()),
            intents: called.intents.iter().map(intent).collect(),
        }
    }
}

impl From<&run::ToolReturned> for StepToolReturned {
    fn from(returned: &run::ToolReturned) -> Self {
        Self {
            run_id: Id(returned.run),
            step_id: Id(returned.step),
            returned: (&returned.returned).into(),
        }
    }
}

impl From<&run::CallsResolved> for StepCallsResolved {
    fn from(resolved: &run::CallsResolved) -> Self {
        Self {
            run_id: Id(resolved.run),
            step_id: Id(resolved.step),
            message: (&resolved.message).into(),
            by: match resolved.by {
                Resolution::Client => ResolvedBy::Client,
                Resolution::Cancelled => ResolvedBy::Cancelled,
                Resolution::Expired => ResolvedBy::Expired,
            },
        }
    }
}
