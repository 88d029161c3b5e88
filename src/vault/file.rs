//! The file of the key: text, of its owner alone, made when a secret is first sealed.
//!
//! Each line that is no comment is a key, as hexadecimal digits. The first one seals; all of them open, so that the lines
//! of two servers can be put together.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER_PERMISSIVE;

use super::key::{Key, MATERIAL_BYTES, chosen_material};

/// What stands above a key that was made here.
const HEAD: &str = "\
# The key of this server's secrets. Whoever has it and the data can read them; without it nobody can.
# Backups do not hold it: keep a copy of this file somewhere else.
";

/// Bytes that are read at most: room for a thousand keys.
const MOST_BYTES: u64 = 1 << 16;

/// Why the file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{path}: {why}")]
    Io {
        /// Which file.
        path: String,
        /// What the system says.
        why: String,
    },
    /// Others can read it.
    #[error(
        "{path} can be read by others than its owner (mode {mode:04o}); run `chmod 600 {path}`, and if it was open for \
         long, take a new key and set the secrets again"
    )]
    Open {
        /// Which file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// A line is no key.
    #[error(
        "line {line} of {path} is no key, which has 64 hexadecimal digits; put the file back as it was"
    )]
    NoKey {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
    },
    /// It holds no key at all.
    #[error(
        "{path} holds no key; put the file back as it was, or remove it to have a new one made"
    )]
    Empty {
        /// Which file.
        path: String,
    },
    /// The machine gives no chance.
    #[error("{path} cannot be made: this machine gives no random numbers")]
    NoChance {
        /// Which file.
        path: String,
    },
}

/// The file, which may not be there yet.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The keys of the file, the sealing one first; `None` when there is no file.
    pub(super) fn read(&self) -> Result<Option<Vec<Key>>, FileError> {
        match File::open(&self.path) {
            Ok(file) => self.read_from(&file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(&error)),
        }
    }

    /// As [`KeyFile::read`]; a file that is not there is made, durably.
    pub(super) fn read_or_make(&self) -> Result<Vec<Key>, FileError> {
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let material =
            chosen_material().ok_or_else(|| FileError::NoChance { path: self.shown() })?;
        self.write(&material).map_err(|error| self.io(&error))?;
        tracing::warn!(
            file = %self.path.display(),
            "made the key of this server's secrets; keep a copy of it, for backups do not hold it"
        );
        Ok(vec![Key::of(&material)])
    }

    fn read_from(&self, file: &File) -> Result<Vec<Key>, FileError> {
        let mode = file.metadata().map_err(|error| self.io(&error))?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FileError::Open { path: self.shown(), mode });
        }
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| self.io(&error))?;
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let keys: Vec<Key> = lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| {
                key_of(line).ok_or_else(|| FileError::NoKey { path: self.shown(), line: number })
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(FileError::Empty { path: self.shown() }) } else { Ok(keys) }
    }

    /// Written beside and renamed: a crash leaves a whole file or none. The directory is locked by the server, so nobody
    /// else makes one meanwhile.
    fn write(&self, material: &[u8; MATERIAL_BYTES]) -> io::Result<()> {
        let fresh = self.path.with_extension("key.new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh)?;
        let key = HEXLOWER_PERMISSIVE.encode(material);
        file.write_all(format!("{HEAD}{key}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        let above = self.path.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn io(&self, error: &io::Error) -> FileError {
        FileError::Io { path: self.shown(), why: error.to_string() }
    }
}

fn key_of(line: &str) -> Option<Key> {
    let material = HEXLOWER_PERMISSIVE.decode(line.as_bytes()).ok()?;
    Some(Key::of(material.as_slice().try_into().ok()?))
}
