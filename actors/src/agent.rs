//! An agent: what may be asked of it, and the actor that decides.

pub(crate) mod actor;
mod attach;
mod begin;
mod calls;
mod compaction;
mod end;
mod live;
mod partial;
mod pending;
mod recover;
mod refresh;
mod step;
mod verdict;

use std::{fmt, sync::Arc};

use retold_events::{
    AgentId, BlockId, MessageId, RunId, Secret, ToolId, agent::Config, block::Block,
    run::FeedbackGiven,
};
use retold_snapshots::agent::State;
use tokio::sync::oneshot;

pub(crate) use begin::{
    bytes_of, count, first_messages, prepare, same_request, stored_boot, system_message,
};
pub(crate) use live::{EditedBlocks, Gauges, Live, Shared};
pub(crate) use pending::PENDING;
pub(crate) use refresh::{system_compiled, versions};
pub(crate) use step::wire_parts;

use crate::{
    CallbackResult, Refusal,
    bound::Share,
    directory::Hold,
    run::{CancelOutcome, NewMessage, Prepared, Sent},
    turn::Report,
};

/// Seals the secrets of a new agent for the id that it gets; a refusal leaves nothing behind.
pub type Seal = Arc<dyn Fn(AgentId) -> Result<Vec<Secret>, Refusal> + Send + Sync>;

/// A new agent. Its model is resolved and its defaults are filled in by whoever asks for it.
#[derive(Clone)]
pub struct NewAgent {
    /// Its configuration. An empty name is made up; an empty system prompt becomes the stock one of its type.
    pub config: Config,
    /// Blocks made with it, in the order the model sees them.
    pub new_blocks: Vec<Block>,
    /// Blocks that exist, attached after those.
    pub blocks: Vec<BlockId>,
    /// Its tools, in order.
    pub tools: Vec<ToolId>,
    /// Its first messages; `None` is what its type begins with.
    pub initial_messages: Option<Vec<NewMessage>>,
    /// Its secrets; `None` for an agent without any.
    pub secrets: Option<Seal>,
}

impl fmt::Debug for NewAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAgent")
            .field("config", &self.config)
            .field("new_blocks", &self.new_blocks)
            .field("blocks", &self.blocks)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

/// Computes new values from the agent as it stands; a refusal leaves it as it is.
pub type Configure = Box<dyn FnOnce(&State) -> Result<Patch, Refusal> + Send>;

/// One change of an agent: all of it or none.
pub enum Change {
    /// New values, computed at that moment.
    Configure(Configure),
    /// Makes a block part of its memory.
    AttachBlock(BlockId),
    /// Takes a block out of its memory.
    DetachBlock(BlockId),
    /// Lets it call a tool.
    AttachTool(ToolId),
    /// No longer lets it call a tool.
    DetachTool(ToolId),
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure(_) => f.write_str("Configure"),
            Self::AttachBlock(id) => write!(f, "AttachBlock({id})"),
            Self::DetachBlock(id) => write!(f, "DetachBlock({id})"),
            Self::AttachTool(id) => write!(f, "AttachTool({id})"),
            Self::DetachTool(id) => write!(f, "DetachTool({id})"),
        }
    }
}

/// New values; `None` leaves one as it is.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// The whole configuration.
    pub config: Option<Config>,
    /// All blocks, in order.
    pub blocks: Option<Vec<BlockId>>,
    /// All tools, in order.
    pub tools: Option<Vec<ToolId>>,
    /// The messages in context, the system message first.
    pub context: Option<Vec<MessageId>>,
    /// All secrets, sealed.
    pub secrets: Option<Vec<Secret>>,
}

/// Answers to what was asked. Whoever waits for one still waits for [`Gated::ticket`] before telling anyone.
///
/// While one is open its agent is not put to sleep, also when nobody waits for the answer any more.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    answer: oneshot::Sender<Result<Gated<T>, Refusal>>,
    _hold: Hold,
}

impl<T> Reply<T> {
    pub(crate) fn new(hold: Hold) -> (Self, oneshot::Receiver<Result<Gated<T>, Refusal>>) {
        let (answer, answered) = oneshot::channel();
        (Self { answer, _hold: hold }, answered)
    }

    /// Replies. Whoever asked may have gone; what was done is done all the same.
    pub(crate) fn send(self, result: Result<Gated<T>, Refusal>) {
        let _ = self.answer.send(result);
    }
}

/// A value that may be told once a commit is durable.
#[derive(Debug, Clone)]
pub(crate) struct Gated<T> {
    pub(crate) value: T,
    pub(crate) ticket: Option<retold_events::log::Ticket>,
}

/// What an agent's actor hears.
#[derive(Debug)]
pub(crate) enum Message {
    Send(Box<Prepared>, Permits, Reply<Sent>),
    Cancel(Option<Vec<RunId>>, Reply<Vec<(RunId, CancelOutcome)>>),
    Change(Change, Reply<()>),
    Recompile {
        update_timestamp: bool,
        dry_run: bool,
        reply: Reply<String>,
    },
    Reset {
        add_default: bool,
        reply: Reply<()>,
    },
    /// A block of the agent was changed by somebody else.
    Refresh(Reply<()>),
    Delete(Reply<()>),
    DeleteRun(RunId, Reply<()>),
    Feedback(FeedbackGiven, Reply<()>),
    Turn(Report),
    /// The time that a cancelled turn had for handing in what it has is over.
    GraceOver {
        run: RunId,
        attempt: u32,
    },
    CallbackSent {
        run: RunId,
        result: CallbackResult,
    },
    /// What is under way ends now, durably, as interrupted.
    Interrupt,
    /// A commit was refused, so what is in memory is not what is written.
    Diverged,
    /// Calls may have waited for a decision for too long.
    DenyExpired,
    /// Saves its state and ends. Sent only to an idle agent that nobody can reach any more.
    Sleep,
}

impl Message {
    /// Answers what asks for something with a refusal; gives back what asks for nothing.
    pub(crate) fn refused(self, refusal: Refusal) -> Option<Self> {
        match self {
            Self::Send(_, _, reply) => reply.send(Err(refusal)),
            Self::Cancel(_, reply) => reply.send(Err(refusal)),
            Self::Recompile { reply, .. } => reply.send(Err(refusal)),
            Self::Change(_, reply)
            | Self::Reset { reply, .. }
            | Self::Refresh(reply)
            | Self::Delete(reply)
            | Self::DeleteRun(_, reply)
            | Self::Feedback(_, reply) => reply.send(Err(refusal)),
            other @ (Self::Turn(_)
            | Self::GraceOver { .. }
            | Self::CallbackSent { .. }
            | Self::Interrupt
            | Self::DenyExpired
            | Self::Diverged
            | Self::Sleep) => return Some(other),
        }
        None
    }
}

/// A run's share of the bounds, given back when it ends.
#[derive(Debug)]
pub(crate) struct Permits {
    _agent: Share,
    _server: Share,
}

impl Permits {
    pub(crate) fn new(agent: Share, server: Share) -> Self {
        Self { _agent: agent, _server: server }
    }
}
