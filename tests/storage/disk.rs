//! A disk as a power cut finds it: what was synced is there, of everything since then any part may be.
//!
//! The model takes no more for granted than POSIX does. A file's bytes are safe once the file was synced, its name once
//! the directory was, and a directory's own name once its parent was. `sync_file_range` makes nothing safe. Of what is not
//! safe, any block of any write may be there or not, the file may have grown without its bytes, and names may be as they
//! were at any moment since the directory was synced (names of one directory keep their order, as every file system with
//! a journal sees to).

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use crate::Result;
use crate::random::Random;
use crate::trace::{Op, Trace};

/// Nothing in here outlives an opening, so it is left out.
const PASSING: &str = "data/trial";

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    files: Vec<Contents>,
    /// Which file an inode is now: the number is given out again after a file is gone.
    inodes: HashMap<u64, usize>,
    directories: BTreeMap<String, Names>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    safe: Vec<u8>,
    /// Indices of operations.
    since: Vec<Op>,
}

#[derive(Debug, Clone, Default)]
struct Names {
    safe: BTreeMap<String, Entry>,
    since: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(usize),
    Directory,
}

#[derive(Debug, Clone)]
enum Change {
    Add(String, Entry),
    Remove(String),
    Rename(String, String),
}

/// Which of what is not safe is there after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Everything,
    /// Bytes, but no names.
    Bytes,
    /// Names, but no bytes.
    Names,
    /// Any part, in blocks of so many bytes.
    Some {
        block: u64,
    },
}

impl Left {
    pub(crate) const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Everything,
        Self::Bytes,
        Self::Names,
        Self::Some { block: 512 },
        Self::Some { block: 4096 },
    ];
}

impl Disk {
    /// A disk with an empty root.
    pub(crate) fn new() -> Self {
        let directories = BTreeMap::from([(String::new(), Names::default())]);
        Self { directories, ..Self::default() }
    }

    /// A disk with all that is below `root`, which is safe.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let mut disk = Self::new();
        disk.add(root, "")?;
        Ok(disk)
    }

    fn add(&mut self, root: &Path, directory: &str) -> Result<()> {
        let mut names = Names::default();
        for entry in fs::read_dir(root.join(directory))? {
            let entry = entry?;
            let own = entry.file_name().into_string().map_err(|_| "a name that is no text")?;
            let name =
                if directory.is_empty() { own.clone() } else { format!("{directory}/{own}") };
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                names.safe.insert(own, Entry::Directory);
                self.add(root, &name)?;
            } else {
                names.safe.insert(own, Entry::File(self.files.len()));
                self.inodes.insert(metadata.ino(), self.files.len());
                let safe = fs::read(entry.path())?;
                self.files.push(Contents { safe, since: Vec::new() });
            }
        }
        self.directories.insert(directory.to_owned(), names);
        Ok(())
    }

    /// Lets one operation take effect.
    pub(crate) fn take(&mut self, op: &Op, trace: &Trace) {
        match op {
            Op::Write { inode, .. } | Op::Zeros { inode, .. } | Op::Length { inode, .. } => {
                if let Some(file) = self.inodes.get(inode) {
                    self.files[*file].since.push(op.clone());
                }
            }
            Op::Sync { inode, name } => self.sync(*inode, name, trace),
            Op::Create { inode, name } => {
                self.inodes.remove(inode);
                if !name.starts_with(PASSING) {
                    let file = self.files.len();
                    self.inodes.insert(*inode, file);
                    self.change(name, |name| Change::Add(name, Entry::File(file)));
                    self.files.push(Contents::default());
                }
            }
            Op::Directory { name } => {
                if !name.starts_with(PASSING) {
                    self.change(name, |name| Change::Add(name, Entry::Directory));
                    self.directories.insert(name.clone(), Names::default());
                }
            }
            Op::Rename { from, to } => {
                let to = split(to).1;
                self.change(from, |from| Change::Rename(from, to));
            }
            Op::Remove { name } => {
                if !name.starts_with(PASSING) {
                    self.change(name, Change::Remove);
                }
            }
        }
    }

    /// Bytes in all files, synced or not.
    pub(crate) fn bytes(&self, trace: &Trace) -> u64 {
        let all =
            |file: &Contents| file.left(Left::Everything, &mut Random::new(0), trace).len() as u64;
        self.files.iter().map(all).sum()
    }

    fn sync(&mut self, inode: u64, name: &str, trace: &Trace) {
        if let Some(names) = self.directories.get_mut(name) {
            for change in std::mem::take(&mut names.since) {
                change.apply(&mut names.safe);
            }
        } else if let Some(file) = self.inodes.get(&inode) {
            let file = &mut self.files[*file];
            for op in std::mem::take(&mut file.since) {
                apply(&mut file.safe, &op, trace);
            }
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(String) -> Change) {
        let (directory, name) = split(name);
        // What is made in a directory that is left out is left out with it.
        let change = change(name);
        if let Some(names) = self.directories.get_mut(&directory) {
            names.since.push(change);
        }
    }

    /// Puts what a cut leaves into `to`, an empty directory.
    pub(crate) fn leave(
        &self,
        left: Left,
        random: &mut Random,
        trace: &Trace,
        to: &Path,
    ) -> Result<()> {
        self.leave_directory("", left, random, trace, to)
    }

    fn leave_directory(
        &self,
        name: &str,
        left: Left,
        random: &mut Random,
        trace: &Trace,
        to: &Path,
    ) -> Result<()> {
        let Some(names) = self.directories.get(name) else { return Ok(()) };
        for (entry_name, entry) in names.left(left, random) {
            let target = to.join(&entry_name);
            match entry {
                Entry::Directory => {
                    fs::create_dir(&target)?;
                    let below =
                        if name.is_empty() { entry_name } else { format!("{name}/{entry_name}") };
                    self.leave_directory(&below, left, random, trace, &target)?;
                }
                Entry::File(file) => {
                    write_sparsely(&self.files[file].left(left, random, trace), &target)?;
                }
            }
        }
        Ok(())
    }
}

impl Names {
    fn left(&self, left: Left, random: &mut Random) -> BTreeMap<String, Entry> {
        let all = self.since.len();
        let count = match left {
            Left::Nothing | Left::Bytes => 0,
            Left::Everything | Left::Names => all,
            Left::Some { .. } => random.below(all as u64 + 1) as usize,
        };
        let mut names = self.safe.clone();
        for change in &self.since[..count] {
            change.clone().apply(&mut names);
        }
        names
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, Entry>) {
        match self {
            Self::Add(name, entry) => drop(names.insert(name, entry)),
            Self::Remove(name) => drop(names.remove(&name)),
            Self::Rename(from, to) => {
                if let Some(entry) = names.remove(&from) {
                    names.insert(to, entry);
                }
            }
        }
    }
}

impl Contents {
    fn left(&self, left: Left, random: &mut Random, trace: &Trace) -> Vec<u8> {
        let mut bytes = self.safe.clone();
        for op in &self.since {
            match left {
                Left::Nothing | Left::Names => {}
                Left::Everything | Left::Bytes => apply(&mut bytes, op, trace),
                Left::Some { block } => apply_some(&mut bytes, op, block, random, trace),
            }
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, op: &Op, trace: &Trace) {
    match op {
        Op::Write { offset, bytes: range, .. } => put(bytes, *offset, trace.bytes(range)),
        Op::Zeros { offset, length, .. } => put(bytes, *offset, &vec![0; *length as usize]),
        Op::Length { length, .. } => bytes.resize(*length as usize, 0),
        Op::Sync { .. }
        | Op::Create { .. }
        | Op::Directory { .. }
        | Op::Rename { .. }
        | Op::Remove { .. } => {}
    }
}

/// A third of all writes get through, a third do not, and a third only in some of their blocks.
fn apply_some(bytes: &mut Vec<u8>, op: &Op, block: u64, random: &mut Random, trace: &Trace) {
    let zeros;
    let (offset, data) = match op {
        Op::Write { offset, bytes: range, .. } => (*offset, trace.bytes(range)),
        Op::Zeros { offset, length, .. } => {
            zeros = vec![0; *length as usize];
            (*offset, &zeros[..])
        }
        Op::Length { .. }
        | Op::Sync { .. }
        | Op::Create { .. }
        | Op::Directory { .. }
        | Op::Rename { .. }
        | Op::Remove { .. } => {
            if random.one_in(2) {
                apply(bytes, op, trace);
            }
            return;
        }
    };
    let end = offset as usize + data.len();
    if bytes.len() < end && random.one_in(2) {
        bytes.resize(end, 0);
    }
    let fate = random.below(3);
    let mut at = offset;
    let mut rest = data;
    while !rest.is_empty() {
        let (piece, others) = rest.split_at(rest.len().min((block - at % block) as usize));
        if fate == 0 || (fate == 1 && random.one_in(2)) {
            put(bytes, at, piece);
        }
        at += piece.len() as u64;
        rest = others;
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// Writes a file without the blocks that are zeros, which reads the same and costs less.
fn write_sparsely(bytes: &[u8], path: &Path) -> Result<()> {
    const BLOCK: usize = 1 << 16;
    let file = File::create(path)?;
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, (index * BLOCK) as u64)?;
        }
    }
    file.set_len(bytes.len() as u64)?;
    Ok((&file).flush()?)
}

/// The directory of a name, and the last part of it.
fn split(name: &str) -> (String, String) {
    let (directory, name) = name.rsplit_once('/').unwrap_or(("", name));
    (directory.to_owned(), name.to_owned())
}
