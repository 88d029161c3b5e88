//! What fuzzers call of the tools: sources and schemas of clients, arguments of models, what comes out of the cage,
//! addresses, and what MCP servers say.
//!
//! Each takes any bytes and panics when a promise is broken. libFuzzer calls them from `fuzz/`, and the tests below call
//! them with seeds and what is made from those.

mod arguments;
mod egress;
mod source;

pub use self::{arguments::tool_arguments, egress::egress, source::tool_source};
pub use crate::cage::fuzzing::result_channel;
pub use crate::mcp::fuzzing::{mcp_events, mcp_messages};

#[cfg(test)]
mod tests;
