//! Running a tool that a user wrote: the door to the cage, so that this crate knows no processes.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use retold_events::{
    AgentId, Secret, ToolId,
    agent::Config,
    tool::{Language, Requirement},
};

use crate::BlockView;

/// Runs users' tools.
pub trait Runner: Debug + Send + Sync + 'static {
    /// Runs one call. Dropping the future ends the tool and everything it began.
    fn run(&self, job: Job) -> BoxFuture<'static, Ran>;
}

/// A call of a user's tool.
#[derive(Clone)]
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
    /// Environment variables that nobody but the tool may see. Those of `environment` win over them.
    pub secrets: Vec<Secret>,
    /// The agent that calls; `None` for a call that a client makes without one.
    pub agent: Option<AgentId>,
    /// The project the agent belongs to.
    pub project: Option<String>,
    /// What a function that names `agent_state` may look at.
    pub agent_state: Option<AgentSeen>,
    /// The same for every attempt of this call, and no other call's.
    pub key: [u8; 16],
    /// Whether it may use the network.
    pub network: bool,
}

impl Debug for Job {
    /// Neither the arguments nor the environment: they may hold what nobody is to see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("language", &self.language)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// An agent as its tools may look at it. Nothing secret is in it.
#[derive(Debug, Clone)]
pub struct AgentSeen {
    /// Its id.
    pub id: AgentId,
    /// Its configuration.
    pub config: Arc<Config>,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<BlockView>,
    /// Its tools with their names, in the order they were attached.
    pub tools: Vec<(ToolId, String)>,
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
