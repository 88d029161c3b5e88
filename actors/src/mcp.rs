//! MCP servers: programs of others whose tools agents may call. Here is the door to them, so that this crate knows no sockets, no
//! processes and no keys; and what follows from what they say.
//!
//! What a server says is nobody's word but its own: its lists are bounded and checked (`offered`), its tools never take a
//! name that another tool has (`sync`), and whatever it does to a call ends in a text for the model.

mod offered;
mod schema;
pub(crate) mod servers;
mod sync;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures_util::future::BoxFuture;
use retold_events::{McpServerId, mcp::Server};
use serde_json::{Map, Value};

pub(crate) use offered::IDEMPOTENT;
pub use offered::{Health, HealthStatus, OfferedTool, server_tag};
pub use servers::{ComputeServer, KnownServer};
pub use sync::Synced;

/// Speaks to MCP servers.
pub trait McpDoor: Debug + Send + Sync + 'static {
    /// The tools a server has, in its order. Dropping the future gives up.
    fn list(&self, target: McpTarget) -> BoxFuture<'static, Result<Vec<OfferedTool>, McpFailure>>;

    /// Calls a tool of a server: what it returned, or why it did not, as text for a model. Dropping the future gives the call
    /// up and tells the server so.
    fn call(&self, call: McpCall) -> BoxFuture<'static, Result<String, String>>;

    /// A server in this form is spoken to no longer. Calls under way may still be answered.
    fn forget(&self, target: &McpTarget);

    /// No server is spoken to any longer. It waits, a few seconds at most, until what was started for it has ended.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// A server in one of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpTarget {
    /// Another one for each form of each server: what was agreed on with one form is not used for another.
    pub key: String,
    /// How it is reached.
    pub server: Arc<Server>,
    /// What is sealed in it, opened, for a server that is tried without being kept; otherwise the door opens it.
    pub opened: Option<Opened>,
}

/// The secrets of a server that is not kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The token.
    pub auth_token: Option<String>,
    /// Environment variables, or headers.
    pub named: BTreeMap<String, String>,
}

impl Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}

/// A call of a tool of an MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct McpCall {
    /// The server.
    pub target: McpTarget,
    /// The name the tool has there.
    pub tool: String,
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// The same for every attempt of this call, and no other call's.
    pub key: [u8; 16],
}

/// Why a server did not say what tools it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum McpFailure {
    /// This server is not spoken to: the settings forbid it, or what is configured cannot be used.
    #[error("{0}")]
    Refused(String),
    /// It cannot be reached, or what it says makes no sense.
    #[error("{0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("{0}")]
    TimedOut(String),
}

/// The key of a server's form: its id and the place of the event that made it so.
pub(crate) fn target_key(id: McpServerId, seq: retold_events::Seq) -> String {
    format!("{id}@{}", seq.0)
}
