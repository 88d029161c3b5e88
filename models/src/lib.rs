//! Model providers behind one streaming trait.
//!
//! This crate knows how to speak to language models and nothing of agents, logs or HTTP servers. A [`Model`] turns a
//! borrowed [`Prompt`] into a stream of [`Chunk`]s; dropping the stream closes the provider's socket, which is what
//! makes a cancel immediate. Provider bytes are hostile: every line, body and wait has a bound (see [`limits`]).

mod anthropic;
mod catalog;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[cfg(test)]
mod harness;
mod http;
pub mod limits;
mod model;
pub mod neutral;
mod openai;
mod provider;
mod rehearsal;
mod sse;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tokens;

pub use catalog::{Catalog, EmbeddingInfo, ModelInfo, ProviderStatus, ResolveError, Resolved};
pub use http::Timeouts;
pub use model::{
    Chunk, ChunkStream, Finish, Image, Message, Model, ModelError, ModelErrorKind, Part, Prompt,
    Reasoning, ResponseFormat, ToolCall, ToolChoice, ToolSchema, Usage,
};
pub use provider::{ProviderConfig, ProviderKind, Secret};
pub use rehearsal::{HANDLE as REHEARSAL_HANDLE, Rehearsal};
