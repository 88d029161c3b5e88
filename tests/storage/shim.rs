//! The library between a program and its files: built once, and told what to do by the environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::Result;

/// A call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which kind of calls is counted, as `shim.c` names it.
    pub(crate) kind: &'static str,
    /// Which of them fails; 1 is the first.
    pub(crate) number: u64,
    /// `once`, `forever` or `short`.
    pub(crate) mode: &'static str,
    /// With what.
    pub(crate) errno: i32,
}

pub(crate) const EIO: i32 = 5;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EDQUOT: i32 = 122;

/// Puts the shim before a program that keeps its files below `root`, which has to exist.
pub(crate) fn below<'a>(command: &'a mut Command, root: &Path) -> Result<&'a mut Command> {
    Ok(command.env("LD_PRELOAD", library()?).env("SHIM_ROOT", root))
}

/// Has every change written down in a file, behind what is there already.
pub(crate) fn trace(command: &mut Command, file: &Path) {
    command.env("SHIM_TRACE", file);
}

/// Lets calls fail. `hits` gets a line for each.
pub(crate) fn fault(command: &mut Command, fault: Fault, hits: &Path) {
    let Fault { kind, number, mode, errno } = fault;
    command.env("SHIM_FAULT", format!("{kind}:{number}:{mode}:{errno}"));
    command.env("SHIM_HITS", hits);
}

/// Where the library is. It goes with the process, as the directory of a `static` is not dropped: so it is made where
/// the build keeps what tests leave, under a name that the next run uses again.
fn library() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|error| error.to_string())).clone().map_err(Into::into)
}

fn build() -> Result<PathBuf> {
    let source = include_str!("shim.c");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library =
        directory.join(format!("shim-{}.so", &blake3::hash(source.as_bytes()).to_hex()[..16]));
    if library.exists() {
        return Ok(library);
    }
    let making = TempDir::new_in(directory)?;
    let (from, made) = (making.path().join("shim.c"), making.path().join("shim.so"));
    std::fs::write(&from, source)?;
    let output = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-pthread", "-o"])
        .arg(&made)
        .arg(&from)
        .output()
        .map_err(|error| format!("these tests need a C compiler (cc): {error}"))?;
    if !output.status.success() {
        return Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    // Whoever comes first; the others' is the same.
    std::fs::rename(&made, &library)?;
    Ok(library)
}
