//! What a host may be told when it starts.

use std::{sync::Arc, time::Duration};

use crate::{Callbacks, Clock, IdSource, Runner, SystemClock, mcp::McpDoor};

/// Bounds and edges of a host.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes the ids.
    pub ids: Arc<IdSource>,
    /// Open runs per agent, the one under way included. Above it, 429.
    pub queue_bound: usize,
    /// Open runs per server. Above it, 503.
    pub max_open_runs: usize,
    /// Memory that idle agents may fill before the longest idle ones are put to sleep, in bytes, as estimated.
    pub awake_bytes: usize,
    /// How long a cancelled turn may take to hand in what it has; then it is dropped.
    pub cancel_grace: Duration,
    /// How long a handler may wait for an agent's answer that needs no model.
    pub answer_timeout: Duration,
    /// Tools that users may make. Above it, a further one is refused.
    pub max_tools: usize,
    /// Bytes that the source of a tool may have.
    pub max_tool_source_bytes: usize,
    /// Tells the end of a run to the address its client gave. Without it, runs with such an address are refused.
    pub callbacks: Option<Arc<dyn Callbacks>>,
    /// Runs users' own tools. Without it, their calls fail and say why.
    pub runner: Option<Arc<dyn Runner>>,
    /// Speaks to MCP servers. Without it, their tools fail and say why.
    pub mcp: Option<Arc<dyn McpDoor>>,
    /// MCP servers that users may make known. Above it, a further one is refused.
    pub max_mcp_servers: usize,
    /// How long an MCP server may take to say what tools it has.
    pub mcp_timeout: Duration,
    /// How long a call of a tool outside the server may take.
    pub tool_timeout: Duration,
    /// How long a tool call may wait for a person or for the client; then it counts as denied.
    pub approval_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(IdSource::random()),
            // A person or a program that sends 32 messages ahead has stopped reading the answers.
            queue_bound: 32,
            // 4,096 open model calls fill some 400 MB of prompts and sockets at 100 KB each.
            max_open_runs: 4096,
            awake_bytes: 128 << 20,
            cancel_grace: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(30),
            // All of them are in memory without their sources, some 2 KB each.
            max_tools: 10_000,
            max_tool_source_bytes: 1 << 20,
            callbacks: None,
            runner: None,
            mcp: None,
            // All of them are in memory, and each has many tools.
            max_mcp_servers: 1000,
            mcp_timeout: Duration::from_secs(30),
            // Source: V1.
            tool_timeout: Duration::from_secs(180),
            // Longer than a weekend and a day off.
            approval_timeout: Duration::from_secs(7 * 24 * 3600),
        }
    }
}
