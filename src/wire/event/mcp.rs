//! What happens to MCP servers that users make known, as it is told: names of what is secret, and no values.

use retold_events::{
    Secret,
    mcp::{self, Remote, Transport},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::redact;

/// An MCP server was made known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct McpServerCreated {
    /// What is told about it.
    pub server: StoredMcpServer,
}

/// Something about an MCP server changed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct McpServerUpdated {
    /// What is told about it, after the change.
    pub server: StoredMcpServer,
}

/// What is told about an MCP server.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct StoredMcpServer {
    /// What its client calls it.
    pub server_name: String,
    /// `stdio`, `streamable_http` or `sse`.
    #[schema(value_type = String)]
    pub mcp_server_type: &'static str,
    /// The program, of `stdio`.
    pub command: Option<String>,
    /// How many arguments it is given. They may hold credentials, so they are not told.
    pub args_count: usize,
    /// Names of the environment variables it is given.
    pub env_names: Vec<String>,
    /// Its address without what may be a credential, unless it is of `stdio`.
    pub server_url: Option<String>,
    /// Name of the header that carries the token; `null` for `Authorization`.
    pub auth_header: Option<String>,
    /// Whether it is given a token.
    pub has_auth_token: bool,
    /// Names of the further headers.
    pub custom_header_names: Vec<String>,
}

impl From<&mcp::Created> for McpServerCreated {
    fn from(created: &mcp::Created) -> Self {
        Self { server: (&created.server).into() }
    }
}

impl From<&mcp::Updated> for McpServerUpdated {
    fn from(updated: &mcp::Updated) -> Self {
        Self { server: (&updated.server).into() }
    }
}

impl From<&mcp::Server> for StoredMcpServer {
    fn from(server: &mcp::Server) -> Self {
        let server_name = server.name.clone();
        match &server.transport {
            Transport::Stdio { command, args, env } => Self {
                server_name,
                mcp_server_type: "stdio",
                command: Some(command.clone()),
                args_count: args.len(),
                env_names: names(env),
                ..Self::default()
            },
            Transport::StreamableHttp(remote) => Self::at(server_name, "streamable_http", remote),
            Transport::Sse(remote) => Self::at(server_name, "sse", remote),
        }
    }
}

impl StoredMcpServer {
    fn at(server_name: String, mcp_server_type: &'static str, remote: &Remote) -> Self {
        Self {
            server_name,
            mcp_server_type,
            server_url: Some(redact::url(&remote.url)),
            auth_header: remote.auth_header.clone(),
            has_auth_token: remote.auth_token.is_some(),
            custom_header_names: names(&remote.custom_headers),
            ..Self::default()
        }
    }
}

fn names(secrets: &[Secret]) -> Vec<String> {
    secrets.iter().map(|secret| secret.name.clone()).collect()
}
