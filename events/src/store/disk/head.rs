//! A small file beside the log that says where the log ended.
//!
//! sled cannot tell a torn tail from later damage: after one flipped bit it may open without its last records and say
//! nothing. So the end of every group is also written here, once the group is durable, and a log that is shorter is
//! refused. Nobody waits for its sync, which follows within a moment: it proves the end of a log that was damaged later,
//! and a power cut in that moment leaves an older proof. Two slots take turns, so a torn write leaves the other; the file
//! has its full size from the start, so a write moves no metadata and its sync costs one write.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut};

use crate::{Position, Timestamp, envelope::Hash, store::Head};

const MAGIC: u32 = u32::from_be_bytes(*b"RHED");
const SLOT_BYTES: usize = 64;
/// A sector or more apart, so that one torn write cannot reach both.
const SLOTS: [u64; 2] = [0, 4096];
const FILE_BYTES: u64 = 8192;

/// Where the log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SavedHead {
    /// Number of the last group, those without events too.
    pub(super) group: u64,
    /// The last event.
    pub(super) head: Head,
}

/// The open file.
#[derive(Debug)]
pub(super) struct HeadFile {
    path: PathBuf,
    file: File,
    /// What was written last: what the file says while nobody else writes it.
    last: Option<SavedHead>,
    /// The slot to be written next: not the one that counts.
    next: usize,
}

impl HeadFile {
    /// What the file says, without touching it; `None` when it is not there or says nothing readable.
    pub(super) fn read(path: &Path) -> io::Result<Option<SavedHead>> {
        match File::open(path) {
            Ok(file) => Ok(newest_slot(&file)?.1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the file, creating it when it is not there, and gives what it says; `None` when it says nothing readable.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Option<SavedHead>)> {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() < FILE_BYTES {
            // Zeros are written rather than skipped, so that the blocks are there.
            let length = file.metadata()?.len();
            let missing = usize::try_from(FILE_BYTES - length).unwrap_or_default();
            file.write_all_at(&vec![0; missing], length)?;
            file.sync_all()?;
        }
        let (newest, saved) = newest_slot(&file)?;
        Ok((Self { path: path.to_owned(), file, last: saved, next: 1 - newest }, saved))
    }

    /// Writes where the log ends. A crash of the process leaves it; a power cut may not, before [`HeadFile::sync`].
    pub(super) fn write(&mut self, saved: &SavedHead) -> io::Result<()> {
        self.file.write_all_at(&encode(saved), SLOTS[self.next])?;
        self.next = 1 - self.next;
        self.last = Some(*saved);
        Ok(())
    }

    /// Whether the file is still the one in its place and says what we wrote last. It is not when the directory was moved
    /// away, or another one or a backup was put into its place, while this process was stopped: then another server may
    /// be at work there, and our locks are on files that nobody looks at any more.
    pub(super) fn is_ours(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        let there = match fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_there = (there.dev(), there.ino()) == (ours.dev(), ours.ino());
        Ok(is_there && newest_slot(&self.file)?.1 == self.last)
    }

    /// Makes durable what was written.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Another handle, for who syncs it.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Which slot counts, and what it says.
fn newest_slot(file: &File) -> io::Result<(usize, Option<SavedHead>)> {
    let [first, second] = SLOTS.map(|slot| read_slot(file, slot));
    let (first, second) = (first?, second?);
    let age = |saved: &SavedHead| (saved.head.epoch, saved.group);
    let second_counts = second.as_ref().map(age) > first.as_ref().map(age);
    Ok(if second_counts { (1, second) } else { (0, first) })
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<SavedHead>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, slot) {
        Ok(()) => Ok(decode(&bytes)),
        // It was cut short.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn encode(saved: &SavedHead) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.put_u32(MAGIC);
    bytes.put_u32(saved.head.epoch);
    bytes.put_u64(saved.head.position.0);
    bytes.put_u64(saved.group);
    bytes.put_i64(saved.head.at.as_micros());
    bytes.put_slice(&saved.head.chain);
    bytes.resize(SLOT_BYTES - 4, 0);
    bytes.put_u32(crc32fast::hash(&bytes));
    bytes
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<SavedHead> {
    let (mut fields, mut crc) = bytes.split_at(SLOT_BYTES - 4);
    if crc.get_u32() != crc32fast::hash(fields) || fields.get_u32() != MAGIC {
        return None;
    }
    let epoch = fields.get_u32();
    let position = Position(fields.get_u64());
    let group = fields.get_u64();
    let at = Timestamp::from_micros(fields.get_i64());
    let mut chain = Hash::default();
    fields.copy_to_slice(&mut chain);
    Some(SavedHead { group, head: Head { position, chain, epoch, at } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(group: u64) -> SavedHead {
        let (position, at) = (Position(group * 3), Timestamp::from_micros(-5));
        SavedHead { group, head: Head { position, chain: [7; 16], epoch: 2, at } }
    }

    #[test]
    fn the_newest_head_counts_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("HEAD");
        let (mut file, found) = HeadFile::open(&path).unwrap();
        assert_eq!(found, None);
        for group in 1..=5 {
            file.write(&saved(group)).unwrap();
            let (reopened, found) = HeadFile::open(&path).unwrap();
            assert_eq!(found, Some(saved(group)));
            assert_eq!(reopened.next, file.next);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), FILE_BYTES);

        let torn = [9; 20];
        file.file.write_all_at(&torn, SLOTS[1 - file.next]).unwrap();
        assert_eq!(HeadFile::open(&path).unwrap().1, Some(saved(4)));
    }

    #[test]
    fn a_head_that_was_moved_replaced_or_written_by_another_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("HEAD"), dir.path().join("aside"));
        let (mut file, _) = HeadFile::open(&path).unwrap();
        assert!(file.is_ours().unwrap());
        file.write(&saved(1)).unwrap();
        assert!(file.is_ours().unwrap());
        fs::rename(&path, &aside).unwrap();
        assert!(!file.is_ours().unwrap());
        fs::copy(&aside, &path).unwrap();
        assert!(!file.is_ours().unwrap());
        fs::rename(&aside, &path).unwrap();
        assert!(file.is_ours().unwrap());
        HeadFile::open(&path).unwrap().0.write(&saved(2)).unwrap();
        assert!(!file.is_ours().unwrap());
    }

    #[test]
    fn any_flipped_bit_makes_a_slot_unreadable() {
        let bytes: [u8; SLOT_BYTES] = encode(&saved(3)).try_into().unwrap();
        assert_eq!(decode(&bytes), Some(saved(3)));
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "{bit}");
        }
    }
}
