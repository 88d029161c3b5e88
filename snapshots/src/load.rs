//! Folding an aggregate from its newest usable saved state and the events after it.

use retold_events::{
    AgentId, BlockId, Position, Seq, StreamId, Timestamp,
    codec::{DecodeError, Event as _},
    store::{EventStore, SavedState, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{agent, block, saved};

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

/// An aggregate's way of folding, for [`agent()`] and [`block()`].
pub trait Aggregate: Serialize + DeserializeOwned + Sized {
    /// Its events.
    type Event: retold_events::codec::Event;

    /// The stream of the aggregate with this state.
    fn stream(&self) -> StreamId;

    /// The state after the first event; `None` when that event does not create it.
    fn begin(stream: StreamId, at: Timestamp, event: &Self::Event) -> Option<Self>;

    /// Folds a further event.
    fn fold(&mut self, at: Timestamp, event: &Self::Event);
}

impl Aggregate for agent::State {
    type Event = retold_events::agent::Event;

    fn stream(&self) -> StreamId {
        StreamId::Agent(self.id)
    }

    fn begin(stream: StreamId, at: Timestamp, event: &Self::Event) -> Option<Self> {
        match (stream, event) {
            (StreamId::Agent(id), Self::Event::Created(created)) => {
                Some(Self::created(id, at, created))
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

    fn begin(stream: StreamId, at: Timestamp, event: &Self::Event) -> Option<Self> {
        match (stream, event) {
            (StreamId::Block(id), Self::Event::Created(created)) => {
                Some(Self::created(id, at, created.block.clone()))
            }
            _ => None,
        }
    }

    fn fold(&mut self, at: Timestamp, event: &Self::Event) {
        block::apply(self, at, event);
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

/// Packs a state for [`retold_events::store::Commit::snapshots`].
#[must_use]
pub fn save<S: Aggregate>(state: &S, seq: Seq) -> SavedState {
    saved::save(state.stream(), seq, state)
}

fn load<S: Aggregate>(
    store: &dyn EventStore,
    stream: StreamId,
    until: Option<Position>,
) -> Result<Option<Loaded<S>>, LoadError> {
    let mut loaded: Option<Loaded<S>> = newest_saved(store, stream, until)?;
    let mut from = loaded.as_ref().map_or(Seq(1), |loaded| loaded.seq.next());
    loop {
        let records = store.read_stream(stream, from, PAGE)?;
        if records.is_empty() {
            return Ok(loaded);
        }
        for record in records {
            from = record.seq.next();
            if until.is_some_and(|until| record.position > until) {
                return Ok(loaded);
            }
            let event = S::Event::decode(&record.encoded).map_err(|source| LoadError::Event {
                stream,
                seq: record.seq,
                source,
            })?;
            match &mut loaded {
                Some(loaded) => {
                    loaded.state.fold(record.at, &event);
                    loaded.seq = record.seq;
                    loaded.folded += 1;
                }
                None => {
                    loaded = S::begin(stream, record.at, &event).map(|state| Loaded {
                        state,
                        seq: record.seq,
                        folded: 1,
                    });
                }
            }
        }
    }
}

/// The newest saved state that is readable and not after `until`.
fn newest_saved<S: Aggregate>(
    store: &dyn EventStore,
    stream: StreamId,
    until: Option<Position>,
) -> Result<Option<Loaded<S>>, LoadError> {
    let mut before = Seq(u64::MAX);
    while let Some(saved) = store.snapshot(stream, before)? {
        if let Ok(state) = saved::unsave::<S>(&saved)
            && is_not_after(store, stream, saved.seq, until)?
        {
            return Ok(Some(Loaded { state, seq: saved.seq, folded: 0 }));
        }
        if saved.seq.0 == 0 {
            break;
        }
        before = Seq(saved.seq.0 - 1);
    }
    Ok(None)
}

/// Whether the event at `seq` had happened at `until`.
fn is_not_after(
    store: &dyn EventStore,
    stream: StreamId,
    seq: Seq,
    until: Option<Position>,
) -> Result<bool, StoreError> {
    let Some(until) = until else { return Ok(true) };
    Ok(store.read_stream(stream, seq, 1)?.first().is_some_and(|record| record.position <= until))
}
