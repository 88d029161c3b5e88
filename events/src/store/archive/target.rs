//! The directory a backup is made into: files under temporary names, synced, renamed, and the manifest last.
//!
//! What a finished backup consists of is never written again: a later one adds files, then replaces the manifest, and
//! only then removes the output of runs that were open before. So whatever moment the process dies in, the directory
//! holds the last finished backup, or none that could be taken for one.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    ArchiveError, Counts, Manifest, Progress, Segment, Since, Tell, damaged_file,
    frame::{Begin, End, Frame, FrameError},
    io_at,
    manifest::{NAME, is_segment},
};
use crate::{
    Position,
    envelope::Hash,
    store::{made::Made, sled::sync_directory},
};

/// A file that has become so long gets no further frame.
const SEGMENT_BYTES: u64 = 64 << 20;
/// What each file begins with.
pub(super) const MAGIC: [u8; 8] = *b"RTLDBAK1";

const LOCK: &str = "LOCK";
const MANIFEST_NEW: &str = "MANIFEST.new";
const PART: &str = ".part";

/// A directory that a backup is made into, ours while this lives.
#[derive(Debug)]
pub struct Target {
    dir: PathBuf,
    made: Made,
    /// Locked; the lock ends with the handle.
    _lock: File,
    before: Option<Manifest>,
}

/// Where no backup came about, and there was none, nothing is left.
impl Drop for Target {
    fn drop(&mut self) {
        if self.before.is_none() && matches!(Manifest::read(&self.dir), Ok(None)) {
            // What cannot be removed now is removed by the next backup.
            let _ = self.remove_leftovers();
            let _ = fs::remove_file(self.dir.join(LOCK));
            self.made.undo();
        }
    }
}

impl Target {
    /// Takes the directory, creating it if need be, and removes what a backup that was cut off left in it.
    ///
    /// # Errors
    /// [`ArchiveError`]; nothing of a finished backup is touched.
    pub fn open(dir: &Path) -> Result<Self, ArchiveError> {
        let made = Made::make(dir).map_err(io_at(dir))?;
        let before = Manifest::read(dir)?;
        if before.is_none() {
            only_ours(dir)?;
        }
        let path = dir.join(LOCK);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(&path).map_err(io_at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ArchiveError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io_at(path)(error)),
        }
        // Another one may have finished in between.
        let before = Manifest::read(dir)?;
        let target = Self { dir: dir.to_owned(), made, _lock: lock, before };
        target.check_files()?;
        target.remove_leftovers()?;
        Ok(target)
    }

    /// What the directory has already.
    #[must_use]
    pub fn since(&self) -> Since {
        self.before.as_ref().map_or_else(Since::default, Manifest::since)
    }

    /// The backup that is there.
    #[must_use]
    pub fn before(&self) -> Option<&Manifest> {
        self.before.as_ref()
    }

    /// Keeps what `from` tells, and gives the manifest of the whole.
    ///
    /// # Errors
    /// [`ArchiveError`]; a backup that was there before is there still.
    pub fn receive(self, from: impl Read, tell: Tell<'_>) -> Result<Manifest, ArchiveError> {
        let mut receiving = Receiving::new(&self);
        receiving.run(from, tell)?;
        let manifest = receiving.finish()?;
        self.commit(&manifest)?;
        Ok(manifest)
    }

    /// Nobody gains from adding to a backup that lacks a file.
    fn check_files(&self) -> Result<(), ArchiveError> {
        for segment in self.before.iter().flat_map(|before| &before.segments) {
            let path = self.dir.join(&segment.name);
            let found = fs::metadata(&path).map_err(io_at(&path))?.len();
            if found != segment.bytes {
                let detail = format!("it has {found} bytes, the manifest says {}", segment.bytes);
                return Err(damaged_file(path, detail));
            }
        }
        Ok(())
    }

    fn remove_leftovers(&self) -> Result<(), ArchiveError> {
        let listed = |name: &str| {
            let mut segments = self.before.iter().flat_map(|before| &before.segments);
            segments.any(|segment| segment.name == name)
        };
        for name in names(&self.dir)? {
            let segment = name.strip_suffix(PART).unwrap_or(&name);
            if name == MANIFEST_NEW || is_segment(segment) && !listed(&name) {
                let path = self.dir.join(&name);
                fs::remove_file(&path).map_err(io_at(path))?;
            }
        }
        Ok(sync_directory(&self.dir)?)
    }

    fn commit(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        sync_directory(&self.dir)?;
        let fresh = self.dir.join(MANIFEST_NEW);
        let write = || {
            fs::write(&fresh, manifest.encode())?;
            File::open(&fresh)?.sync_all()?;
            fs::rename(&fresh, self.dir.join(NAME))
        };
        write().map_err(io_at(&fresh))?;
        sync_directory(&self.dir)?;
        for old in self.before.iter().flat_map(|before| &before.segments) {
            if !manifest.segments.iter().any(|segment| segment.name == old.name) {
                // What cannot be removed now is removed by the next backup.
                let _ = fs::remove_file(self.dir.join(&old.name));
            }
        }
        Ok(())
    }
}

/// Refuses a directory with files that no backup left there.
fn only_ours(dir: &Path) -> Result<(), ArchiveError> {
    for name in names(dir)? {
        let segment = name.strip_suffix(PART).unwrap_or(&name);
        if name != LOCK && name != MANIFEST_NEW && !is_segment(segment) {
            return Err(ArchiveError::NotEmpty(dir.to_owned()));
        }
    }
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<String>, ArchiveError> {
    let entries = fs::read_dir(dir).map_err(io_at(dir))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Ok(entry.map_err(io_at(dir))?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Whether a directory without a manifest is what a backup that was cut off left.
pub(super) fn is_unfinished(dir: &Path) -> bool {
    let names = names(dir).unwrap_or_default();
    names.iter().any(|name| name == LOCK || is_segment(name.strip_suffix(PART).unwrap_or(name)))
        && only_ours(dir).is_ok()
}

/// A stream being checked and written.
struct Receiving<'a> {
    target: &'a Target,
    begin: Option<Begin>,
    end: Option<End>,
    hasher: blake3::Hasher,
    /// How far the stream has come.
    position: Position,
    chain: Hash,
    counts: Counts,
    open_batches: u64,
    segments: Vec<Segment>,
    writing: Option<Writing>,
    next_number: u32,
}

/// A file being written.
struct Writing {
    name: String,
    is_open: bool,
    path: PathBuf,
    file: File,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl<'a> Receiving<'a> {
    fn new(target: &'a Target) -> Self {
        let before = target.before.as_ref();
        let numbers = before.iter().flat_map(|before| &before.segments);
        let last = numbers.filter_map(|segment| segment.name[..8].parse().ok()).max().unwrap_or(0);
        let Since { position, chain } = target.since();
        Self {
            target,
            begin: None,
            end: None,
            hasher: blake3::Hasher::new(),
            position,
            chain,
            counts: Counts::default(),
            open_batches: 0,
            segments: Vec::new(),
            writing: None,
            next_number: last + 1,
        }
    }

    fn run(&mut self, mut from: impl Read, tell: Tell<'_>) -> Result<(), ArchiveError> {
        let mut progress = Progress::default();
        loop {
            let (frame, bytes) = match Frame::read(&mut from) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => return Err(broken_off(error)),
            };
            self.take(&frame, &bytes)?;
            if !matches!(frame, Frame::End(_)) {
                self.hasher.update(&bytes);
            }
            progress.bytes += bytes.len() as u64;
            if let Some(begin) = &self.begin {
                progress.of = begin.position.0 - begin.since.0;
                progress.done = self.position.0 - begin.since.0;
            }
            tell(progress);
        }
        self.close_segment()
    }

    fn take(&mut self, frame: &Frame, bytes: &[u8]) -> Result<(), ArchiveError> {
        let wrong = |what: &str| Err(ArchiveError::BrokenOff(what.to_owned()));
        match (frame, &self.begin, &self.end) {
            (Frame::Begin(begin), None, None) => self.begin(begin),
            (Frame::Begin(_), Some(_), _) => wrong("it begins a second time"),
            (_, None, _) => wrong("it does not begin as an archive"),
            (_, _, Some(_)) => wrong("it goes on behind its end"),
            (Frame::Group(group), ..) => {
                if group.first.0 != self.position.0 + 1 {
                    return wrong("a group is missing");
                }
                group.prove(self.chain)?;
                (self.position, self.chain) = (group.last(), group.chain);
                self.counts.groups += 1;
                self.counts.events += group.envelopes.len() as u64;
                self.write(bytes, false)
            }
            (Frame::Output(_), ..) => {
                self.counts.batches += 1;
                self.write(bytes, false)
            }
            (Frame::OpenOutput(_), ..) => {
                self.counts.batches += 1;
                self.open_batches += 1;
                self.write(bytes, true)
            }
            (Frame::End(end), ..) => self.end(*end),
        }
    }

    fn begin(&mut self, begin: &Begin) -> Result<(), ArchiveError> {
        let told = Since { position: begin.since, chain: begin.since_chain };
        if told != self.target.since() || begin.position < begin.since {
            let (dir, position) = (self.target.dir.clone(), self.target.since().position.0);
            return Err(ArchiveError::OtherHistory { dir, position });
        }
        self.begin = Some(begin.clone());
        Ok(())
    }

    fn end(&mut self, end: End) -> Result<(), ArchiveError> {
        let whole = self.begin.as_ref().is_some_and(|begin| {
            (begin.position, begin.chain) == (self.position, self.chain)
                && end.counts == self.counts
                && end.hash == *self.hasher.finalize().as_bytes()
        });
        if !whole {
            return Err(ArchiveError::BrokenOff("its end is not what it began with".to_owned()));
        }
        self.end = Some(end);
        Ok(())
    }

    fn write(&mut self, frame: &[u8], is_open: bool) -> Result<(), ArchiveError> {
        let is_over = |writing: &Writing| {
            writing.is_open != is_open || writing.bytes + frame.len() as u64 > SEGMENT_BYTES
        };
        if self.writing.as_ref().is_some_and(is_over) {
            self.close_segment()?;
        }
        if self.writing.is_none() {
            let kind = if is_open { "open" } else { "log" };
            let name = format!("{:08}.{kind}", self.next_number);
            self.next_number += 1;
            self.writing = Some(Writing::create(&self.target.dir, name, is_open)?);
        }
        match &mut self.writing {
            Some(writing) => writing.write(frame),
            None => Ok(()),
        }
    }

    fn close_segment(&mut self) -> Result<(), ArchiveError> {
        if let Some(writing) = self.writing.take() {
            self.segments.push(writing.close(&self.target.dir)?);
        }
        Ok(())
    }

    /// The manifest of what was there and what was added.
    fn finish(self) -> Result<Manifest, ArchiveError> {
        let (Some(begin), Some(_)) = (self.begin, self.end) else {
            return Err(ArchiveError::BrokenOff("it has no end".to_owned()));
        };
        let mut counts = self.counts;
        let mut segments = Vec::new();
        if let Some(before) = &self.target.before {
            counts.events += before.counts.events;
            counts.groups += before.counts.groups;
            counts.batches += before.counts.batches - before.open_batches;
            let kept = before.segments.iter().filter(|segment| !segment.name.ends_with(".open"));
            segments.extend(kept.cloned());
        }
        segments.extend(self.segments);
        Ok(Manifest {
            program: begin.program,
            position: begin.position,
            chain: begin.chain,
            epoch: begin.epoch,
            at: begin.at,
            made_at: begin.made_at,
            counts,
            open_batches: self.open_batches,
            segments,
        })
    }
}

impl Writing {
    fn create(dir: &Path, name: String, is_open: bool) -> Result<Self, ArchiveError> {
        let path = dir.join(format!("{name}{PART}"));
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(io_at(&path))?;
        let mut writing =
            Self { name, is_open, path, file, bytes: 0, hasher: blake3::Hasher::new() };
        writing.write(&MAGIC)?;
        Ok(writing)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.file.write_all(bytes).map_err(io_at(&self.path))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn close(self, dir: &Path) -> Result<Segment, ArchiveError> {
        let close = || {
            self.file.sync_all()?;
            fs::rename(&self.path, dir.join(&self.name))
        };
        close().map_err(io_at(&self.path))?;
        let hash = *self.hasher.finalize().as_bytes();
        Ok(Segment { name: self.name, bytes: self.bytes, hash })
    }
}

fn broken_off(error: FrameError) -> ArchiveError {
    match error {
        FrameError::Format(found) => {
            ArchiveError::NewerFormat { path: "the archive".into(), found }
        }
        FrameError::Io(error) => match error.downcast::<crate::store::StoreError>() {
            Ok(error) => ArchiveError::Store(error),
            Err(error) => ArchiveError::BrokenOff(error.to_string()),
        },
        FrameError::Short
        | FrameError::Checksum
        | FrameError::Kind(_)
        | FrameError::Malformed(_) => ArchiveError::BrokenOff(error.to_string()),
    }
}
