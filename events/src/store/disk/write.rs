//! What a group becomes on disk: one value per stream, one for the group, and what is derived from the events.
//!
//! Each key costs sled as much as the rest of a small commit, so there is none that a read does not need.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use bytes::{BufMut, Bytes};

use super::{SledStore, Writer, feed::Group, head::SavedHead, keys::Key, span, values};
use crate::{
    Seq, StreamId,
    store::{
        Head, KEPT_SNAPSHOTS, StoreError, Table,
        group::Plan,
        sled::{Changes, io_failure},
    },
};

impl SledStore {
    /// Writes a group, then the head file.
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
        self.tree.write(changes)?;
        writer
            .head_file
            .write(&SavedHead { group: number, head: plan.head })
            .map_err(io_failure)?;
        writer.group = number;
        for packed in &plan.streams {
            writer.tips.set(packed.stream, packed.tip);
        }
        Ok(())
    }

    /// Adds rows, output and saved states.
    fn add_derived(
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

    /// Adds `states` of a stream and the removal of all but the newest.
    fn keep_newest(
        &self,
        changes: &mut Changes,
        stream: StreamId,
        states: &BTreeMap<Seq, &Bytes>,
    ) -> Result<(), StoreError> {
        // What is there and what is new, with the number of pieces that are there.
        let mut pieces: BTreeMap<Seq, u16> = states.keys().map(|seq| (*seq, 0)).collect();
        let all = span(&Key::Snapshot(stream, Seq(0)), &Key::Snapshot(stream, Seq(u64::MAX)));
        self.tree.scan(all, false, |key, stored| {
            if let Some(Key::Snapshot(_, seq)) = Key::decode(key) {
                pieces.insert(seq, values::pieces_of(stored));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (index, (seq, pieces)) in pieces.into_iter().rev().enumerate() {
            let bytes = states.get(&seq).copied();
            let is_kept = index < KEPT_SNAPSHOTS;
            if bytes.is_some() || !is_kept {
                let bytes = bytes.filter(|_| is_kept).map(|bytes| &bytes[..]);
                values::replace(changes, Key::Snapshot(stream, seq).encode(), pieces, bytes);
            }
        }
        Ok(())
    }
}
