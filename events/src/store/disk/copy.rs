//! A data directory checked without a change: what is opened is a copy.
//!
//! The database writes whenever it is opened, and repairs what it takes for a torn end. So a check copies the files aside,
//! where the file system can share their blocks, and removes the copy at its end. It holds the lock of the directory
//! meanwhile, without making one where there is none.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{
    SledOptions, SledStore,
    directory::{self, Directory, FORMAT},
    examine::Examination,
    head::HeadFile,
    journal, restoring,
};
use crate::store::{
    StoreError,
    archive::Tell,
    sled::{Tree, io_failure},
    verify::{Meaning, Place, Report},
};

/// What is copied, of what there is.
const FILES: [&str; 4] = ["FORMAT", "HEAD", "log", "journal"];
/// Room left over beside the copy: opening it writes some.
const SPARE_BYTES: u64 = 32 << 20;
/// Memory the database gets: most pages are read once or twice.
const CACHE_BYTES: u64 = 64 << 20;

/// A copy of a data directory that nobody serves. Removed when it is dropped.
#[derive(Debug)]
pub struct Copy {
    of: PathBuf,
    path: PathBuf,
    /// Whether it was closed in good order: then a server would not look at its journal either.
    is_clean: bool,
    /// Locked, where there is one; the lock ends with the handle.
    _lock: Option<File>,
}

impl Copy {
    /// Copies the directory, to `scratch` if given, else into the directory itself, for as long as the copy lives.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where there is no data directory or no room, [`StoreError::InUse`],
    /// [`StoreError::NewerFormat`], and [`StoreError::Io`].
    pub fn of(dir: &Path, scratch: Option<&Path>) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        check_format(dir)?;
        let path = match scratch {
            Some(scratch) => scratch.join(format!("retold-verify-{}", std::process::id())),
            None => dir.join("trial"),
        };
        let is_clean = directory::is_clean(dir);
        let copy = Self { of: dir.to_owned(), path, is_clean, _lock: lock };
        copy.check_room()?;
        copy.make().map_err(|source| copy.unusable(with_hint(source)))?;
        Ok(copy)
    }

    /// Checks everything in it.
    ///
    /// # Errors
    /// Storage errors; what is wrong with the data is in the report.
    pub fn examine(&self, meaning: &mut dyn Meaning, tell: Tell<'_>) -> Result<Report, StoreError> {
        let mut report = Report::default();
        let log = self.path.join("log");
        let (_, saved) = HeadFile::open(&self.path.join("HEAD")).map_err(io_failure)?;
        let there_was_something = saved.is_some_and(|saved| saved.group > 0);
        if !log.join("db").exists() {
            if there_was_something {
                report.damage(Place::key("log"), "the log itself is missing");
            }
            return Ok(report);
        }
        let tree = match Tree::open(&log, CACHE_BYTES) {
            Ok(tree) => tree,
            Err(error) => {
                report.damage(Place::key("log"), detail_of(&error));
                return Ok(report);
            }
        };
        let is_clean = self.is_clean && saved.is_some();
        let entries =
            if is_clean { Vec::new() } else { journal::read(&self.path.join("journal"))? };
        if let Err(error) = journal::replay(&tree, &self.of, &entries) {
            report.damage(Place::key("journal"), detail_of(&error));
        }
        Examination::new(&tree, saved, meaning, tell, &mut report).run();
        tree.close()?;
        Ok(report)
    }

    /// The copy as a store, when it is whole.
    ///
    /// # Errors
    /// As [`SledStore::open`].
    pub fn store(&self) -> Result<SledStore, StoreError> {
        // It was opened and closed here: a second copy would tell nothing more.
        Directory::open(&self.path)?.mark_clean()?;
        SledStore::open(
            &self.path,
            SledOptions { cache_bytes: CACHE_BYTES, reserve_bytes: Some(0) },
        )
    }

    fn make(&self) -> io::Result<()> {
        remove(&self.path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        for name in FILES {
            let from = self.of.join(name);
            if from.is_dir() {
                directory::copy_files(&from, &self.path.join(name))?;
            } else if from.exists() {
                fs::copy(&from, self.path.join(name))?;
            }
        }
        Ok(())
    }

    fn check_room(&self) -> Result<(), StoreError> {
        let Some(parent) = self.path.parent() else { return Ok(()) };
        let mut wanted = SPARE_BYTES;
        for name in FILES {
            let path = self.of.join(name);
            wanted += match fs::metadata(&path) {
                Ok(found) if found.is_dir() => {
                    directory::size_of_files(&path).map_err(io_failure)?
                }
                Ok(found) => found.len(),
                Err(_) => 0,
            };
        }
        let free = directory::free_bytes(parent).map_err(|source| self.unusable(source))?;
        if free >= wanted {
            return Ok(());
        }
        let what = format!(
            "checking needs a copy of {} MiB, and there are {} MiB free in {}",
            wanted >> 20,
            free >> 20,
            parent.display()
        );
        Err(self.unusable(with_hint(io::Error::other(what))))
    }

    fn unusable(&self, source: io::Error) -> StoreError {
        StoreError::Unusable { dir: self.of.display().to_string(), source }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::error!(path = %self.path.display(), %error, "the copy could not be removed");
        }
    }
}

fn with_hint(source: io::Error) -> io::Error {
    io::Error::new(
        source.kind(),
        format!("{source}; --scratch DIR names another place for the copy"),
    )
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn lock(dir: &Path) -> Result<Option<File>, StoreError> {
    let name = dir.display().to_string();
    let lock = match File::open(dir.join("LOCK")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Unusable { dir: name, source }),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: name }),
        Err(TryLockError::Error(source)) => Err(StoreError::Unusable { dir: name, source }),
    }
}

fn check_format(dir: &Path) -> Result<(), StoreError> {
    let name = || dir.display().to_string();
    let unusable = |what: &str| {
        Err(StoreError::Unusable { dir: name(), source: io::Error::other(what.to_owned()) })
    };
    if restoring::is_unfinished(dir) {
        return unusable("a restore into it was cut off; run `retold restore` into it again");
    }
    match fs::read_to_string(dir.join("FORMAT")) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found > FORMAT => {
                Err(StoreError::NewerFormat { dir: name(), found, known: FORMAT })
            }
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Damaged {
                place: dir.join("FORMAT").display().to_string(),
                detail: format!("{:?} is not a format", text.trim()),
            }),
        },
        Err(_) => unusable("there is no data directory: it has no file FORMAT"),
    }
}

/// What is wrong, without the name of the copy.
fn detail_of(error: &StoreError) -> String {
    match error {
        StoreError::Damaged { detail, .. } | StoreError::NotTheLog { detail, .. } => detail.clone(),
        StoreError::InUse { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::Unusable { .. }
        | StoreError::Full
        | StoreError::Io(_)
        | StoreError::Closed(_) => error.to_string(),
    }
}
