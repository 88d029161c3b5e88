//! Runs that other runs asked for: an agent sent a message to another.

use serde::{Deserialize, Serialize};

use crate::{AgentId, RunId};

/// Which call of another agent a run came of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// The agent that sent the message.
    pub agent: AgentId,
    /// The run in which it did.
    pub run: RunId,
    /// The key of its call, see [`super::Intent::key`]. However often the call is attempted, a receiver gets one run.
    pub call: [u8; 16],
    /// Whether that run waits for the end of this one, and takes it along when it is cancelled.
    pub waits: bool,
    /// Runs between this one and the one that a client sent, from 1.
    pub depth: u16,
}
