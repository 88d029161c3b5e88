//! Groups that were written elsewhere, written again byte for byte: how a backup becomes a data directory.
//!
//! Everything is checked as it would be on reading: each event follows from the one before in its stream, each group from
//! everything before. What is derived from the events is given along, as for any commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::PoisonError,
};

use super::{SledStore, State, Writer, feed::Group, head::SavedHead, keys::Key, tip_of, values};
use crate::{
    Position, Seq, StreamId,
    envelope::Envelope,
    store::{
        Commit, EventStore as _, Head, RawGroup, StoreError, damaged,
        group::{Plan, Tip},
        sled::{Changes, io_failure},
    },
};

impl SledStore {
    /// Writes groups as they are, and what follows from them: all or nothing, durable on return. They must go on from
    /// the head. Only one thread may call this, and none of the usual writers.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when they are not what follows; any storage error, as for [`SledStore::append`].
    ///
    /// [`SledStore::append`]: crate::store::EventStore::append
    pub fn import(&self, groups: &[RawGroup], derived: &Commit) -> Result<(), StoreError> {
        let mut writer = self.lock_writer();
        if !matches!(writer.state, State::Open) {
            return Err(StoreError::Closed("it was closed".to_owned()));
        }
        match self.try_import(&mut writer, groups, derived) {
            Ok(head) => {
                *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
                Ok(())
            }
            Err(error) => {
                writer.state = State::Failed(error.to_string());
                Err(error)
            }
        }
    }

    /// Lets what is written from now on be of a later epoch than `epoch`.
    ///
    /// # Errors
    /// Storage errors.
    pub fn go_on_after(&self, epoch: u32) -> Result<(), StoreError> {
        let mut writer = self.lock_writer();
        let mut head = self.head();
        head.epoch = head.epoch.max(epoch.saturating_add(1));
        let group = writer.group;
        // Both slots: the other one would give the old epoch if this one were lost.
        for _ in 0..2 {
            writer.head_file.write(&SavedHead { group, head }).map_err(io_failure)?;
        }
        writer.head_file.sync().map_err(io_failure)?;
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(())
    }

    fn try_import(
        &self,
        writer: &mut Writer,
        groups: &[RawGroup],
        derived: &Commit,
    ) -> Result<Head, StoreError> {
        let mut head = self.head();
        let first = after(head.position);
        // One number for all: they are written together, so they are one group to the journal.
        let number = writer.group + 1;
        let mut changes = Changes::new();
        let mut tips: HashMap<StreamId, Tip> = HashMap::new();
        for group in groups {
            if group.first != after(head.position) {
                let detail = format!("the next group begins at {:?}", group.first);
                return Err(damaged(format!("{:?}", after(head.position)))(detail));
            }
            let packed = self.pack(writer, group, &mut head, &mut tips)?;
            let streams = packed.iter().map(|(stream, pack)| (*stream, pack.first, pack.count));
            let Head { position: last, chain, at, .. } = head;
            let record = Group { number, last, at, chain, streams: streams.collect() };
            values::put(&mut changes, Key::Feed(group.first).encode(), &record.encode());
            for (stream, Pack { first, envelopes, .. }) in packed {
                values::put(&mut changes, Key::Events(stream, first).encode(), &envelopes);
            }
        }
        if groups.is_empty() {
            values::put(&mut changes, Key::Tail.encode(), &number.to_be_bytes());
        }
        let (answers, streams) = (Vec::new(), Vec::new());
        let plan = Plan { answers, accepted: vec![derived], streams, first, head };
        self.add_derived(&mut changes, &mut writer.cut_tables, &plan)?;
        self.commit(writer, SavedHead { group: number, head }, changes)?;
        for (stream, tip) in tips {
            writer.tips.set(stream, tip);
        }
        Ok(head)
    }

    /// What each stream gets in a group, after the proof that it follows.
    fn pack(
        &self,
        writer: &mut Writer,
        group: &RawGroup,
        head: &mut Head,
        tips: &mut HashMap<StreamId, Tip>,
    ) -> Result<BTreeMap<StreamId, Pack>, StoreError> {
        let mut packed: BTreeMap<StreamId, Pack> = BTreeMap::new();
        for Envelope { record, previous, hash, bytes } in group.prove(head.chain)? {
            let tip = match tips.get(&record.stream) {
                Some(tip) => *tip,
                None => match writer.tips.get(record.stream) {
                    Some(tip) => tip,
                    None => tip_of(&self.tree, record.stream)?,
                },
            };
            if record.seq != tip.seq.next() || previous != tip.hash {
                let place = format!("{:?} at {:?}", record.stream, record.seq);
                return Err(damaged(place)("it does not follow from the event before"));
            }
            tips.insert(record.stream, Tip { seq: record.seq, hash });
            let empty = || Pack { first: record.seq, count: 0, envelopes: Vec::new() };
            let pack = packed.entry(record.stream).or_insert_with(empty);
            pack.count += 1;
            pack.envelopes.extend_from_slice(&bytes);
            (head.position, head.at) = (record.position, record.at);
        }
        head.chain = group.chain;
        Ok(packed)
    }
}

/// What a stream gets in a group.
struct Pack {
    first: Seq,
    count: u32,
    envelopes: Vec<u8>,
}

fn after(position: Position) -> Position {
    Position(position.0 + 1)
}
