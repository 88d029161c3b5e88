//! The vault: where values that nobody may read in the log are sealed and opened.
//!
//! What is stored of a secret is its name and a sealed value, which opens with the key for the owner and the name that it
//! was sealed for, and in no other place. The key never is in the log or in a backup of it: it is made from a text that
//! whoever runs the server gives it, or else it is in a file of its own beside the log. A server without its key serves
//! everything but its secrets, and says what is missing where one is used.
//!
//! Only this module knows keys. What it opens is handed to the call that needs it and kept nowhere.

mod file;
mod key;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use retold_events::{Sealed, Secret};
use uuid::Uuid;

use self::{
    file::{FileError, KeyFile},
    key::{Key, KeyId, Unsealed},
};
use crate::config::{self, Config};

/// The file of the data directory that holds the key where no text is given.
pub const KEY_FILE: &str = "secrets.key";

/// First byte of a sealed value: how the others are to be read. Part of what is authenticated.
const FORMAT: u8 = 1;

/// Why a secret cannot be sealed or opened. No message holds a value or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is a key, and it is not the one that was used.
    #[error(
        "the secret {name} was sealed with another key; set LETTA_ENCRYPTION_KEY to the one it was sealed with, or put \
         back the file {KEY_FILE} of the server that sealed it"
    )]
    OtherKey {
        /// What the secret is called.
        name: String,
    },
    /// There is no key at all.
    #[error(
        "the key of the secret {name} is missing; put the file {KEY_FILE} of the server that sealed it into the data \
         directory, or set LETTA_ENCRYPTION_KEY"
    )]
    NoKey {
        /// What the secret is called.
        name: String,
    },
    /// The bytes are not those that were sealed for this owner under this name.
    #[error("the secret {name} is damaged, or was sealed for something else; set it again")]
    Damaged {
        /// What the secret is called.
        name: String,
    },
    /// A newer program sealed it.
    #[error(
        "the secret {name} was sealed by a newer program (form {form}); use that one, or set it again"
    )]
    Newer {
        /// What the secret is called.
        name: String,
        /// The form of the bytes.
        form: u8,
    },
    /// The file of the key cannot be used.
    #[error("the key of secrets cannot be used: {0}")]
    File(#[from] FileError),
    /// The machine gives no chance.
    #[error("this machine gives no random numbers, which sealing a secret needs")]
    NoChance,
}

/// Seals and opens secrets. Cheap to clone; clones are one vault.
#[derive(Debug, Clone)]
pub struct Vault(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    given: Option<config::Secret>,
    /// Made of `given`, which takes a while.
    derived: OnceLock<Key>,
    place: Place,
    /// What was last read of the place, or made; the first one seals.
    kept: Mutex<Vec<Key>>,
}

/// Where the key is when no text is given.
#[derive(Debug)]
enum Place {
    /// In a file.
    File(KeyFile),
    /// Nowhere: what is sealed opens as long as the vault is there.
    Memory,
}

impl Vault {
    /// The vault of a server that keeps its data in the directory of its configuration. Nothing is read yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::at(given(config), Place::File(KeyFile::new(key_file(&config.data_dir.value))))
    }

    /// The vault of a server whose data is not in a directory of its own: without a text for the key, what it seals is
    /// lost with it.
    #[must_use]
    pub fn in_memory(config: &Config) -> Self {
        Self::at(given(config), Place::Memory)
    }

    fn at(given: Option<config::Secret>, place: Place) -> Self {
        Self(Arc::new(Inside { given, derived: OnceLock::new(), place, kept: Mutex::default() }))
    }

    /// Reads what there is of keys. It takes up to a second, and the disk: not for a thread of the runtime.
    ///
    /// # Errors
    /// [`VaultError::File`] for a file that is there and cannot be used. That there is none yet is no error.
    pub fn read(&self) -> Result<(), VaultError> {
        self.derived();
        self.reread().map(drop)
    }

    /// Makes sure that there is a key to seal with, durably: it is made when there is none.
    ///
    /// # Errors
    /// [`VaultError::File`], [`VaultError::NoChance`].
    pub async fn ready(&self) -> Result<(), VaultError> {
        let vault = self.clone();
        let made = tokio::task::spawn_blocking(move || vault.sealing_key().map(drop)).await;
        made.unwrap_or(Err(VaultError::NoChance))
    }

    /// Seals a value for its owner and its name. Makes the key if there is none yet, see [`Vault::ready`].
    ///
    /// # Errors
    /// [`VaultError::File`], [`VaultError::NoChance`].
    pub fn seal(&self, owner: Uuid, name: &str, value: &str) -> Result<Sealed, VaultError> {
        let owner = owner.into_bytes();
        let bytes = self
            .sealing_key()?
            .seal(FORMAT, &bound_to(owner, name), value.as_bytes())
            .ok_or(VaultError::NoChance)?;
        Ok(Sealed { owner, bytes })
    }

    /// Opens a secret.
    ///
    /// # Errors
    /// [`VaultError`], which names the secret and says what to do.
    pub fn open(&self, secret: &Secret) -> Result<String, VaultError> {
        self.open_value(&secret.name, &secret.value)
    }

    /// Opens a value that was sealed under this name.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open_value(&self, name: &str, sealed: &Sealed) -> Result<String, VaultError> {
        let named = || name.to_owned();
        let damaged = || VaultError::Damaged { name: named() };
        match sealed.bytes.first() {
            Some(&FORMAT) => {}
            Some(&form) if form > FORMAT => return Err(VaultError::Newer { name: named(), form }),
            Some(_) | None => return Err(damaged()),
        }
        let unsealed = Unsealed::of(&sealed.bytes).ok_or_else(damaged)?;
        let key = self.key(unsealed.key, name)?;
        let opened = key.open(unsealed, &bound_to(sealed.owner, name)).ok_or_else(damaged)?;
        String::from_utf8(opened).map_err(|_| damaged())
    }

    /// The key that sealed a value of this name.
    fn key(&self, id: KeyId, name: &str) -> Result<Key, VaultError> {
        let known = self.known();
        if let Some(key) = known.iter().find(|key| key.id() == id) {
            return Ok(key.clone());
        }
        // Somebody may have put the file back since.
        self.reread()?;
        let known = self.known();
        let found = known.iter().find(|key| key.id() == id).cloned();
        found.ok_or_else(|| match known.is_empty() {
            true => VaultError::NoKey { name: name.to_owned() },
            false => VaultError::OtherKey { name: name.to_owned() },
        })
    }

    fn sealing_key(&self) -> Result<Key, VaultError> {
        if let Some(key) = self.known().into_iter().next() {
            return Ok(key);
        }
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            *kept = match &self.0.place {
                Place::File(file) => file.read_or_make()?,
                Place::Memory => vec![Key::chosen().ok_or(VaultError::NoChance)?],
            };
        }
        kept.first().cloned().ok_or(VaultError::NoChance)
    }

    /// The keys in memory: the one of the given text first.
    fn known(&self) -> Vec<Key> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.derived().into_iter().chain(kept.iter()).cloned().collect()
    }

    fn derived(&self) -> Option<&Key> {
        let given = self.0.given.as_ref()?;
        Some(self.0.derived.get_or_init(|| Key::derived(given.expose())))
    }

    fn reread(&self) -> Result<(), VaultError> {
        if let Place::File(file) = &self.0.place
            && let Some(keys) = file.read()?
        {
            *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        Ok(())
    }
}

/// Where the key of a data directory is.
#[must_use]
pub fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join(KEY_FILE)
}

fn given(config: &Config) -> Option<config::Secret> {
    config.encryption_key.as_ref().map(|key| key.value.clone())
}

/// What is authenticated with a value: a value moved to another owner or name does not open. The owner has a fixed
/// length, so no two pairs give the same bytes.
fn bound_to(owner: [u8; 16], name: &str) -> Vec<u8> {
    [&[FORMAT], owner.as_slice(), name.as_bytes()].concat()
}
