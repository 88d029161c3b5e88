//! A copy of the log outside its data directory, as of one position: for backups.
//!
//! An archive holds what nothing else can give back: the groups of events, byte for byte, and the output of runs. Rows
//! and saved states follow from the events and are made anew. It is told as one stream of frames, so that it can be
//! taken from a server at work, over any connection and in bounded memory, and kept as files in a directory
//! ([`Backup`]), where every file has a hash and the manifest, written last, names them all.
//!
//! A stream tells what came after a position, so a later backup into the same directory adds only that. Outputs of runs
//! that have ended never change; those of runs still open are told apart, and a later part of the archive has them again.

mod backup;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod manifest;
mod moment;
mod target;
#[cfg(test)]
mod tests;
mod writer;

use std::{io, path::PathBuf};

pub use self::{
    backup::{Backup, Part},
    manifest::{Counts, Manifest, Segment},
    moment::{Moment, Since},
    target::Target,
    writer::{ArchiveReader, Archiver},
};
use super::StoreError;

/// The format this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// How far a backup, a restore or a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events done.
    pub done: u64,
    /// Events there are.
    pub of: u64,
    /// Bytes done.
    pub bytes: u64,
}

/// What a long job tells of itself now and then.
pub type Tell<'a> = &'a mut dyn FnMut(Progress);

/// An archive that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file or directory does not answer.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the backup.
    #[error("another backup into {0} is under way")]
    InUse(PathBuf),
    /// There is a backup without a manifest.
    #[error(
        "the backup in {0} was not finished: it has no MANIFEST; run `retold backup {0}` again, or use another one"
    )]
    Unfinished(PathBuf),
    /// There is no backup.
    #[error("{0} is not a backup: there is no MANIFEST in it")]
    NotABackup(PathBuf),
    /// There is something else.
    #[error(
        "{0} holds other files and no backup; give an empty directory or one that does not exist"
    )]
    NotEmpty(PathBuf),
    /// Written by a later version of this program.
    #[error("{path} has format {found}, this version reads up to {FORMAT}; use a newer retold")]
    NewerFormat {
        /// What.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// Bytes failed their checks.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// Which file, or the stream.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The stream ended before its end was told.
    #[error("the archive broke off: {0}")]
    BrokenOff(String),
    /// The backup is of another history.
    #[error(
        "the backup in {dir} is of another data directory, or of one that went another way after position {position}: use another directory"
    )]
    OtherHistory {
        /// The backup.
        dir: PathBuf,
        /// Its last position.
        position: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    /// The file or directory it is about, as far as it is about one.
    #[must_use]
    pub fn file(&self) -> String {
        match self {
            Self::Io { path, .. } | Self::Damaged { path, .. } | Self::NewerFormat { path, .. } => {
                path.display().to_string()
            }
            Self::InUse(dir)
            | Self::Unfinished(dir)
            | Self::NotABackup(dir)
            | Self::NotEmpty(dir)
            | Self::OtherHistory { dir, .. } => dir.display().to_string(),
            Self::BrokenOff(_) | Self::Store(_) => "the archive".to_owned(),
        }
    }

    /// What it says of that file.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::Damaged { detail, .. } => detail.clone(),
            Self::InUse(_)
            | Self::Unfinished(_)
            | Self::NotABackup(_)
            | Self::NotEmpty(_)
            | Self::NewerFormat { .. }
            | Self::OtherHistory { .. }
            | Self::BrokenOff(_)
            | Self::Store(_) => self.to_string(),
        }
    }
}

/// Says of `path` why it does not answer.
fn io_at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.into();
    move |source| {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return ArchiveError::Store(StoreError::Full);
        }
        ArchiveError::Io { path, source }
    }
}

/// Says of `path` that it is damaged.
fn damaged_file(path: impl Into<PathBuf>, detail: impl ToString) -> ArchiveError {
    ArchiveError::Damaged { path: path.into(), detail: detail.to_string() }
}
