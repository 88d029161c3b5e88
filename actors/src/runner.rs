//! Running a tool that a user wrote: the door to the cage, so that this crate knows no processes.

use std::{collections::BTreeMap, fmt::Debug};

use futures_util::future::BoxFuture;
use retold_events::{
    AgentId,
    tool::{Language, Requirement},
};

/// Runs users' tools.
pub trait Runner: Debug + Send + Sync + 'static {
    /// Runs one call. Dropping the future ends the tool and everything it began.
    fn run(&self, job: Job) -> BoxFuture<'static, Ran>;
}

/// A call of a user's tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The name of the function.
    pub name: String,
    /// The language of the source.
    pub language: Language,
    /// The source.
    pub source: String,
    /// The arguments: JSON text of an object.
    pub arguments: String,
    /// What it needs installed.
    pub requirements: Vec<Requirement>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// The agent that calls; `None` for a call that a client makes without one.
    pub agent: Option<AgentId>,
    /// The same for every attempt of this call, and no other call's.
    pub key: [u8; 16],
    /// Whether it may use the network.
    pub network: bool,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What it returned, or why it did not.
    pub result: Result<String, String>,
    /// Lines it wrote to its standard output.
    pub stdout: Vec<String>,
    /// Lines it wrote to its standard error.
    pub stderr: Vec<String>,
}
