//! What a server allows its MCP servers: how long, how much, how many.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cage::Helper;
use crate::egress::Egress;

/// How MCP servers are spoken to.
#[derive(Debug, Clone)]
pub struct McpOptions {
    /// What starts programs that are spoken to through their standard input and output. Without it such servers are refused: they
    /// run with the rights of this process, so whoever may configure one may do anything that this process may.
    pub stdio: Option<Helper>,
    /// What of this process's environment such programs get, see [`kept_environment`](super::kept_environment).
    pub environment: BTreeMap<String, String>,
    /// The way to servers over HTTP.
    pub egress: Egress,
    /// For a connection and the handshake on it, the start of a program included.
    pub connect_timeout: Duration,
    /// For a list of tools with all its pages, once there is a session.
    pub list_timeout: Duration,
    /// For a call that names no time of its own, connecting included.
    pub call_timeout: Duration,
    /// A session that nobody used for so long is closed.
    pub idle: Duration,
    /// How many sessions there are at once.
    pub sessions: usize,
    /// How many calls of one session wait for their answer at once; others wait until one is free.
    pub calls_per_session: usize,
    /// The largest message that a server may send, in bytes.
    pub message_bytes: usize,
    /// How many messages in a row a server may send that are none that anybody waits for. A call that reports its progress sends
    /// thousands at most.
    pub unasked: usize,
    /// How many tools one server may have.
    pub tools: usize,
    /// How many bytes all tools of one server may have together, as JSON.
    pub tools_bytes: usize,
    /// After so many failed attempts in a row to connect, a server is left alone for [`McpOptions::rest`].
    pub failures: u32,
    /// How long a server is left alone that cannot be connected to.
    pub rest: Duration,
    /// How long a program may take to end by itself once its input is closed.
    pub stop_grace: Duration,
}

impl McpOptions {
    /// The usual bounds, without programs of one's own.
    #[must_use]
    pub fn new(egress: Egress) -> Self {
        Self {
            stdio: None,
            environment: BTreeMap::new(),
            egress,
            connect_timeout: Duration::from_secs(15),
            list_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            sessions: 64,
            calls_per_session: 32,
            message_bytes: 8 << 20,
            unasked: 100_000,
            tools: 1_000,
            tools_bytes: 4 << 20,
            failures: 5,
            rest: Duration::from_secs(10),
            stop_grace: Duration::from_secs(2),
        }
    }
}
