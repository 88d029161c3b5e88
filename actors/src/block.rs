//! Blocks: shared by agents, edited by clients and agents, one history each.
//!
//! A block has no behaviour in time, only edits, so it needs no mailbox: its newest state is kept behind a lock, and an
//! edit computes, queues its commit and puts the new state in place in one short critical section without an await. The
//! queue of the log is first in, first out, so a later edit can never be written before an earlier one, and an agent's
//! step and the memory edits of its tools are one commit.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use retold_events::{
    BlockId, NewEvent, Seq, Timestamp,
    block::{Author, Block, Created, Deleted, Edited, Event, Forked},
    codec::Event as _,
    log::{Log, Permit, Ticket},
    store::{Append, Commit, RowChange},
};
use retold_snapshots::{block as fold, load};
use tokio::sync::OnceCell;

use crate::{Options, Refusal, host::BlockView};

/// Changes a block in place, or refuses to.
pub type Edit = Box<dyn FnOnce(&mut Block) -> Result<(), Refusal> + Send>;

/// How a block is to be changed.
pub struct Patch {
    /// The label it will have, if the patch sets one: no agent may have two blocks of one label.
    pub label: Option<String>,
    /// The version whose content it brings back, if it does so.
    pub restored: Option<u64>,
    /// Changes a copy of the block as it stands at that moment; a refusal leaves it as it is.
    pub edit: Edit,
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch").finish_non_exhaustive()
    }
}

/// Idle blocks kept in memory before the durable ones among them are let go.
const KEPT_BLOCKS: usize = 16_384;

/// Blocks by id, shared with the answers of their commits.
type Entries = Arc<Mutex<HashMap<BlockId, Arc<Entry>>>>;

/// The blocks in memory.
#[derive(Debug)]
pub(crate) struct Blocks {
    log: Log,
    options: Options,
    entries: Entries,
}

/// One block, loaded at most once at a time.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    head: OnceCell<Mutex<Head>>,
}

/// A block's newest state, durable or not.
#[derive(Debug)]
struct Head {
    state: Arc<fold::State>,
    seq: Seq,
    ticket: Option<Ticket>,
}

/// A block as seen, and the commit that must be durable before anyone hears of it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) view: BlockView,
    pub(crate) seq: Seq,
    pub(crate) ticket: Option<Ticket>,
}

impl Blocks {
    pub(crate) fn new(log: Log, options: Options) -> Self {
        Self { log, options, entries: Entries::default() }
    }

    /// A block as it stands. `None` when there is none, or no longer.
    pub(crate) async fn see(&self, id: BlockId) -> Result<Option<Seen>, Refusal> {
        let Some(entry) = self.entry(id).await? else { return Ok(None) };
        let head = entry.lock();
        Ok((!head.state.deleted).then(|| head.seen()))
    }

    /// Several blocks as they stand; those that are gone are left out.
    pub(crate) async fn see_all(&self, ids: &[BlockId]) -> Result<Vec<Seen>, Refusal> {
        let mut seen = Vec::with_capacity(ids.len());
        for &id in ids {
            seen.extend(self.see(id).await?);
        }
        Ok(seen)
    }

    /// Makes a block's first events, to be written by the caller, and gives it a place here once they are queued.
    pub(crate) fn create(&self, block: Block, author: Author, now: Timestamp) -> NewBlock {
        let id = BlockId::from_uuid(self.options.ids.next(now));
        let event = Event::Created(Created { block: block.clone(), author });
        NewBlock {
            rows: fold::project(id, None, now, &event),
            event,
            state: fold::State::created(id, now, block),
        }
    }

    /// Makes the first event of a copy of a block as it stood at one of its events; otherwise as [`Blocks::create`].
    pub(crate) fn fork(&self, from: &load::Loaded<fold::State>, now: Timestamp) -> NewBlock {
        let id = BlockId::from_uuid(self.options.ids.next(now));
        let forked = Forked {
            from: from.state.id,
            version: from.seq,
            inherited: from.state.inherited + from.seq.0,
            block: from.state.block.clone(),
        };
        let state = fold::State::forked(id, now, &forked);
        let event = Event::Forked(forked);
        NewBlock { rows: fold::project(id, None, now, &event), event, state }
    }

    /// Has a created block loaded from what is written whenever somebody asks for it. Until its commit, queued as
    /// `ticket`, is durable, it is kept in memory, so that it can be seen at once.
    pub(crate) fn created(&self, new: NewBlock, ticket: Ticket) -> BlockView {
        let id = new.state.id;
        let head = Head { state: Arc::new(new.state), seq: Seq(1), ticket: Some(ticket) };
        let view = head.seen().view;
        let entry = Arc::new(Entry { head: OnceCell::new_with(Some(Mutex::new(head))) });
        // Nobody can have edited it before: its id is new, and an entry that is there is of somebody who looked too early.
        self.map()
            .entry(id)
            .and_modify(|known| {
                if !known.head.initialized() {
                    *known = Arc::clone(&entry);
                }
            })
            .or_insert(entry);
        view
    }

    /// Changes a block for a client and waits until that is durable. Gives `None` for the change when nothing changed.
    pub(crate) async fn edit(
        &self,
        id: BlockId,
        patch: Patch,
    ) -> Result<(BlockView, bool), Refusal> {
        let missing = || Refusal::NotFound { what: "Block", id: id.to_string() };
        let entry = self.entry(id).await?.ok_or_else(missing)?;
        let permit = self.log.reserve().await;
        let now = self.options.clock.now();
        let (view, changed, ticket) = {
            let mut head = entry.lock();
            if head.state.deleted {
                return Err(missing());
            }
            let mut block = head.state.block.clone();
            (patch.edit)(&mut block)?;
            let changed = block != head.state.block;
            if changed {
                let restored = patch.restored;
                let event = Event::Edited(Edited { block, author: Author::Client, restored });
                let mut commit = Commit::default();
                head.add(event, now, &self.options, &mut commit);
                head.ticket = Some(self.submit(permit, commit, &entry, id));
            }
            (head.seen().view, changed, head.ticket)
        };
        self.durable(ticket).await?;
        Ok((view, changed))
    }

    /// Deletes a block and waits until that is durable.
    pub(crate) async fn delete(&self, id: BlockId) -> Result<(), Refusal> {
        let missing = || Refusal::NotFound { what: "Block", id: id.to_string() };
        let entry = self.entry(id).await?.ok_or_else(missing)?;
        let permit = self.log.reserve().await;
        let now = self.options.clock.now();
        let ticket = {
            let mut head = entry.lock();
            if head.state.deleted {
                return Err(missing());
            }
            let mut commit = Commit::default();
            head.add(
                Event::Deleted(Deleted { author: Author::Client }),
                now,
                &self.options,
                &mut commit,
            );
            head.ticket = Some(self.submit(permit, commit, &entry, id));
            head.ticket
        };
        self.durable(ticket).await
    }

    /// Queues a commit of one block. Where it is refused the block is forgotten: what is in memory is not what is written.
    fn submit(&self, permit: Permit, commit: Commit, entry: &Arc<Entry>, id: BlockId) -> Ticket {
        let (entries, entry) = (Arc::clone(&self.entries), Arc::clone(entry));
        self.log.submit(permit, commit, move |answer| {
            if let Err(error) = answer {
                tracing::error!(block = %id, %error, "a commit was refused");
                // This may run under the entry's lock. Whoever holds the map's lock takes an entry's only where nobody
                // else has the entry, so the two cannot wait for one another.
                let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
                if entries.get(&id).is_some_and(|known| Arc::ptr_eq(known, &entry)) {
                    entries.remove(&id);
                }
            }
        })
    }

    /// Forgets blocks whose newest states are not what is written; whoever asks next loads them.
    pub(crate) fn forget(&self, ids: &[BlockId]) {
        let mut entries = self.map();
        for id in ids {
            entries.remove(id);
        }
    }

    /// Entries of blocks that an agent is about to edit with its tools, in an order that rules out a deadlock.
    pub(crate) async fn entries(
        &self,
        ids: impl IntoIterator<Item = BlockId>,
    ) -> Result<Vec<Arc<Entry>>, Refusal> {
        let ids: BTreeSet<BlockId> = ids.into_iter().collect();
        let mut entries = Vec::with_capacity(ids.len());
        for id in ids {
            entries.extend(self.entry(id).await?);
        }
        Ok(entries)
    }

    async fn durable(&self, ticket: Option<Ticket>) -> Result<(), Refusal> {
        match ticket {
            Some(ticket) => Ok(self.log.durable(ticket).await?),
            None => Ok(()),
        }
    }

    /// The entry of a block, loaded. `None` when the store has no such block.
    async fn entry(&self, id: BlockId) -> Result<Option<Arc<Entry>>, Refusal> {
        let entry = {
            let mut entries = self.map();
            if entries.len() > KEPT_BLOCKS {
                // An entry that somebody holds, or that is not durable yet, would be loaded again as it was before.
                entries.retain(|_, entry| {
                    Arc::strong_count(entry) > 1 || !entry.is_durable(&self.log)
                });
            }
            Arc::clone(entries.entry(id).or_default())
        };
        let loaded = entry.head.get_or_try_init(|| self.load(id)).await;
        match loaded {
            Ok(_) => Ok(Some(entry)),
            Err(Absent::Missing) => {
                let mut entries = self.map();
                if entries.get(&id).is_some_and(|known| Arc::ptr_eq(known, &entry)) {
                    entries.remove(&id);
                }
                Ok(None)
            }
            Err(Absent::Refused(refusal)) => Err(refusal),
        }
    }

    async fn load(&self, id: BlockId) -> Result<Mutex<Head>, Absent> {
        let loaded = self.log.read(move |store| Ok(load::block(store, id, None))).await;
        match loaded.map_err(|error| Absent::Refused(error.into()))? {
            Ok(Some(loaded)) => Ok(Mutex::new(Head {
                state: Arc::new(loaded.state),
                seq: loaded.seq,
                ticket: None,
            })),
            Ok(None) => Err(Absent::Missing),
            Err(error) => Err(Absent::Refused(Refusal::Storage(error.to_string()))),
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<BlockId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Absent {
    Missing,
    Refused(Refusal),
}

/// A block whose first event is not written yet.
#[derive(Debug)]
pub(crate) struct NewBlock {
    state: fold::State,
    event: Event,
    rows: Vec<RowChange>,
}

impl NewBlock {
    pub(crate) fn id(&self) -> BlockId {
        self.state.id
    }

    pub(crate) fn block(&self) -> &Block {
        &self.state.block
    }

    /// The block as it will be once its first event is written.
    pub(crate) fn seen(&self) -> Seen {
        let state = Arc::new(self.state.clone());
        Seen { view: BlockView { id: self.state.id, state }, seq: Seq(1), ticket: None }
    }

    /// Adds its events and rows to a commit.
    pub(crate) fn add_to(&self, commit: &mut Commit, now: Timestamp, options: &Options) {
        commit.appends.push(Append {
            stream: retold_events::StreamId::Block(self.state.id),
            expected: Seq(0),
            events: vec![new_event(&self.event, None, now, options)],
        });
        commit.rows.extend(self.rows.iter().cloned());
    }
}

impl Entry {
    fn is_durable(&self, log: &Log) -> bool {
        let ticket = self
            .head
            .get()
            .and_then(|head| head.lock().unwrap_or_else(PoisonError::into_inner).ticket);
        ticket.is_none_or(|ticket| log.is_durable(ticket))
    }

    fn lock(&self) -> MutexGuard<'_, Head> {
        let head = self.head.get().expect("entries are handed out only after they were loaded");
        head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    fn seen(&self) -> Seen {
        Seen {
            view: BlockView { id: self.state.id, state: Arc::clone(&self.state) },
            seq: self.seq,
            ticket: self.ticket,
        }
    }

    /// Folds an event in and adds it to a commit. The caller queues that commit before it lets go of the lock.
    fn add(&mut self, event: Event, now: Timestamp, options: &Options, commit: &mut Commit) {
        let id = self.state.id;
        let now = now.max(self.state.updated_at);
        let rows = fold::project(id, Some(&self.state), now, &event);
        let new = new_event(&event, None, now, options);
        match commit
            .appends
            .iter_mut()
            .find(|append| append.stream == retold_events::StreamId::Block(id))
        {
            Some(append) => append.events.push(new),
            None => commit.appends.push(Append {
                stream: retold_events::StreamId::Block(id),
                expected: self.seq,
                events: vec![new],
            }),
        }
        commit.rows.extend(rows);
        fold::apply(Arc::make_mut(&mut self.state), now, &event);
        self.seq = self.seq.next();
    }
}

/// Blocks of one agent, held still while one of its steps is decided and queued.
///
/// Dropped without [`Held::queued`] after edits, the new states stay: the caller must have queued them.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    heads: Vec<MutexGuard<'a, Head>>,
    edited: bool,
}

impl<'a> Held<'a> {
    /// Locks `entries`, which [`Blocks::entries`] gave in the one order that everybody uses.
    pub(crate) fn lock(entries: &'a [Arc<Entry>]) -> Self {
        Self { heads: entries.iter().map(|entry| entry.lock()).collect(), edited: false }
    }

    /// The block with this label among those not deleted.
    pub(crate) fn by_label(&self, label: &str) -> Option<(BlockId, &Block)> {
        self.heads
            .iter()
            .find(|head| !head.state.deleted && head.state.block.label.as_deref() == Some(label))
            .map(|head| (head.state.id, &head.state.block))
    }

    /// Labels of the blocks, sorted.
    pub(crate) fn labels(&self) -> Vec<String> {
        let mut labels: Vec<String> = self
            .heads
            .iter()
            .filter(|head| !head.state.deleted)
            .filter_map(|head| head.state.block.label.clone())
            .collect();
        labels.sort();
        labels
    }

    /// Gives a block a new value and adds that to a commit.
    pub(crate) fn set_value(
        &mut self,
        id: BlockId,
        value: String,
        author: Author,
        now: Timestamp,
        options: &Options,
        commit: &mut Commit,
    ) {
        let Some(head) = self.heads.iter_mut().find(|head| head.state.id == id) else { return };
        if head.state.block.value != value {
            let block = Block { value, ..head.state.block.clone() };
            let edited = Edited { block, author, restored: None };
            head.add(Event::Edited(edited), now, options, commit);
            self.edited = true;
        }
    }

    /// Ids of the blocks.
    pub(crate) fn ids(&self) -> Vec<BlockId> {
        self.heads.iter().map(|head| head.state.id).collect()
    }

    /// Whether any block was changed.
    pub(crate) fn edited(&self) -> bool {
        self.edited
    }

    /// The blocks as they stand now, in the order of `ids`.
    pub(crate) fn seen(&self, ids: &[BlockId]) -> Vec<Seen> {
        ids.iter()
            .filter_map(|&id| {
                self.heads.iter().find(|head| head.state.id == id && !head.state.deleted)
            })
            .map(|head| head.seen())
            .collect()
    }

    /// Notes that the commit holding the edits was queued as `ticket`.
    pub(crate) fn queued(mut self, ticket: Ticket) {
        if self.edited {
            for head in &mut self.heads {
                head.ticket = Some(ticket);
            }
        }
    }
}

fn new_event(
    event: &Event,
    run: Option<retold_events::RunId>,
    now: Timestamp,
    options: &Options,
) -> NewEvent {
    NewEvent {
        id: options.ids.ulid(now),
        causation: ulid::Ulid::nil(),
        run,
        at: now,
        encoded: event.encode(),
    }
}
