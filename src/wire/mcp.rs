//! MCP servers and their tools as clients see them: with what they gave, secrets included, in the words of the newer
//! paths (`mcp_server_type`, an id) and of the older ones (`type`, a name).

use std::{collections::BTreeMap, fmt};

use retold_actors::mcp::{Health, HealthStatus, OfferedTool, Opened, Synced};
use retold_events::{
    McpServerId, Secret,
    mcp::{Remote, Server, Transport},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Id;

/// How an MCP server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum McpServerType {
    /// As a program that is started beside this server.
    Stdio,
    /// Over HTTP, in the way of older servers.
    Sse,
    /// Over HTTP.
    StreamableHttp,
}

impl McpServerType {
    /// How this server is reached.
    #[must_use]
    pub fn of(transport: &Transport) -> Self {
        match transport {
            Transport::Stdio { .. } => Self::Stdio,
            Transport::Sse(_) => Self::Sse,
            Transport::StreamableHttp(_) => Self::StreamableHttp,
        }
    }
}

/// An MCP server.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum McpServer {
    /// `stdio`
    Stdio(StdioMcpServer),
    /// `sse` or `streamable_http`
    Remote(RemoteMcpServer),
}

/// A program that is started beside this server.
#[derive(Clone, Serialize, ToSchema)]
pub struct StdioMcpServer {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<McpServerId>,
    /// What its client calls it.
    pub server_name: String,
    /// `stdio`
    pub mcp_server_type: McpServerType,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it finds in its environment.
    pub env: Option<BTreeMap<String, String>>,
}

/// A server at an address.
#[derive(Clone, Serialize, ToSchema)]
pub struct RemoteMcpServer {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<McpServerId>,
    /// What its client calls it.
    pub server_name: String,
    /// `sse` or `streamable_http`
    pub mcp_server_type: McpServerType,
    /// Where it is.
    pub server_url: String,
    /// The header that carries the token; `Authorization` when `null`.
    pub auth_header: Option<String>,
    /// The token.
    pub auth_token: Option<String>,
    /// Further headers.
    pub custom_headers: Option<BTreeMap<String, String>>,
}

impl McpServer {
    /// A server with its secrets.
    #[must_use]
    pub fn new(id: McpServerId, server: &Server, opened: Opened) -> Self {
        let (id, server_name) = (Id(id), server.name.clone());
        let mcp_server_type = McpServerType::of(&server.transport);
        match &server.transport {
            Transport::Stdio { command, args, env } => Self::Stdio(StdioMcpServer {
                id,
                server_name,
                mcp_server_type,
                command: command.clone(),
                args: args.clone(),
                env: named(env, opened.named),
            }),
            Transport::Sse(remote) | Transport::StreamableHttp(remote) => {
                let Remote { url, auth_header, custom_headers, .. } = remote;
                Self::Remote(RemoteMcpServer {
                    id,
                    server_name,
                    mcp_server_type,
                    server_url: url.clone(),
                    auth_header: auth_header.clone(),
                    auth_token: opened.auth_token,
                    custom_headers: named(custom_headers, opened.named),
                })
            }
        }
    }
}

fn named(secrets: &[Secret], opened: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!secrets.is_empty()).then_some(opened)
}

/// An MCP server in the form of the older paths.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum McpServerConfig {
    /// `stdio`
    Stdio(StdioServerConfig),
    /// `sse` or `streamable_http`
    Remote(RemoteServerConfig),
}

/// A program, in the form of the older paths.
#[derive(Clone, Serialize, ToSchema)]
pub struct StdioServerConfig {
    /// What its client calls it.
    pub server_name: String,
    /// `stdio`
    pub r#type: McpServerType,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it finds in its environment.
    pub env: Option<BTreeMap<String, String>>,
}

/// A server at an address, in the form of the older paths.
#[derive(Clone, Serialize, ToSchema)]
pub struct RemoteServerConfig {
    /// What its client calls it.
    pub server_name: String,
    /// `sse` or `streamable_http`
    pub r#type: McpServerType,
    /// Where it is.
    pub server_url: String,
    /// The header that carries the token; `Authorization` when `null`.
    pub auth_header: Option<String>,
    /// The token.
    pub auth_token: Option<String>,
    /// Further headers.
    pub custom_headers: Option<BTreeMap<String, String>>,
}

impl From<McpServer> for McpServerConfig {
    fn from(server: McpServer) -> Self {
        match server {
            McpServer::Stdio(it) => Self::Stdio(StdioServerConfig {
                server_name: it.server_name,
                r#type: it.mcp_server_type,
                command: it.command,
                args: it.args,
                env: it.env,
            }),
            McpServer::Remote(it) => Self::Remote(RemoteServerConfig {
                server_name: it.server_name,
                r#type: it.mcp_server_type,
                server_url: it.server_url,
                auth_header: it.auth_header,
                auth_token: it.auth_token,
                custom_headers: it.custom_headers,
            }),
        }
    }
}

/// Names only: the values are secret.
macro_rules! debug_by_name {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("server_name", &self.server_name)
                    .finish_non_exhaustive()
            }
        }
    )*};
}

debug_by_name! { StdioMcpServer RemoteMcpServer StdioServerConfig RemoteServerConfig }

/// A tool as its MCP server describes it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct McpTool {
    /// Its name there.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(rename = "inputSchema")]
    #[schema(value_type = Object)]
    pub input_schema: Map<String, Value>,
    /// The JSON schema of what it returns.
    #[serde(rename = "outputSchema")]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Map<String, Value>>,
    /// What its server says about its effects; only hints.
    #[schema(value_type = Option<Object>)]
    pub annotations: Option<Value>,
    /// What else its server says.
    #[serde(rename = "_meta")]
    #[schema(value_type = Option<Object>)]
    pub meta: Option<Value>,
    /// Whether it can be offered to models.
    pub health: Option<McpToolHealth>,
}

/// Whether a tool of an MCP server can be offered to models.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct McpToolHealth {
    /// `STRICT_COMPLIANT`, `NON_STRICT_ONLY`, or `INVALID`: that one is left out.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// Why it is no better.
    pub reasons: Vec<String>,
}

impl From<OfferedTool> for McpTool {
    fn from(tool: OfferedTool) -> Self {
        let Health { status, reasons } = tool.health();
        let status = match status {
            HealthStatus::StrictCompliant => "STRICT_COMPLIANT",
            HealthStatus::NonStrictOnly => "NON_STRICT_ONLY",
            HealthStatus::Invalid => "INVALID",
        };
        let OfferedTool { name, title, description, input_schema, output_schema, .. } = tool;
        Self {
            name,
            title,
            description,
            input_schema,
            output_schema,
            annotations: tool.annotations,
            meta: tool.meta,
            health: Some(McpToolHealth { status, reasons }),
        }
    }
}

/// What became of a server's tools, by the names agents call them by.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct McpRefreshed {
    /// Those the server no longer has.
    pub deleted: Vec<String>,
    /// Those that changed.
    pub updated: Vec<String>,
    /// New ones.
    pub added: Vec<String>,
}

impl From<Synced> for McpRefreshed {
    fn from(synced: Synced) -> Self {
        let Synced { deleted, updated, added, .. } = synced;
        Self { deleted, updated, added }
    }
}

/// What came of trying an MCP server.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct McpTested {
    /// `success`
    #[schema(value_type = String)]
    pub status: &'static str,
    /// The tools it has.
    pub tools: Vec<McpTool>,
}

impl From<Vec<OfferedTool>> for McpTested {
    fn from(tools: Vec<OfferedTool>) -> Self {
        Self { status: "success", tools: tools.into_iter().map(Into::into).collect() }
    }
}
