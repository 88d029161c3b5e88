//! Facts: what can happen, how it is written down, and where it is kept.
//!
//! This crate knows no HTTP, no actors and no models. Stored types live here and nowhere else; they are never sent to a
//! client. The storage format is postcard, which is positional: so no parsed JSON, no `flatten`, no `untagged`, no
//! `skip_serializing_if` and no tagged enums in anything stored, and enums only ever grow at their end.

pub mod agent;
pub mod block;
pub mod codec;
pub mod defect;
mod envelope;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod id;
mod json;
pub mod log;
pub mod mcp;
mod message;
pub mod output;
mod record;
pub mod run;
mod secret;
pub mod store;
mod time;
pub mod tool;

pub use id::{
    AgentId, BlockId, ConversationId, MalformedId, McpServerId, MessageId, RunId, StepId, ToolId,
    next_uuid,
};
pub use json::JsonText;
pub use message::{Image, Message, Part, ReturnStatus, Role, ToolCall, ToolReturn};
pub use record::{Encoded, EventType, NewEvent, Position, Record, Recorded, Seq, StreamId};
pub use secret::{Sealed, Secret};
pub use time::Timestamp;
