//! An awake agent: its newest state, and the one way events of it come to be.
//!
//! A handler reserves room in the log's queue, then drafts: it records events, which fold into the state at once, and
//! queues the draft as one commit. There is no await between the first recorded event and the queueing, so what is in
//! memory is always exactly what is queued. If the log fails, the process ends and what was in memory only is gone.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use ractor::ActorRef;
use retold_events::{
    AgentId, BlockId, MessageId, NewEvent, RunId, Seq, StreamId, Timestamp,
    agent::Event,
    block::Author,
    codec::{Event as _, encode_items},
    log::{AppendError, Log, Permit, Ticket},
    output::{Item, Output},
    store::{Append, Commit, OutputBatch},
};
use retold_models::Catalog;
use retold_snapshots::{
    agent::{State, apply_and_project},
    load,
    row::RunRow,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Message, Permits, end::CancelWait};
use crate::{
    Options, Refusal,
    block::{Blocks, Held, Seen},
    host::WeakHost,
    hub::{Hub, last_seq},
    metrics::Metrics,
    tool::registry::Registry,
    toolbox::Toolbox,
};

/// Events after which the state is saved with the next commit. Folding 500 takes about a millisecond, so saving more
/// often would cost more than it saves.
const SAVE_AFTER: u64 = 500;

/// What all agents of a host share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) hub: Hub,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) tools: Arc<Registry>,
    pub(crate) options: Options,
    /// Set while the server drains: no run starts any more.
    pub(crate) draining: Arc<AtomicBool>,
    /// Where block edits by agents are told.
    pub(crate) edited: mpsc::Sender<EditedBlocks>,
    /// The host all of this belongs to, once it is made.
    pub(crate) host: Arc<OnceLock<WeakHost>>,
    /// Where tasks of callbacks on the committer thread are spawned.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) metrics: Arc<Metrics>,
}

/// An agent edited blocks that others may share.
#[derive(Debug)]
pub(crate) struct EditedBlocks {
    pub(crate) by: AgentId,
    pub(crate) blocks: Vec<BlockId>,
}

impl Shared {
    /// Tells agents that share these blocks. Where the queue is full they find out with their next run.
    pub(super) fn tell_edited(&self, by: AgentId, blocks: Vec<BlockId>) {
        if !blocks.is_empty() {
            let _ = self.edited.try_send(EditedBlocks { by, blocks });
        }
    }

    /// Tells the end of a run to its callback address, and its agent what came of that.
    pub(super) fn call_back(&self, agent: AgentId, actor: &ActorRef<Message>, row: RunRow) {
        let Some((callbacks, host)) =
            self.options.callbacks.clone().zip(self.host.get().and_then(WeakHost::revive))
        else {
            return;
        };
        tracing::debug!(%agent, run = %row.id, "calling back");
        let (run, actor) = (row.id, actor.clone());
        self.runtime.spawn(async move {
            let result = callbacks.send(host, row).await;
            // An agent that is gone finds the callback unsent when it wakes, and sends it again.
            let _ = actor.send_message(Message::CallbackSent { run, result });
        });
    }
}

/// What others may know of an awake agent without asking it.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// The newest state, for readers. Replaced with every commit, as one thing: whoever looks sees a state and the ticket
    /// that belongs to it.
    pub(crate) seen: arc_swap::ArcSwapOption<Published>,
}

/// A state and the commit that must be durable before anyone hears of it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) state: Arc<State>,
    pub(crate) seq: Seq,
    pub(crate) ticket: Option<Ticket>,
}

impl Gauges {
    /// Whether it has open runs or unsent callbacks.
    pub(crate) fn is_busy(&self) -> bool {
        self.seen.load().as_ref().is_some_and(|seen| seen.is_busy())
    }

    /// Bytes its state fills, as estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.seen.load().as_ref().map_or(0, |seen| estimated_bytes(&seen.state))
    }
}

impl Published {
    /// Whether it has open runs or unsent callbacks.
    pub(crate) fn is_busy(&self) -> bool {
        !self.state.open_runs.is_empty() || !self.state.callbacks.is_empty()
    }
}

/// An awake agent.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) shared: Shared,
    pub(crate) state: Arc<State>,
    pub(crate) actor: ActorRef<Message>,
    pub(crate) gauges: Arc<Gauges>,
    seq: Seq,
    pub(super) ticket: Option<Ticket>,
    unsaved: u64,
    /// Turns under way.
    pub(super) turns: HashMap<RunId, ActiveTurn>,
    /// Output numbers of open runs.
    pub(super) outputs: HashMap<RunId, OutputCursor>,
    pub(super) permits: HashMap<RunId, Permits>,
    /// Set when the agent is being deleted: nothing starts any more.
    pub(super) no_more_runs: bool,
    /// Those who wait for cancelled runs to end.
    pub(super) cancels: Vec<CancelWait>,
}

/// A turn under way.
#[derive(Debug)]
pub(super) struct ActiveTurn {
    pub(super) attempt: u32,
    pub(super) token: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<()>,
    /// What of the step under way was shown so far.
    pub(super) partial: crate::turn::Partial,
}

/// A turn that its agent no longer knows of ends: also when the agent's actor failed, or it would go on beside the turn
/// that the recovery starts.
impl Drop for ActiveTurn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How far the output of a run has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutputCursor {
    pub(super) last: u64,
    pub(super) first_at: Option<Timestamp>,
}

/// Events of one commit while they come together.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) now: Timestamp,
    events: Vec<NewEvent>,
    pub(super) commit: Commit,
    items: Vec<(RunId, Vec<Item>)>,
    /// Turns that begin once the draft is durable.
    pub(super) begin: Vec<oneshot::Sender<()>>,
    /// Ended runs whose callers are to be told.
    pub(super) callbacks: Vec<RunRow>,
}

impl Draft {
    /// Whether nothing has happened.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Live {
    pub(crate) fn new(
        shared: Shared,
        loaded: load::Loaded<State>,
        actor: ActorRef<Message>,
        gauges: Arc<Gauges>,
    ) -> Self {
        let live = Self {
            shared,
            state: Arc::new(loaded.state),
            actor,
            gauges,
            seq: loaded.seq,
            ticket: None,
            unsaved: loaded.folded,
            turns: HashMap::new(),
            outputs: HashMap::new(),
            permits: HashMap::new(),
            no_more_runs: false,
            cancels: Vec::new(),
        };
        let seen = Published { state: Arc::clone(&live.state), seq: live.seq, ticket: live.ticket };
        live.gauges.seen.store(Some(Arc::new(seen)));
        live
    }

    pub(crate) fn id(&self) -> AgentId {
        self.state.id
    }

    /// The commit that must be durable before anyone hears of the present state.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    pub(super) fn draft(&self) -> Draft {
        // Time in a stream never runs backwards, whatever the clock does.
        let now = self.shared.options.clock.now().max(self.state.last_at);
        Draft {
            now,
            events: Vec::new(),
            commit: Commit::default(),
            items: Vec::new(),
            begin: Vec::new(),
            callbacks: Vec::new(),
        }
    }

    /// Records that something happened: folds it in, and adds it and the rows that follow from it to the draft.
    pub(super) fn record(&mut self, draft: &mut Draft, run: Option<RunId>, event: Event) {
        self.shared.metrics.recorded(&self.state, &event);
        let state = Arc::make_mut(&mut self.state);
        draft.commit.rows.extend(apply_and_project(state, draft.now, &event));
        draft.events.push(NewEvent {
            id: self.shared.options.ids.ulid(draft.now),
            causation: draft.events.last().map_or_else(ulid::Ulid::nil, |event| event.id),
            run,
            at: draft.now,
            encoded: event.encode(),
        });
    }

    /// Adds a piece of output to the draft, numbered.
    pub(super) fn show(&mut self, draft: &mut Draft, run: RunId, output: Output) {
        let cursor = self.outputs.entry(run).or_default();
        let item = Item { seq: cursor.last + 1, at: draft.now, output };
        cursor.last = last_seq(&item);
        if !matches!(item.output, Output::End { .. }) {
            cursor.first_at.get_or_insert(draft.now);
        }
        match draft.items.iter_mut().find(|(of, _)| *of == run) {
            Some((_, items)) => items.push(item),
            None => draft.items.push((run, vec![item])),
        }
    }

    /// The next message id of this agent.
    pub(super) fn next_message(&self, draft: &Draft) -> MessageId {
        MessageId::from_uuid(
            self.shared.options.ids.next_after(self.state.last_message.uuid(), draft.now),
        )
    }

    /// Queues a draft as one commit. `then` runs once it is durable, or has failed, on the committer thread.
    pub(super) fn queue(
        &mut self,
        permit: Permit,
        draft: Draft,
        held: Option<Held<'_>>,
        then: impl FnOnce(bool) + Send + 'static,
    ) {
        let Draft { now: _, events, mut commit, items, begin, callbacks } = draft;
        let stream = StreamId::Agent(self.id());
        let new = events.len() as u64;
        if !events.is_empty() {
            commit.appends.push(Append { stream, expected: self.seq, events });
        }
        self.seq.0 += new;
        self.unsaved += new;
        if self.unsaved >= SAVE_AFTER {
            commit.snapshots.push(load::save(&*self.state, self.seq));
            self.unsaved = 0;
        }
        let mut shown = Vec::with_capacity(items.len());
        for (run, items) in items {
            let encoded = encode_items(&items);
            let (first, last) =
                (items.first().map_or(0, |item| item.seq), items.last().map_or(0, last_seq));
            shown.push((run, items, encoded.len()));
            commit.outputs.push(OutputBatch { run, first, last, items: encoded });
        }
        let hub = self.shared.hub.clone();
        let edited: Vec<BlockId> = held.as_ref().map_or_else(Vec::new, Held::ids);
        let (shared, agent, actor) = (self.shared.clone(), self.id(), self.actor.clone());
        let (state, seq) = (Arc::clone(&self.state), self.seq);
        // Shown before it can be durable: a client that has its answer must not find the state before it.
        let mut before = None;
        let show = |ticket| {
            let seen = Published { state, seq, ticket: Some(ticket) };
            before = self.gauges.seen.swap(Some(Arc::new(seen)));
        };
        let ticket = self.shared.log.submit_shown(permit, commit, show, move |answer| {
            let durable = answer.is_ok();
            if matches!(
                answer,
                Err(AppendError::Conflict(_) | AppendError::TooLong { .. } | AppendError::Refused)
            ) {
                tracing::error!(%agent, ?answer, "a commit was refused");
                shared.blocks.forget(&edited);
                // An actor that is gone has diverged no further.
                let _ = actor.send_message(Message::Diverged);
            }
            if durable {
                for (run, items, bytes) in shown {
                    hub.publish(run, items, bytes);
                }
                for begin in begin {
                    // A turn that is gone has been cancelled meanwhile.
                    let _ = begin.send(());
                }
                for row in callbacks {
                    shared.call_back(agent, &actor, row);
                }
            }
            then(durable);
        });
        if let Some(held) = held {
            held.queued(ticket);
        }
        // A state may be large, so it is not freed with the log's queue held.
        drop(before);
        self.ticket = Some(ticket);
    }

    /// The agent's blocks as they stand.
    pub(super) async fn see_blocks(&self) -> Result<Vec<Seen>, Refusal> {
        self.shared.blocks.see_all(&self.state.blocks).await
    }

    /// Saves the state if anything is unsaved, so that waking up costs no fold.
    pub(super) async fn save(&mut self) {
        if self.unsaved > 0 {
            let permit = self.shared.log.reserve().await;
            let mut draft = self.draft();
            draft.commit.snapshots.push(load::save(&*self.state, self.seq));
            self.unsaved = 0;
            self.queue(permit, draft, None, |_| ());
        }
    }

    /// Whoever edits a block with a tool in a run.
    pub(super) fn author(&self, run: RunId, tool: &str) -> Author {
        Author::Agent { agent: self.id(), run, tool: Some(tool.to_owned()) }
    }
}

/// What is in context, the configuration, the secrets, and what an actor costs.
fn estimated_bytes(state: &State) -> usize {
    const ACTOR: usize = 12 << 10;
    let threads = state.threads.values().map(|thread| thread.bytes).fold(0, u64::saturating_add);
    let threads = usize::try_from(threads).unwrap_or(usize::MAX);
    let secrets: usize = state.secrets.iter().map(|held| held.secret.value.bytes.len()).sum();
    (ACTOR + state.config.system.len() * 2).saturating_add(threads).saturating_add(secrets)
}
