//! The moment an archive is of: a position, and how far the output of open runs had come.

use super::ArchiveError;
use crate::{
    Position, RunId,
    store::{EventStore, Head, Scan, StoreError, Table},
};

/// A moment of a store. What has happened by then never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The last event.
    pub head: Head,
    /// Runs that had not ended, and the number of the last item of each.
    pub(super) open: Vec<(RunId, u64)>,
}

impl Moment {
    /// This moment. Nothing may be written while this looks, see [`crate::log::Log::at_rest`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn now(store: &dyn EventStore) -> Result<Self, StoreError> {
        let runs = store.rows(Table::OpenRuns, &Scan { limit: usize::MAX, ..Scan::default() })?;
        let mut open = Vec::with_capacity(runs.len());
        for (key, _) in runs {
            let Ok(run) = <[u8; 16]>::try_from(&key[..]) else { continue };
            let run = RunId::from_uuid(uuid::Uuid::from_bytes(run));
            open.push((run, store.last_output(run)?));
        }
        Ok(Self { head: store.head(), open })
    }
}

/// What an earlier archive has already: everything up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Since {
    /// The position; 0 for nothing.
    pub position: Position,
    /// Hash over everything up to it.
    pub chain: [u8; 16],
}

impl Since {
    /// Makes sure that this is a moment of the store's own history.
    ///
    /// # Errors
    /// [`ArchiveError::OtherHistory`], without a directory, and those of the store.
    pub fn check(self, store: &dyn EventStore) -> Result<(), ArchiveError> {
        if self.position.0 == 0 && self.chain == [0; 16] {
            return Ok(());
        }
        let found = store.groups(self.position, 0)?;
        let is_ours = found
            .first()
            .is_some_and(|group| group.last() == self.position && group.chain == self.chain);
        if is_ours {
            return Ok(());
        }
        Err(ArchiveError::OtherHistory { dir: "this server".into(), position: self.position.0 })
    }
}
