//! Which models there are, and how a handle becomes one.

mod info;
pub(crate) mod known;

pub use info::{EmbeddingInfo, ModelInfo, ProviderStatus, ResolveError};
