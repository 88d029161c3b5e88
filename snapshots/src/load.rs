//! Folding an aggregate from its newest usable saved state and the events after it.

use retold_events::{
    AgentId, BlockId, McpServerId, Position, Record, Seq, StreamId, Timestamp, ToolId,
    codec::{DecodeError, Event as _},
    defect::Defect,
    store::{EventStore, SavedState, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    agent::{self, MAX_ANCESTORS},
    block, mcp, saved, tool,
};

/// Events read from the store at a time.
const PAGE: usize = 1024;

/// An aggregate that cannot be folded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event cannot be read by this version. It is never skipped.
    #[error("event {seq:?} of {stream:?} cannot be read: {source}")]
    Event {
        /// Its stream.
        stream: StreamId,
        /// Its place.
        seq: Seq,
        /// Why.
        source: DecodeError,
    },
}

/// A state and the moment it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<S> {
    /// The state.
    pub state: S,
    /// The last event of its stream that is in it.
    pub seq: Seq,
    /// Events folded on top of the saved state, or of nothing.
    pub folded: u64,
}

/// An aggregate's way of folding, for [`agent()`], [`block()`], [`tool()`] and [`mcp_server()`].
pub trait Aggregate: Serialize + DeserializeOwned + Sized {
    /// Its events.
    type Event: retold_events::codec::Event;

    /// The stream of the aggregate with this state.
    fn stream(&self) -> StreamId;

    /// The stream, and the last event of it, that what this event begins goes on from; `None` when it goes on from none,
    /// as where the first event holds everything.
    fn origin(_: &Self::Event) -> Option<(StreamId, Seq)> {
        None
    }

    /// The state after the first event; `None` when that event does not create it. `origin` is the state at
    /// [`Aggregate::origin`], where there is one.
    fn begin(
        stream: StreamId,
        at: Timestamp,
        event: &Self::Event,
        origin: Option<&Self>,
    ) -> Option<Self>;

    /// Folds a further event.
    fn fold(&mut self, at: Timestamp, event: &Self::Event);
}

impl Aggregate for agent::State {
    type Event = retold_events::agent::Event;

    fn stream(&self) -> StreamId {
        StreamId::Agent(self.id)
    }

    fn origin(event: &Self::Event) -> Option<(StreamId, Seq)> {
        if let Self::Event::Forked(forked) = event {
            Some((StreamId::Agent(forked.parent), forked.seq))
        } else {
            None
        }
    }

    fn begin(
        stream: StreamId,
        at: Timestamp,
        event: &Self::Event,
        origin: Option<&Self>,
    ) -> Option<Self> {
        match (stream, event) {
            (StreamId::Agent(id), Self::Event::Created(created)) => {
                Some(Self::created(id, at, created))
            }
            (StreamId::Agent(id), Self::Event::Forked(forked)) => {
                Some(Self::forked(id, at, forked, origin?))
            }
            _ => None,
        }
    }

    fn fold(&mut self, at: Timestamp, event: &Self::Event) {
        agent::apply(self, at, event);
    }
}

impl Aggregate for block::State {
    type Event = retold_events::block::Event;

    fn stream(&self) -> StreamId {
        StreamId::Block(self.id)
    }

    fn begin(
        stream: StreamId,
        at: Timestamp,
        event: &Self::Event,
        _: Option<&Self>,
    ) -> Option<Self> {
        match stream {
            StreamId::Block(id) => Self::begin(id, at, event),
            StreamId::Agent(_) | StreamId::Tool(_) | StreamId::McpServer(_) => None,
        }
    }

    fn fold(&mut self, at: Timestamp, event: &Self::Event) {
        block::apply(self, at, event);
    }
}

impl Aggregate for tool::State {
    type Event = retold_events::tool::Event;

    fn stream(&self) -> StreamId {
        StreamId::Tool(self.id)
    }

    fn begin(
        stream: StreamId,
        at: Timestamp,
        event: &Self::Event,
        _: Option<&Self>,
    ) -> Option<Self> {
        match stream {
            StreamId::Tool(id) => Self::begin(id, at, event),
            StreamId::Agent(_) | StreamId::Block(_) | StreamId::McpServer(_) => None,
        }
    }

    fn fold(&mut self, at: Timestamp, event: &Self::Event) {
        tool::apply(self, at, event);
    }
}

impl Aggregate for mcp::State {
    type Event = retold_events::mcp::Event;

    fn stream(&self) -> StreamId {
        StreamId::McpServer(self.id)
    }

    fn begin(
        stream: StreamId,
        at: Timestamp,
        event: &Self::Event,
        _: Option<&Self>,
    ) -> Option<Self> {
        match stream {
            StreamId::McpServer(id) => Self::begin(id, at, event),
            StreamId::Agent(_) | StreamId::Block(_) | StreamId::Tool(_) => None,
        }
    }

    fn fold(&mut self, at: Timestamp, event: &Self::Event) {
        mcp::apply(self, at, event);
    }
}

/// An agent as it stands, or as it stood at `until`. `None` when there was none.
///
/// # Errors
/// [`LoadError`]; a saved state that cannot be used is not an error, the log is folded instead.
pub fn agent(
    store: &dyn EventStore,
    id: AgentId,
    until: Option<Position>,
) -> Result<Option<Loaded<agent::State>>, LoadError> {
    load(store, StreamId::Agent(id), until)
}

/// A block as it stands, or as it stood at `until`. `None` when there was none.
///
/// # Errors
/// As [`agent()`].
pub fn block(
    store: &dyn EventStore,
    id: BlockId,
    until: Option<Position>,
) -> Result<Option<Loaded<block::State>>, LoadError> {
    load(store, StreamId::Block(id), until)
}

/// A tool that a user made as it stands, or as it stood at `until`. `None` when there was none.
///
/// # Errors
/// As [`agent()`].
pub fn tool(
    store: &dyn EventStore,
    id: ToolId,
    until: Option<Position>,
) -> Result<Option<Loaded<tool::State>>, LoadError> {
    load(store, StreamId::Tool(id), until)
}

/// An MCP server as it stands, or as it stood at `until`. `None` when there was none.
///
/// # Errors
/// As [`agent()`].
pub fn mcp_server(
    store: &dyn EventStore,
    id: McpServerId,
    until: Option<Position>,
) -> Result<Option<Loaded<mcp::State>>, LoadError> {
    load(store, StreamId::McpServer(id), until)
}

/// An agent as it stood after event `until` of its stream, or as it stands when it has not come so far.
///
/// # Errors
/// As [`agent()`].
pub fn agent_to(
    store: &dyn EventStore,
    id: AgentId,
    until: Seq,
) -> Result<Option<Loaded<agent::State>>, LoadError> {
    load_to(store, StreamId::Agent(id), until)
}

/// A block as it stood after event `until` of its stream.
pub(crate) fn block_to(
    store: &dyn EventStore,
    id: BlockId,
    until: Seq,
) -> Result<Option<Loaded<block::State>>, LoadError> {
    load_to(store, StreamId::Block(id), until)
}

/// A tool as it stood after event `until` of its stream.
pub(crate) fn tool_to(
    store: &dyn EventStore,
    id: ToolId,
    until: Seq,
) -> Result<Option<Loaded<tool::State>>, LoadError> {
    load_to(store, StreamId::Tool(id), until)
}

/// An MCP server as it stood after event `until` of its stream.
pub(crate) fn mcp_server_to(
    store: &dyn EventStore,
    id: McpServerId,
    until: Seq,
) -> Result<Option<Loaded<mcp::State>>, LoadError> {
    load_to(store, StreamId::McpServer(id), until)
}

/// Packs a state for [`retold_events::store::Commit::snapshots`].
#[must_use]
pub fn save<S: Aggregate>(state: &S, seq: Seq) -> SavedState {
    let seq = if Defect::SavedTooNew.is_on() { seq.next() } else { seq };
    saved::save(state.stream(), seq, state)
}

fn load<S: Aggregate>(
    store: &dyn EventStore,
    stream: StreamId,
    until: Option<Position>,
) -> Result<Option<Loaded<S>>, LoadError> {
    let until = match until {
        Some(until) => last_at(store, stream, until)?,
        None => Seq(u64::MAX),
    };
    load_to(store, stream, until)
}

/// A stream that begins as a fork of another.
struct Fork<E> {
    stream: StreamId,
    until: Seq,
    at: Timestamp,
    event: E,
}

/// Goes back from fork to parent until there is a state to begin with, then folds forward again.
fn load_to<S: Aggregate>(
    store: &dyn EventStore,
    mut stream: StreamId,
    mut until: Seq,
) -> Result<Option<Loaded<S>>, LoadError> {
    let mut forks: Vec<Fork<S::Event>> = Vec::new();
    let mut loaded: Option<Loaded<S>> = loop {
        if let Some(saved) = newest_saved(store, stream, until)? {
            break Some(saved);
        }
        let records = page(store, stream, Seq(1), until)?;
        let Some(first) = records.first() else { break None };
        let event = understood::<S>(first)?;
        match S::origin(&event) {
            // Nobody has more ancestors, so what names more is no lineage.
            Some((parent, seq)) if forks.len() < MAX_ANCESTORS => {
                forks.push(Fork { stream, until, at: first.at, event });
                (stream, until) = (parent, seq);
            }
            Some(_) | None => {
                let mut begun = None;
                fold_records(stream, &records, &mut begun)?;
                break begun;
            }
        }
    };
    loop {
        fold_on(store, stream, until, &mut loaded)?;
        let Some(fork) = forks.pop() else { return Ok(loaded) };
        let origin = loaded.as_ref().map(|parent| &parent.state);
        let folded = loaded.as_ref().map_or(0, |parent| parent.folded) + 1;
        loaded = S::begin(fork.stream, fork.at, &fork.event, origin).map(|state| Loaded {
            state,
            seq: Seq(1),
            folded,
        });
        (stream, until) = (fork.stream, fork.until);
    }
}

/// Folds the events of `stream` up to `until` that are not in the state yet.
fn fold_on<S: Aggregate>(
    store: &dyn EventStore,
    stream: StreamId,
    until: Seq,
    loaded: &mut Option<Loaded<S>>,
) -> Result<(), LoadError> {
    let mut from = match loaded {
        Some(loaded) => loaded.seq.next(),
        None => return Ok(()),
    };
    loop {
        let records = page(store, stream, from, until)?;
        let Some(last) = records.last() else { return Ok(()) };
        from = last.seq.next();
        fold_records(stream, &records, loaded)?;
    }
}

/// The next events of a stream, none after `until`.
fn page(
    store: &dyn EventStore,
    stream: StreamId,
    from: Seq,
    until: Seq,
) -> Result<Vec<Record>, StoreError> {
    if from > until {
        return Ok(Vec::new());
    }
    let wanted = usize::try_from(until.0 - from.0).map_or(PAGE, |more| more.min(PAGE - 1) + 1);
    store.read_stream(stream, from, wanted)
}

fn fold_records<S: Aggregate>(
    stream: StreamId,
    records: &[Record],
    loaded: &mut Option<Loaded<S>>,
) -> Result<(), LoadError> {
    for record in records {
        let event = understood::<S>(record)?;
        match loaded {
            Some(loaded) => {
                loaded.state.fold(record.at, &event);
                loaded.seq = record.seq;
                loaded.folded += 1;
            }
            None => {
                *loaded = S::begin(stream, record.at, &event, None).map(|state| Loaded {
                    state,
                    seq: record.seq,
                    folded: 1,
                });
            }
        }
    }
    Ok(())
}

/// The event that a record holds.
pub(crate) fn understood<S: Aggregate>(record: &Record) -> Result<S::Event, LoadError> {
    S::Event::decode(&record.encoded).map_err(|source| LoadError::Event {
        stream: record.stream,
        seq: record.seq,
        source,
    })
}

/// The newest saved state that is readable and not after `until`.
fn newest_saved<S: Aggregate>(
    store: &dyn EventStore,
    stream: StreamId,
    until: Seq,
) -> Result<Option<Loaded<S>>, LoadError> {
    let mut before = until;
    while let Some(saved) = store.snapshot(stream, before)? {
        if let Ok(state) = saved::unsave::<S>(&saved) {
            return Ok(Some(Loaded { state, seq: saved.seq, folded: 0 }));
        }
        if saved.seq.0 == 0 {
            break;
        }
        before = Seq(saved.seq.0 - 1);
    }
    Ok(None)
}

/// The last event of a stream that had happened at `until`; 0 when none had.
///
/// Places of a stream rise with positions, so looking at some twenty events is enough for a million.
///
/// # Errors
/// Those of the store.
pub fn last_at(
    store: &dyn EventStore,
    stream: StreamId,
    until: Position,
) -> Result<Seq, StoreError> {
    let had_happened = |seq| -> Result<bool, StoreError> {
        let found = store.read_stream(stream, Seq(seq), 1)?;
        Ok(found.first().is_some_and(|record| record.position <= until))
    };
    let head = store.stream_head(stream)?.0;
    // Most often the moment is now.
    if head > 0 && had_happened(head)? {
        return Ok(Seq(head));
    }
    // All up to `low` had happened, none from `high` on.
    let (mut low, mut high) = (0, head);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if had_happened(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Seq(low))
}
