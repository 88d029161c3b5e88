//! Events as clients see them: what is in the log, in words that stay the same while stored types change.
//!
//! Every event is shown by a type written for it, so nothing stored is ever serialised to a client. Credentials that a
//! client put into free JSON or into addresses are hidden (`redact`); what was said, configured, counted and timed is
//! shown in full.

mod agent;
mod block;
mod call;
mod config;
mod mcp;
mod message;
mod query;
mod redact;
mod run;
mod tool;

use retold_actors::{Fact, LogEvent};
use retold_events::{
    AgentId, BlockId, McpServerId, RunId, StreamId, ToolId, agent::Event as A, block::Event as B,
    mcp::Event as M, tool::Event as T,
};
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

pub use self::{
    agent::*,
    block::*,
    call::*,
    config::{StoredCompaction, StoredConfig, StoredEmbedding, StoredModel},
    mcp::*,
    message::*,
    query::{Cursor, EventsQuery},
    redact::REDACTED,
    run::*,
    tool::*,
};
use super::{Id, Time};

/// An event of the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Event {
    /// Its place among all events of the server, from 1 and without gap: the cursor of `after` and `before`.
    pub position: u64,
    /// Whose history it belongs to: the id of an agent, of a block, of a tool or of an MCP server.
    pub stream: String,
    /// The agent, when it is an agent's.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<Id<AgentId>>,
    /// The block, when it is a block's.
    #[schema(value_type = Option<String>)]
    pub block_id: Option<Id<BlockId>>,
    /// The tool, when it is a tool's.
    #[schema(value_type = Option<String>)]
    pub tool_id: Option<Id<ToolId>>,
    /// The MCP server, when it is one's.
    #[schema(value_type = Option<String>)]
    pub mcp_server_id: Option<Id<McpServerId>>,
    /// Its place in that history, from 1 and without gap.
    pub sequence: u64,
    /// Its own id, a ULID.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub name: EventName,
    /// When.
    pub time: Time,
    /// The event that caused it, where that is known: the one before it in the same commit.
    pub causation_id: Option<String>,
    /// The run it belongs to.
    #[schema(value_type = Option<String>)]
    pub run_id: Option<Id<RunId>>,
    /// The particulars; `type` tells which.
    pub payload: EventPayload,
}

impl From<&LogEvent> for Event {
    fn from(event: &LogEvent) -> Self {
        let (mut agent_id, mut block_id, mut tool_id, mut mcp_server_id) = (None, None, None, None);
        let stream = match event.stream {
            StreamId::Agent(agent) => agent_id.insert(Id(agent)).0.to_string(),
            StreamId::Block(block) => block_id.insert(Id(block)).0.to_string(),
            StreamId::Tool(tool) => tool_id.insert(Id(tool)).0.to_string(),
            StreamId::McpServer(server) => mcp_server_id.insert(Id(server)).0.to_string(),
        };
        Self {
            position: event.position.0,
            stream,
            agent_id,
            block_id,
            tool_id,
            mcp_server_id,
            sequence: event.seq.0,
            id: event.id.to_string(),
            name: EventName::of(&event.fact),
            time: Time(event.at),
            causation_id: (!event.causation.is_nil()).then(|| event.causation.to_string()),
            run_id: event.run.map(Id),
            payload: EventPayload::from(&event.fact),
        }
    }
}

/// The one table of events on the wire: name, word, particulars, and what is stored.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident($payload:ty) = $word:literal of $pattern:pat => $shown:expr;)*) => {
        /// What happened, as a word. Words are never changed and never used again for something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventName {
            $($(#[$doc])* $name,)*
        }

        impl EventName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The name of what happened.
            #[must_use]
            #[expect(unused_variables, reason = "the patterns of the table bind what the particulars are made of")]
            pub const fn of(fact: &Fact) -> Self {
                match fact {
                    $($pattern => Self::$name,)*
                }
            }
        }

        /// The particulars of an event; its `type` tells which.
        #[derive(Debug, Clone, Serialize, ToSchema)]
        #[serde(untagged)]
        pub enum EventPayload {
            $(#[doc = concat!("`", $word, "`")] $name($payload),)*
        }

        impl From<&Fact> for EventPayload {
            fn from(fact: &Fact) -> Self {
                match fact {
                    $($pattern => Self::$name($shown),)*
                }
            }
        }
    };
}

events! {
    /// An agent came to be.
    AgentCreated(AgentCreated) = "agent.created" of Fact::Agent(A::Created(it)) => it.into();
    /// An agent came to be as a fork of another one.
    AgentForked(AgentForked) = "agent.forked" of Fact::Agent(A::Forked(it)) => it.into();
    /// Its configuration changed.
    AgentConfigured(AgentConfigured) = "agent.configured" of Fact::Agent(A::Configured(it)) => it.into();
    /// A block became part of its memory.
    AgentBlockAttached(AgentBlock) = "agent.block_attached"
        of Fact::Agent(A::BlockAttached(it)) => AgentBlock { block_id: Id(it.block) };
    /// A block is no longer part of its memory.
    AgentBlockDetached(AgentBlock) = "agent.block_detached"
        of Fact::Agent(A::BlockDetached(it)) => AgentBlock { block_id: Id(it.block) };
    /// It may call a tool.
    AgentToolAttached(AgentTool) = "agent.tool_attached"
        of Fact::Agent(A::ToolAttached(it)) => AgentTool { tool_id: Id(it.tool) };
    /// It may no longer call a tool.
    AgentToolDetached(AgentTool) = "agent.tool_detached"
        of Fact::Agent(A::ToolDetached(it)) => AgentTool { tool_id: Id(it.tool) };
    /// Its secrets were set.
    AgentSecretsSet(AgentSecretsSet) = "agent.secrets_set" of Fact::Agent(A::SecretsSet(it)) => it.into();
    /// The system message of one of its threads was rewritten.
    AgentSystemCompiled(AgentSystemCompiled) = "agent.system_compiled" of Fact::Agent(A::SystemCompiled(it)) => it.into();
    /// The context window of a thread was set.
    AgentContextReplaced(AgentContextReplaced) = "agent.context_replaced"
        of Fact::Agent(A::ContextReplaced(it)) => it.into();
    /// Older messages of a thread gave way to a summary.
    AgentContextCompacted(AgentContextCompacted) = "agent.context_compacted"
        of Fact::Agent(A::ContextCompacted(it)) => it.into();
    /// It is gone.
    AgentDeleted(Nothing) = "agent.deleted" of Fact::Agent(A::Deleted(_)) => Nothing {};
    /// A run was accepted.
    RunAccepted(RunAccepted) = "run.accepted" of Fact::Agent(A::RunAccepted(it)) => it.into();
    /// A run's turn has come.
    RunStarted(RunStarted) = "run.started" of Fact::Agent(A::RunStarted(it)) => it.into();
    /// A step began.
    StepStarted(StepStarted) = "step.started" of Fact::Agent(A::StepStarted(it)) => it.into();
    /// A step ended.
    StepEnded(StepEnded) = "step.ended" of Fact::Agent(A::StepEnded(it)) => it.into();
    /// Tool calls with effects are about to be made.
    StepToolsCalled(StepToolsCalled) = "step.tools_called" of Fact::Agent(A::ToolsCalled(it)) => it.into();
    /// A tool call with effects returned, while others are still to be made.
    StepToolReturned(StepToolReturned) = "step.tool_returned" of Fact::Agent(A::ToolReturned(it)) => it.into();
    /// Tool calls that waited for a decision have their returns.
    StepCallsResolved(StepCallsResolved) = "step.calls_resolved" of Fact::Agent(A::CallsResolved(it)) => it.into();
    /// A client judged a step.
    StepFeedbackGiven(StepFeedbackGiven) = "step.feedback_given" of Fact::Agent(A::FeedbackGiven(it)) => it.into();
    /// Somebody asked for a run to be cancelled.
    RunCancelRequested(OfRun) = "run.cancel_requested"
        of Fact::Agent(A::CancelRequested(it)) => OfRun { run_id: Id(it.run) };
    /// A run ended.
    RunEnded(RunEnded) = "run.ended" of Fact::Agent(A::RunEnded(it)) => it.into();
    /// The address a client wanted called at the end of a run was called.
    RunCallbackSent(RunCallbackSent) = "run.callback_sent" of Fact::Agent(A::CallbackSent(it)) => it.into();
    /// A client removed a run from the lists.
    RunDeleted(OfRun) = "run.deleted" of Fact::Agent(A::RunDeleted(it)) => OfRun { run_id: Id(it.run) };
    /// A block came to be.
    BlockCreated(BlockCreated) = "block.created" of Fact::Block(B::Created(it)) => it.into();
    /// A block came to be as a copy of another one.
    BlockForked(BlockForked) = "block.forked" of Fact::Block(B::Forked(it)) => it.into();
    /// Something about a block changed.
    BlockEdited(BlockEdited) = "block.edited" of Fact::Block(B::Edited(it)) => it.into();
    /// A block is gone.
    BlockDeleted(BlockDeleted) = "block.deleted" of Fact::Block(B::Deleted(it)) => it.into();
    /// A user made a tool.
    ToolCreated(ToolCreated) = "tool.created" of Fact::Tool(T::Created(it)) => it.into();
    /// Something about a tool changed.
    ToolUpdated(ToolUpdated) = "tool.updated" of Fact::Tool(T::Updated(it)) => it.into();
    /// A tool is gone.
    ToolDeleted(Nothing) = "tool.deleted" of Fact::Tool(T::Deleted(_)) => Nothing {};
    /// A user made an MCP server known.
    McpServerCreated(McpServerCreated) = "mcp_server.created"
        of Fact::McpServer(M::Created(it)) => it.into();
    /// Something about an MCP server changed.
    McpServerUpdated(McpServerUpdated) = "mcp_server.updated"
        of Fact::McpServer(M::Updated(it)) => it.into();
    /// An MCP server is forgotten.
    McpServerDeleted(Nothing) = "mcp_server.deleted" of Fact::McpServer(M::Deleted(_)) => Nothing {};
    /// Something that this version of the server cannot read.
    Unreadable(Unreadable) = "unreadable" of Fact::Unreadable { event_type, version, error } =>
        Unreadable { event_type: event_type.0, version: *version, error: error.to_string() };
}

impl EventName {
    /// The name of a word; `None` for any other text.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.word() == word)
    }
}

impl Serialize for EventName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl PartialSchema for EventName {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.iter().map(|name| name.word());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
    }
}

impl ToSchema for EventName {}

/// An event that this version of the server cannot read: it was written by a newer one, or is not whole.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Unreadable {
    /// The number of its type.
    pub event_type: u16,
    /// The version of it.
    pub version: u16,
    /// Why.
    pub error: String,
}
