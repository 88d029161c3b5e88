//! A backup made a data directory again: the events as they were, and everything that follows from them anew.
//!
//! What is in memory is a batch and the states of the aggregates last written to, whatever the size of the backup. Until
//! the last step the directory is none that a server would take.

use std::path::Path;

use retold_events::store::{
    Commit, EventStore as _, Head, RawGroup, Restoring, SavedState, SledOptions, SledStore,
    StoreError,
    archive::{ArchiveError, Backup, Part, Tell},
};

use crate::{
    load::LoadError,
    rebuild::{Refill, Unreadable},
};

/// How a restore uses its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// For the store.
    pub store: SledOptions,
    /// Bytes written at a time, and a little more.
    pub batch_bytes: usize,
    /// Bytes of states in memory, estimated.
    pub state_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        // The states of a thousand agents stay far below that.
        Self { store: SledOptions::default(), batch_bytes: 1 << 20, state_bytes: 128 << 20 }
    }
}

/// A restore that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The directory cannot be used or written to.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was written cannot be read again.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// Where the log ends.
    pub head: Head,
    /// Streams that this version cannot fold to their end.
    pub unreadable: Vec<Unreadable>,
}

/// Makes `dir` a data directory with what `backup` holds. It must not exist, be empty, or be what a restore that was cut
/// off left.
///
/// # Errors
/// [`RestoreError`]; then there is no data directory.
pub fn restore(
    backup: &Backup,
    dir: &Path,
    options: Options,
    tell: Tell<'_>,
) -> Result<Restored, RestoreError> {
    let restoring = Restoring::begin(dir)?;
    match fill(&restoring, backup, options, tell) {
        Ok((store, restored)) => {
            restoring.finish(store)?;
            Ok(restored)
        }
        Err(error) => {
            restoring.abandon();
            Err(error)
        }
    }
}

fn fill(
    restoring: &Restoring,
    backup: &Backup,
    options: Options,
    tell: Tell<'_>,
) -> Result<(SledStore, Restored), RestoreError> {
    let store = restoring.store(options.store)?;
    let manifest = backup.manifest();
    store.go_on_after(manifest.epoch)?;
    let mut filling = Filling {
        store: &store,
        refill: Refill::within(options.state_bytes),
        batch_bytes: options.batch_bytes,
        groups: Vec::new(),
        derived: Commit::default(),
        bytes: 0,
    };
    backup.read(tell, |part| filling.take(part), |damage| Err(damage.into()))?;
    let unreadable = filling.finish()?;
    let head = store.head();
    if (head.position, head.chain) != (manifest.position, manifest.chain) {
        let place = format!("{:?}", head.position);
        let detail = "what was written is not what the manifest names".to_owned();
        return Err(StoreError::Damaged { place, detail }.into());
    }
    Ok((store, Restored { head, unreadable }))
}

/// What is to be written next.
struct Filling<'a> {
    store: &'a SledStore,
    refill: Refill,
    batch_bytes: usize,
    groups: Vec<RawGroup>,
    derived: Commit,
    bytes: usize,
}

impl Filling<'_> {
    fn take(&mut self, part: Part) -> Result<(), RestoreError> {
        match part {
            Part::Group(group) => self.group(group)?,
            Part::Output(batch) => {
                self.bytes += batch.items.len();
                self.derived.outputs.push(batch);
            }
        }
        if self.bytes > self.batch_bytes { self.write() } else { Ok(()) }
    }

    fn group(&mut self, group: RawGroup) -> Result<(), RestoreError> {
        let records = group.records()?;
        if records.iter().any(|record| self.refill.needs_all_before(record)) {
            self.write()?;
        }
        for record in &records {
            let rows = self.derived.rows.len();
            self.refill.take(self.store, record, &mut self.derived)?;
            let values = self.derived.rows[rows..].iter().filter_map(|row| row.value.as_ref());
            self.bytes += values.map(bytes::Bytes::len).sum::<usize>();
        }
        self.bytes += group.bytes();
        self.groups.push(group);
        Ok(())
    }

    fn write(&mut self) -> Result<(), RestoreError> {
        let derived = std::mem::take(&mut self.derived);
        self.store.import(&std::mem::take(&mut self.groups), &derived)?;
        self.bytes = 0;
        let snapshots = self.refill.make_room();
        self.save(snapshots)
    }

    fn save(&self, snapshots: Vec<SavedState>) -> Result<(), RestoreError> {
        if !snapshots.is_empty() {
            self.store.import(&[], &Commit { snapshots, ..Commit::default() })?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Unreadable>, RestoreError> {
        self.write()?;
        let (snapshots, unreadable) = std::mem::take(&mut self.refill).finish();
        self.save(snapshots)?;
        Ok(unreadable)
    }
}
