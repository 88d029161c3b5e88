//! Why something was not done. The server maps these to answers in one place.

use std::{sync::Arc, time::Duration};

use retold_events::{AgentId, MessageId, RunId, log::AppendError, store::StoreError};
use retold_models::ResolveError;

/// Why something was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("{what} not found: {id}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The request makes no sense as it is.
    #[error("{0}")]
    Invalid(String),
    /// The request is well formed but its values are out of bounds.
    #[error("{0}")]
    Unprocessable(String),
    /// Something of that kind is already there, or something stands against it.
    #[error("{0}")]
    Conflict(String),
    /// Another run holds the conversation.
    #[error("{message}")]
    Busy {
        /// A sentence for a person.
        message: String,
        /// The run that holds it.
        run: Option<RunId>,
    },
    /// Tool calls wait for a decision, and this request brings none.
    #[error("{}", crate::agent::PENDING)]
    PendingApproval {
        /// The message that asks.
        request: MessageId,
    },
    /// The agent has as many open runs as it may have.
    #[error(
        "this agent already has {open} open runs, the most it may have; wait for one to end or cancel one"
    )]
    QueueFull {
        /// How many.
        open: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The server has as many open runs as it may have.
    #[error("the server already has {open} open runs, the most it may have; try again later")]
    Overloaded {
        /// How many.
        open: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// As many pasts are being looked up as may be.
    #[error("the server is looking up as much of the past as it may at one time; try again later")]
    Crowded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The server is about to stop.
    #[error("the server is shutting down and accepts no new work")]
    Draining,
    /// The disk has less room left than the reserve.
    #[error(
        "the disk is almost full: {free} bytes free, {reserve} are kept in reserve; free some space or move the data directory"
    )]
    StorageFull {
        /// Bytes free.
        free: u64,
        /// Bytes kept.
        reserve: u64,
    },
    /// Storage failed; nothing of the request was saved.
    #[error("storage failed, nothing was saved: {0}")]
    Storage(String),
    /// The agent's history cannot be folded, so it accepts no changes.
    #[error("agent {agent} is quarantined: {reason}")]
    Quarantined {
        /// Which agent.
        agent: AgentId,
        /// What stands in the way, naming the event.
        reason: String,
    },
    /// No such model.
    #[error("{0}")]
    UnknownModel(Arc<ResolveError>),
    /// An MCP server cannot be spoken to.
    #[error(
        "the MCP server '{server}' cannot be reached: {reason}; see that it runs where it is configured to be, then try again"
    )]
    McpUnreachable {
        /// What its client calls it.
        server: String,
        /// What stands in the way.
        reason: String,
    },
    /// An MCP server did not answer in time.
    #[error(
        "the MCP server '{server}' was given up: {reason}; see that it works, or raise `mcp_timeout`, then try again"
    )]
    McpTimeout {
        /// What its client calls it.
        server: String,
        /// What it did not do.
        reason: String,
    },
    /// The agent did not answer in time.
    #[error("the agent did not answer within {0:?}; the server is overloaded")]
    Unresponsive(Duration),
}

impl Refusal {
    /// There is no such agent.
    #[must_use]
    pub fn no_agent(id: AgentId) -> Self {
        Self::NotFound { what: "Agent", id: id.to_string() }
    }

    /// There is no such run.
    #[must_use]
    pub fn no_run(id: RunId) -> Self {
        Self::NotFound { what: "Run", id: id.to_string() }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<ResolveError> for Refusal {
    fn from(error: ResolveError) -> Self {
        Self::UnknownModel(Arc::new(error))
    }
}
