//! The keys of the one tree: what they name, and in which order.
//!
//! Tags are stable for ever and numbers big-endian, so that order on disk is order in time.

use std::ops::Range;

use crate::{Position, RunId, Seq, StreamId, store::Table};

/// Everything a key can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// What a stream got in one group, by the place of its first event.
    Events(StreamId, Seq),
    /// A group, by the position of its first event.
    Feed(Position),
    /// A saved state.
    Snapshot(StreamId, Seq),
    /// Output of a run, by the number of the first item.
    Output(RunId, u64),
    /// A row of a read model.
    Row(Table, Vec<u8>),
    /// The number of the last group without events.
    Tail,
    /// A piece of a value too large for one key: the key it belongs to, and its number from 0.
    Chunk(Vec<u8>, u16),
}

impl Key {
    /// The bytes on disk.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        match self {
            Self::Events(stream, first) => {
                bytes.push(1);
                bytes.extend(stream.to_bytes());
                bytes.extend(first.0.to_be_bytes());
            }
            Self::Feed(first) => {
                bytes.push(2);
                bytes.extend(first.0.to_be_bytes());
            }
            Self::Snapshot(stream, seq) => {
                bytes.push(3);
                bytes.extend(stream.to_bytes());
                bytes.extend(seq.0.to_be_bytes());
            }
            Self::Output(run, first) => {
                bytes.push(4);
                bytes.extend(run.as_bytes());
                bytes.extend(first.to_be_bytes());
            }
            Self::Row(table, key) => {
                bytes.extend([5, *table as u8]);
                bytes.extend(key);
            }
            Self::Tail => bytes.push(6),
            Self::Chunk(key, index) => {
                bytes.push(7);
                bytes.extend(key);
                bytes.extend(index.to_be_bytes());
            }
        }
        bytes
    }

    /// The least bytes greater than every row of a table.
    pub(super) fn end_of_rows(table: Table) -> Vec<u8> {
        vec![5, table as u8 + 1]
    }

    /// All keys of pieces.
    pub(super) fn all_chunks() -> Range<Vec<u8>> {
        vec![7]..vec![8]
    }

    /// Reads the bytes on disk; `None` for anything that [`Key::encode`] did not write.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            1 => stream_and_number(rest).map(|(stream, first)| Self::Events(stream, Seq(first))),
            2 => number(rest).map(|first| Self::Feed(Position(first))),
            3 => stream_and_number(rest).map(|(stream, seq)| Self::Snapshot(stream, Seq(seq))),
            4 => {
                let (run, first) = rest.split_first_chunk::<16>()?;
                let run = RunId::from_uuid(uuid::Uuid::from_bytes(*run));
                number(first).map(|first| Self::Output(run, first))
            }
            5 => {
                let (table, key) = rest.split_first()?;
                Table::from_number(*table).map(|table| Self::Row(table, key.to_vec()))
            }
            6 => rest.is_empty().then_some(Self::Tail),
            7 => {
                let (key, index) = rest.split_last_chunk::<2>()?;
                Some(Self::Chunk(key.to_vec(), u16::from_be_bytes(*index)))
            }
            _ => None,
        }
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn stream_and_number(bytes: &[u8]) -> Option<(StreamId, u64)> {
    let (stream, rest) = bytes.split_first_chunk::<{ StreamId::BYTES }>()?;
    Some((StreamId::from_bytes(*stream)?, number(rest)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{AgentId, BlockId, McpServerId, ToolId};

    fn streams() -> impl Strategy<Value = StreamId> {
        any::<([u8; 16], u8)>().prop_map(|(id, kind)| {
            let id = Uuid::from_bytes(id);
            match kind % 4 {
                0 => StreamId::Agent(AgentId::from_uuid(id)),
                1 => StreamId::Block(BlockId::from_uuid(id)),
                2 => StreamId::Tool(ToolId::from_uuid(id)),
                _ => StreamId::McpServer(McpServerId::from_uuid(id)),
            }
        })
    }

    fn tables() -> impl Strategy<Value = Table> {
        prop::sample::select(Table::ALL.to_vec())
    }

    fn keys() -> impl Strategy<Value = Key> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            (streams(), any::<u64>()).prop_map(|(stream, first)| Key::Events(stream, Seq(first))),
            any::<u64>().prop_map(|first| Key::Feed(Position(first))),
            (streams(), any::<u64>()).prop_map(|(stream, seq)| Key::Snapshot(stream, Seq(seq))),
            any::<([u8; 16], u64)>().prop_map(|(run, first)| {
                Key::Output(RunId::from_uuid(Uuid::from_bytes(run)), first)
            }),
            (tables(), bytes()).prop_map(|(table, key)| Key::Row(table, key)),
            Just(Key::Tail),
            (bytes(), any::<u16>()).prop_map(|(key, index)| Key::Chunk(key, index)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key in keys()) {
            prop_assert_eq!(Key::decode(&key.encode()), Some(key));
        }

        #[test]
        fn order_of_keys_is_order_of_places(stream in streams(), a in any::<u64>(), b in any::<u64>()) {
            let key = |seq| Key::Events(stream, Seq(seq)).encode();
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
            let key = |position| Key::Feed(Position(position)).encode();
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(key) = Key::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes);
            }
        }
    }
}
