//! The journal: the changes of each group, appended to one file and synced, before anybody is answered.
//!
//! It is what makes a group durable. sled needs three waits for the disk for that and wakes all its threads twice; here it
//! is one write into space that is already there, and one `fdatasync`. sled gets the same changes in memory, where reads
//! find them, and is synced by [`super::keeper`] a little later. After a crash, the groups that sled lacks are taken from
//! here.
//!
//! Two files take turns, so that the last groups are always in one or the other. Each turn begins with a mark that nobody
//! outside can know, and each record carries it: so what is left of an older turn, or what a client sent to look like a
//! record, is none. Reading goes on behind a record that is damaged, so a gap is seen as one and not taken for the end. It
//! must not know what keys and values mean.
//!
//! | bytes | at the start of a file | bytes | of each record |
//! |---|---|---|---|
//! | 4 | magic `RJNL` | 16 | mark of the turn |
//! | 16 | mark of the turn | 8 | number of the group |
//! | 4 | CRC-32 of these | 4 | length of the payload |
//! | | | … | payload: per change length of the key, length of the value plus one (0 removes), key, value |
//! | | | 4 | CRC-32 of everything before |

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
};

use bytes::{Buf, BufMut};

use super::{check, pieces};
use crate::{
    defect::Defect,
    store::{
        StoreError,
        sled::{Changes, Tree, io_failure, sync_directory},
    },
};

/// Bytes of a file before the other one's turn. Little is needed, since sled is never far behind; a turn costs two syncs.
const FILE_BYTES: u64 = 4 << 20;
/// A file grows by so much at a time. The space is written, not reserved, so that a record moves no metadata.
const GROWTH_BYTES: u64 = 1 << 20;
/// Where the records begin: a block of its own for the mark.
const RECORDS_AT: u64 = 4096;
/// Largest buffer kept from one group to the next.
const KEPT_BYTES: usize = 1 << 20;

const MAGIC: u32 = u32::from_be_bytes(*b"RJNL");
const NAMES: [&str; 2] = ["0", "1"];
const CRC_BYTES: usize = 4;
const HEADER_BYTES: usize = 16 + 8 + 4;

/// What makes a record one of this turn.
type Mark = [u8; 16];

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    files: [Space; 2],
    /// Whose turn it is.
    current: usize,
    mark: Mark,
    /// Where the next record goes.
    at: u64,
    /// Bytes of a file before the other one's turn.
    file_bytes: u64,
    record: Vec<u8>,
}

#[expect(clippy::disallowed_methods, reason = "it names nothing: it only has to be unknown")]
fn new_mark() -> Mark {
    *uuid::Uuid::new_v4().as_bytes()
}

/// A file and how much of it is there.
#[derive(Debug)]
struct Space {
    file: File,
    length: u64,
}

/// A group as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    number: u64,
    changes: Changes,
}

impl Journal {
    /// Opens the files in `path` and begins a turn. Everything they held must be durable elsewhere.
    pub(super) fn begin(path: &Path) -> Result<Self, StoreError> {
        Self::begin_with(path, FILE_BYTES).map_err(io_failure)
    }

    fn begin_with(path: &Path, file_bytes: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let [first, second] = NAMES.map(|name| Space::open(&path.join(name)));
        let files = [first?, second?];
        File::open(path)?.sync_all()?;
        if let Some(parent) = path.parent() {
            sync_directory(parent).map_err(io::Error::other)?;
        }
        let mut journal = Self {
            files,
            current: 1,
            mark: Mark::default(),
            at: RECORDS_AT,
            file_bytes,
            record: Vec::new(),
        };
        journal.turn()?;
        Ok(journal)
    }

    /// Gives the turn to the other file, whose groups must be durable elsewhere.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        self.current = 1 - self.current;
        self.at = RECORDS_AT;
        self.mark = new_mark();
        let space = &mut self.files[self.current];
        if space.length > self.file_bytes {
            // A group larger than the file was in it.
            space.file.set_len(self.file_bytes)?;
            space.length = self.file_bytes;
        }
        space.make_room(RECORDS_AT)?;
        let mut head = Vec::with_capacity(24);
        head.put_u32(MAGIC);
        head.put_slice(&self.mark);
        head.put_u32(crc32fast::hash(&head));
        space.file.write_all_at(&head, 0)?;
        space.file.sync_data()
    }

    /// Puts a group into the form it is written in, and gives whether it still fits into the file whose turn it is.
    pub(super) fn encode(&mut self, number: u64, changes: &Changes) -> bool {
        let out = &mut self.record;
        out.clear();
        out.shrink_to(KEPT_BYTES);
        put_record(out, &self.mark, number, changes);
        self.at == RECORDS_AT || self.at + (self.record.len() + CRC_BYTES) as u64 <= self.file_bytes
    }

    /// Writes what was encoded last; durable on return.
    pub(super) fn append(&mut self) -> io::Result<()> {
        // The turn may have changed since.
        self.record[..16].copy_from_slice(&self.mark);
        let crc = crc32fast::hash(&self.record);
        self.record.put_u32(crc);
        let space = &mut self.files[self.current];
        let end = self.at + self.record.len() as u64;
        space.make_room(end)?;
        space.file.write_all_at(&self.record, self.at)?;
        if !Defect::JournalUnsynced.is_on() {
            space.file.sync_data()?;
        }
        self.at = end;
        Ok(())
    }
}

impl Space {
    fn open(path: &Path) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }

    /// Makes sure that the file reaches to `end`, with some room behind.
    fn make_room(&mut self, end: u64) -> io::Result<()> {
        if end <= self.length {
            return Ok(());
        }
        let zeros = vec![0; 64 << 10];
        let wanted = end.next_multiple_of(GROWTH_BYTES);
        while self.length < wanted {
            let missing = usize::try_from(wanted - self.length).unwrap_or(zeros.len());
            let piece = &zeros[..missing.min(zeros.len())];
            self.file.write_all_at(piece, self.length)?;
            self.length += piece.len() as u64;
        }
        self.file.sync_all()
    }
}

/// The groups that the journal in `path` holds, oldest first. Empty where there is none.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for name in NAMES {
        match fs::read(path.join(name)) {
            Ok(bytes) => entries.extend(entries_of(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_failure(error)),
        }
    }
    entries.sort_by_key(|entry| entry.number);
    Ok(entries)
}

/// Applies the groups that `tree` lacks, and makes it durable.
///
/// # Errors
/// [`StoreError::NotTheLog`] when one that it needs is missing: then nothing was applied.
pub(super) fn replay(tree: &Tree, dir: &Path, entries: &[Entry]) -> Result<(), StoreError> {
    let entries = if Defect::JournalIgnored.is_on() { &[] } else { entries };
    let last = check::last_group(tree)?;
    let missing = &entries[entries.partition_point(|entry| entry.number <= last)..];
    for (entry, expected) in missing.iter().zip(last + 1..) {
        if entry.number != expected {
            return Err(StoreError::NotTheLog {
                dir: dir.display().to_string(),
                detail: format!("group {expected} is neither in it nor in the journal"),
            });
        }
    }
    for entry in missing {
        pieces::apply(tree, entry.changes.clone())?;
        // One at a time: much that is unsynced is what `keeper.rs` tells of.
        tree.sync()?;
    }
    Ok(())
}

fn entries_of(mut file: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let Some(mark) = mark_of(file) else { return entries };
    file = file.get(RECORDS_AT as usize..).unwrap_or_default();
    while let Some(start) = find(file, &mark) {
        let rest = &file[start..];
        let taken = match entry_of(rest) {
            Some((entry, taken)) => {
                entries.push(entry);
                taken
            }
            None => 1,
        };
        file = &rest[taken..];
    }
    entries
}

fn mark_of(file: &[u8]) -> Option<Mark> {
    let (mut head, mut crc) = file.get(..24)?.split_at(20);
    if crc.get_u32() != crc32fast::hash(head) || head.get_u32() != MAGIC {
        return None;
    }
    head.try_into().ok()
}

/// Where `mark` is found first.
fn find(bytes: &[u8], mark: &Mark) -> Option<usize> {
    if bytes.starts_with(mark) {
        return Some(0);
    }
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// The record at the start of `bytes`, and how long it is.
fn entry_of(bytes: &[u8]) -> Option<(Entry, usize)> {
    let mut fields = bytes.get(16..HEADER_BYTES)?;
    let (number, length) = (fields.get_u64(), usize::try_from(fields.get_u32()).ok()?);
    let end = HEADER_BYTES.checked_add(length)?;
    let mut crc = bytes.get(end..end.checked_add(CRC_BYTES)?)?;
    if crc.get_u32() != crc32fast::hash(&bytes[..end]) {
        return None;
    }
    let changes = changes_of(&bytes[HEADER_BYTES..end])?;
    Some((Entry { number, changes }, end + CRC_BYTES))
}

fn changes_of(mut payload: &[u8]) -> Option<Changes> {
    let mut changes = Changes::new();
    while !payload.is_empty() {
        let key_bytes = usize::try_from(payload.try_get_u32().ok()?).ok()?;
        let value_bytes = usize::try_from(payload.try_get_u32().ok()?).ok()?;
        let (key, rest) = payload.split_at_checked(key_bytes)?;
        let (value, rest) = rest.split_at_checked(value_bytes.saturating_sub(1))?;
        changes.insert(key.to_vec(), (value_bytes > 0).then(|| value.to_vec()));
        payload = rest;
    }
    Some(changes)
}

/// Puts a record into an empty buffer, all but its checksum.
fn put_record(out: &mut Vec<u8>, mark: &Mark, number: u64, changes: &Changes) {
    out.put_slice(mark);
    out.put_u64(number);
    out.put_u32(0);
    for (key, value) in changes {
        put_length(out, key.len());
        put_length(out, value.as_ref().map_or(0, |value| value.len() + 1));
        out.put_slice(key);
        out.put_slice(value.as_deref().unwrap_or_default());
    }
    let length = u32::try_from(out.len() - HEADER_BYTES).expect("a group is far below 4 GiB");
    out[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.put_u32(u32::try_from(length).expect("keys and values are capped far below 4 GiB"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changes(number: u64, bytes: usize) -> Changes {
        let key = number.to_be_bytes().to_vec();
        Changes::from([(key, Some(vec![number as u8; bytes])), (b"gone".to_vec(), None)])
    }

    /// A journal with groups `1..=last`, each of `bytes` or so, and files of `file_bytes`.
    fn written(dir: &Path, last: u64, bytes: usize, file_bytes: u64) -> Vec<Entry> {
        let mut journal = Journal::begin_with(dir, file_bytes).unwrap();
        let mut written = Vec::new();
        for number in 1..=last {
            let changes = changes(number, bytes);
            if !journal.encode(number, &changes) {
                journal.turn().unwrap();
            }
            journal.append().unwrap();
            written.push(Entry { number, changes });
        }
        written
    }

    #[test]
    fn what_is_appended_is_read_in_the_order_of_its_groups() {
        let dir = tempfile::tempdir().unwrap();
        let entries = written(dir.path(), 9, 300, FILE_BYTES);
        assert_eq!(read(dir.path()).unwrap(), entries);
        assert_eq!(read(&dir.path().join("none")).unwrap(), []);
    }

    #[test]
    fn files_take_turns_and_the_older_turn_stays_readable_until_its_own_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let entries = written(dir.path(), 23, 1000, RECORDS_AT + 5000);
        let found = read(dir.path()).unwrap();
        // Four fit into a file: 17..=20 and 21..=23 are there, what lies behind them is of turns that are over.
        assert_eq!(found, entries[16..]);
    }

    #[test]
    fn a_group_larger_than_a_file_has_one_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        let entries = written(dir.path(), 3, 3 << 20, 1 << 20);
        assert_eq!(read(dir.path()).unwrap(), entries[1..]);
        assert!(fs::metadata(dir.path().join("0")).unwrap().len() >= 3 << 20);
        written(dir.path(), 1, 10, 1 << 20);
        assert_eq!(fs::metadata(dir.path().join("0")).unwrap().len(), 1 << 20);
    }

    #[test]
    fn a_record_behind_a_damaged_one_is_found_so_that_the_gap_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let entries = written(dir.path(), 3, 100, FILE_BYTES);
        let path = dir.path().join("0");
        let whole = fs::read(&path).unwrap();
        let second = RECORDS_AT as usize + (whole_record(&entries[0])) + 20;
        let mut damaged = whole.clone();
        damaged[second] ^= 4;
        fs::write(&path, damaged).unwrap();
        let numbers = |entries: Vec<Entry>| Vec::from_iter(entries.iter().map(|it| it.number));
        assert_eq!(numbers(read(dir.path()).unwrap()), [1, 3]);
    }

    fn whole_record(entry: &Entry) -> usize {
        let bytes = entry.changes.iter();
        let payload: usize =
            bytes.map(|(key, value)| 8 + key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        HEADER_BYTES + payload + CRC_BYTES
    }

    #[test]
    fn what_looks_like_a_record_but_has_not_the_mark_of_the_turn_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = tempfile::tempdir().unwrap();
        written(foreign.path(), 8, 10, FILE_BYTES);
        let sent = fs::read(foreign.path().join("0")).unwrap();
        let mut journal = Journal::begin_with(dir.path(), FILE_BYTES).unwrap();
        let sent = Changes::from([(b"key".to_vec(), Some(sent))]);
        journal.encode(5, &sent);
        journal.append().unwrap();
        let path = dir.path().join("0");
        let mut bytes = fs::read(&path).unwrap();
        bytes[RECORDS_AT as usize + 17] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(dir.path()).unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut file = Vec::new();
            file.put_u32(MAGIC);
            file.put_slice(&[7; 16]);
            file.put_u32(crc32fast::hash(&file));
            file.resize(RECORDS_AT as usize, 0);
            file.put_slice(&[7; 16]);
            file.put_slice(&bytes);
            let _ = entries_of(&file);
            let _ = entries_of(&bytes);
            let _ = changes_of(&bytes);
        }

    }

    #[test]
    fn any_flipped_bit_takes_its_record_away() {
        let dir = tempfile::tempdir().unwrap();
        let entries = written(dir.path(), 1, 60, FILE_BYTES);
        let length = whole_record(&entries[0]);
        let mut bytes = fs::read(dir.path().join("0")).unwrap();
        bytes.truncate(RECORDS_AT as usize + length);
        assert_eq!(entries_of(&bytes), entries);
        for bit in 0..length * 8 {
            let at = RECORDS_AT as usize + bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            assert_eq!(entries_of(&bytes), [], "{bit}");
            bytes[at] ^= 1 << (bit % 8);
        }
    }
}
