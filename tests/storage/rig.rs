//! Small things that every proof here needs.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::{Result, random, say};

/// A file system in memory, where there is one: what a cut leaves is made there, as a real sync proves nothing then.
const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "retold-storage-";
/// Room there has to be in it.
const MEMORY_BYTES: u64 = 1 << 30;

/// A number from the environment, or the one for the gate.
pub(crate) fn number(name: &str, usual: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(value) => Ok(value.parse().map_err(|_| format!("{name} is not a number"))?),
        Err(_) => Ok(usual),
    }
}

/// The seed of all choices, which is said.
pub(crate) fn seed(proof: &str) -> Result<u64> {
    let seed = number("RETOLD_SEED", random::seed())?;
    say(&format!("{proof}: RETOLD_SEED={seed}"));
    Ok(seed)
}

/// Copies a directory and what is in it to a new place.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Keeps a directory that broke a promise, where that is wished.
pub(crate) fn keep(dir: &Path, name: &str) -> Result<()> {
    match std::env::var_os("RETOLD_KEEP") {
        Some(kept) => copy(dir, &Path::new(&kept).join(name)),
        None => Ok(()),
    }
}

/// The mark of a clean close names the inode and the time of the log's file, which a copy cannot have: this gives the
/// copy a mark of its own, as if it were the original. Says whether there was one.
pub(crate) fn renew_clean_mark(dir: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let mark = dir.join("CLEAN");
    let Ok(text) = fs::read_to_string(&mark) else { return Ok(false) };
    let Ok(db) = fs::metadata(dir.join("log/db")) else { return Ok(false) };
    let noted_bytes = text.split(' ').nth(1).and_then(|bytes| bytes.parse().ok());
    if noted_bytes != Some(db.len()) || !text.ends_with('\n') {
        return Ok(false);
    }
    let time = format!("{}.{:09}", db.mtime(), db.mtime_nsec());
    fs::write(mark, format!("{} {} {time}\n", db.ino(), db.len()))?;
    Ok(true)
}

/// A directory for what costs many syncs that nothing depends on.
pub(crate) fn quick_dir() -> Result<TempDir> {
    let memory = Path::new(MEMORY);
    if free_bytes(memory).is_ok_and(|free| free >= MEMORY_BYTES) {
        remove_left_over(memory)?;
        let name = format!("{PREFIX}{}-", std::process::id());
        if let Ok(dir) = TempDir::with_prefix_in(name, memory) {
            return Ok(dir);
        }
    }
    Ok(tempfile::tempdir()?)
}

/// Removes what a run left that was killed: memory must not be lost to it.
fn remove_left_over(memory: &Path) -> Result<()> {
    for entry in fs::read_dir(memory)? {
        let entry = entry?;
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let Some(owner) = owner.filter(|owner| owner.parse::<u32>().is_ok()) else { continue };
        if !Path::new("/proc").join(owner).exists() {
            // Another run may be faster.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Bytes that can still be written where `dir` is.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail * found.f_frsize)
}
