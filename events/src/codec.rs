//! From events to bytes and back, by type number and version.

use bytes::Bytes;

use crate::{Encoded, output::Item};

/// Version of the item format. Golden bytes hold it still.
const ITEMS_VERSION: u8 = 1;

/// An aggregate's event enum, as the codec sees it.
pub trait Event: Sized + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The stored form, always of the newest version.
    fn encode(&self) -> Encoded;

    /// Reads any version ever written, lifting old ones step by step.
    ///
    /// # Errors
    /// [`DecodeError`] when the type or version is unknown here, or the bytes are not of it.
    fn decode(encoded: &Encoded) -> Result<Self, DecodeError>;
}

/// Bytes that are not an event this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A type number nobody gave out yet.
    #[error("unknown event type {0}; it was written by a newer version")]
    UnknownType(u16),
    /// A version this program does not know.
    #[error("event type {event_type} has version {version}, known up to {known}")]
    UnknownVersion {
        /// The type.
        event_type: u16,
        /// The version found.
        version: u16,
        /// The newest known.
        known: u16,
    },
    /// Not the bytes of that type.
    #[error("bytes are not of event type {event_type}: {detail}")]
    Malformed {
        /// The type.
        event_type: u16,
        /// What is wrong.
        detail: String,
    },
}

/// Encodes output items for one [`crate::store::OutputBatch`].
#[must_use]
pub fn encode_items(items: &[Item]) -> Bytes {
    let mut bytes = vec![ITEMS_VERSION];
    bytes.extend(
        postcard::to_stdvec(items).expect("plain structs of text and numbers always encode"),
    );
    Bytes::from(bytes)
}

/// Decodes what [`encode_items`] wrote.
///
/// # Errors
/// [`DecodeError`] when the bytes are of a newer version or not items.
pub fn decode_items(bytes: &[u8]) -> Result<Vec<Item>, DecodeError> {
    let malformed = |detail: String| DecodeError::Malformed { event_type: 0, detail };
    match bytes.split_first() {
        Some((&ITEMS_VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| malformed(error.to_string()))
        }
        Some((&version, _)) => Err(DecodeError::UnknownVersion {
            event_type: 0,
            version: version.into(),
            known: ITEMS_VERSION.into(),
        }),
        None => Err(malformed("no bytes".to_owned())),
    }
}
