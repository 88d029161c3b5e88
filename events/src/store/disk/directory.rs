//! The data directory: who may use it, which format it has, and what a crash may have left in it.
//!
//! ```text
//! FORMAT    a number: which program can read this
//! LOCK      locked by the server that uses it
//! HEAD      where the log ended, see `head.rs`
//! BALLAST   space to give back when the disk is full, because opening needs some
//! log/      sled's files
//! journal/  the newest groups, see `journal.rs`
//! trial/    a copy of log/, only while a log is checked that may be damaged
//!
//! secrets.key   what opens the sealed values of events: the server's, nothing here reads it
//! ```

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::store::{
    StoreError,
    sled::{io_failure, sync_directory},
};

/// The format this program writes, and the newest it reads. Format 1 had no journal.
pub(super) const FORMAT: u32 = 2;

/// Opening writes up to two segments of the log, and a disk may be full when it has to.
const BALLAST_BYTES: u64 = 16 << 20;

/// A data directory that is ours while this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Locked; the lock ends with the handle.
    _lock: File,
}

impl Directory {
    /// Creates the directory if need be, locks it, and checks that this program can read it. Changes nothing else.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Unusable { dir: path.display().to_string(), source };
        if path.exists() && !path.is_dir() {
            return Err(unusable(io::Error::other("it is a file, not a directory")));
        }
        create(path).map_err(unusable)?;
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("LOCK"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { dir: path.display().to_string() });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // Whoever removed LOCK has not ended the server that held it: the log is locked by itself, too.
        if let Ok(log) = File::open(path.join("log/db"))
            && matches!(log.try_lock(), Err(TryLockError::WouldBlock))
        {
            return Err(StoreError::InUse { dir: path.display().to_string() });
        }
        let directory = Self { path: path.to_owned(), _lock: lock };
        directory.check_format()?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn head(&self) -> PathBuf {
        self.path.join("HEAD")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    fn trial(&self) -> PathBuf {
        self.path.join("trial")
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("BALLAST")
    }

    fn clean(&self) -> PathBuf {
        self.path.join("CLEAN")
    }

    /// Whether there is a log at all.
    pub(super) fn has_log(&self) -> bool {
        self.log().join("db").exists()
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.path.join("FORMAT");
        let unusable =
            |source| StoreError::Unusable { dir: self.path.display().to_string(), source };
        if super::restoring::is_unfinished(&self.path) {
            let what = "a restore into it was cut off; run `retold restore` into it again";
            return Err(unusable(io::Error::other(what)));
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.has_log() => {
                return self.write_format();
            }
            Err(error) => return Err(unusable(error)),
        };
        let dir = self.path.display().to_string();
        match text.trim().parse() {
            Ok(1..=FORMAT) => Ok(()),
            Ok(found) if found > FORMAT => {
                Err(StoreError::NewerFormat { dir, found, known: FORMAT })
            }
            Ok(_) | Err(_) => Err(StoreError::Damaged {
                place: path.display().to_string(),
                detail: format!("{:?} is not a format", text.trim()),
            }),
        }
    }

    /// Notes that the directory is of this program's format from now on.
    pub(super) fn write_format(&self) -> Result<(), StoreError> {
        // Written beside and renamed: a crash leaves a whole file or none.
        let (path, fresh) = (self.path.join("FORMAT"), self.path.join("FORMAT.new"));
        let write = || {
            let text = format!("{FORMAT}\n");
            if fs::read_to_string(&path).is_ok_and(|now| now == text) {
                return Ok(());
            }
            fs::write(&fresh, text)?;
            File::open(&fresh)?.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(io_failure)?;
        sync_directory(&self.path)
    }

    /// Gives back the space that was put aside, when there is less left than opening may need.
    pub(super) fn make_room(&self) -> Result<(), StoreError> {
        let free = free_bytes(&self.path).map_err(io_failure)?;
        if free < BALLAST_BYTES && self.ballast().exists() {
            tracing::warn!(free, "the disk is full; using the space that was put aside for this");
            fs::remove_file(self.ballast()).map_err(io_failure)?;
        }
        Ok(())
    }

    /// Puts space aside while there is enough beyond `reserve`. Failing to is no failure.
    pub(super) fn put_room_aside(&self, reserve: u64) {
        let free = free_bytes(&self.path).unwrap_or(0);
        if self.ballast().exists() || free < reserve.saturating_add(2 * BALLAST_BYTES) {
            return;
        }
        let allocated = File::create(self.ballast()).map(|file| {
            let flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(&file, flags, 0, BALLAST_BYTES)
        });
        if !matches!(allocated, Ok(Ok(()))) {
            let _ = fs::remove_file(self.ballast());
        }
    }

    /// Notes that the log was closed in good order, and what its file then looked like.
    pub(super) fn mark_clean(&self) -> Result<(), StoreError> {
        let write = || {
            fs::write(self.clean(), self.fingerprint()?)?;
            File::open(self.clean())?.sync_all()
        };
        write().map_err(io_failure)?;
        sync_directory(&self.path)
    }

    /// Whether the log is as [`Directory::mark_clean`] left it.
    pub(super) fn is_clean(&self) -> bool {
        is_clean(&self.path)
    }

    /// Takes the mark away, before the first change of the log.
    pub(super) fn unmark_clean(&self) -> Result<(), StoreError> {
        match fs::remove_file(self.clean()) {
            Ok(()) => sync_directory(&self.path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_failure(error)),
        }
    }

    fn fingerprint(&self) -> io::Result<String> {
        fingerprint(&self.path)
    }

    /// Copies the log aside; `None` when there is no room for that.
    pub(super) fn copy_for_trial(&self) -> Result<Option<PathBuf>, StoreError> {
        self.remove_trial()?;
        let bytes = size_of_files(&self.log()).map_err(io_failure)?;
        if free_bytes(&self.path).map_err(io_failure)? < bytes.saturating_add(BALLAST_BYTES) {
            return Ok(None);
        }
        copy_files(&self.log(), &self.trial()).map_err(io_failure)?;
        Ok(Some(self.trial()))
    }

    /// Removes the copy, this one or one that a crash left.
    pub(super) fn remove_trial(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(self.trial()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failure(error)),
            _ => Ok(()),
        }
    }
}

/// Creates a directory, and those above it, where they are missing; their names are durable on return.
fn create(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The directory itself also when it is there: a crash may have come before its name was durable.
    for made in missing.into_iter().skip(1).chain([path]) {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        match File::open(above.unwrap_or(Path::new("."))).and_then(|above| above.sync_all()) {
            // One that is not ours to read is not one that we put a name into.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether the log in the directory is as [`Directory::mark_clean`] left it.
pub(super) fn is_clean(path: &Path) -> bool {
    let noted = fs::read_to_string(path.join("CLEAN"));
    matches!((noted, fingerprint(path)), (Ok(noted), Ok(now)) if noted == now)
}

fn fingerprint(path: &Path) -> io::Result<String> {
    let db = fs::metadata(path.join("log").join("db"))?;
    Ok(format!("{} {} {}.{:09}\n", db.ino(), db.len(), db.mtime(), db.mtime_nsec()))
}

/// Bytes that can still be written where `path` is.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes of the whole file system where `path` is.
pub(super) fn total_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_blocks.saturating_mul(found.f_frsize))
}

pub(super) fn size_of_files(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size_of_files(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

pub(super) fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
