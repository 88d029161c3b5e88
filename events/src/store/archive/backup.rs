//! A finished backup, read again: every frame, every hash, every event in its place.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    ArchiveError, Manifest, Progress, Segment, Tell, damaged_file,
    frame::{Frame, FrameError},
    io_at,
    target::{MAGIC, is_unfinished},
};
use crate::{
    Position,
    envelope::{Envelope, Hash},
    store::{OutputBatch, RawGroup, StoreError},
};

/// Bytes read from a file at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// A finished backup.
#[derive(Debug)]
pub struct Backup {
    dir: PathBuf,
    manifest: Manifest,
}

/// A piece of what a backup holds, proven to be whole.
#[derive(Debug)]
pub enum Part {
    /// Events that were committed together.
    Group(RawGroup),
    /// Output of a run.
    Output(OutputBatch),
}

impl Backup {
    /// The backup in `dir`. Its files are not looked at yet.
    ///
    /// # Errors
    /// [`ArchiveError`] when it has no manifest, or one that cannot be read.
    pub fn open(dir: &Path) -> Result<Self, ArchiveError> {
        match Manifest::read(dir)? {
            Some(manifest) => Ok(Self { dir: dir.to_owned(), manifest }),
            None if is_unfinished(dir) => Err(ArchiveError::Unfinished(dir.to_owned())),
            None => Err(ArchiveError::NotABackup(dir.to_owned())),
        }
    }

    /// Whether `dir` is a backup, finished or not.
    #[must_use]
    pub fn is_at(dir: &Path) -> bool {
        dir.join(super::manifest::NAME).exists() || is_unfinished(dir)
    }

    /// What it is of.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Visits everything in the order in which it was told: the output of a run comes after its last event. What is
    /// damaged goes to `found`, which ends the reading or lets it go on with the next file.
    ///
    /// # Errors
    /// What `visit` and `found` give.
    pub fn read<E>(
        &self,
        tell: Tell<'_>,
        mut visit: impl FnMut(Part) -> Result<(), E>,
        mut found: impl FnMut(ArchiveError) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reading = Reading {
            dir: &self.dir,
            position: Position(0),
            chain: Some(Hash::default()),
            progress: Progress { of: self.manifest.position.0, ..Progress::default() },
        };
        for segment in &self.manifest.segments {
            let mut stopped = Ok(());
            let mut part = |part| {
                stopped = visit(part);
                stopped.is_ok()
            };
            let read = reading.segment(segment, tell, &mut part);
            stopped?;
            if let Err(error) = read {
                found(error)?;
                // What follows cannot be proven to follow; it is proven to be whole all the same.
                reading.chain = None;
            }
        }
        let Manifest { position, chain, .. } = self.manifest;
        if reading.chain.is_some() && (reading.position, reading.chain) != (position, Some(chain)) {
            let name = self.dir.join(super::manifest::NAME);
            let detail = format!(
                "it is of position {}, its files end at {}",
                position.0, reading.position.0
            );
            found(damaged_file(name, detail))?;
        }
        Ok(())
    }
}

/// How far the files have been read.
struct Reading<'a> {
    dir: &'a Path,
    position: Position,
    /// Hash over everything so far; `None` behind damage.
    chain: Option<Hash>,
    progress: Progress,
}

impl Reading<'_> {
    /// Reads a file. `visit` gives whether to go on.
    fn segment(
        &mut self,
        segment: &Segment,
        tell: Tell<'_>,
        visit: &mut dyn FnMut(Part) -> bool,
    ) -> Result<(), ArchiveError> {
        let path = self.dir.join(&segment.name);
        let file = File::open(&path).map_err(io_at(&path))?;
        let mut file = Hashing {
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            bytes: 0,
            hasher: blake3::Hasher::new(),
        };
        let frames = self.frames(&mut file, &path, tell, visit);
        if matches!(frames, Ok(false)) {
            return Ok(());
        }
        // The rest is read for its hash, so that damage is told from a program that does not know a frame.
        io::copy(&mut file, &mut io::sink()).map_err(io_at(&path))?;
        if file.bytes != segment.bytes {
            let detail =
                format!("it has {} bytes, the manifest says {}", file.bytes, segment.bytes);
            return Err(damaged_file(path, with(detail, frames.err())));
        }
        if *file.hasher.finalize().as_bytes() != segment.hash {
            let detail = "its hash is not the one in the manifest".to_owned();
            return Err(damaged_file(path, with(detail, frames.err())));
        }
        frames.map(drop)
    }

    /// Reads the frames of a file; gives whether to go on.
    fn frames(
        &mut self,
        file: &mut impl Read,
        path: &Path,
        tell: Tell<'_>,
        visit: &mut dyn FnMut(Part) -> bool,
    ) -> Result<bool, ArchiveError> {
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(|error| damaged_file(path, error))?;
        if magic != MAGIC {
            return Err(damaged_file(path, "it does not begin as a file of a backup"));
        }
        loop {
            let (frame, bytes) = match Frame::read(file) {
                Ok(Some(read)) => read,
                Ok(None) => return Ok(true),
                Err(FrameError::Io(error)) => return Err(io_at(path)(error)),
                Err(error) => {
                    let after = format!("after position {}: {error}", self.position.0);
                    return Err(damaged_file(path, after));
                }
            };
            let part = match frame {
                Frame::Group(group) => {
                    self.prove(&group).map_err(|error| damaged_file(path, error))?;
                    Part::Group(group)
                }
                Frame::Output(batch) | Frame::OpenOutput(batch) => Part::Output(batch),
                Frame::Begin(_) | Frame::End(_) => {
                    return Err(damaged_file(path, "a frame is in it that belongs into no file"));
                }
            };
            self.progress.done = self.position.0;
            self.progress.bytes += bytes.len() as u64;
            tell(self.progress);
            if !visit(part) {
                return Ok(false);
            }
        }
    }

    fn prove(&mut self, group: &RawGroup) -> Result<Vec<Envelope>, StoreError> {
        let follows = match self.chain {
            Some(chain) if group.first.0 == self.position.0 + 1 => group.prove(chain)?,
            Some(_) => {
                let place = format!("position {}", self.position.0 + 1);
                let detail = format!("the next group begins at {}", group.first.0);
                return Err(StoreError::Damaged { place, detail });
            }
            None => Vec::new(),
        };
        (self.position, self.chain) = (group.last(), Some(group.chain));
        Ok(follows)
    }
}

fn with(detail: String, cause: Option<ArchiveError>) -> String {
    match cause {
        Some(ArchiveError::Damaged { detail: cause, .. }) => format!("{detail} ({cause})"),
        Some(_) | None => detail,
    }
}

/// Reads a file and hashes what it reads.
struct Hashing<R> {
    file: R,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.hasher.update(&into[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
