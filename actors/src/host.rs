//! The host: what the rest of the program holds. Everything that can be asked of agents and blocks is asked here.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ractor::Actor;
use retold_events::{
    AgentId, BlockId, MessageId, RunId, Seq, StepId, StreamId,
    agent::{Created, Event},
    block::{Author, Block},
    codec::Event as _,
    log::{Log, Ticket},
    run::{Feedback, FeedbackGiven},
    store::{Append, Commit, EventStore, StoreError, Table},
};
use retold_models::Catalog;
use retold_snapshots::{
    agent::{State, project},
    block,
    query::{self, QueryError},
    row::{BlockRow, RunRow, decode},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Options, Refusal,
    agent::{self, EditedBlocks, Gated, Message, Permits, Reply, Shared},
    block::{Blocks, Patch, Seen},
    directory::{Directory, Hold, Supervisor, Told},
    hub::{Follow, Hub},
    prompt::{
        compile::{CompileInput, compile},
        stock,
    },
    run::{CancelOutcome, NewMessage, Prepared, Send as SendRun, Sent},
    tool,
    toolbox::Builtins,
};

/// Agents told of an edited block at the same time.
const TOLD_AT_ONCE: usize = 32;

/// Bytes of text counted on the thread that asks: some 100 microseconds.
const COUNTED_INLINE: usize = 8 << 10;

/// An agent as seen at one moment.
#[derive(Debug, Clone)]
pub struct AgentView {
    /// Its state.
    pub state: Arc<State>,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<BlockView>,
}

/// A block as seen at one moment.
#[derive(Debug, Clone)]
pub struct BlockView {
    /// Its id.
    pub id: BlockId,
    /// Its state.
    pub state: Arc<block::State>,
}

/// A host that could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The read models cannot be read.
    #[error("the runs that were open cannot be found: {0}")]
    OpenRuns(QueryError),
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

#[derive(Debug)]
struct Inner {
    shared: Shared,
    directory: Arc<Directory>,
    open_runs: Arc<Semaphore>,
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
        let log = Log::open(store);
        let (edited, edits) = mpsc::channel(1024);
        let shared = Shared {
            hub: Hub::new(log.clone()),
            blocks: Arc::new(Blocks::new(log.clone(), options.clone())),
            catalog,
            toolbox: Arc::new(Builtins::new(log.clone(), Arc::clone(&options.clock))),
            draining: Arc::new(AtomicBool::new(false)),
            edited,
            host: Arc::new(OnceLock::new()),
            runtime: tokio::runtime::Handle::current(),
            log,
            options,
        };
        let (supervisor, _) = Actor::spawn(None, Supervisor, ())
            .await
            .map_err(|error| OpenError::Supervisor(error.to_string()))?;
        let directory = Arc::new(Directory::new(shared.clone(), supervisor.get_cell()));
        let (recover, failed) = mpsc::channel(1024);
        supervisor
            .send_message(Told::Keep(Arc::clone(&directory), recover))
            .map_err(|error| OpenError::Supervisor(error.to_string()))?;
        let open_runs = Arc::new(Semaphore::new(shared.options.max_open_runs));
        let host =
            Self(Arc::new(Inner { shared, directory, open_runs, counts: AtomicBool::new(false) }));
        let weak = WeakHost(Arc::downgrade(&host.0));
        let _ = host.0.shared.host.set(weak.clone());
        host.recover().await?;
        tokio::spawn(keep_room(weak.clone()));
        tokio::spawn(recover_failed(weak.clone(), failed));
        tokio::spawn(tell_edits(weak, edits));
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
            if let Err(refusal) = self.0.directory.wake(agent).await {
                tracing::error!(%agent, %refusal, "an agent with open runs could not be recovered");
            }
        };
        futures_util::StreamExt::for_each_concurrent(
            futures_util::stream::iter(agents),
            TOLD_AT_ONCE,
            wake,
        )
        .await;
        Ok(())
    }

    // Agents

    /// Makes an agent, with its new blocks, in one commit.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn create_agent(&self, new: agent::NewAgent) -> Result<AgentView, Refusal> {
        self.check_room()?;
        let shared = &self.0.shared;
        if let Some(id) = new.tools.iter().find(|&&id| tool::by_id(id).is_none()) {
            return Err(Refusal::Invalid(format!("Tools not found by id: {{{id}}}")));
        }
        self.prepare(vec![NewMessage::text("")]).await?;
        let existing = self.existing_blocks(&new.blocks).await?;
        check_labels(&new.new_blocks, &existing)?;
        let permit = shared.log.reserve().await;
        let now = shared.options.clock.now();
        let id = AgentId::from_uuid(shared.options.ids.next(now));
        let mut commit = Commit::default();
        let made: Vec<_> = new
            .new_blocks
            .into_iter()
            .map(|block| shared.blocks.create(block, Author::Client, now))
            .collect();
        for block in &made {
            block.add_to(&mut commit, now, &shared.options);
        }
        let mut seen: Vec<Seen> = made.iter().map(crate::block::NewBlock::seen).collect();
        seen.extend(existing);
        let mut config = new.config;
        if config.system.is_empty() {
            stock::system_prompt(config.agent_type).clone_into(&mut config.system);
        }
        if config.name.is_empty() {
            config.name = stock::made_up_name(shared.options.ids.chance(now));
        }
        let next_message = || MessageId::from_uuid(shared.options.ids.next(now));
        let blocks: Vec<_> =
            seen.iter().map(|block| (block.view.id, &block.view.state.block)).collect();
        let text = compile(&CompileInput {
            agent: id,
            conversation: None,
            config: &config,
            blocks: &blocks,
            previous_messages: 0,
            compiled_at: now,
            with_rules: false,
        });
        let mut messages = vec![agent::system_message(next_message(), &config, text, now)];
        messages.extend(match new.initial_messages {
            Some(given) => agent::first_messages(given, next_message, now),
            None => {
                let call_id = format!("call_{}", shared.options.ids.next(now).simple());
                agent::stored_boot(&config, next_message, &call_id, now)
            }
        });
        let created = Created {
            config,
            blocks: seen.iter().map(|block| block.view.id).collect(),
            tools: new.tools,
            messages,
            compiled_from: agent::versions(&seen),
        };
        let state = State::created(id, now, &created);
        let event = Event::Created(created);
        commit.rows.extend(project(&state, now, &event));
        commit.appends.push(Append {
            stream: StreamId::Agent(id),
            expected: Seq(0),
            events: vec![retold_events::NewEvent {
                id: shared.options.ids.ulid(now),
                causation: ulid::Ulid::nil(),
                run: None,
                at: now,
                encoded: event.encode(),
            }],
        });
        let (sender, durable) = oneshot::channel();
        let ticket = shared.log.submit(permit, commit, move |answer| drop(sender.send(answer)));
        for block in made {
            shared.blocks.created(block, ticket);
        }
        durable.await.map_err(|_| Refusal::Storage("the log is closed".to_owned()))??;
        Ok(AgentView {
            state: Arc::new(state),
            blocks: seen.into_iter().map(|block| block.view).collect(),
        })
    }

    async fn existing_blocks(&self, ids: &[BlockId]) -> Result<Vec<Seen>, Refusal> {
        let mut seen = Vec::with_capacity(ids.len());
        for &id in ids {
            let block = self.0.shared.blocks.see(id).await?;
            seen.push(
                block.ok_or_else(|| Refusal::NotFound { what: "Block", id: id.to_string() })?,
            );
        }
        Ok(seen)
    }

    /// An agent as it stands. A sleeping one is not woken.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn agent(&self, id: AgentId) -> Result<AgentView, Refusal> {
        let (state, ticket) = self.state(id).await?;
        let seen = self.0.shared.blocks.see_all(&state.blocks).await?;
        let newest = seen.iter().filter_map(|block| block.ticket).chain(ticket).max();
        self.durable(newest).await?;
        Ok(AgentView { state, blocks: seen.into_iter().map(|block| block.view).collect() })
    }

    async fn state(&self, id: AgentId) -> Result<(Arc<State>, Option<Ticket>), Refusal> {
        if let Some(hold) = self.0.directory.awake(id)
            && let Some(seen) = hold.gauges().and_then(|gauges| gauges.seen.load_full())
        {
            let state = Arc::clone(&seen.state);
            return if state.deleted {
                Err(Refusal::no_agent(id))
            } else {
                Ok((state, seen.ticket))
            };
        }
        let loaded = self.0.directory.load(id).await?;
        if loaded.state.deleted {
            Err(Refusal::no_agent(id))
        } else {
            Ok((Arc::new(loaded.state), None))
        }
    }

    /// Several agents as they stand, in the order asked for. Those that are gone are left out.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn agents(&self, ids: &[AgentId]) -> Result<Vec<AgentView>, Refusal> {
        let mut views = Vec::with_capacity(ids.len());
        for &id in ids {
            match self.agent(id).await {
                Ok(view) => views.push(view),
                Err(Refusal::NotFound { .. }) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(views)
    }

    /// Changes an agent.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn change_agent(
        &self,
        id: AgentId,
        change: agent::Change,
    ) -> Result<AgentView, Refusal> {
        self.ask(id, |reply| Message::Change(change, reply)).await?;
        self.agent(id).await
    }

    /// Deletes an agent and cancels what it has under way. Its blocks stay.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_agent(&self, id: AgentId) -> Result<(), Refusal> {
        self.ask(id, Message::Delete).await
    }

    /// Compiles an agent's system message anew and gives it; a dry run changes nothing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn recompile(
        &self,
        id: AgentId,
        update_timestamp: bool,
        dry_run: bool,
    ) -> Result<String, Refusal> {
        self.ask(id, |reply| Message::Recompile { update_timestamp, dry_run, reply }).await
    }

    /// Empties an agent's context window; the history stays.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn reset_messages(
        &self,
        id: AgentId,
        add_default_initial_messages: bool,
    ) -> Result<AgentView, Refusal> {
        self.ask(id, |reply| Message::Reset { add_default: add_default_initial_messages, reply })
            .await?;
        self.agent(id).await
    }

    // Blocks

    /// Makes a block.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn create_block(&self, block: Block) -> Result<BlockView, Refusal> {
        self.check_room()?;
        let shared = &self.0.shared;
        let permit = shared.log.reserve().await;
        let now = shared.options.clock.now();
        let new = shared.blocks.create(block, Author::Client, now);
        let mut commit = Commit::default();
        new.add_to(&mut commit, now, &shared.options);
        let (sender, durable) = oneshot::channel();
        let ticket = shared.log.submit(permit, commit, move |answer| drop(sender.send(answer)));
        let view = shared.blocks.created(new, ticket);
        durable.await.map_err(|_| Refusal::Storage("the log is closed".to_owned()))??;
        Ok(view)
    }

    /// A block as it stands.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn block(&self, id: BlockId) -> Result<BlockView, Refusal> {
        let seen = self.0.shared.blocks.see(id).await?;
        let seen = seen.ok_or_else(|| Refusal::NotFound { what: "Block", id: id.to_string() })?;
        self.durable(seen.ticket).await?;
        Ok(seen.view)
    }

    /// Changes a block, and the system messages of the agents that have it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn edit_block(&self, id: BlockId, patch: Patch) -> Result<BlockView, Refusal> {
        self.check_room()?;
        let (view, changed) = self.0.shared.blocks.edit(id, patch).await?;
        if changed {
            self.refresh_agents_of(id, None).await;
        }
        Ok(view)
    }

    /// Deletes a block and takes it out of the memory of every agent that has it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_block(&self, id: BlockId) -> Result<(), Refusal> {
        self.0.shared.blocks.delete(id).await?;
        self.refresh_agents_of(id, None).await;
        Ok(())
    }

    /// Has every agent with this block bring its system message up to date. One that cannot now does so later: with
    /// its next run at the latest.
    async fn refresh_agents_of(&self, block: BlockId, but: Option<AgentId>) {
        let attached = self
            .0
            .shared
            .log
            .read(move |store| {
                store.rows(
                    Table::BlockAgents,
                    &retold_events::store::Scan {
                        prefix: block.as_bytes().to_vec(),
                        limit: usize::MAX,
                        ..Default::default()
                    },
                )
            })
            .await;
        let agents = attached.unwrap_or_default().into_iter().filter_map(|(key, _)| {
            let id = <[u8; 16]>::try_from(key.get(16..32)?).ok()?;
            Some(AgentId::from_uuid(uuid::Uuid::from_bytes(id)))
        });
        let refresh = |agent| async move {
            if let Err(refusal) = self.ask(agent, Message::Refresh).await {
                tracing::debug!(%agent, %refusal, "an agent was not told of an edited block");
            }
        };
        let agents: Vec<AgentId> = agents.filter(|&agent| Some(agent) != but).collect();
        futures_util::StreamExt::for_each_concurrent(
            futures_util::stream::iter(agents),
            TOLD_AT_ONCE,
            refresh,
        )
        .await;
    }

    // Runs

    /// Sends to an agent. Answers once the run is durable; it may still wait for its turn.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn send(&self, agent: AgentId, send: SendRun) -> Result<Sent, Refusal> {
        self.check_room()?;
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        if send.messages.is_empty() {
            return Err(Refusal::Unprocessable("at least one message is needed".to_owned()));
        }
        if send.request.callback_url.is_some() && self.0.shared.options.callbacks.is_none() {
            return Err(Refusal::Invalid(
                "this server makes no callbacks; leave callback_url out".to_owned(),
            ));
        }
        if let Some(handle) = &send.request.override_model {
            self.0.shared.catalog.resolve_or_refresh(handle).await?;
        }
        let options = &self.0.shared.options;
        let input = self.prepare(send.messages).await?;
        let prepared = Prepared { input, request: send.request };
        let hold = self.0.directory.wake(agent).await?;
        let server = Arc::clone(&self.0.open_runs).try_acquire_owned().map_err(|_| {
            Refusal::Overloaded { open: options.max_open_runs, retry_after: Duration::from_secs(1) }
        })?;
        let share = hold.queue().ok_or(Refusal::QueueFull {
            open: options.queue_bound,
            retry_after: Duration::from_secs(1),
        })?;
        let permits = Permits::new(share, server);
        self.ask_held(&hold, |reply| Message::Send(Box::new(prepared), permits, reply)).await
    }

    /// Counts what was sent. The first count in a process takes half a second, for the vocabulary, and a long text
    /// takes milliseconds: neither may hold up a thread that serves others.
    async fn prepare(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<retold_events::run::Input>, Refusal> {
        let (ids, now) =
            (Arc::clone(&self.0.shared.options.ids), self.0.shared.options.clock.now());
        let bytes: usize =
            messages.iter().flat_map(|message| &message.content).map(agent::bytes_of).sum();
        if bytes <= COUNTED_INLINE && self.0.counts.load(Ordering::Relaxed) {
            return Ok(agent::prepare(messages, &ids, now));
        }
        let counted =
            tokio::task::spawn_blocking(move || agent::prepare(messages, &ids, now)).await;
        self.0.counts.store(true, Ordering::Relaxed);
        counted.map_err(|_| Refusal::Draining)
    }

    /// Cancels runs of an agent, all open ones where none is named. Answers once each has ended durably. An empty
    /// answer means that nothing was under way.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn cancel(
        &self,
        agent: AgentId,
        runs: Option<Vec<RunId>>,
    ) -> Result<Vec<(RunId, CancelOutcome)>, Refusal> {
        self.ask(agent, |reply| Message::Cancel(runs, reply)).await
    }

    /// A run as it stands.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn run(&self, id: RunId) -> Result<RunRow, Refusal> {
        let bytes =
            self.0.shared.log.read_inline(|store| store.row(Table::Runs, id.as_bytes())).await?;
        let bytes = bytes.ok_or_else(|| Refusal::no_run(id))?;
        decode(&bytes).map_err(|error| Refusal::Storage(error.to_string()))
    }

    /// A run once it has ended.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn run_end(&self, id: RunId) -> Result<RunRow, Refusal> {
        let mut follow = self.follow(id, u64::MAX - 1);
        while follow.next().await?.is_some() {}
        self.run(id).await
    }

    /// Removes an ended run from the lists.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_run(&self, id: RunId) -> Result<(), Refusal> {
        let run = self.run(id).await?;
        self.ask(run.agent, |reply| Message::DeleteRun(id, reply)).await
    }

    /// Judges a step.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn give_feedback(
        &self,
        step: StepId,
        feedback: Option<Feedback>,
        tags: Vec<String>,
    ) -> Result<(), Refusal> {
        let found = self.read(move |store| Ok(query::step(store, step))).await?;
        let found = found.map_err(|error| Refusal::Storage(error.to_string()))?;
        let (row, _) =
            found.ok_or_else(|| Refusal::NotFound { what: "Step", id: step.to_string() })?;
        let given = FeedbackGiven { run: row.run, step, feedback, tags };
        self.ask(row.agent, |reply| Message::Feedback(given, reply)).await
    }

    /// Follows what a run shows, from item `after + 1` on, live until its end.
    #[must_use]
    pub fn follow(&self, run: RunId, after: u64) -> Follow {
        self.0.shared.hub.follow(run, after)
    }

    // Reading and ending

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

    /// A block row for each id that has one: for lists, which need no newest state.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn block_rows(
        &self,
        ids: Vec<BlockId>,
    ) -> Result<HashMap<BlockId, BlockRow>, Refusal> {
        let rows = self
            .read(move |store| {
                Ok(ids
                    .into_iter()
                    .map(|id| query::block(store, id).map(|row| row.map(|row| (id, row))))
                    .collect())
            })
            .await?;
        let rows: Result<Vec<Option<(BlockId, BlockRow)>>, QueryError> = rows;
        let rows = rows.map_err(|error| Refusal::Storage(error.to_string()))?;
        Ok(rows.into_iter().flatten().collect())
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

    /// Starts no further run; gives those under way until `deadline`, then ends them durably as interrupted. Runs that
    /// wait stay in the log and start with the next start of the server.
    pub async fn drain(&self, deadline: Duration) {
        self.0.shared.draining.store(true, Ordering::Release);
        if tokio::time::timeout(deadline, self.turns_over()).await.is_err() {
            for hold in self.0.directory.busy() {
                // An agent that is gone has nothing under way.
                let _ = hold.tell(Message::Interrupt);
            }
            let grace = self.0.shared.options.cancel_grace + Duration::from_secs(1);
            if tokio::time::timeout(grace, self.turns_over()).await.is_err() {
                tracing::warn!(
                    "some runs did not end in time; they are recovered at the next start"
                );
            }
        }
    }

    /// Ends once no turn is under way.
    async fn turns_over(&self) {
        loop {
            let under_way = self.0.directory.busy().iter().any(|hold| {
                let seen = hold.gauges().and_then(|gauges| gauges.seen.load_full());
                seen.is_some_and(|seen| {
                    let started = seen.state.open_runs.values().any(|run| run.started.is_some());
                    started
                        || seen.ticket.is_some_and(|ticket| !self.0.shared.log.is_durable(ticket))
                })
            });
            if !under_way {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Writes what waits and closes the store.
    pub async fn close(&self) {
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
        let (reply, answer) = oneshot::channel();
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

fn check_labels(new: &[Block], existing: &[Seen]) -> Result<(), Refusal> {
    let mut labels = std::collections::HashSet::new();
    let all = new.iter().chain(existing.iter().map(|block| &block.view.state.block));
    for label in all.filter_map(|block| block.label.as_deref()) {
        if !labels.insert(label) {
            return Err(Refusal::Conflict(format!(
                "two blocks of one agent may not share the label {label:?}"
            )));
        }
    }
    Ok(())
}

/// Puts idle agents to sleep, once a second.
async fn keep_room(host: WeakHost) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(host) = host.revive() else { return };
        host.make_room();
    }
}

/// Recovers agents whose actor failed: their open runs must not stay open.
async fn recover_failed(host: WeakHost, mut failed: mpsc::Receiver<AgentId>) {
    while let Some(agent) = failed.recv().await {
        let Some(host) = host.revive() else { return };
        if let Err(refusal) = host.0.directory.wake(agent).await {
            tracing::error!(%agent, %refusal, "a failed agent could not be recovered");
        }
    }
}

/// Has agents that share edited blocks bring their system messages up to date.
async fn tell_edits(host: WeakHost, mut edits: mpsc::Receiver<EditedBlocks>) {
    while let Some(EditedBlocks { by, blocks }) = edits.recv().await {
        let Some(host) = host.revive() else { return };
        for block in blocks {
            host.refresh_agents_of(block, Some(by)).await;
        }
    }
}
