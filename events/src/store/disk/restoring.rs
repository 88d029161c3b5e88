//! A data directory that a backup is restored into.
//!
//! It is built in a directory of its own within the new one, which so may be a mount point. Until all is there, the file
//! that says which program can read it says that nobody can: so whatever moment the process dies in, no server takes half
//! a restore for a data directory, and the next restore starts over.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{SledOptions, SledStore};
use crate::store::{
    EventStore as _, StoreError,
    made::Made,
    sled::{io_failure, sync_directory},
};

/// What the file of the format says meanwhile.
pub(super) const MARK: &str = "restoring";
/// Where it is built.
const BUILD: &str = "restoring";
/// What may be in a directory that counts as empty: what makes a file system, what an earlier try began with, and the key
/// of secrets, which no backup holds and whoever restores one may have put there already.
const EMPTY: [&str; 4] = ["lost+found", "LOCK", "FORMAT.new", "secrets.key"];

/// A data directory being built, ours while this lives.
#[derive(Debug)]
pub struct Restoring {
    dir: PathBuf,
    made: Made,
    /// Locked; the lock ends with the handle.
    _lock: File,
}

impl Restoring {
    /// Takes a directory that does not exist, is empty, or holds what a restore that was cut off left.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for any other, which stays as it is; [`StoreError::InUse`] and storage errors.
    pub fn begin(dir: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Unusable { dir: dir.display().to_string(), source };
        let made = Made::make(dir).map_err(unusable)?;
        check_empty(dir).map_err(unusable)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(dir.join("LOCK")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { dir: dir.display().to_string() });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // A server may have started in it meanwhile.
        check_empty(dir).map_err(unusable)?;
        let restoring = Self { dir: dir.to_owned(), made, _lock: lock };
        match restoring.take() {
            Ok(()) => Ok(restoring),
            Err(error) => {
                restoring.abandon();
                Err(error)
            }
        }
    }

    fn take(&self) -> Result<(), StoreError> {
        self.mark().map_err(io_failure)?;
        sync_directory(&self.dir)?;
        self.remove_earlier_try().map_err(io_failure)
    }

    /// The store to be filled, empty.
    ///
    /// # Errors
    /// As [`SledStore::open`].
    pub fn store(&self, options: SledOptions) -> Result<SledStore, StoreError> {
        SledStore::open(&self.dir.join(BUILD), options)
    }

    /// Closes the store and makes the directory a data directory. Durable on return.
    ///
    /// # Errors
    /// Storage errors; then it is none.
    pub fn finish(self, store: SledStore) -> Result<(), StoreError> {
        store.close()?;
        drop(store);
        let build = self.dir.join(BUILD);
        let last = ["HEAD", "FORMAT"];
        let stays = |name: &str| name == "LOCK" || last.contains(&name);
        let mut names = entries(&build).map_err(io_failure)?;
        names.retain(|name| !stays(name));
        for name in names.iter().map(String::as_str).chain(["HEAD"]) {
            fs::rename(build.join(name), self.dir.join(name)).map_err(io_failure)?;
        }
        sync_directory(&self.dir)?;
        // From here on it is one.
        fs::rename(build.join("FORMAT"), self.dir.join("FORMAT")).map_err(io_failure)?;
        sync_directory(&self.dir)?;
        fs::remove_dir_all(&build).map_err(io_failure)
    }

    /// Removes what was built: the directory is empty again, or gone where it was made for this.
    pub fn abandon(self) {
        let remove = |name| match fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
        let removed = self.remove_earlier_try();
        // The mark goes before the lock, which is the last thing that says that somebody is here.
        let removed = removed.and_then(|()| remove("FORMAT")).and_then(|()| remove("LOCK"));
        self.made.undo();
        if let Err(error) = removed {
            tracing::warn!(dir = %self.dir.display(), %error, "a part of the restore is left over");
        }
    }

    fn mark(&self) -> io::Result<()> {
        let fresh = self.dir.join("FORMAT.new");
        fs::write(&fresh, format!("{MARK}\n"))?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, self.dir.join("FORMAT"))
    }

    fn remove_earlier_try(&self) -> io::Result<()> {
        for name in entries(&self.dir)? {
            let path = self.dir.join(&name);
            match name.as_str() {
                "lost+found" | "LOCK" | "FORMAT" | "secrets.key" => {}
                _ if path.is_dir() => fs::remove_dir_all(path)?,
                _ => fs::remove_file(path)?,
            }
        }
        Ok(())
    }
}

/// Whether a restore into `dir` was cut off.
pub(super) fn is_unfinished(dir: &Path) -> bool {
    let says = |name| fs::read_to_string(dir.join(name)).is_ok_and(|text| text.trim() == MARK);
    says("FORMAT") || says("FORMAT.new")
}

fn check_empty(dir: &Path) -> io::Result<()> {
    if is_unfinished(dir) || entries(dir)?.iter().all(|name| EMPTY.contains(&name.as_str())) {
        return Ok(());
    }
    Err(io::Error::other(
        "it is not empty, and a restore makes a new one; name a directory that does not exist",
    ))
}

fn entries(dir: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    fs::read_dir(dir)?.map(name).collect()
}
