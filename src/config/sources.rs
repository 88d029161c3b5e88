//! The three layers above the defaults, asked in order: flag, environment, file.

use std::collections::BTreeMap;

use super::{ConfigError, Environment, Origin, Setting, Sourced, file::File, value::Value};

/// What the command line said, by setting key. Switches that were given hold `true`.
#[derive(Debug, Clone, Default)]
pub struct Flags(BTreeMap<&'static str, String>);

impl Flags {
    /// Notes that a flag was given.
    pub fn set(&mut self, setting: &Setting, value: impl Into<String>) {
        self.0.insert(setting.key, value.into());
    }

    /// What a flag said.
    #[must_use]
    pub fn get(&self, setting: &Setting) -> Option<&str> {
        self.0.get(setting.key).map(String::as_str)
    }
}

/// The layers, borrowed while a configuration is read.
pub(crate) struct Sources<'a> {
    pub(crate) flags: &'a Flags,
    pub(crate) environment: &'a Environment,
    pub(crate) file: Option<&'a File>,
}

impl Sources<'_> {
    /// The value in force, which always exists because the table has a default.
    pub(crate) fn required<T: Value>(&self, setting: &Setting) -> Result<Sourced<T>, ConfigError> {
        if let Some(found) = self.optional(setting)? {
            return Ok(found);
        }
        let place = format!("the default of `{}`", setting.key);
        parsed(setting.default, place).map(Sourced::default_of)
    }

    /// The value somebody set, if somebody did.
    pub(crate) fn optional<T: Value>(
        &self,
        setting: &Setting,
    ) -> Result<Option<Sourced<T>>, ConfigError> {
        match self.flag(setting)? {
            Some(found) => Ok(Some(found)),
            None => match self.env(setting)? {
                Some(found) => Ok(Some(found)),
                None => self.in_file(setting),
            },
        }
    }

    /// The flag's value.
    pub(crate) fn flag<T: Value>(
        &self,
        setting: &Setting,
    ) -> Result<Option<Sourced<T>>, ConfigError> {
        let (Some(flag), Some(text)) = (setting.flag, self.flags.get(setting)) else {
            return Ok(None);
        };
        let value = parsed(text, format!("--{flag}"))?;
        Ok(Some(Sourced { value, origin: Origin::Flag(flag) }))
    }

    /// The value of the first variable that is set.
    pub(crate) fn env<T: Value>(
        &self,
        setting: &Setting,
    ) -> Result<Option<Sourced<T>>, ConfigError> {
        for name in setting.env {
            if let Some(found) = self.variable(name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The value of one variable.
    pub(crate) fn variable<T: Value>(&self, name: &str) -> Result<Option<Sourced<T>>, ConfigError> {
        let Some(text) = self.environment.get(name)? else { return Ok(None) };
        let value = parsed(text, name.to_owned())?;
        Ok(Some(Sourced { value, origin: Origin::Env(name.to_owned()) }))
    }

    /// The file's value.
    pub(crate) fn in_file<T: Value>(
        &self,
        setting: &Setting,
    ) -> Result<Option<Sourced<T>>, ConfigError> {
        match self.file {
            Some(file) => file_value(file, &file.table, "", setting.key),
            None => Ok(None),
        }
    }
}

/// Reads `key` of `table`, which stands under `section` (with its dot) in the file.
pub(crate) fn file_value<T: Value>(
    file: &File,
    table: &toml::Table,
    section: &str,
    key: &str,
) -> Result<Option<Sourced<T>>, ConfigError> {
    let Some(given) = table.get(key) else { return Ok(None) };
    let value = T::from_toml(given).ok_or_else(|| ConfigError::Invalid {
        place: format!("`{section}{key}` in {}", file.path.display()),
        given: if T::SHOWN {
            given.to_string()
        } else {
            format!("a {} that does not fit", given.type_str())
        },
        expected: T::EXPECTED,
    })?;
    Ok(Some(Sourced { value, origin: Origin::File(file.path.clone()) }))
}

fn parsed<T: Value>(text: &str, place: String) -> Result<T, ConfigError> {
    T::parse(text).ok_or_else(|| ConfigError::Invalid {
        place,
        given: if T::SHOWN { format!("`{text}`") } else { "text that does not fit".to_owned() },
        expected: T::EXPECTED,
    })
}
