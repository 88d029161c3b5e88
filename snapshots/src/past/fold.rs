//! Folding events into the rows of a moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use retold_events::{
    AgentId, Position, Record, Seq, StreamId,
    store::{EventStore, RowChange, Table},
};

use super::{Bounds, Content, Past, PastError, Tables};
use crate::{load::LoadError, rebuild::Projector};

/// Events read from the store at a time. Between them the fold can be stopped.
const PAGE: usize = 256;

/// Bytes that the fold needs to remember of an agent or a block, about.
const STATE_ITSELF: usize = 2048;

impl Past {
    /// All rows of one agent as they stood at `position`, messages included. It is empty when there was no such agent.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn of_agent(
        live: Arc<dyn EventStore>,
        agent: AgentId,
        position: Position,
        bounds: Bounds<'_>,
    ) -> Result<Self, PastError> {
        let past = Self::nothing(live, Some(agent), position, Tables::ALL);
        let mut fold = Fold::new(past, Projector::default(), bounds);
        let stream = StreamId::Agent(agent);
        let mut from = Seq(1);
        loop {
            let records = fold.past.live.read_stream(stream, from, PAGE)?;
            let Some(last) = records.last() else { return Ok(fold.past) };
            from = last.seq.next();
            for record in records {
                if record.position > position {
                    return Ok(fold.past);
                }
                fold.take(&record)?;
            }
            fold.check()?;
        }
    }

    /// Rows of the whole server as they stood at `position`, of these tables. A history that cannot be read is left
    /// where it breaks off, so that it hides no other.
    ///
    /// # Panics
    /// When it is asked for messages: those are read for one agent at a time.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn of_server(
        live: Arc<dyn EventStore>,
        position: Position,
        tables: Tables,
        bounds: Bounds<'_>,
    ) -> Result<Self, PastError> {
        assert!(!tables.hold(Table::Messages), "messages are read for one agent at a time");
        let past = Self::nothing(live, None, position, tables);
        let mut fold = Fold::new(past, Projector::light(), bounds);
        let mut broken = BTreeSet::new();
        let mut from = Position(1);
        loop {
            let records = fold.past.live.read_all(from, PAGE)?;
            let Some(last) = records.last() else { return Ok(fold.past) };
            from = Position(last.position.0 + 1);
            for record in records {
                if record.position > position {
                    return Ok(fold.past);
                }
                if broken.contains(&record.stream) {
                    continue;
                }
                match fold.take(&record) {
                    Err(PastError::Load(error @ LoadError::Event { .. })) => {
                        broken.insert(record.stream);
                        fold.past.unreadable.push(error.to_string());
                    }
                    taken => taken?,
                }
            }
            fold.check()?;
        }
    }

    fn nothing(
        live: Arc<dyn EventStore>,
        agent: Option<AgentId>,
        position: Position,
        tables: Tables,
    ) -> Self {
        let (rows, unreadable) = (BTreeMap::new(), Vec::new());
        Self { position, tables, agent, live, rows, bytes: 0, unreadable }
    }

    fn change(&mut self, change: RowChange, stays: bool) {
        let RowChange { table, key, value } = change;
        let rows = self.rows.entry(table).or_default();
        if let Some(before) = rows.remove(&key) {
            self.bytes -= before.bytes(&key);
        }
        if let Some(value) = value {
            let content = if stays { Content::There } else { Content::Here(value) };
            self.bytes += content.bytes(&key);
            rows.insert(key, content);
        }
    }
}

/// A past that comes to be.
struct Fold<'a> {
    past: Past,
    projector: Projector,
    bounds: Bounds<'a>,
}

impl<'a> Fold<'a> {
    fn new(past: Past, projector: Projector, bounds: Bounds<'a>) -> Self {
        Self { past, projector, bounds }
    }

    fn take(&mut self, record: &Record) -> Result<(), PastError> {
        let live = Arc::clone(&self.past.live);
        for change in self.projector.take(&*live, record)? {
            if self.past.tables.hold(change.table) {
                let stays = self.stays(record.stream, &change);
                self.past.change(change, stays);
            }
        }
        Ok(())
    }

    /// Whether what is written now is never written again: true of steps, and of messages but for the system's.
    fn stays(&self, stream: StreamId, change: &RowChange) -> bool {
        match change.table {
            Table::RunSteps | Table::Steps | Table::Asked => true,
            Table::Messages => {
                let StreamId::Agent(agent) = stream else { return false };
                let Some(state) = self.projector.state(agent) else { return false };
                !state
                    .threads
                    .values()
                    .any(|thread| change.key.ends_with(thread.system.id.as_bytes()))
            }
            Table::Agents
            | Table::Tags
            | Table::Blocks
            | Table::BlockAgents
            | Table::Runs
            | Table::AgentRuns
            | Table::OpenRuns
            | Table::Feedback
            | Table::Ancestors
            | Table::Tools
            | Table::ToolSources
            | Table::McpServers
            | Table::Waiting => false,
        }
    }

    fn check(&self) -> Result<(), PastError> {
        let Bounds { max_bytes, stop } = self.bounds;
        if stop.load(Ordering::Relaxed) {
            return Err(PastError::Stopped);
        }
        if self.past.bytes + self.projector.count() * STATE_ITSELF > max_bytes {
            return Err(PastError::TooLarge { max_bytes });
        }
        Ok(())
    }
}
