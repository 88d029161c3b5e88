//! A look at every key of a tree: what is damaged is named, and the look goes on behind it.
//!
//! Two passes. The first goes along the keys, which is stream by stream: checksums, places, the chain of each stream, the
//! output of each run. The second goes along the groups: positions, the hash over everything, the head file.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

use bytes::{Buf, Bytes};

use super::{check, feed::Group, head::SavedHead, keys::Key, span, values};
use crate::{
    Position, RunId, Seq, StreamId,
    envelope::{self, Envelope, Hash},
    store::{
        OutputBatch, SavedState, StoreError,
        archive::{Progress, Tell},
        group::Tip,
        sled::Tree,
        successor,
        verify::{Meaning, Place, Report},
    },
};

/// A look at a tree.
pub(super) struct Examination<'a, 'b> {
    tree: &'a Tree,
    saved: Option<SavedHead>,
    meaning: &'a mut dyn Meaning,
    tell: Tell<'b>,
    report: &'a mut Report,
    progress: Progress,
    /// Where the stream stands; `None` behind damage.
    stream: Option<(StreamId, Option<Tip>)>,
    /// The number of its last item; `None` behind damage.
    run: Option<(RunId, Option<u64>)>,
    /// Values of events that are damaged: named once, and not once more as the hole they leave.
    holes: BTreeMap<(StreamId, Seq), ()>,
}

/// What the groups say so far.
struct Groups {
    /// The last position.
    last: Position,
    /// Whether a group that cannot be read came last.
    is_skipping: bool,
    /// `None` behind damage.
    chain: Option<Hash>,
    number: u64,
    /// Whether the group that the head file names was there.
    found: bool,
    events: u64,
}

impl<'a, 'b> Examination<'a, 'b> {
    pub(super) fn new(
        tree: &'a Tree,
        saved: Option<SavedHead>,
        meaning: &'a mut dyn Meaning,
        tell: Tell<'b>,
        report: &'a mut Report,
    ) -> Self {
        let of = saved.map_or(0, |saved| saved.head.position.0);
        Self {
            tree,
            saved,
            meaning,
            tell,
            report,
            progress: Progress { of, ..Progress::default() },
            stream: None,
            run: None,
            holes: BTreeMap::new(),
        }
    }

    /// Looks at everything.
    pub(super) fn run(mut self) {
        self.all((Bound::Unbounded, Bound::Unbounded), Self::key);
        self.groups();
    }

    /// Visits every key of a range, and goes on behind what cannot be read.
    fn all(
        &mut self,
        range: crate::store::KeyRange,
        mut visit: impl FnMut(&mut Self, &[u8], Bytes),
    ) {
        let (mut from, to) = range;
        let mut last: Vec<u8> = Vec::new();
        // How much of the last key is given up to get past what cannot be read.
        let mut given_up = 0;
        loop {
            let mut moved = false;
            let tree = self.tree;
            let scanned = tree.scan((from.clone(), to.clone()), false, |key, stored| {
                moved = true;
                last = key.to_vec();
                visit(self, key, Bytes::copy_from_slice(stored));
                Ok(ControlFlow::Continue(()))
            });
            let Err(error) = scanned else { return };
            if moved || given_up == 0 {
                given_up = 0;
                let place = Place::key(format!("what follows {}", name_of(&last)));
                self.report.damage(place, error);
            }
            given_up += 1;
            let kept = last.len().saturating_sub(given_up);
            match successor(&last[..kept]) {
                Some(next) if kept > 0 => from = Bound::Included(next),
                Some(_) | None => return,
            }
        }
    }

    fn key(&mut self, key: &[u8], stored: Bytes) {
        self.progress.bytes += stored.len() as u64;
        let tree = self.tree;
        let Some(name) = Key::decode(key) else {
            self.report.damage(Place::key(name_of(key)), "nothing that is known has such a key");
            return;
        };
        if let Key::Chunk(of, index) = &name {
            self.piece(of, *index);
            return;
        }
        let body = match values::open(key, stored, |key| tree.get(key)) {
            Ok(Some(body)) => body,
            Ok(None) => return,
            Err(error) => return self.unreadable(&name, &error),
        };
        match name {
            Key::Events(stream, first) => self.events(stream, first, body),
            Key::Output(run, first) => self.output(run, first, body),
            Key::Snapshot(stream, seq) => {
                self.report.seen.saved_states += 1;
                let saved = SavedState { stream, seq, bytes: body };
                if let Some(reason) = self.meaning.saved(&saved) {
                    let reason = format!("a saved state is not used: {reason}");
                    self.report.note(Place::event(stream, seq), reason);
                }
            }
            Key::Row(table, row) => {
                self.report.seen.rows += 1;
                if let Some(reason) = self.meaning.row(table, &row, &body) {
                    self.report.damage(Place::key(name_of(key)), reason);
                }
            }
            // The second pass looks at groups; the number of the last one is compared there.
            Key::Feed(_) | Key::Tail | Key::Chunk(..) => {}
        }
    }

    fn unreadable(&mut self, name: &Key, error: &StoreError) {
        let reason = detail_of(error);
        match name {
            Key::Events(stream, first) => {
                self.holes.insert((*stream, *first), ());
                self.report.damage(Place::event(*stream, *first), reason);
                self.stream = Some((*stream, None));
            }
            // Named by the second pass.
            Key::Feed(_) => {}
            Key::Snapshot(stream, seq) => {
                let reason = format!("a saved state is not used: {reason}");
                self.report.note(Place::event(*stream, *seq), reason);
            }
            Key::Output(run, _) => {
                self.run = Some((*run, None));
                self.report.damage(Place::run(*run), reason);
            }
            Key::Row(..) | Key::Tail | Key::Chunk(..) => {
                self.report.damage(Place::key(name_of(&name.encode())), reason);
            }
        }
    }

    /// A piece of a value, which has to belong to one.
    fn piece(&mut self, of: &[u8], index: u16) {
        let owner = self.tree.get(of).ok().flatten();
        if owner.is_none_or(|stored| index >= values::pieces_of(&stored)) {
            let place = Place::key(format!("piece {index} of {}", name_of(of)));
            self.report.note(place, "a piece is left over that belongs to nothing");
        }
    }

    fn events(&mut self, stream: StreamId, first: Seq, body: Bytes) {
        let before = match self.stream {
            Some((of, tip)) if of == stream => tip,
            _ => {
                self.report.seen.streams += 1;
                Some(Tip::default())
            }
        };
        if let Some(tip) = before
            && tip.seq.next() != first
        {
            let missing = Place::event(stream, tip.seq.next());
            self.report.damage(missing, format!("the stream goes on at {} instead", first.0));
        }
        let follows = before.filter(|tip| tip.seq.next() == first);
        let envelopes = match check::events_of(stream, first, body, follows) {
            Ok(envelopes) => envelopes,
            Err(error) => {
                self.holes.insert((stream, first), ());
                self.report.damage(Place::event(stream, first), detail_of(&error));
                self.stream = Some((stream, None));
                return;
            }
        };
        for Envelope { record, hash, .. } in envelopes {
            self.report.seen.events += 1;
            if let Some(reason) = self.meaning.event(&record) {
                let mut place = Place::event(stream, record.seq);
                place.position = Some(record.position);
                self.report.damage(place, reason);
            }
            self.stream = Some((stream, Some(Tip { seq: record.seq, hash })));
        }
        self.progress.done = self.report.seen.events;
        (self.tell)(self.progress);
    }

    fn output(&mut self, run: RunId, first: u64, mut body: Bytes) {
        self.report.seen.batches += 1;
        let Ok(last) = body.try_get_u64() else {
            self.report.damage(Place::run(run), format!("item {first}: its batch ends early"));
            return;
        };
        let before = match self.run {
            Some((of, before)) if of == run => before,
            _ => Some(0),
        };
        if let Some(before) = before.filter(|before| *before + 1 != first || last < first) {
            let reason = format!("its output goes on with item {first} to {last} after {before}");
            self.report.damage(Place::run(run), reason);
        }
        self.run = Some((run, Some(last)));
        let batch = OutputBatch { run, first, last, items: body };
        if let Some(reason) = self.meaning.output(&batch) {
            self.report.damage(Place::run(run), format!("item {first}: {reason}"));
        }
    }

    fn groups(&mut self) {
        let known = self.saved.unwrap_or_default().head;
        let mut groups = Groups {
            last: Position(0),
            is_skipping: false,
            chain: Some(Hash::default()),
            number: 0,
            found: known.position.0 == 0,
            events: 0,
        };
        let all = span(&Key::Feed(Position(0)), &Key::Feed(Position(u64::MAX)));
        self.all(all, |this, key, stored| this.group(&mut groups, key, stored));
        let before = self.report.damage;
        if before == 0 && groups.events != self.report.seen.events {
            let orphans = self.report.seen.events.saturating_sub(groups.events);
            self.report.damage(Place::key("groups"), format!("{orphans} events are in no group"));
        }
        let last = groups.last;
        let number = groups.number.max(check::tail(self.tree).unwrap_or(0));
        let head = Place::key("HEAD");
        match self.saved {
            None if last.0 > 0 => self.report.damage(head, "it is missing or unreadable"),
            None => {}
            Some(saved) if !groups.found || saved.group > number => {
                let reason = format!(
                    "it says that the log ends at position {} with group {}, but it ends at {} with {number}",
                    saved.head.position.0, saved.group, last.0,
                );
                self.report.damage(head, reason);
            }
            Some(saved) => self.report.epoch = self.report.epoch.max(saved.head.epoch),
        }
        self.report.position = last;
    }

    fn group(&mut self, groups: &mut Groups, key: &[u8], stored: Bytes) {
        let tree = self.tree;
        let Some(Key::Feed(first)) = Key::decode(key) else { return };
        self.report.seen.groups += 1;
        let expected = Position(groups.last.0 + 1);
        if first != expected && !groups.is_skipping {
            let reason = format!("the next group begins at position {}", first.0);
            self.report.damage(Place::position(expected), reason);
            groups.chain = None;
        }
        let opened = values::open(key, stored, |key| tree.get(key));
        let group = match opened.as_ref().map(|body| body.as_deref().and_then(Group::decode)) {
            Ok(Some(group)) => group,
            Ok(None) => {
                self.report.damage(Place::position(first), "not the record of a group");
                return groups.skip(first);
            }
            Err(error) => {
                self.report.damage(Place::position(first), detail_of(error));
                return groups.skip(first);
            }
        };
        let envelopes = self.events_of(&group, first);
        let is_whole = envelopes.as_ref().is_some_and(|envelopes| {
            envelopes.iter().zip(first.0..).all(|(it, position)| it.record.position.0 == position)
                && first.0 + envelopes.len() as u64 == group.last.0 + 1
        });
        match envelopes {
            Some(envelopes) if is_whole => {
                groups.events += envelopes.len() as u64;
                let epoch = envelopes.last().map_or(0, |last| last.record.epoch);
                self.report.epoch = self.report.epoch.max(epoch);
                if groups.chain.is_some_and(|before| chained(before, &envelopes) != group.chain) {
                    let reason = "its hash does not follow from everything before";
                    self.report.damage(Place::position(first), reason);
                }
            }
            Some(_) => {
                let reason =
                    format!("its events are not those of the positions up to {}", group.last.0);
                self.report.damage(Place::position(first), reason);
            }
            None => {}
        }
        let known = self.saved.unwrap_or_default().head;
        groups.found |= (group.last, group.chain) == (known.position, known.chain);
        groups.last = group.last;
        groups.is_skipping = false;
        groups.chain = Some(group.chain);
        groups.number = group.number;
        self.report.chain = group.chain;
    }

    /// The events of a group in the order of their positions; `None` when some are missing or damaged.
    fn events_of(&mut self, group: &Group, at: Position) -> Option<Vec<Envelope>> {
        let tree = self.tree;
        let mut envelopes = Vec::new();
        let mut is_whole = true;
        for &(stream, first, count) in &group.streams {
            let key = Key::Events(stream, first).encode();
            let stored = tree.get(&key).ok().flatten();
            let body = stored.map(|stored| values::open(&key, stored, |key| tree.get(key)));
            let events = match body {
                Some(Ok(Some(body))) => check::events_of(stream, first, body, None).ok(),
                Some(Ok(None) | Err(_)) | None => None,
            };
            match events {
                Some(events) if events.len() as u64 == u64::from(count) => envelopes.extend(events),
                Some(_) | None => {
                    is_whole = false;
                    if !self.holes.contains_key(&(stream, first)) {
                        let mut place = Place::event(stream, first);
                        place.position = Some(at);
                        self.report.damage(place, "its events are missing");
                    }
                }
            }
        }
        envelopes.sort_by_key(|envelope| envelope.record.position);
        is_whole.then_some(envelopes)
    }
}

impl Groups {
    /// Goes on behind a group that cannot be read: where it ends is seen when the next one begins.
    fn skip(&mut self, first: Position) {
        self.last = first;
        self.is_skipping = true;
        self.chain = None;
    }
}

fn chained(before: Hash, envelopes: &[Envelope]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before);
    for envelope in envelopes {
        hasher.update(&envelope.hash);
    }
    envelope::truncated(&hasher.finalize())
}

/// A key as a person can make use of it.
fn name_of(key: &[u8]) -> String {
    match Key::decode(key) {
        Some(Key::Row(table, row)) => {
            let row: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("row of {table:?}, {row}")
        }
        Some(name) => format!("{name:?}"),
        None => format!("{key:02x?}"),
    }
}

fn detail_of(error: &StoreError) -> String {
    if let StoreError::Damaged { detail, .. } = error { detail.clone() } else { error.to_string() }
}
