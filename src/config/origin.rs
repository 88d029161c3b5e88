//! Where a value came from.
//!
//! Every value keeps its origin, so that the banner and `retold config show` can answer the question that costs most
//! time with any server: why is it set to that? It knows nothing of the settings themselves.

use std::{fmt, path::PathBuf};

/// The place that decided a value; a higher one wins over those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line; holds the flag without its dashes.
    Flag(&'static str),
    /// The environment; holds the variable's name.
    Env(String),
    /// The configuration file.
    File(PathBuf),
    /// Nobody set it.
    Default,
    /// Made up for this start, because a password was demanded and none was given.
    Generated,
}

impl Origin {
    /// The place that set `key`, as errors name it.
    pub(super) fn place_of(&self, key: &str) -> String {
        match self {
            Self::File(path) => format!("`{key}` in {}", path.display()),
            Self::Flag(_) | Self::Env(_) | Self::Default | Self::Generated => self.to_string(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Env(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Generated => f.write_str("generated for this start"),
        }
    }
}

/// A value and who decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value in force.
    pub value: T,
    /// Who decided it.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// A value that nobody set.
    pub fn default_of(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// The same origin with another form of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), origin: self.origin }
    }

    /// Whether somebody set it.
    pub fn is_set(&self) -> bool {
        self.origin != Origin::Default
    }
}
