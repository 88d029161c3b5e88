//! What is stored about each group that has events: where they are, and the hash that chains it to the group before.

use bytes::{Buf, BufMut};

use crate::{Position, Seq, StreamId, Timestamp, envelope::Hash};

/// A group with events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its number among all groups, those without events too.
    pub(super) number: u64,
    /// Position of its last event.
    pub(super) last: Position,
    /// When that happened.
    pub(super) at: Timestamp,
    /// Hash over all events up to it.
    pub(super) chain: Hash,
    /// Where its events are: stream, place of the first, how many.
    pub(super) streams: Vec<(StreamId, Seq, u32)>,
}

const FIXED_BYTES: usize = 8 + 8 + 8 + 16;
const STREAM_BYTES: usize = StreamId::BYTES + 8 + 4;

impl Group {
    /// The bytes on disk.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.streams.len() * STREAM_BYTES);
        bytes.put_u64(self.number);
        bytes.put_u64(self.last.0);
        bytes.put_i64(self.at.as_micros());
        bytes.put_slice(&self.chain);
        for (stream, first, count) in &self.streams {
            bytes.put_slice(&stream.to_bytes());
            bytes.put_u64(first.0);
            bytes.put_u32(*count);
        }
        bytes
    }

    /// Reads the bytes on disk; `None` for anything else.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let number = bytes.try_get_u64().ok()?;
        let last = Position(bytes.try_get_u64().ok()?);
        let at = Timestamp::from_micros(bytes.try_get_i64().ok()?);
        let mut chain = Hash::default();
        bytes.try_copy_to_slice(&mut chain).ok()?;
        let mut streams = Vec::with_capacity(bytes.len() / STREAM_BYTES);
        while !bytes.is_empty() {
            let mut stream = [0; StreamId::BYTES];
            bytes.try_copy_to_slice(&mut stream).ok()?;
            let first = Seq(bytes.try_get_u64().ok()?);
            let count = bytes.try_get_u32().ok()?;
            streams.push((StreamId::from_bytes(stream)?, first, count));
        }
        Some(Self { number, last, at, chain, streams })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::AgentId;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in any::<(u64, u64, i64, [u8; 16])>(),
            streams in prop::collection::vec(any::<(u128, u64, u32)>(), 0..20),
        ) {
            let streams = streams.into_iter().map(|(id, first, count)| {
                let agent = AgentId::from_uuid(uuid::Uuid::from_u128(id));
                (StreamId::Agent(agent), Seq(first), count)
            });
            let (number, last, at, chain) = numbers;
            let (last, at) = (Position(last), Timestamp::from_micros(at));
            let group = Group { number, last, at, chain, streams: streams.collect() };
            prop_assert_eq!(Group::decode(&group.encode()), Some(group));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Group::decode(&bytes);
        }
    }
}
