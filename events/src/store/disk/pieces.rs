//! Very large groups, written to the database a little at a time.
//!
//! sled takes for safe what lies before the newest part of its file, and looks for nothing missing there: the header of a
//! part says so, and sled believes it because of a `sync_file_range` that is no sync. So never may a group go through more
//! than one border between two parts (of 8 MiB) before the file is synced: a power cut could leave a later part and not an
//! earlier one, and everything would be lost. A group with much in it therefore has the pieces of its large values written
//! and synced first. Nobody sees a piece before the value that names it, and that one comes last, with all the rest of the
//! group at once. Pieces that a crash leaves without a value are written over by the group that comes again.

use super::keys::Key;
use crate::store::{
    StoreError,
    sled::{Changes, Tree},
};

/// Bytes of values between two syncs of sled's file: sled writes some times as much, and that is less than a part.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Applies a group. It is all there or not at all, but for pieces that nothing names yet; not synced on return.
///
/// # Errors
/// Storage errors.
pub(super) fn apply(tree: &Tree, mut changes: Changes) -> Result<(), StoreError> {
    if changes.values().map(bytes).sum::<usize>() > BYTES_AT_ONCE {
        write_new_pieces(tree, &mut changes)?;
    }
    tree.apply(changes)
}

/// Takes those pieces out of `changes` that no value can name now, and makes them durable.
fn write_new_pieces(tree: &Tree, changes: &mut Changes) -> Result<(), StoreError> {
    let pieces = changes.range(Key::all_chunks()).filter(|(_, piece)| piece.is_some());
    let keys: Vec<Vec<u8>> = pieces.map(|(key, _)| key.clone()).collect();
    let (mut batch, mut batch_bytes) = (Changes::new(), 0);
    for key in keys {
        // One that is there belongs to a value that is there, and changes with it.
        if tree.get(&key)?.is_some() {
            continue;
        }
        let Some((key, piece)) = changes.remove_entry(&key) else { continue };
        batch_bytes += bytes(&piece);
        batch.insert(key, piece);
        if batch_bytes >= BYTES_AT_ONCE {
            tree.apply(std::mem::take(&mut batch))?;
            tree.sync()?;
            batch_bytes = 0;
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    tree.apply(batch)?;
    tree.sync()
}

fn bytes(value: &Option<Vec<u8>>) -> usize {
    value.as_ref().map_or(0, Vec::len)
}
