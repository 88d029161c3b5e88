//! Free JSON, kept as the text it came in.

use serde::{Deserialize, Serialize};

/// JSON text of a client or a provider, stored verbatim.
///
/// Stored as text because the storage format is not self-describing: a parsed value could be written but never read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JsonText(String);

impl JsonText {
    /// Takes text that its caller has checked to be JSON.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The empty object.
    #[must_use]
    pub fn empty_object() -> Self {
        Self("{}".to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
