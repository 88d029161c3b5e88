//! A group of events as it was written: what an archive holds, and what the proof of a log is made over.
//!
//! The hash of a group chains it to everything before, so groups keep their bounds wherever they are copied to. It must
//! not know where they are kept.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};

use super::{StoreError, damaged};
use crate::{
    Position, Record, Seq, StreamId,
    envelope::{self, Envelope, Hash},
};

/// Events that were committed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawGroup {
    /// Position of its first event.
    pub first: Position,
    /// Hash over everything up to its end.
    pub chain: [u8; 16],
    /// Its envelopes in the order of their positions, byte for byte as stored.
    pub envelopes: Vec<Bytes>,
}

impl RawGroup {
    /// Position of its last event.
    #[must_use]
    pub fn last(&self) -> Position {
        Position(self.first.0.saturating_add(self.envelopes.len() as u64).saturating_sub(1))
    }

    /// Its envelopes with their positions. A group of somebody else's may say that it begins anywhere.
    fn placed(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        let positions = (0..).map(|number| self.first.0.saturating_add(number));
        positions.zip(&self.envelopes)
    }

    /// Bytes of its envelopes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.envelopes.iter().map(Bytes::len).sum()
    }

    /// What happened.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when an envelope is not whole.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::with_capacity(self.envelopes.len());
        for (position, bytes) in self.placed() {
            let envelope = envelope::read(&mut bytes.clone());
            let place = format!("position {position}");
            records.push(envelope.map_err(damaged(place))?.record);
        }
        Ok(records)
    }

    /// Proves that each event follows from the one before in its stream, whose place and hash `tips` remembers.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for the first that does not; `tips` are those of the group all the same.
    pub fn follow(&self, tips: &mut BTreeMap<StreamId, (Seq, [u8; 16])>) -> Result<(), StoreError> {
        let mut result = Ok(());
        for (position, bytes) in self.placed() {
            let envelope = envelope::read(&mut bytes.clone());
            let place = format!("position {position}");
            let Envelope { record, previous, hash, .. } = envelope.map_err(damaged(place))?;
            let (seq, before) = tips.get(&record.stream).copied().unwrap_or_default();
            if result.is_ok() && (record.seq != seq.next() || previous != before) {
                let place = format!("{:?} at {:?}", record.stream, record.seq);
                result = Err(damaged(place)("it does not follow from the event before"));
            }
            tips.insert(record.stream, (record.seq, hash));
        }
        result
    }

    /// The bytes in an archive: first position, hash, number of events, envelopes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 16 + 4 + self.bytes());
        bytes.put_u64(self.first.0);
        bytes.put_slice(&self.chain);
        bytes.put_u32(u32::try_from(self.envelopes.len()).expect("a group has few events"));
        self.envelopes.iter().for_each(|envelope| bytes.put_slice(envelope));
        bytes
    }

    /// Reads what [`RawGroup::encode`] wrote, as far as that can be told from the bytes alone.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, String> {
        let short = |_| "a group ends early".to_owned();
        let first = Position(bytes.try_get_u64().map_err(short)?);
        let mut chain = Hash::default();
        bytes.try_copy_to_slice(&mut chain).map_err(short)?;
        let count = bytes.try_get_u32().map_err(short)?;
        let mut envelopes = Vec::new();
        while !bytes.is_empty() {
            let envelope = envelope::read(&mut bytes).map_err(|error| error.to_string())?;
            envelopes.push(envelope.bytes);
        }
        if envelopes.is_empty() || envelopes.len() as u64 != u64::from(count) {
            return Err(format!("{} events where there were {count}", envelopes.len()));
        }
        Ok(Self { first, chain, envelopes })
    }

    /// Its events, proven to be whole, in their places, and to follow from everything before, whose hash is `before`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], naming the place.
    pub(super) fn prove(&self, before: Hash) -> Result<Vec<Envelope>, StoreError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&before);
        let mut proven = Vec::with_capacity(self.envelopes.len());
        for (position, bytes) in self.placed() {
            let place = || format!("position {position}");
            let mut rest = bytes.clone();
            let envelope = envelope::read(&mut rest).map_err(damaged(place()))?;
            if !rest.is_empty() || envelope.record.position.0 != position {
                return Err(damaged(place())("another event is in its place"));
            }
            hasher.update(&envelope.hash);
            proven.push(envelope);
        }
        if envelope::truncated(&hasher.finalize()) != self.chain {
            let group = format!("positions {} to {}", self.first.0, self.last().0);
            return Err(damaged(group)("their hash does not follow from everything before"));
        }
        Ok(proven)
    }
}
