//! What a group becomes on disk: one value per stream, one for the group, and what is derived from the events.
//!
//! Each key costs sled as much as the rest of a small commit, so there is none that a read does not need.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use bytes::{BufMut, Bytes};

use super::{
    Open, SledStore, Writer, feed::Group, head::SavedHead, keeper, keys::Key, pieces, span, values,
};
use crate::{
    Seq, StreamId,
    store::{
        Head, StoreError, Table,
        group::Plan,
        kept::{NEWEST, kept, stretch},
        sled::{Changes, closed, io_failure},
    },
};

impl SledStore {
    /// Writes a group: to the journal, which makes it durable, to sled, where reads find it, to the head file.
    pub(super) fn write(&self, writer: &mut Writer, plan: &Plan<'_>) -> Result<(), StoreError> {
        let mut changes = Changes::new();
        let number = writer.group + 1;
        for packed in &plan.streams {
            let key = Key::Events(packed.stream, packed.first).encode();
            values::put(&mut changes, key, &packed.envelopes);
        }
        if plan.streams.is_empty() {
            values::put(&mut changes, Key::Tail.encode(), &number.to_be_bytes());
        } else {
            let streams = plan.streams.iter().map(|p| (p.stream, p.first, p.count)).collect();
            let Head { position: last, chain, at, .. } = plan.head;
            let group = Group { number, last, at, chain, streams };
            values::put(&mut changes, Key::Feed(plan.first).encode(), &group.encode());
        }
        self.add_derived(&mut changes, &mut writer.cut_tables, plan)?;
        self.commit(writer, SavedHead { group: number, head: plan.head }, changes)?;
        for packed in &plan.streams {
            writer.tips.set(packed.stream, packed.tip);
        }
        Ok(())
    }

    /// Writes the changes of a group, and that the log ends with it.
    pub(super) fn commit(
        &self,
        writer: &mut Writer,
        saved: SavedHead,
        changes: Changes,
    ) -> Result<(), StoreError> {
        let Open { journal, keeper, .. } = writer.open.as_mut().ok_or_else(closed)?;
        if !journal.encode(saved.group, &changes) {
            keeper.settle()?;
            journal.turn().map_err(io_failure)?;
        }
        journal.append().map_err(io_failure)?;
        let weight = keeper::weight(&changes);
        keeper.make_room(weight)?;
        pieces::apply(&self.tree, changes)?;
        writer.head_file.write(&saved).map_err(io_failure)?;
        keeper.wrote(weight);
        writer.group = saved.group;
        Ok(())
    }

    /// Adds rows, output and saved states.
    pub(super) fn add_derived(
        &self,
        changes: &mut Changes,
        cut_tables: &mut BTreeSet<Table>,
        plan: &Plan<'_>,
    ) -> Result<(), StoreError> {
        // The last change of a row counts, and only that one is written.
        let mut rows = BTreeMap::new();
        let mut saved: BTreeMap<StreamId, BTreeMap<Seq, &Bytes>> = BTreeMap::new();
        for commit in &plan.accepted {
            for change in &commit.rows {
                rows.insert((change.table, &change.key), change.value.as_ref());
            }
            for batch in &commit.outputs {
                let mut body = Vec::with_capacity(8 + batch.items.len());
                body.put_u64(batch.last);
                body.put_slice(&batch.items);
                values::put(changes, Key::Output(batch.run, batch.first).encode(), &body);
            }
            for state in &commit.snapshots {
                saved.entry(state.stream).or_default().insert(state.seq, &state.bytes);
            }
        }
        for ((table, key), value) in rows {
            let key = Key::Row(table, key.clone()).encode();
            let old = if cut_tables.contains(&table) { self.tree.get(&key)? } else { None };
            let pieces = old.as_deref().map_or(0, values::pieces_of);
            let value = value.map(|value| &value[..]);
            if value.is_some_and(values::is_cut) {
                cut_tables.insert(table);
            }
            values::replace(changes, key, pieces, value);
        }
        for (stream, states) in saved {
            self.keep_newest(changes, stream, &states)?;
        }
        Ok(())
    }

    /// Adds `states` of a stream and the removal of those that are no longer to be kept.
    fn keep_newest(
        &self,
        changes: &mut Changes,
        stream: StreamId,
        states: &BTreeMap<Seq, &Bytes>,
    ) -> Result<(), StoreError> {
        // What is there and what is new, with the number of pieces that are there.
        let mut pieces: BTreeMap<Seq, u16> = states.keys().map(|seq| (*seq, 0)).collect();
        let mut oldest = states.keys().next().map_or(0, |seq| stretch(*seq));
        let mut found = 0;
        let all = span(&Key::Snapshot(stream, Seq(0)), &Key::Snapshot(stream, Seq(u64::MAX)));
        self.tree.scan(all, true, |key, stored| {
            let Some(Key::Snapshot(_, seq)) = Key::decode(key) else {
                return Ok(ControlFlow::Continue(()));
            };
            // Older stretches have one each that stays, however many they are.
            if found >= NEWEST && stretch(seq) < oldest {
                return Ok(ControlFlow::Break(()));
            }
            found += 1;
            oldest = oldest.min(stretch(seq));
            pieces.insert(seq, values::pieces_of(stored));
            Ok(ControlFlow::Continue(()))
        })?;
        let kept = kept(&pieces.keys().copied().collect());
        for (seq, pieces) in pieces {
            let bytes = states.get(&seq).copied();
            let is_kept = kept.contains(&seq);
            if bytes.is_some() || !is_kept {
                let bytes = bytes.filter(|_| is_kept).map(|bytes| &bytes[..]);
                values::replace(changes, Key::Snapshot(stream, seq).encode(), pieces, bytes);
            }
        }
        Ok(())
    }
}
