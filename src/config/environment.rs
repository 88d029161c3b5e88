//! The environment as a value.
//!
//! `main` takes the process environment once and hands it down; nothing else in the server reads it. That is what lets
//! tests try every variable without touching the process they run in.

use std::{collections::BTreeMap, ffi::OsString};

use super::ConfigError;

/// Names and values of the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The value of a variable. An empty one counts as unset: compose files and shells make them by accident.
    ///
    /// # Errors
    /// [`ConfigError::NotUnicode`] when the variable holds bytes that are not text.
    pub fn get(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.0.get(name).map(|value| value.to_str()) {
            None | Some(Some("")) => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(ConfigError::NotUnicode { name: name.to_owned() }),
        }
    }

    /// Whether a variable is there and not empty.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_empty())
    }

    /// The names of all variables that are not empty, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    /// Collects pairs; a name that is not text cannot be one of ours and is left out.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let named = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())));
        Self(named.collect())
    }
}
