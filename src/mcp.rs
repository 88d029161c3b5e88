//! MCP servers, spoken to: what the core asks for, in the client's words.
//!
//! Secrets are opened here, right before a server is spoken to, and are taken out of what it says: nothing that leaves this
//! module holds one.

mod told;

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use retold_actors::mcp::{McpCall, McpDoor, McpFailure, McpTarget, OfferedTool, Opened};
use retold_events::{
    Secret,
    mcp::{Remote, Server, Transport},
};
use retold_tools::{
    cage::Helper,
    egress::Url,
    mcp::{self, McpClient, McpError, McpOptions, Returned, ToolCall},
};

use crate::{
    caged::redact::Redactor,
    config::Config,
    vault::{Vault, VaultError},
    wire::{AUTH_TOKEN, auth_header},
};

/// What names in the query of an address have in them whose values are credentials. The others say what is wanted, and may
/// well stand in an answer.
const OF_CREDENTIALS: [&str; 5] = ["key", "token", "secret", "auth", "pass"];

/// Speaks to MCP servers. Cheap to clone; clones share their sessions.
#[derive(Debug, Clone)]
pub(crate) struct Mcp {
    client: McpClient,
    vault: Vault,
}

impl Mcp {
    /// The way to MCP servers, as configured. `helper` starts those that are programs.
    pub(crate) fn new(config: &Config, vault: Vault, helper: Option<Helper>) -> Self {
        let timeout = config.mcp_timeout.value;
        let usual = McpOptions::new(config.egress());
        let options = McpOptions {
            stdio: helper.filter(|_| config.mcp_stdio.value),
            environment: config.mcp_environment.clone(),
            connect_timeout: usual.connect_timeout.min(timeout),
            list_timeout: timeout,
            call_timeout: config.tool_timeout.value,
            ..usual
        };
        Self { client: McpClient::new(options), vault }
    }
}

impl McpDoor for Mcp {
    fn list(&self, target: McpTarget) -> BoxFuture<'static, Result<Vec<OfferedTool>, McpFailure>> {
        let mcp = self.clone();
        async move {
            let (server, redactor) =
                reached(&mcp.vault, &target).await.map_err(McpFailure::Refused)?;
            let listed = match &target.opened {
                // It is not kept, so neither is what was agreed on with it.
                Some(_) => mcp.client.test(&server).await,
                None => mcp.client.list(&server).await,
            };
            let tools = listed.map_err(|error| failure(&error, &redactor))?;
            Ok(tools.into_iter().map(|tool| told::offered(tool, &redactor)).collect())
        }
        .boxed()
    }

    fn call(&self, call: McpCall) -> BoxFuture<'static, Result<String, String>> {
        let mcp = self.clone();
        async move {
            let (server, redactor) = reached(&mcp.vault, &call.target).await?;
            let name = &call.target.server.name;
            let asked = ToolCall {
                tool: call.tool,
                arguments: call.arguments,
                idempotency_key: Some(call.key.iter().map(|byte| format!("{byte:02x}")).collect()),
                timeout: None,
            };
            match mcp.client.call(&server, asked).await {
                Ok(Returned { is_error: false, text, .. }) => Ok(redactor.clean(text)),
                Ok(Returned { is_error: true, text, .. }) => Err(redactor.clean(text)),
                Err(error) => {
                    let says = redactor.clean(error.to_string());
                    Err(format!("the MCP server {name:?} could not be used: {says}"))
                }
            }
        }
        .boxed()
    }

    fn forget(&self, target: &McpTarget) {
        self.client.forget(&target.key);
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let client = self.client.clone();
        async move { client.close().await }.boxed()
    }
}

/// A server in the client's words, and what keeps its secrets out of what it says.
async fn reached(vault: &Vault, target: &McpTarget) -> Result<(mcp::Server, Redactor), String> {
    let opened = match &target.opened {
        Some(opened) => opened.clone(),
        None => {
            opened(vault, Arc::clone(&target.server)).await.map_err(|error| error.to_string())?
        }
    };
    let redactor = redactor(&target.server, &opened);
    Ok((
        mcp::Server { key: target.key.clone(), transport: transport(&target.server, opened) },
        redactor,
    ))
}

/// What takes the secrets of a server out of what it says.
fn redactor(server: &Server, opened: &Opened) -> Redactor {
    let named = opened.named.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let token = opened.auth_token.as_deref().map(|token| (AUTH_TOKEN, token));
    let given: Vec<_> = named.chain(token).collect();
    // Of `Bearer abc` the second word is the secret.
    let words = given.iter().filter_map(|(name, value)| Some((*name, value.split_once(' ')?.1)));
    // Some have their key in the address.
    let url = match &server.transport {
        Transport::Stdio { .. } => None,
        Transport::StreamableHttp(remote) | Transport::Sse(remote) => Url::parse(&remote.url).ok(),
    };
    let query: Vec<_> = url.iter().flat_map(Url::query_pairs).collect();
    let opens = |name: &str| {
        let name = name.to_ascii_lowercase();
        OF_CREDENTIALS.iter().any(|part| name.contains(part))
    };
    let query = query.iter().filter(|(name, _)| opens(name));
    let query = query.map(|(name, value)| (&**name, &**value));
    Redactor::of(given.iter().copied().chain(words).chain(query))
}

/// The secrets of a server. Opening them is work, so not on a thread of the runtime.
pub(crate) async fn opened(vault: &Vault, server: Arc<Server>) -> Result<Opened, VaultError> {
    let (token, named) = match &server.transport {
        Transport::Stdio { env, .. } => (None, env),
        Transport::StreamableHttp(remote) | Transport::Sse(remote) => {
            (remote.auth_token.as_ref(), &remote.custom_headers)
        }
    };
    if token.is_none() && named.is_empty() {
        return Ok(Opened::default());
    }
    let (vault, token, named) = (vault.clone(), token.cloned(), named.clone());
    let open = move || {
        let open =
            |secret: &Secret| Ok::<_, VaultError>((secret.name.clone(), vault.open(secret)?));
        Ok(Opened {
            auth_token: token.map(|token| vault.open_value(AUTH_TOKEN, &token)).transpose()?,
            named: named.iter().map(open).collect::<Result<_, _>>()?,
        })
    };
    // It can only fail with a panic, which has been reported.
    tokio::task::spawn_blocking(open).await.unwrap_or(Err(VaultError::NoChance))
}

fn transport(server: &Server, opened: Opened) -> mcp::Transport {
    let Opened { auth_token, named } = opened;
    match &server.transport {
        Transport::Stdio { command, args, .. } => {
            mcp::Transport::Stdio { command: command.clone(), args: args.clone(), env: named }
        }
        Transport::StreamableHttp(remote) => mcp::Transport::StreamableHttp {
            url: remote.url.clone(),
            headers: headers(remote, auth_token, named),
        },
        Transport::Sse(remote) => mcp::Transport::Sse {
            url: remote.url.clone(),
            headers: headers(remote, auth_token, named),
        },
    }
}

fn headers(
    remote: &Remote,
    token: Option<String>,
    named: std::collections::BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let token = token.map(|token| auth_header(remote, &token));
    token.into_iter().chain(named).collect()
}

fn failure(error: &McpError, redactor: &Redactor) -> McpFailure {
    let says = redactor.clean(error.to_string());
    match error {
        McpError::StdioOff => McpFailure::Refused(STDIO_OFF.to_owned()),
        McpError::Address { .. } | McpError::Header { .. } => McpFailure::Refused(says),
        McpError::TimedOut { .. } => McpFailure::TimedOut(says),
        McpError::Start { .. }
        | McpError::Connect { .. }
        | McpError::Unauthorized { .. }
        | McpError::Status { .. }
        | McpError::Protocol { .. }
        | McpError::Resting { .. }
        | McpError::Busy { .. }
        | McpError::Crowded { .. }
        | McpError::Answered { .. }
        | McpError::TooLarge { .. }
        | McpError::Unknown { .. }
        | McpError::Closed { .. } => McpFailure::Unreachable(says),
    }
}

/// What a client is told who names a program where programs are not started.
pub(crate) const STDIO_OFF: &str = "this server starts no programs for MCP: use the MCP server over HTTP, or ask whoever \
    runs this server to set `mcp_stdio` (--mcp-stdio, MCP_DISABLE_STDIO=false)";
