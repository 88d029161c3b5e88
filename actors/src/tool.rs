//! The tools that come with the server, as data, and the pure part of what they do.
//!
//! A call is text in and text out: parsing arguments, editing a value and rendering results need no actor, so none of
//! it is here asynchronous. Who looks up the block or the messages, and who appends what follows, is the turn's affair.

mod builtin;
pub(crate) mod memory;
pub(crate) mod output;
pub(crate) mod search;

pub use builtin::{
    BuiltinKind, BuiltinTool, MemoryTool, base_tools, builtins, by_id, by_name, schema,
};
pub use output::RETURN_CHAR_LIMIT;

pub use crate::rules::{base_rules, base_rules_of};
