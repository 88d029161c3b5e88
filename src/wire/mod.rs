//! The words the server speaks with its clients: V1's request and answer forms, and how stored facts become them.
//!
//! Wire types live here and nowhere else; stored types are converted explicitly, so that either side may change without
//! the other. Everything here is pure: no HTTP, no clock, no actors. Answers send every member V1 names, `null` where
//! there is nothing, because the SDKs' users read members without asking; requests ignore members they do not know, and
//! refuse aloud what V1 has and this server has not.

mod block;
mod content;
mod expand;
mod id;
mod json;
mod message;
mod problem;
mod response_format;
mod stream;
mod time;
mod usage;
mod words;

pub use block::{Block, BlockResponse, BlockUpdate, CreateBlock};
pub use content::{Content, ContentPart, ImageSource};
pub use expand::{View, expand, expand_parts, part_otid, wire_span};
pub use id::{Id, Kind, pattern_message};
pub use json::JsonObject;
pub use message::*;
pub use problem::Problem;
pub use response_format::ResponseFormat;
pub use stream::{Frame, Frames};
pub use time::Time;
pub use usage::{CompletionTokensDetails, LettaUsageStatistics, PromptTokensDetails, UsageStatistics};
pub use words::*;

/// The user that everything belongs to: this server has one.
pub const DEFAULT_USER_ID: &str = "user-00000000-0000-4000-8000-000000000000";

/// Tags as they are stored: each once, in the client's order.
///
/// # Errors
/// [`Problem::Unprocessable`] when one holds a NUL, which ends a tag in the index.
fn tags(given: Vec<String>) -> Result<Vec<String>, Problem> {
    let mut kept: Vec<String> = Vec::with_capacity(given.len());
    for tag in given {
        if tag.contains('\0') {
            return Err(Problem::Unprocessable(format!("tag {tag:?} holds a NUL character")));
        }
        if !kept.contains(&tag) {
            kept.push(tag);
        }
    }
    Ok(kept)
}
