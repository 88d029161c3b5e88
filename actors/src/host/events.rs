//! The log as a client reads it: the events of everything, of an agent or of a run, past ones and those that come.
//!
//! A reader is a cursor and nothing else. What it reads is bounded by number and by bytes, so one that stops reading holds
//! no more than its last page, and nobody waits for it.
//!
//! **Wake-ups.** The committer tells of streams ([`retold_events::log::Watch`]), so a follower of an agent sleeps while
//! other agents are busy: a thousand of them cost the committer one look-up per commit and the readers nothing. Followers
//! of the whole log are woken by every group that has events; having read, each lets [`PAUSE`] pass before it reads again.
//! So under load it reads what has gathered, at most fifty times a second, and an event that comes alone is shown at once.
//!
//! **The events of a run** are those of its agent's stream that name it, from its acceptance to its end; what came of it
//! later (its callback, a judgement of one of its steps) where the read models know of any; and the edits its tools made
//! of blocks, which stand in the same commit as the end of the step. All in the order of the log.

mod read;
mod run;

use std::time::Duration;

use retold_events::{
    AgentId, EventType, Position, Record, RunId, Seq, StreamId, Timestamp, agent, block,
    codec::{DecodeError, Event as _},
    log::Watch,
    mcp,
    store::{EventStore, StoreError},
    tool,
};
use retold_snapshots::load;
use tokio::time::{Instant, sleep_until};
use ulid::Ulid;

use self::run::RunReader;
use super::Host;
use crate::Refusal;

/// Between two reads of one follower, at least.
const PAUSE: Duration = Duration::from_millis(20);
/// Events that are read for a follower at once, at most.
const PAGE_EVENTS: usize = 256;

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that happens.
    All,
    /// What happens to an agent, with its messages, runs and steps. One that was deleted can still be read.
    Agent(AgentId),
    /// What belongs to a run.
    Run(RunId),
}

/// An event as read from the log, of whatever stream.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEvent {
    /// Its history.
    pub stream: StreamId,
    /// Its place there.
    pub seq: Seq,
    /// Its place among all.
    pub position: Position,
    /// Its own id.
    pub id: Ulid,
    /// The event that caused it; nil when nothing is known.
    pub causation: Ulid,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
}

/// What happened, to whatever it was.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most events are of agents, and none is kept for long"
)]
pub enum Fact {
    /// To an agent.
    Agent(agent::Event),
    /// To a block.
    Block(block::Event),
    /// To a tool that a user made.
    Tool(tool::Event),
    /// To an MCP server that a user made known.
    McpServer(mcp::Event),
    /// Something this program cannot read. It hides no other event.
    Unreadable {
        /// The number of its type.
        event_type: EventType,
        /// The version of it.
        version: u16,
        /// Why.
        error: DecodeError,
    },
}

impl From<Record> for LogEvent {
    fn from(record: Record) -> Self {
        let unreadable = |error| {
            let (event_type, version) = (record.encoded.event_type, record.encoded.version);
            Fact::Unreadable { event_type, version, error }
        };
        let fact = match record.stream {
            StreamId::Agent(_) => agent::Event::decode(&record.encoded).map(Fact::Agent),
            StreamId::Block(_) => block::Event::decode(&record.encoded).map(Fact::Block),
            StreamId::Tool(_) => tool::Event::decode(&record.encoded).map(Fact::Tool),
            StreamId::McpServer(_) => mcp::Event::decode(&record.encoded).map(Fact::McpServer),
        };
        let fact = fact.unwrap_or_else(unreadable);
        let Record { stream, seq, position, id, causation, run, at, .. } = record;
        Self { stream, seq, position, id, causation, run, at, fact }
    }
}

/// How far a reader has come, in the terms of what it reads.
#[derive(Debug, Clone)]
enum Place {
    All,
    Stream { stream: StreamId, next: Seq },
    Run(RunReader),
}

/// A reader of events, with a cursor. Dropping it is all it takes to stop.
#[derive(Debug)]
pub struct EventFollow {
    host: Host,
    place: Place,
    cursor: Position,
    /// `None` until there was something to wait for.
    watch: Option<Watch>,
    /// Whether all that was there has been read, and nothing new was told since.
    at_end: bool,
    last_read: Instant,
}

impl Host {
    /// A reader of events after the one at `after`; 0 is before the first. [`Host::log`] knows the last one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an agent or run that never was, and for a position that has not come yet.
    pub async fn follow_events(
        &self,
        scope: Scope,
        after: Position,
    ) -> Result<EventFollow, Refusal> {
        if after > self.log().head().position {
            return Err(Refusal::NotFound { what: "Position", id: after.0.to_string() });
        }
        let place = match scope {
            Scope::All => Place::All,
            Scope::Agent(agent) => self.place_in_agent(agent, after).await?,
            Scope::Run(run) => {
                let row = self.run(run).await?;
                Place::Run(self.read(move |store| RunReader::open(store, &row, after)).await?)
            }
        };
        let last_read = Instant::now();
        let host = self.clone();
        Ok(EventFollow { host, place, cursor: after, watch: None, at_end: false, last_read })
    }

    async fn place_in_agent(&self, agent: AgentId, after: Position) -> Result<Place, Refusal> {
        let stream = StreamId::Agent(agent);
        let found = self.read(move |store| {
            let exists = store.stream_head(stream)? > Seq(0);
            Ok(exists.then_some(next_after(store, stream, after)?))
        });
        let next = found.await?.ok_or_else(|| Refusal::no_agent(agent))?;
        Ok(Place::Stream { stream, next })
    }

    /// The last events before the one at `before`, oldest first: at most `limit`, fewer where they are large, none only
    /// where there are none.
    ///
    /// # Errors
    /// As [`Host::follow_events`].
    pub async fn events_before(
        &self,
        scope: Scope,
        before: Position,
        limit: usize,
    ) -> Result<Vec<LogEvent>, Refusal> {
        let until = Position(before.0.saturating_sub(1).min(self.log().head().position.0));
        match scope {
            Scope::All => self.read(move |store| read::back_all(store, until, limit)).await,
            Scope::Agent(agent) => {
                // Refuses an agent that never was.
                self.place_in_agent(agent, until).await?;
                let stream = StreamId::Agent(agent);
                self.read(move |store| read::back_stream(store, stream, until, limit)).await
            }
            Scope::Run(run) => {
                let row = self.run(run).await?;
                let reader = move |store: &dyn EventStore| {
                    RunReader::open(store, &row, Position(0))?.until(store, until, limit)
                };
                self.read(reader).await
            }
        }
    }
}

/// The place in a stream of its first event after `after`.
fn next_after(
    store: &dyn EventStore,
    stream: StreamId,
    after: Position,
) -> Result<Seq, StoreError> {
    if after == Position(0) {
        return Ok(Seq(1));
    }
    Ok(load::last_at(store, stream, after)?.next())
}

impl EventFollow {
    /// Everything up to this position was handed out or is none of it: the place to go on from later.
    #[must_use]
    pub fn cursor(&self) -> Position {
        self.cursor
    }

    /// The next events that are there already: at most `limit`, fewer where they are large. None at the end of the log.
    ///
    /// # Errors
    /// [`Refusal::Storage`] when the log cannot be read.
    pub async fn past(&mut self, limit: usize) -> Result<Vec<LogEvent>, Refusal> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let (mut place, cursor) = (self.place.clone(), self.cursor);
        let read = move |store: &dyn EventStore| {
            let page = place.read(store, cursor, limit)?;
            Ok((page, place))
        };
        let (page, place) = self.host.read(read).await?;
        // Nothing is awaited from here on, so a reader that is dropped in between has lost nothing.
        self.place = place;
        self.last_read = Instant::now();
        self.at_end = page.is_empty();
        if let Some(last) = page.last() {
            self.cursor = last.position;
        }
        Ok(page)
    }

    /// The next events, in order; waits for them. `None` once a run has ended, and never for anything else. Cancel-safe.
    ///
    /// # Errors
    /// [`Refusal::Storage`] when the log cannot be read, or nothing more will be written.
    pub async fn next(&mut self) -> Result<Option<Vec<LogEvent>>, Refusal> {
        loop {
            // Before the read, so that what comes right after it is told.
            if self.watch.is_none() {
                self.watch = Some(self.host.log().watch(self.place.stream()));
                self.at_end = false;
            }
            if !self.at_end {
                let page = self.past(PAGE_EVENTS).await?;
                if !page.is_empty() {
                    return Ok(Some(page));
                }
            }
            if self.is_over() {
                return Ok(None);
            }
            if let Some(watch) = &mut self.watch {
                watch.changed().await?;
                self.at_end = false;
                // What comes alone is shown at once, and of what comes in floods some gathers.
                sleep_until(self.last_read + PAUSE).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(&self.place, Place::Run(reader) if reader.is_over())
    }
}

impl Place {
    /// What is to be watched; `None` for everything.
    fn stream(&self) -> Option<StreamId> {
        match self {
            Self::All => None,
            Self::Stream { stream, .. } => Some(*stream),
            Self::Run(reader) => Some(reader.stream()),
        }
    }

    /// The next page after `cursor`, and the place after it.
    fn read(
        &mut self,
        store: &dyn EventStore,
        cursor: Position,
        limit: usize,
    ) -> Result<Vec<LogEvent>, StoreError> {
        match self {
            Self::All => read::all(store, Position(cursor.0 + 1), limit),
            Self::Stream { stream, next } => {
                let page = read::stream(store, *stream, *next, limit)?;
                *next = page.last().map_or(*next, |last| last.seq.next());
                Ok(page)
            }
            Self::Run(reader) => reader.read(store, cursor, limit),
        }
    }
}
