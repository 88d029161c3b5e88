//! What the shim wrote down: every change of the files below its root, in the order of its effect.

use std::ops::Range;
use std::path::Path;

use crate::Result;

/// The beginning of every note, as `shim.c` writes it.
const MAGIC: u32 = u32::from_le_bytes(*b"SHIM");
const NOTE_BYTES: usize = 48;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Bytes of the trace that were put into a file.
    Write { inode: u64, offset: u64, bytes: Range<usize> },
    /// Zeros that were put into a file.
    Zeros { inode: u64, offset: u64, length: u64 },
    /// A file became longer or shorter.
    Length { inode: u64, length: u64 },
    /// A file or a directory was synced; the name it had then.
    Sync { inode: u64, name: String },
    /// A file was made.
    Create { inode: u64, name: String },
    /// A directory was made.
    Directory { name: String },
    /// A name was changed.
    Rename { from: String, to: String },
    /// A name was removed.
    Remove { name: String },
}

/// A whole trace.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) ops: Vec<Op>,
    bytes: Vec<u8>,
}

impl Trace {
    /// Reads what a shim with this root wrote. Names are told from the root on; the root's own is empty.
    pub(crate) fn read(file: &Path, root: &Path) -> Result<Self> {
        let bytes = std::fs::read(file)?;
        let root = root.canonicalize()?.display().to_string();
        let mut ops = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (op, end) = op_at(&bytes, at, &root).ok_or_else(|| format!("no note at {at}"))?;
            ops.push(op);
            at = end;
        }
        Ok(Self { ops, bytes })
    }

    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

fn op_at(bytes: &[u8], at: usize, root: &str) -> Option<(Op, usize)> {
    let note = bytes.get(at..at + NOTE_BYTES)?;
    let short = |index: usize| Some(u32::from_le_bytes(note[index..index + 4].try_into().ok()?));
    let long = |index: usize| Some(u64::from_le_bytes(note[index..index + 8].try_into().ok()?));
    if short(0)? != MAGIC {
        return None;
    }
    let (inode, offset, length) = (long(8)?, long(16)?, long(24)?);
    let [name_bytes, other_bytes, data_bytes] = [short(32)?, short(36)?, short(40)?];
    let name_at = at + NOTE_BYTES;
    let other_at = name_at + name_bytes as usize;
    let data_at = other_at + other_bytes as usize;
    let end = data_at + data_bytes as usize;
    let text = |from: usize, to: usize| {
        let name = std::str::from_utf8(bytes.get(from..to)?).ok()?;
        Some(name.strip_prefix(root)?.trim_start_matches('/').to_owned())
    };
    let name = || text(name_at, other_at);
    let op = match short(4)? {
        1 => Op::Write { inode, offset, bytes: data_at..end },
        2 => Op::Zeros { inode, offset, length },
        3 => Op::Length { inode, length },
        4 => Op::Sync { inode, name: name()? },
        5 => Op::Create { inode, name: name()? },
        6 => Op::Rename { from: name()?, to: text(other_at, data_at)? },
        7 => Op::Remove { name: name()? },
        8 => Op::Directory { name: name()? },
        _ => return None,
    };
    (end <= bytes.len()).then_some((op, end))
}
