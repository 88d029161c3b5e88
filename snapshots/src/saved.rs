//! States saved beside the log. They are a cache: one that cannot be read is ignored and the log is folded instead.

use bytes::Bytes;
use retold_events::{Seq, StreamId, store::SavedState};
use serde::{Serialize, de::DeserializeOwned};

/// Version of the folds and of the states. Raise it whenever `apply` or a state changes: older saved states are then
/// ignored and rebuilt, never migrated.
pub const FOLD_VERSION: u16 = 4;

const HEADER: usize = 2 + 16;

/// Why a saved state is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedStateError {
    /// Saved by another version of the folds.
    #[error("saved by fold version {0}")]
    OtherVersion(u16),
    /// Its hash does not fit its bytes, or they are not a state.
    #[error("damaged: {0}")]
    Damaged(String),
}

/// Packs a state: fold version, hash over place and state, postcard bytes.
pub(crate) fn save<S: Serialize>(stream: StreamId, seq: Seq, state: &S) -> SavedState {
    let body = postcard::to_stdvec(state).expect("plain structs of text and numbers always encode");
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&FOLD_VERSION.to_be_bytes());
    bytes.extend_from_slice(&hash(stream, seq, &body));
    bytes.extend_from_slice(&body);
    SavedState { stream, seq, bytes: Bytes::from(bytes) }
}

/// Unpacks what [`save`] packed.
pub(crate) fn unsave<S: DeserializeOwned>(saved: &SavedState) -> Result<S, SavedStateError> {
    let damaged = |detail: &str| SavedStateError::Damaged(detail.to_owned());
    let (version, rest) =
        saved.bytes.split_first_chunk::<2>().ok_or_else(|| damaged("too short"))?;
    let version = u16::from_be_bytes(*version);
    if version != FOLD_VERSION {
        return Err(SavedStateError::OtherVersion(version));
    }
    let (written, body) = rest.split_first_chunk::<16>().ok_or_else(|| damaged("too short"))?;
    if hash(saved.stream, saved.seq, body) != *written {
        return Err(damaged("its hash does not fit"));
    }
    postcard::from_bytes(body).map_err(|error| SavedStateError::Damaged(error.to_string()))
}

/// Covers the place as well as the state: a good state at a wrong place is as bad as a damaged one.
fn hash(stream: StreamId, seq: Seq, body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stream.to_bytes()).update(&seq.0.to_be_bytes()).update(body);
    let mut short = [0; 16];
    hasher.finalize_xof().fill(&mut short);
    short
}
