//! Whether a store on disk holds what it should: all of it read, beside the store in memory with the same commits.

use std::path::Path;

use retold_events::store::conformance::{agent, block};
use retold_events::store::{
    Commit, EventStore, MemoryStore, Scan, SledOptions, SledStore, StoreError, Table,
};
use retold_events::{Position, Record, Seq, StreamId};

use crate::script::{AGENTS, BLOCKS, LAST, Script, Size};

/// The store in memory with the first commits of a script; it grows as more are asked for.
pub(crate) struct Model {
    seed: u64,
    size: Size,
    script: Script,
    store: MemoryStore,
}

/// What a store that should hold at least so many commits turned out to be.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It holds exactly so many commits, all of them whole.
    Holds(u64),
    /// It said that something is wrong.
    Refused(StoreError),
    /// It said nothing, and something is wrong.
    Broken(String),
}

impl Model {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        Self { seed, size, script: Script::new(seed, size), store: MemoryStore::new() }
    }

    /// Reads everything in `store` and compares it.
    pub(crate) fn judge(&mut self, store: &dyn EventStore, least: u64) -> Verdict {
        match self.compare(store, least) {
            Ok(Ok(number)) => Verdict::Holds(number),
            Ok(Err(broken)) => Verdict::Broken(broken),
            Err(error) => Verdict::Refused(error),
        }
    }

    /// The commit that would come next after `number`.
    pub(crate) fn next_after(&mut self, number: u64) -> Commit {
        self.become_of(number);
        self.script.clone().next()
    }

    fn compare(
        &mut self,
        store: &dyn EventStore,
        least: u64,
    ) -> Result<Result<u64, String>, StoreError> {
        let (table, key) = LAST;
        let last = store.row(table, key)?;
        let last = last.map_or(Some(0), |row| row[..].try_into().ok().map(u64::from_be_bytes));
        let Some(last) = last else { return Ok(Err("the row of the last commit".to_owned())) };
        if last < least {
            return Ok(Err(format!("it ends with commit {last}, but {least} was acknowledged")));
        }
        self.become_of(last);
        let differs =
            |what: &str| Ok(Err(format!("with {last} commits, {what} is not what it was")));
        let all = |store: &dyn EventStore| store.read_all(Position(1), usize::MAX).map(timeless);
        if all(store)? != all(&self.store)? {
            return differs("the feed");
        }
        for stream in streams() {
            let read = |store: &dyn EventStore| {
                let records = store.read_stream(stream, Seq(1), usize::MAX).map(timeless)?;
                Ok::<_, StoreError>((records, store.stream_head(stream)?))
            };
            if read(store)? != read(&self.store)? {
                return differs(&format!("{stream:?}"));
            }
            let newest = |store: &dyn EventStore| store.snapshot(stream, Seq(u64::MAX));
            let (found, expected) = (newest(store)?, newest(&self.store)?);
            // A cache: it may be missing, or be the one before, but what it says has to be true.
            if let Some(found) = found
                && self.store.snapshot(stream, found.seq)?.is_some_and(|saved| saved != found)
            {
                return differs(&format!(
                    "the saved state of {stream:?}, {:?}",
                    expected.is_some()
                ));
            }
        }
        for table in Table::ALL {
            let scan = Scan { limit: usize::MAX, ..Scan::default() };
            let rows = store.rows(table, &scan)?;
            if rows != self.store.rows(table, &scan)? {
                return differs(&format!("{table:?}"));
            }
            for (key, value) in rows {
                if store.row(table, &key)? != Some(value) {
                    return differs(&format!("a row of {table:?}"));
                }
            }
        }
        for number in (0..=last).step_by(4) {
            let outputs =
                |store: &dyn EventStore| store.outputs(Script::run(number), 0, usize::MAX);
            if outputs(store)? != outputs(&self.store)? {
                return differs(&format!("the output of {:?}", Script::run(number)));
            }
        }
        let (head, expected) = (store.head(), self.store.head());
        if (head.position, head.at) != (expected.position, expected.at) {
            return differs("the head");
        }
        Ok(Ok(last))
    }

    /// Takes or leaves commits until there are `number`.
    fn become_of(&mut self, number: u64) {
        if self.script.number > number {
            *self = Self::new(self.seed, self.size);
        }
        while self.script.number < number {
            let commit = self.script.next();
            let answers = self.store.append(&[commit]).unwrap_or_default();
            assert!(matches!(answers[..], [Ok(_)]), "the script fits itself");
        }
    }
}

/// Opens a store as the tests do.
pub(crate) fn open(dir: &Path) -> Result<SledStore, StoreError> {
    // No reserve: these disks are small, and no space is put aside on them unless a test wants it.
    let options = SledOptions { cache_bytes: 16 << 20, reserve_bytes: Some(u64::MAX) };
    SledStore::open(dir, options)
}

fn streams() -> impl Iterator<Item = StreamId> {
    (0..AGENTS).map(agent).chain((0..BLOCKS).map(block))
}

/// Records without the number of the process that wrote them, which the model does not know.
fn timeless(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.epoch = 0;
    }
    records
}
