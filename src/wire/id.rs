//! Ids as clients see them: `prefix-uuid` strings.
//!
//! Stored ids serialise as 16 bytes, which is right on disk and wrong on the wire; this wrapper is the conversion.

use std::{fmt::Display, str::FromStr};

use retold_events::{
    AgentId, BlockId, ConversationId, MalformedId, McpServerId, MessageId, RunId, StepId, ToolId,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A kind of id.
pub trait Kind: Display + FromStr<Err = MalformedId> + Copy {
    /// Its prefix, without the dash.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($id:ident)*) => {$(
        impl Kind for $id {
            const PREFIX: &'static str = $id::PREFIX;
        }
    )*};
}

kinds! { AgentId BlockId McpServerId MessageId RunId StepId ToolId ConversationId }

/// A stored id on the wire. Fields of it are described to utoipa as `String`: its derive cannot see through the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<T>(pub T);

/// What a client is told of a text that is no id of kind `T`.
#[must_use]
pub fn pattern_message<T: Kind>() -> String {
    format!("String should match pattern '{}-{{uuid4}}'", T::PREFIX)
}

impl<T> From<T> for Id<T> {
    fn from(id: T) -> Self {
        Self(id)
    }
}

impl<T: Kind> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: Kind> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| de::Error::custom(pattern_message::<T>()))
    }
}
