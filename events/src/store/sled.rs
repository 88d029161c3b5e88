//! sled behind five verbs: get, scan, apply, sync, close. The only file that names it.
//!
//! sled 0.34.7 keeps its promises only inside this wrapper; each point was reproduced (`ARCHITECTURE.md` has the list):
//! its `flush` ends in `sync_file_range`, so every sync here ends in `fdatasync` on our own handle of its file; pages
//! over a quarter segment go to files that it never syncs, so segments are 8 MiB and values stay small (`disk/values.rs`);
//! a half-written `snap.*.generating` stops it from opening, so it is removed before; damaged files make it panic, so
//! every call is guarded. It must not know what keys and values mean.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;

use super::{KeyRange, StoreError, watchdog::Watchdog};

/// sled's own default before it became 512 KiB: pages up to 2 MiB stay in the synced log.
const SEGMENT_BYTES: usize = 8 << 20;

/// How often sled syncs by itself: a backstop, nothing relies on it.
const BACKSTOP_MS: u64 = 500;

/// How often, and at what distance, closing looks whether sled has let go: two seconds in all, mostly one look.
const LET_GO_TRIES: u32 = 2000;
const LET_GO_PAUSE: Duration = Duration::from_millis(1);

/// What a batch does: `None` removes a key.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// One tree of sorted keys, with atomic batches.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    /// `None` once closed.
    opened: RwLock<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    db: ::sled::Db,
    tree: ::sled::Tree,
    watchdog: Arc<Watchdog>,
    /// Our own handle of the file sled appends to.
    file: File,
}

impl Tree {
    /// Opens or creates the files in `path`. A panic inside sled becomes an error.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        fs::create_dir_all(path)?;
        remove_half_written(path)?;
        let config = ::sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(BACKSTOP_MS));
        // On a thread of its own: what a panic leaves behind in this one's thread-locals dies with it.
        let opening = std::thread::Builder::new()
            .name("open sled".to_owned())
            .spawn(move || config.open())?
            .join();
        let db = match opening {
            Ok(result) => result.map_err(|error| failure(path, error))?,
            Err(panic) => return Err(panicked(path, &*panic)),
        };
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        file.sync_all()?;
        // sled writes it once and never syncs it; half of it would keep the next start from opening.
        File::open(path.join("conf"))?.sync_all()?;
        sync_directory(path)?;
        let tree = ::sled::Tree::clone(&db);
        let knocked = db.clone();
        let watchdog = Watchdog::start(move || {
            // Whoever waits gets the error; this call is there to wake them.
            let _ = catch_unwind(AssertUnwindSafe(|| knocked.flush()));
        })?;
        let watchdog = Arc::new(watchdog);
        let opened = RwLock::new(Some(Opened { db, tree, watchdog, file }));
        let opened = Self { path: path.to_owned(), opened };
        opened.warn_of_unsynced_files();
        Ok(opened)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let tree = self.tree()?;
        let value = self.guarded(|| tree.get(key))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Visits keys and values in order, or against it, until `visit` breaks.
    pub(super) fn scan(
        &self,
        range: KeyRange,
        descending: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let tree = self.tree()?;
        let mut found = self.guarded(|| Ok(tree.range(range)))?;
        loop {
            let next = if descending {
                self.guarded(|| found.next_back().transpose())
            } else {
                self.guarded(|| found.next().transpose())
            };
            match next? {
                Some((key, value)) if visit(&key, &value)?.is_continue() => {}
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Makes all changes of a batch or none. Reads see them at once; durable after the next [`Tree::sync`], and after
    /// a crash before that all batches up to some one are there.
    pub(super) fn apply(&self, changes: Changes) -> Result<(), StoreError> {
        let (tree, watchdog) = {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            let Some(Opened { tree, watchdog, .. }) = &*opened else { return Err(closed()) };
            (tree.clone(), Arc::clone(watchdog))
        };
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        watchdog.during(|| self.guarded(|| tree.apply_batch(batch)))
    }

    /// Makes durable what was applied before.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Opened { db, file, watchdog, .. }) = &*opened else { return Err(closed()) };
        watchdog.during(|| self.guarded(|| db.flush()))?;
        // sled's flush does not reach the disk: this does.
        file.sync_data().map_err(io_failure)
    }

    /// Writes out and lets go of the files.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        let opened = self.opened.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Opened { db, tree, file, watchdog }) = opened else { return Ok(()) };
        watchdog.during(|| self.guarded(|| db.flush()))?;
        // It has a handle of the database, too.
        drop(watchdog);
        self.guarded(move || {
            drop(tree);
            drop(db);
            Ok(())
        })?;
        wait_until_let_go(&file)?;
        file.sync_all().map_err(io_failure)?;
        sync_directory(&self.path)
    }

    fn tree(&self) -> Result<::sled::Tree, StoreError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map(|opened| opened.tree.clone()).ok_or_else(closed)
    }

    fn guarded<T>(&self, f: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(result) => result.map_err(|error| failure(&self.path, error)),
            Err(panic) => Err(panicked(&self.path, &*panic)),
        }
    }

    /// Nothing we write can get there; should it happen all the same, a power cut could cost it.
    fn warn_of_unsynced_files(&self) {
        let blobs = self.path.join("blobs");
        let is_empty = fs::read_dir(&blobs).map_or(true, |mut entries| entries.next().is_none());
        if !is_empty {
            tracing::error!(blobs = %blobs.display(), "sled keeps values in files it never syncs");
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "sled did not close cleanly");
        }
    }
}

/// Waits until sled's own threads have dropped their handles: until then it holds its lock, and may still write.
fn wait_until_let_go(file: &File) -> Result<(), StoreError> {
    for _ in 0..LET_GO_TRIES {
        match file.try_lock() {
            Ok(()) => return file.unlock().map_err(io_failure),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LET_GO_PAUSE),
            Err(TryLockError::Error(error)) => return Err(io_failure(error)),
        }
    }
    tracing::warn!("sled still holds its files after it was closed");
    Ok(())
}

/// Removes what a crash left of sled's own snapshot: it would be taken for a whole one.
fn remove_half_written(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
            tracing::warn!(file = %entry.path().display(), "removed a half-written file");
        } else if name == "conf" {
            // It repeats what we open with, and half of it would never open again: sled writes it anew.
            fs::remove_file(entry.path())?;
        }
    }
    sync_directory(path)
}

/// Makes created, renamed and removed names durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io_failure)
}

/// A full disk has a name of its own.
pub(super) fn io_failure(error: io::Error) -> StoreError {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if is_full { StoreError::Full } else { StoreError::Io(error) }
}

fn failure(path: &Path, error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(error) => io_failure(error),
        ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) => {
            StoreError::Damaged { place: path.display().to_string(), detail: error.to_string() }
        }
        ::sled::Error::CollectionNotFound(_) | ::sled::Error::Unsupported(_) => {
            io::Error::other(error.to_string()).into()
        }
    }
}

fn panicked(path: &Path, panic: &(dyn std::any::Any + Send)) -> StoreError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    let detail = format!("the database gave up: {text}");
    StoreError::Damaged { place: path.display().to_string(), detail }
}

/// What is asked of a closed store is refused.
pub(super) fn closed() -> StoreError {
    StoreError::Closed("it was closed".to_owned())
}
