//! The host: what the rest of the program holds. Everything that can be asked of agents and blocks is asked here.

mod agents;
mod blocks;
mod events;
mod fork;
mod mcp;
mod past;
mod replay;
mod running;
mod runs;
mod tools;
mod upkeep;

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt as _, stream};
use ractor::Actor;
use retold_events::{
    AgentId, BlockId, ToolId,
    log::{Log, Ticket},
    store::{EventStore, StoreError},
};
use retold_models::Catalog;
use retold_snapshots::{
    agent::State,
    block,
    query::{self, QueryError},
    row::ToolRow,
};
use tokio::sync::mpsc;

pub use events::{EventFollow, Fact, LogEvent, Scope};
pub use past::AsOf;

use crate::{
    Options, Refusal,
    agent::{Gated, Message, Reply, Shared},
    block::Blocks,
    bound::Bound,
    directory::{Directory, Hold, Supervisor, Told},
    hub::Hub,
    mcp::servers::Servers,
    metrics::{Metrics, Now},
    pasts::Pasts,
    talk::Talk,
    tool::{BuiltinTool, registry::Registry},
    toolbox::Toolbox,
};

/// Agents woken or told of something at the same time.
const AT_ONCE: usize = 32;

/// An agent as seen at one moment.
#[derive(Debug, Clone)]
pub struct AgentView {
    /// Its state.
    pub state: Arc<State>,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<BlockView>,
    /// Its tools, in the order they were attached.
    pub tools: Vec<ToolView>,
}

/// A block as seen at one moment.
#[derive(Debug, Clone)]
pub struct BlockView {
    /// Its id.
    pub id: BlockId,
    /// Its state.
    pub state: Arc<block::State>,
}

/// A tool as seen at one moment.
#[derive(Debug, Clone)]
pub enum ToolView {
    /// One that comes with the server.
    Builtin(&'static BuiltinTool),
    /// One that a user made.
    Made {
        /// Its id.
        id: ToolId,
        /// Everything about it, its source, too.
        row: Arc<ToolRow>,
    },
}

impl ToolView {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> ToolId {
        match self {
            Self::Builtin(tool) => tool.id,
            Self::Made { id, .. } => *id,
        }
    }

    /// The name a model calls.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(tool) => tool.name,
            Self::Made { row, .. } => &row.tool.name,
        }
    }
}

/// A host that could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The read models cannot be read.
    #[error("the runs that were open cannot be found: {0}")]
    OpenRuns(QueryError),
    /// The read models cannot be read.
    #[error("the tools cannot be read: {0}")]
    Tools(QueryError),
    /// The read models cannot be read.
    #[error("the MCP servers cannot be read: {0}")]
    McpServers(QueryError),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The supervisor could not be started.
    #[error("the supervisor could not be started: {0}")]
    Supervisor(String),
}

/// Hosts agents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host(Arc<Inner>);

/// A host that may be gone.
#[derive(Debug, Clone)]
pub(crate) struct WeakHost(Weak<Inner>);

impl WeakHost {
    pub(crate) fn revive(&self) -> Option<Host> {
        self.0.upgrade().map(Host)
    }
}

impl Host {
    /// This host, for whoever is not to keep it open.
    pub(crate) fn downgrade(&self) -> WeakHost {
        WeakHost(Arc::downgrade(&self.0))
    }
}

#[derive(Debug)]
struct Inner {
    shared: Shared,
    directory: Arc<Directory>,
    open_runs: Arc<Bound>,
    pasts: Pasts,
    replays: replay::Replays,
    mcp: Arc<Servers>,
    /// Whether the tokenizer's vocabulary is in memory.
    counts: AtomicBool,
}

impl Host {
    /// Opens a host over a store, whose only writer it is from now on, and recovers every run that was open.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        store: Arc<dyn EventStore>,
        catalog: Arc<Catalog>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let pasts = Pasts::new(Arc::clone(&store));
        let log = Log::open(store);
        let tools = Registry::load(log.clone(), options.clone()).await.map_err(OpenError::Tools)?;
        let tools = Arc::new(tools);
        let mcp = Servers::load(log.clone(), Arc::clone(&tools), options.clone()).await;
        let mcp = Arc::new(mcp.map_err(OpenError::McpServers)?);
        let (edited, edits) = mpsc::channel(1024);
        let metrics = Arc::<Metrics>::default();
        let hub = Hub::new(log.clone(), Arc::clone(&metrics));
        let weak = Arc::<OnceLock<WeakHost>>::default();
        let talk = Talk::new(log.clone(), hub.clone(), Arc::clone(&weak));
        let blocks = Arc::new(Blocks::new(log.clone(), options.clone()));
        let toolbox = Toolbox::new(
            log.clone(),
            Arc::clone(&tools),
            Arc::clone(&blocks),
            talk,
            Arc::clone(&mcp),
            &options,
        );
        let shared = Shared {
            hub,
            blocks,
            catalog,
            toolbox: Arc::new(toolbox),
            tools,
            draining: Arc::new(AtomicBool::new(false)),
            edited,
            host: weak,
            runtime: tokio::runtime::Handle::current(),
            metrics,
            log,
            options,
        };
        let (supervisor, _) = Actor::spawn(None, Supervisor, ())
            .await
            .map_err(|error| OpenError::Supervisor(error.to_string()))?;
        let open_runs = Bound::new(shared.options.max_open_runs);
        let directory =
            Directory::new(shared.clone(), supervisor.get_cell(), Arc::clone(&open_runs));
        let directory = Arc::new(directory);
        let (recover, failed) = mpsc::channel(1024);
        supervisor
            .send_message(Told::Keep(Arc::clone(&directory), recover))
            .map_err(|error| OpenError::Supervisor(error.to_string()))?;
        let host = Self(Arc::new(Inner {
            shared,
            directory,
            open_runs,
            pasts,
            replays: replay::Replays::new(),
            mcp,
            counts: AtomicBool::new(false),
        }));
        let weak = host.downgrade();
        let _ = host.0.shared.host.set(weak.clone());
        host.recover().await?;
        tokio::spawn(upkeep::tell_failure(host.log().clone(), host.0.shared.hub.clone()));
        tokio::spawn(upkeep::keep_room(weak.clone()));
        tokio::spawn(upkeep::deny_expired(weak.clone()));
        tokio::spawn(upkeep::recover_failed(weak.clone(), failed));
        tokio::spawn(upkeep::tell_edits(weak, edits));
        Ok(host)
    }

    /// Wakes every agent that has something left to do; waking recovers it.
    async fn recover(&self) -> Result<(), OpenError> {
        let open = self
            .0
            .shared
            .log
            .read(|store| Ok(query::open_runs(store)))
            .await?
            .map_err(OpenError::OpenRuns)?;
        let mut agents: Vec<AgentId> = open.into_iter().map(|(_, agent)| agent).collect();
        agents.sort_unstable();
        agents.dedup();
        let wake = |agent| async move {
            match self.0.directory.wake(agent).await {
                Ok(_) => {}
                Err(Refusal::Storage(_)) => {
                    tokio::spawn(upkeep::recover_later(self.downgrade(), agent));
                }
                Err(refusal) => {
                    tracing::error!(%agent, %refusal, "an agent with open runs could not be recovered");
                }
            }
        };
        stream::iter(agents).for_each_concurrent(AT_ONCE, wake).await;
        Ok(())
    }

    /// Reads the store on a blocking thread; the answer is durable.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn EventStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        Ok(self.0.shared.log.read(f).await?)
    }

    /// The models.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.0.shared.catalog
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.0.shared.log
    }

    /// What this host measures of itself.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.shared.metrics
    }

    /// What there is at this moment. Looks at every awake agent: for somebody who asks every few seconds.
    #[must_use]
    pub fn now(&self) -> Now {
        let options = &self.0.shared.options;
        let (max_open_runs, queue_bound) = (options.max_open_runs, options.queue_bound);
        Now { max_open_runs, queue_bound, ..self.0.directory.now() }
    }

    /// How many agents are awake.
    #[must_use]
    pub fn count_awake(&self) -> usize {
        self.0.directory.count_awake()
    }

    /// Puts idle agents to sleep until the awake ones fit into their budget, as happens by itself every second.
    /// Gives how many.
    pub fn make_room(&self) -> usize {
        self.0.directory.make_room()
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.shared.draining.load(Ordering::Acquire)
    }

    /// Writes what waits and closes the store.
    pub async fn close(&self) {
        self.0.pasts.stop();
        self.0.mcp.close().await;
        self.0.shared.log.close().await;
    }

    async fn ask<T>(
        &self,
        agent: AgentId,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Refusal> {
        let hold = self.0.directory.wake(agent).await?;
        self.ask_held(&hold, message).await
    }

    async fn ask_held<T>(
        &self,
        hold: &Hold,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Refusal> {
        let (reply, answer) = Reply::new(hold.clone());
        let gone = || Refusal::Storage("the agent failed while it was asked; try again".to_owned());
        hold.tell(message(reply)).map_err(|()| gone())?;
        let bound = self.0.shared.options.answer_timeout;
        let answer =
            tokio::time::timeout(bound, answer).await.map_err(|_| Refusal::Unresponsive(bound))?;
        let Gated { value, ticket } = answer.map_err(|_| gone())??;
        self.durable(ticket).await?;
        Ok(value)
    }

    async fn durable(&self, ticket: Option<Ticket>) -> Result<(), Refusal> {
        match ticket {
            Some(ticket) => Ok(self.0.shared.log.durable(ticket).await?),
            None => Ok(()),
        }
    }

    /// New work needs room on the disk; reads and cancels do not.
    fn check_room(&self) -> Result<(), Refusal> {
        let space = self.0.shared.log.space();
        if space.free < space.reserve {
            return Err(Refusal::StorageFull { free: space.free, reserve: space.reserve });
        }
        Ok(())
    }
}
