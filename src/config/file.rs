//! The configuration file: read, and every key checked.
//!
//! A key that means nothing is an error and not ignored: a mistyped `pasword` must not leave a server open.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{ConfigError, Environment, Hint, SETTINGS, setting};

/// What the file says.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) table: toml::Table,
}

/// The name looked for in the working directory.
const USUAL_NAME: &str = "retold.toml";

impl File {
    /// Reads the file that the flag or the variable names, else `retold.toml` in `directory` if there is one.
    pub(crate) fn find(
        flag: Option<&str>,
        environment: &Environment,
        directory: &Path,
    ) -> Result<Option<Self>, ConfigError> {
        let from_env = setting::CONFIG
            .env
            .iter()
            .find_map(|name| environment.get(name).transpose())
            .transpose()?;
        if let Some(named) = flag.or(from_env) {
            return Self::read(Path::new(named), &directory.join(named)).map(Some);
        }
        match Self::read(Path::new(USUAL_NAME), &directory.join(USUAL_NAME)) {
            Err(ConfigError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Reads `actual`, calling it `shown` in every message.
    fn read(shown: &Path, actual: &Path) -> Result<Self, ConfigError> {
        let path = shown.to_owned();
        let text = fs::read_to_string(actual)
            .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.clone(),
            detail: error.to_string(),
        })?;
        let file = Self { path, table };
        file.check_keys()?;
        Ok(file)
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        for key in self.table.keys().filter(|key| *key != "providers") {
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.key == key)
                .ok_or_else(|| self.unknown(key))?;
            if let (false, Some(flag)) = (setting.in_file, setting.flag) {
                return Err(ConfigError::FlagOnly {
                    path: self.path.clone(),
                    key: setting.key,
                    flag,
                });
            }
        }
        Ok(())
    }

    fn unknown(&self, key: &str) -> ConfigError {
        let known = SETTINGS.iter().filter(|setting| setting.in_file).map(|setting| setting.key);
        // A dash for an underscore is the commonest slip, since flags have dashes.
        let hint = Hint::nearest(&key.replace('-', "_"), known.chain(["providers"]));
        ConfigError::UnknownKey { path: self.path.clone(), key: key.to_owned(), hint }
    }

    /// A path of the file, taken from the file's own directory.
    pub(crate) fn anchored(&self, path: PathBuf) -> PathBuf {
        self.path.parent().map_or(path.clone(), |parent| parent.join(path))
    }
}
