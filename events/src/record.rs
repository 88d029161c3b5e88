//! What surrounds a fact in the log: which stream, which place in it, when, because of what.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    AgentId, BlockId, McpServerId, RunId, Timestamp, ToolId,
    codec::{DecodeError, Event},
};

/// Place of an event in its stream: 1, 2, 3, ... without gap. 0 is the place before the first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// The next place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Place of an event among all events of the server: 1, 2, 3, ... without gap. It names a moment of the whole server.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position(pub u64);

/// The history of one aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// An agent with its messages, runs and steps.
    Agent(AgentId),
    /// A block.
    Block(BlockId),
    /// A tool that a user made.
    Tool(ToolId),
    /// An MCP server that a user made known.
    McpServer(McpServerId),
}

impl StreamId {
    /// Bytes of a stream id: a stable tag, then the 16 bytes of the id.
    pub const BYTES: usize = 17;

    /// The stable byte form, used in keys and envelopes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let (tag, id) = match self {
            Self::Agent(id) => (1, id.uuid()),
            Self::Block(id) => (2, id.uuid()),
            Self::Tool(id) => (3, id.uuid()),
            Self::McpServer(id) => (4, id.uuid()),
        };
        let mut bytes = [0; Self::BYTES];
        bytes[0] = tag;
        bytes[1..].copy_from_slice(id.as_bytes());
        bytes
    }

    /// Reads the byte form; `None` for an unknown tag.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [tag, id @ ..] = bytes;
        let uuid = uuid::Uuid::from_bytes(id);
        match tag {
            1 => Some(Self::Agent(AgentId::from_uuid(uuid))),
            2 => Some(Self::Block(BlockId::from_uuid(uuid))),
            3 => Some(Self::Tool(ToolId::from_uuid(uuid))),
            4 => Some(Self::McpServer(McpServerId::from_uuid(uuid))),
            _ => None,
        }
    }
}

/// Number of an event's type, stable for ever. See [`crate::codec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(pub u16);

/// An event in stored form: postcard of exactly one frozen struct per type and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Which struct.
    pub event_type: EventType,
    /// Which version of it.
    pub version: u16,
    /// Its postcard bytes.
    pub payload: Bytes,
}

/// An event about to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its own id.
    pub id: Ulid,
    /// The event or request that caused it; nil when nothing is known.
    pub causation: Ulid,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub encoded: Encoded,
}

/// An event as read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its history.
    pub stream: StreamId,
    /// Its place there.
    pub seq: Seq,
    /// Its place among all.
    pub position: Position,
    /// The number of times the directory had been opened for writing when it was written.
    pub epoch: u32,
    /// Its own id.
    pub id: Ulid,
    /// The event or request that caused it; nil when nothing is known.
    pub causation: Ulid,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub encoded: Encoded,
}

/// An event as read from the log, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded<E> {
    /// Its place in its stream.
    pub seq: Seq,
    /// Its place among all.
    pub position: Position,
    /// When it happened.
    pub at: Timestamp,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// Its own id.
    pub id: Ulid,
    /// What happened.
    pub event: E,
}

impl Record {
    /// Reads what happened, lifting older versions.
    ///
    /// # Errors
    /// [`DecodeError`] when the event is newer than this program, of another aggregate, or not whole.
    pub fn decode<E: Event>(&self) -> Result<Recorded<E>, DecodeError> {
        let event = E::decode(&self.encoded)?;
        let &Self { seq, position, at, run, id, .. } = self;
        Ok(Recorded { seq, position, at, run, id, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent, block};

    #[test]
    fn a_record_is_understood_by_its_own_aggregate_only() {
        let event = agent::Event::Deleted(agent::Deleted {});
        let record = Record {
            stream: StreamId::Agent(AgentId::from_uuid(uuid::Uuid::nil())),
            seq: Seq(4),
            position: Position(9),
            epoch: 1,
            id: Ulid(5),
            causation: Ulid::nil(),
            run: None,
            at: Timestamp::from_micros(6),
            encoded: event.encode(),
        };
        let recorded = record.decode::<agent::Event>().unwrap();
        assert_eq!((recorded.seq, recorded.position), (Seq(4), Position(9)));
        assert_eq!(recorded.event, event);
        assert_eq!(record.decode::<block::Event>(), Err(DecodeError::UnknownType(110)));
    }
}
