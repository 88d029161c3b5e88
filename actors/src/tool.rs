//! Tools: all there are (`registry`), and of those that come with the server the pure part of what they do.
//!
//! A call is text in and text out: parsing arguments, editing a value and rendering results need no actor, so none of
//! it is here asynchronous. Who looks up the block or the messages, and who appends what follows, is the turn's affair.

pub(crate) mod approval;
mod builtin;
pub(crate) mod caller;
mod known;
pub(crate) mod memory;
pub(crate) mod output;
pub(crate) mod registry;
pub(crate) mod search;

pub use approval::approval_patch;
pub use builtin::{
    BuiltinKind, BuiltinTool, MemoryTool, TalkTool, base_tools, builtins, by_id, by_name,
    multi_agent_tools, schema,
};
pub use known::{Known, KnownKind, beating, offered};
pub use output::RETURN_CHAR_LIMIT;
pub use registry::{Compute, Source};

pub use crate::rules::{base_rules, base_rules_of};
