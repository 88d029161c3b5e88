//! All rows once more while a log is written again, in bounded memory: states that were not needed for long are saved
//! beside their events, and loaded again when their stream goes on.

use std::collections::{BTreeMap, HashMap};

use retold_events::{
    Record, Seq, StreamId,
    store::{Commit, EventStore, KEPT_STATE_EVENTS, SavedState},
};

use super::Projector;
use crate::{
    agent,
    load::{self, Aggregate as _, LoadError, understood},
    tool,
};

/// Events after which a state that is left at the end is saved: waking its agent then folds less.
const SAVED_AFTER: u64 = 64;

/// A stream that cannot be folded to its end, as it could not where the log came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Which.
    pub stream: StreamId,
    /// The first event that cannot be read.
    pub seq: Seq,
    /// Why.
    pub reason: String,
}

/// Folds events in the order of the log, and gives what is derived from them.
#[derive(Debug, Default)]
pub struct Refill {
    projector: Projector,
    held: HashMap<StreamId, Held>,
    bytes: usize,
    budget: usize,
    /// Counts events, so that what was used longest ago is known.
    clock: u64,
    unreadable: BTreeMap<StreamId, Unreadable>,
}

/// A state in memory.
#[derive(Debug, Clone, Copy)]
struct Held {
    seq: Seq,
    saved: Seq,
    used: u64,
    bytes: usize,
}

impl Refill {
    /// One whose states take about `budget` bytes.
    #[must_use]
    pub fn within(budget: usize) -> Self {
        Self { budget, ..Self::default() }
    }

    /// Whether `record` can be taken only once the store holds all before it: a fork begins with its parent's state.
    #[must_use]
    pub fn needs_all_before(&self, record: &Record) -> bool {
        let is_first_of_agent = record.seq == Seq(1) && matches!(record.stream, StreamId::Agent(_));
        is_first_of_agent
            && understood::<agent::State>(record)
                .is_ok_and(|event| agent::State::origin(&event).is_some())
    }

    /// Folds the next event, and adds to `derived` what follows from it. `store` holds what was taken before the states
    /// were last let go of, see [`Refill::make_room`].
    ///
    /// # Errors
    /// Those of the store. An event that cannot be read ends the folding of its stream, and of no other.
    pub fn take(
        &mut self,
        store: &dyn EventStore,
        record: &Record,
        derived: &mut Commit,
    ) -> Result<(), LoadError> {
        let stream = record.stream;
        if self.unreadable.contains_key(&stream) {
            return Ok(());
        }
        self.clock += 1;
        match self.fold(store, record) {
            Ok(rows) => derived.rows.extend(rows),
            Err(LoadError::Event { seq, source, .. }) => {
                let reason = source.to_string();
                self.unreadable.insert(stream, Unreadable { stream, seq, reason });
                self.let_go(stream);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.note(stream, record.seq);
        if record.seq.0.is_multiple_of(KEPT_STATE_EVENTS) {
            derived.snapshots.extend(self.save(stream));
        }
        Ok(())
    }

    /// Lets go of states beyond the budget, and gives them to be saved. All that was taken must be in the store.
    #[must_use]
    pub fn make_room(&mut self) -> Vec<SavedState> {
        let mut saved = Vec::new();
        if self.bytes <= self.budget {
            return saved;
        }
        let mut oldest: Vec<(u64, StreamId)> =
            self.held.iter().map(|(stream, held)| (held.used, *stream)).collect();
        oldest.sort_unstable();
        for (_, stream) in oldest {
            if self.bytes <= self.budget / 2 {
                break;
            }
            saved.extend(self.save(stream));
            self.let_go(stream);
        }
        saved
    }

    /// The states that are worth saving at the end, and the streams that could not be folded.
    #[must_use]
    pub fn finish(mut self) -> (Vec<SavedState>, Vec<Unreadable>) {
        let worth = |held: &Held| held.seq.0 - held.saved.0 >= SAVED_AFTER;
        let streams: Vec<StreamId> =
            self.held.iter().filter(|(_, held)| worth(held)).map(|(stream, _)| *stream).collect();
        let saved = streams.into_iter().filter_map(|stream| self.save(stream)).collect();
        (saved, self.unreadable.into_values().collect())
    }

    fn fold(
        &mut self,
        store: &dyn EventStore,
        record: &Record,
    ) -> Result<Vec<retold_events::store::RowChange>, LoadError> {
        if record.seq > Seq(1) && !self.held.contains_key(&record.stream) {
            let before = Seq(record.seq.0 - 1);
            match record.stream {
                StreamId::Agent(id) => {
                    let loaded = load::agent_to(store, id, before)?;
                    self.projector.agents.extend(loaded.map(|loaded| (id, loaded.state)));
                }
                StreamId::Block(id) => {
                    let loaded = load::block_to(store, id, before)?;
                    self.projector.blocks.extend(loaded.map(|loaded| (id, loaded.state)));
                }
                StreamId::Tool(id) => {
                    let loaded = load::tool_to(store, id, before)?;
                    self.projector.tools.extend(loaded.map(|loaded| (id, loaded.state)));
                }
                StreamId::McpServer(id) => {
                    let loaded = load::mcp_server_to(store, id, before)?;
                    self.projector.mcp_servers.extend(loaded.map(|loaded| (id, loaded.state)));
                }
            }
        }
        self.projector.take(store, record)
    }

    /// Notes that a stream's state was used.
    fn note(&mut self, stream: StreamId, seq: Seq) {
        let bytes = match stream {
            StreamId::Agent(id) => self.projector.agents.get(&id).map_or(0, bytes_of_agent),
            StreamId::Block(id) => {
                self.projector.blocks.get(&id).map_or(0, |state| 1024 + state.block.value.len())
            }
            StreamId::Tool(id) => self.projector.tools.get(&id).map_or(0, bytes_of_tool),
            // Few, and small.
            StreamId::McpServer(_) => 1024,
        };
        let fresh = Held { seq, saved: Seq(seq.0 - 1), used: self.clock, bytes: 0 };
        let held = self.held.entry(stream).or_insert(fresh);
        self.bytes = self.bytes - held.bytes + bytes;
        *held = Held { seq, used: self.clock, bytes, ..*held };
    }

    fn save(&mut self, stream: StreamId) -> Option<SavedState> {
        let held = self.held.get_mut(&stream)?;
        held.saved = held.seq;
        match stream {
            StreamId::Agent(id) => {
                self.projector.agents.get(&id).map(|state| load::save(state, held.seq))
            }
            StreamId::Block(id) => {
                self.projector.blocks.get(&id).map(|state| load::save(state, held.seq))
            }
            StreamId::Tool(id) => {
                self.projector.tools.get(&id).map(|state| load::save(state, held.seq))
            }
            StreamId::McpServer(id) => {
                self.projector.mcp_servers.get(&id).map(|state| load::save(state, held.seq))
            }
        }
    }

    fn let_go(&mut self, stream: StreamId) {
        if let Some(held) = self.held.remove(&stream) {
            self.bytes -= held.bytes;
        }
        match stream {
            StreamId::Agent(id) => drop(self.projector.agents.remove(&id)),
            StreamId::Block(id) => drop(self.projector.blocks.remove(&id)),
            StreamId::Tool(id) => drop(self.projector.tools.remove(&id)),
            StreamId::McpServer(id) => drop(self.projector.mcp_servers.remove(&id)),
        }
    }
}

/// The source, the schema, and what any state costs.
fn bytes_of_tool(state: &tool::State) -> usize {
    let source = state.tool.source.as_ref().map_or(0, String::len);
    1024 + source + state.tool.schema.as_str().len()
}

/// What is in context, the settings, and what any state costs.
fn bytes_of_agent(state: &agent::State) -> usize {
    let threads = state.threads.values().map(|thread| thread.bytes).fold(0, u64::saturating_add);
    let threads = usize::try_from(threads).unwrap_or(usize::MAX);
    threads.saturating_add(4096 + 2 * state.config.system.len())
}
