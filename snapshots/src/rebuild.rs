//! All rows of the read models once more, from nothing but events: what makes them disposable.

use std::collections::BTreeMap;

use bytes::Bytes;
use retold_events::{
    AgentId, BlockId, Position, Record, StreamId,
    codec::{DecodeError, Event},
    store::{EventStore, RowChange, Table},
};

use crate::{agent, block, load::LoadError};

/// Events read from the store at a time.
const PAGE: usize = 1024;

/// Rows by table and key.
pub type Rows = BTreeMap<(Table, Vec<u8>), Bytes>;

/// Folds all events of the store in global order and gives the rows that follow from them.
///
/// Takes memory for every row and every aggregate's state at once.
///
/// # Errors
/// [`LoadError`].
pub fn rebuild(store: &dyn EventStore) -> Result<Rows, LoadError> {
    let mut rebuilt = Rebuilt::default();
    let mut from = Position(1);
    loop {
        let records = store.read_all(from, PAGE)?;
        let Some(last) = records.last() else { return Ok(rebuilt.rows) };
        from = Position(last.position.0 + 1);
        for record in &records {
            rebuilt.take(record).map_err(|source| LoadError::Event {
                stream: record.stream,
                seq: record.seq,
                source,
            })?;
        }
    }
}

#[derive(Default)]
struct Rebuilt {
    agents: BTreeMap<AgentId, agent::State>,
    blocks: BTreeMap<BlockId, block::State>,
    rows: Rows,
}

impl Rebuilt {
    fn take(&mut self, record: &Record) -> Result<(), DecodeError> {
        let changes = match record.stream {
            StreamId::Agent(id) => self.agent(id, record)?,
            StreamId::Block(id) => self.block(id, record)?,
        };
        for RowChange { table, key, value } in changes {
            match value {
                Some(value) => self.rows.insert((table, key), value),
                None => self.rows.remove(&(table, key)),
            };
        }
        Ok(())
    }

    fn agent(&mut self, id: AgentId, record: &Record) -> Result<Vec<RowChange>, DecodeError> {
        let event = agent_event(record)?;
        if let retold_events::agent::Event::Created(created) = &event {
            let state = agent::State::created(id, record.at, created);
            self.agents.entry(id).or_insert(state);
        }
        let Some(state) = self.agents.get_mut(&id) else { return Ok(Vec::new()) };
        Ok(agent::apply_and_project(state, record.at, &event))
    }

    fn block(&mut self, id: BlockId, record: &Record) -> Result<Vec<RowChange>, DecodeError> {
        let event = retold_events::block::Event::decode(&record.encoded)?;
        let changes = block::project(id, self.blocks.get(&id), record.at, &event);
        match (self.blocks.get_mut(&id), &event) {
            (Some(state), event) => block::apply(state, record.at, event),
            (None, retold_events::block::Event::Created(created)) => {
                let state = block::State::created(id, record.at, created.block.clone());
                self.blocks.insert(id, state);
            }
            (None, _) => {}
        }
        Ok(changes)
    }
}

fn agent_event(record: &Record) -> Result<retold_events::agent::Event, DecodeError> {
    Event::decode(&record.encoded)
}
