//! A directory that is made for something which may not come about, and then is taken away again.
//!
//! What is left would look like the beginning of a data directory, and a server would begin one in it.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// A directory, and which of the directories above it were not there.
#[derive(Debug)]
pub(super) struct Made {
    /// From the directory itself up to the topmost that was made.
    made: Vec<PathBuf>,
}

impl Made {
    /// Makes a directory unless it is there, and those above it.
    pub(super) fn make(dir: &Path) -> io::Result<Self> {
        let missing =
            dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
        let made = Self { made: missing.map(Path::to_owned).collect() };
        // Whoever may read it may read everything that was ever said.
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(made)
    }

    /// Takes away what was made, as far as it is empty.
    pub(super) fn undo(&self) {
        for dir in &self.made {
            if fs::remove_dir(dir).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_and_is_empty_is_taken_away() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b/c");
        fs::create_dir(home.path().join("a")).unwrap();
        Made::make(&dir).unwrap().undo();
        assert!(home.path().join("a").exists() && !home.path().join("a/b").exists());
        let made = Made::make(&dir).unwrap();
        fs::write(home.path().join("a/b/file"), "x").unwrap();
        made.undo();
        assert!(home.path().join("a/b/file").exists() && !dir.exists());
        let there = Made::make(home.path()).unwrap();
        fs::remove_dir_all(home.path().join("a")).unwrap();
        there.undo();
        assert!(home.path().exists(), "it was there before");
    }
}
