//! The store on disk: which keys and values a group becomes, and the proof that the log is the one it was.
//!
//! Each group is appended to the journal and synced, applied to sled as one atomic batch, noted in the head file, and then
//! answered. sled is synced a little later (`keeper.rs`); on opening, the groups it lacks are applied from there. Then
//! the log has to hold the group that the head file names, with the same hash over everything before; a longer log is a
//! group that was never acknowledged and is kept, a shorter or different one is refused. It must not know sled: that is
//! `sled.rs`.

mod check;
mod copy;
mod directory;
mod examine;
mod feed;
mod head;
mod import;
mod journal;
mod keeper;
mod keys;
mod pieces;
mod restoring;
#[cfg(test)]
mod tests;
mod tips;
mod values;
mod write;

use std::{
    collections::BTreeSet,
    io,
    ops::{Bound, ControlFlow},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes};

#[cfg(any(test, feature = "fuzzing"))]
pub use self::journal::fuzzing::fuzz_journal;
#[cfg(test)]
pub(crate) use self::journal::fuzzing::journal_seeds;
use self::{
    directory::Directory, head::HeadFile, journal::Journal, keeper::Keeper, keys::Key, tips::Tips,
};
use super::{
    Commit, Committed, Conflict, EventStore, Head, KeyRange, OutputBatch, RawGroup, SavedState,
    Scan, Space, StoreError, Table, damaged,
    group::{self, Tip},
    scan_bounds,
    sled::{Tree, io_failure},
};
use crate::{
    Position, Record, RunId, Seq, StreamId,
    defect::Defect,
    envelope::{self, Envelope},
};

pub use self::{copy::Copy, restoring::Restoring};

/// How a [`SledStore`] uses its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SledOptions {
    /// Bytes sled keeps in memory; it takes more while much is touched.
    pub cache_bytes: u64,
    /// Free bytes below which no new work is accepted. `None` is 5 % of the disk, within 64 MiB and 1 GiB.
    pub reserve_bytes: Option<u64>,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, reserve_bytes: None }
    }
}

/// The store on disk, in a directory of its own.
#[derive(Debug)]
pub struct SledStore {
    tree: Arc<Tree>,
    writer: Mutex<Writer>,
    head: Mutex<Head>,
    reserve: u64,
    path: std::path::PathBuf,
}

/// What only the thread that appends uses.
#[derive(Debug)]
struct Writer {
    /// `None` once closed.
    open: Option<Open>,
    head_file: HeadFile,
    /// Number of the last group.
    group: u64,
    tips: Tips,
    /// Tables that may hold rows in pieces. Only their old rows are read before they are replaced.
    cut_tables: BTreeSet<Table>,
    state: State,
}

/// What closing gives back.
#[derive(Debug)]
struct Open {
    keeper: Keeper,
    journal: Journal,
    /// With the lock.
    directory: Directory,
}

/// Whether anything may still be written.
#[derive(Debug)]
enum State {
    Open,
    Closed,
    /// With the reason. What is on the disk is unknown; another sync could call it well.
    Failed(String),
}

impl SledStore {
    /// Opens the store in `dir`, creating it if need be, and makes sure that it is whole.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], [`StoreError::InUse`], [`StoreError::NewerFormat`], [`StoreError::NotTheLog`] and
    /// [`StoreError::Damaged`], each leaving the log as it was; [`StoreError::Full`] and [`StoreError::Io`].
    pub fn open(dir: &Path, options: SledOptions) -> Result<Self, StoreError> {
        let directory = Directory::open(dir)?;
        let reserve = match options.reserve_bytes {
            Some(bytes) => bytes,
            None => {
                (directory::total_bytes(dir).map_err(io_failure)? / 20).clamp(64 << 20, 1 << 30)
            }
        };
        directory.make_room()?;
        directory.remove_trial()?;
        let saved = HeadFile::read(&directory.head()).map_err(io_failure)?;
        let is_clean = directory.is_clean() && saved.is_some();
        let journal = if is_clean { Vec::new() } else { journal::read(&directory.journal())? };
        check::before_opening(&directory, saved, &journal)?;
        let (mut head_file, _) = HeadFile::open(&directory.head()).map_err(io_failure)?;
        directory.unmark_clean()?;
        let tree = Arc::new(Tree::open(&directory.log(), options.cache_bytes)?);
        journal::replay(&tree, dir, &journal)?;
        let mut now = check::after_opening(&tree, dir, saved)?;
        directory.write_format()?;
        now.head.epoch += 1;
        head_file.write(&now).and_then(|()| head_file.sync()).map_err(io_failure)?;
        let journal = Journal::begin(&directory.journal())?;
        let keeper = Keeper::start(Arc::clone(&tree), head_file.handle().map_err(io_failure)?)?;
        directory.put_room_aside(reserve);
        let writer = Writer {
            open: Some(Open { keeper, journal, directory }),
            head_file,
            group: now.group,
            tips: Tips::default(),
            cut_tables: cut_tables(&tree)?,
            state: State::Open,
        };
        let (writer, head) = (Mutex::new(writer), Mutex::new(now.head));
        Ok(Self { tree, writer, head, reserve, path: dir.to_owned() })
    }

    fn try_append(
        &self,
        writer: &mut Writer,
        group: &[Commit],
    ) -> Result<(Vec<Result<Committed, Conflict>>, Head), StoreError> {
        let tips = &mut writer.tips;
        let plan = group::plan(group, self.head(), |stream| match tips.get(stream) {
            Some(tip) => Ok(tip),
            None => tip_of(&self.tree, stream),
        })?;
        if !plan.is_empty() {
            // Before anything is written, and again before anything is acknowledged.
            self.check_that_it_is_ours(writer)?;
            self.write(writer, &plan)?;
            self.check_that_it_is_ours(writer)?;
        }
        Ok((plan.answers, plan.head))
    }

    /// Makes sure that the directory is the one that was opened: see [`HeadFile::is_ours`].
    fn check_that_it_is_ours(&self, writer: &Writer) -> Result<(), StoreError> {
        if writer.head_file.is_ours().map_err(io_failure)? {
            return Ok(());
        }
        Err(StoreError::Unusable {
            dir: self.path.display().to_string(),
            source: io::Error::other("it was moved or replaced while this server had it open"),
        })
    }

    /// The body stored under a key.
    fn value(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.tree.get(key)? {
            Some(stored) => self.body(key, stored),
            None => Ok(None),
        }
    }

    fn body(&self, key: &[u8], stored: Bytes) -> Result<Option<Bytes>, StoreError> {
        values::open(key, stored, |key| self.tree.get(key))
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore for SledStore {
    fn append(&self, group: &[Commit]) -> Result<Vec<Result<Committed, Conflict>>, StoreError> {
        let mut writer = self.lock_writer();
        match &writer.state {
            State::Open => {}
            State::Closed => return Err(StoreError::Closed("it was closed".to_owned())),
            State::Failed(why) => {
                return Err(StoreError::Closed(format!("it failed before: {why}")));
            }
        }
        match self.try_append(&mut writer, group) {
            Ok((answers, head)) => {
                *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
                Ok(answers)
            }
            Err(error) => {
                writer.state = State::Failed(error.to_string());
                Err(error)
            }
        }
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let before = span(&Key::Events(stream, Seq(0)), &Key::Events(stream, from));
        let first = match last_key(&self.tree, before)? {
            Some(Key::Events(_, first)) => first,
            _ => Seq(1),
        };
        let rest = span(&Key::Events(stream, Seq(0)), &Key::Events(stream, Seq(u64::MAX)));
        let rest = (Bound::Included(Key::Events(stream, first.min(from)).encode()), rest.1);
        let mut records: Vec<Record> = Vec::new();
        let mut before: Option<Tip> = None;
        self.tree.scan(rest, false, |key, stored| {
            let Some(body) = self.body(key, Bytes::copy_from_slice(stored))? else {
                return Ok(ControlFlow::Continue(()));
            };
            let expected = before.map_or(first, |tip| tip.seq.next());
            for envelope in check::events_of(stream, expected, body, before)? {
                before = Some(Tip { seq: envelope.record.seq, hash: envelope.hash });
                if envelope.record.seq >= from && records.len() < limit.max(1) {
                    records.push(envelope.record);
                }
            }
            let is_full = records.len() >= limit.max(1);
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(records)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        check::groups(&self.tree, from, |group, envelopes: Vec<Envelope>| {
            let _ = group;
            let wanted = envelopes.into_iter().map(|envelope| envelope.record);
            let room = limit.max(1) - records.len();
            records.extend(wanted.filter(|record| record.position >= from).take(room));
            let is_full = records.len() >= limit.max(1);
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(records)
    }

    fn stream_head(&self, stream: StreamId) -> Result<Seq, StoreError> {
        Ok(tip_of(&self.tree, stream)?.seq)
    }

    fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self, stream: StreamId, until: Seq) -> Result<Option<SavedState>, StoreError> {
        let mut until = until;
        loop {
            let range = span(&Key::Snapshot(stream, Seq(0)), &Key::Snapshot(stream, until));
            let Some(key) = last_key(&self.tree, range)? else { return Ok(None) };
            let Key::Snapshot(_, seq) = key else { return Ok(None) };
            match self.value(&key.encode()) {
                Ok(Some(bytes)) => return Ok(Some(SavedState { stream, seq, bytes })),
                // A newer one has taken its place meanwhile.
                Ok(None) => {}
                // A saved state is a cache: a damaged one is as good as none.
                Err(StoreError::Damaged { place, detail }) => {
                    tracing::warn!(place, detail, "a saved state is damaged and is not used");
                }
                Err(error) => return Err(error),
            }
            let Some(before) = seq.0.checked_sub(1) else { return Ok(None) };
            until = Seq(before);
        }
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.value(&Key::Row(table, key.to_vec()).encode())
    }

    fn rows(&self, table: Table, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let mut found = Vec::new();
        if scan.limit == 0 {
            return Ok(found);
        }
        let Some((lower, upper)) = scan_bounds(scan) else { return Ok(found) };
        let row = |key| Key::Row(table, key).encode();
        let upper = match upper {
            Bound::Unbounded => Bound::Excluded(Key::end_of_rows(table)),
            Bound::Included(_) | Bound::Excluded(_) => upper.map(row),
        };
        self.tree.scan((lower.map(row), upper), scan.descending, |key, stored| {
            let body = self.body(key, Bytes::copy_from_slice(stored))?;
            if let (Some(Key::Row(_, name)), Some(body)) = (Key::decode(key), body)
                && name.starts_with(&scan.prefix)
            {
                found.push((Bytes::from(name), body));
            }
            let is_full = found.len() >= scan.limit;
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    fn outputs(&self, run: RunId, after: u64, max_bytes: usize) -> Result<Vec<Bytes>, StoreError> {
        let batches = self.output_batches(run, after, max_bytes)?;
        Ok(batches.into_iter().map(|batch| batch.items).collect())
    }

    fn output_batches(
        &self,
        run: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Vec<OutputBatch>, StoreError> {
        let wanted = after.saturating_add(1);
        let before = span(&Key::Output(run, 0), &Key::Output(run, wanted));
        let start = last_key(&self.tree, before)?.unwrap_or(Key::Output(run, wanted));
        let (mut found, mut bytes) = (Vec::new(), 0);
        let rest = span(&start, &Key::Output(run, u64::MAX));
        self.tree.scan(rest, false, |key, stored| {
            let body = self.body(key, Bytes::copy_from_slice(stored))?;
            let (Some(Key::Output(_, first)), Some(mut items)) = (Key::decode(key), body) else {
                return Ok(ControlFlow::Continue(()));
            };
            let last = items.try_get_u64().map_err(damaged("the output of a run"))?;
            if last > after + u64::from(Defect::OutputCursorOff.is_on()) {
                bytes += items.len();
                found.push(OutputBatch { run, first, last, items });
            }
            let is_enough = bytes > max_bytes;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    fn last_output(&self, run: RunId) -> Result<u64, StoreError> {
        let all = span(&Key::Output(run, 0), &Key::Output(run, u64::MAX));
        let Some(key) = last_key(&self.tree, all)? else { return Ok(0) };
        let Some(mut body) = self.value(&key.encode())? else { return Ok(0) };
        body.try_get_u64().map_err(damaged("the output of a run"))
    }

    fn groups(&self, from: Position, max_bytes: usize) -> Result<Vec<RawGroup>, StoreError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        check::groups(&self.tree, from, |group, envelopes| {
            if group.last >= from {
                let first = envelopes.first().map_or(group.last, |it| it.record.position);
                let envelopes = envelopes.into_iter().map(|envelope| envelope.bytes).collect();
                let group = RawGroup { first, chain: group.chain, envelopes };
                bytes += group.bytes();
                found.push(group);
            }
            let is_enough = bytes > max_bytes;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { free: directory::free_bytes(&self.path)?, reserve: self.reserve })
    }

    fn check(&self) -> Result<(), StoreError> {
        let mut writer = self.lock_writer();
        let Writer { state: State::Open, open: Some(Open { keeper, .. }), .. } = &*writer else {
            return Ok(());
        };
        let result = keeper.check().and_then(|()| self.check_that_it_is_ours(&writer));
        if let Err(error) = &result {
            writer.state = State::Failed(error.to_string());
        }
        result
    }

    fn close(&self) -> Result<(), StoreError> {
        let mut writer = self.lock_writer();
        // Another server's directory must not be marked by us.
        let ours = self.check_that_it_is_ours(&writer);
        let is_whole = matches!(writer.state, State::Open);
        if is_whole {
            writer.state = State::Closed;
        }
        let Some(Open { keeper, journal: _, directory }) = writer.open.take() else {
            return Ok(());
        };
        drop(keeper);
        self.tree.close()?;
        if !is_whole {
            return Ok(());
        }
        ours?;
        writer.head_file.sync().map_err(io_failure)?;
        directory.mark_clean()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store did not close cleanly");
        }
    }
}

/// Where a stream stands, from its last value.
fn tip_of(tree: &Tree, stream: StreamId) -> Result<Tip, StoreError> {
    let all = span(&Key::Events(stream, Seq(0)), &Key::Events(stream, Seq(u64::MAX)));
    let mut tip = Tip::default();
    tree.scan(all, true, |key, stored| {
        let get = |key: &[u8]| tree.get(key);
        let stored = Bytes::copy_from_slice(stored);
        if let (Some(Key::Events(_, first)), Some(mut body)) =
            (Key::decode(key), values::open(key, stored, get)?)
        {
            let place = format!("{stream:?} from {first:?}");
            while !body.is_empty() {
                let Envelope { record, hash, .. } =
                    envelope::read(&mut body).map_err(damaged(&place))?;
                tip = Tip { seq: record.seq, hash };
            }
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(tip)
}

/// The tables that hold rows in pieces.
///
/// One look at each table, however much it holds: naming the rows instead would read every piece at each start.
fn cut_tables(tree: &Tree) -> Result<BTreeSet<Table>, StoreError> {
    let mut found = BTreeSet::new();
    for table in Table::ALL {
        let first_piece = |key| Key::Chunk(key, 0).encode();
        let lower = Bound::Included(first_piece(Key::Row(table, Vec::new()).encode()));
        let upper = Bound::Excluded(first_piece(Key::end_of_rows(table)));
        tree.scan((lower, upper), false, |_, _| {
            found.insert(table);
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(found)
}

/// The last key in a range.
fn last_key(tree: &Tree, range: KeyRange) -> Result<Option<Key>, StoreError> {
    let mut found = None;
    tree.scan(range, true, |key, _| {
        found = Key::decode(key);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// The range from one key to another, both included.
fn span(from: &Key, to: &Key) -> KeyRange {
    (Bound::Included(from.encode()), Bound::Included(to.encode()))
}
