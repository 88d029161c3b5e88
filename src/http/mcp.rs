//! MCP servers as resources, and their tools.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as Answer, extract::State, http::StatusCode};
use retold_actors::{
    Refusal, Whose,
    mcp::{KnownServer, McpTarget, OfferedTool, Opened},
};
use retold_events::{
    McpServerId, Sealed, ToolId,
    mcp::{Server, Transport},
};
use retold_snapshots::{past::Tables, query};
use retold_tools::egress::Egress;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    App,
    error::ApiError,
    extract::{Id, Json, OptionalJson},
    openapi::{ListErrors, McpErrors, ReadErrors, WriteErrors},
    past::Reader,
};
use crate::{
    mcp::{STDIO_OFF, opened},
    vault::Vault,
    wire::{
        AsOfQuery, CreateMcpServerRequest, Keeping, McpRefreshed, McpServer, Problem, Tool,
        ToolExecuteRequest, ToolExecutionResult, UpdateMcpServerRequest,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(retrieve, update, delete))
        .routes(routes!(refresh))
        .routes(routes!(list_tools))
        .routes(routes!(retrieve_tool))
        .routes(routes!(run_tool))
}

/// The MCP servers, by creation.
#[utoipa::path(get, path = "/v1/mcp-servers", tag = "mcp_servers", operation_id = "mcp_list_mcp_servers",
    params(AsOfQuery),
    responses((status = 200, description = "All of them", body = [McpServer]), ListErrors))]
async fn list(State(app): State<App>, reader: Reader) -> Result<Answer<Vec<McpServer>>, ApiError> {
    Ok(Answer(app.mcp_servers(&reader).await?.into_iter().map(|(_, shown)| shown).collect()))
}

/// Makes an MCP server known and asks it for its tools. One that cannot be reached is known all the same; refresh it later.
#[utoipa::path(post, path = "/v1/mcp-servers", tag = "mcp_servers", operation_id = "mcp_create_mcp_server",
    request_body = CreateMcpServerRequest,
    responses((status = 200, description = "The server", body = McpServer), WriteErrors))]
async fn create(
    State(app): State<App>,
    Json(request): Json<CreateMcpServerRequest>,
) -> Result<Answer<McpServer>, ApiError> {
    let known = app.make_mcp_server(request).await?;
    Ok(Answer(app.mcp_server(known.id, &known.row.server).await))
}

/// An MCP server.
#[utoipa::path(get, path = "/v1/mcp-servers/{mcp_server_id}", tag = "mcp_servers",
    operation_id = "mcp_retrieve_mcp_server",
    params(("mcp_server_id" = String, Path, description = "The server"), AsOfQuery),
    responses((status = 200, description = "The server", body = McpServer), ReadErrors))]
async fn retrieve(
    State(app): State<App>,
    reader: Reader,
    Id(id): Id<McpServerId>,
) -> Result<Answer<McpServer>, ApiError> {
    let row = reader.mcp_server(id).await?;
    if reader.is_of_the_past() {
        return Ok(Answer(McpServer::new(id, &row.server, Opened::default())));
    }
    Ok(Answer(app.mcp_server(id, &row.server).await))
}

/// Changes an MCP server and asks it for its tools. Absent members and `null` stay as they are.
#[utoipa::path(patch, path = "/v1/mcp-servers/{mcp_server_id}", tag = "mcp_servers",
    operation_id = "mcp_update_mcp_server", request_body = UpdateMcpServerRequest,
    params(("mcp_server_id" = String, Path, description = "The server")),
    responses((status = 200, description = "The server after the change", body = McpServer), WriteErrors))]
async fn update(
    State(app): State<App>,
    Id(id): Id<McpServerId>,
    Json(request): Json<UpdateMcpServerRequest>,
) -> Result<Answer<McpServer>, ApiError> {
    let known = app.change_mcp_server(id, request).await?;
    Ok(Answer(app.mcp_server(known.id, &known.row.server).await))
}

/// Deletes an MCP server and its tools. Agents that have those do so no longer.
#[utoipa::path(delete, path = "/v1/mcp-servers/{mcp_server_id}", tag = "mcp_servers",
    operation_id = "mcp_delete_mcp_server",
    params(("mcp_server_id" = String, Path, description = "The server")),
    responses((status = 204, description = "It is gone"), WriteErrors))]
async fn delete(State(app): State<App>, Id(id): Id<McpServerId>) -> Result<StatusCode, ApiError> {
    app.host.delete_mcp_server(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks an MCP server for its tools. Those it still has keep their ids, so agents keep them.
#[utoipa::path(patch, path = "/v1/mcp-servers/{mcp_server_id}/refresh", tag = "mcp_servers",
    operation_id = "mcp_refresh_mcp_server_tools",
    params(("mcp_server_id" = String, Path, description = "The server"),
        ("agent_id" = Option<String>, Query, description = "Taken and without meaning: agents keep their tools")),
    responses((status = 200, description = "What became of its tools", body = McpRefreshed), WriteErrors, McpErrors))]
async fn refresh(
    State(app): State<App>,
    Id(id): Id<McpServerId>,
) -> Result<Answer<McpRefreshed>, ApiError> {
    Ok(Answer(app.host.refresh_mcp_server(id).await?.into()))
}

/// The tools of an MCP server, as they were when it was last asked.
#[utoipa::path(get, path = "/v1/mcp-servers/{mcp_server_id}/tools", tag = "mcp_servers",
    operation_id = "mcp_list_tools_for_mcp_server",
    params(("mcp_server_id" = String, Path, description = "The server")),
    responses((status = 200, description = "Its tools", body = [Tool]), ReadErrors))]
async fn list_tools(
    State(app): State<App>,
    Id(id): Id<McpServerId>,
) -> Result<Answer<Vec<Tool>>, ApiError> {
    Ok(Answer(app.host.mcp_tools(id).await?.iter().map(Tool::from).collect()))
}

/// A tool of an MCP server.
#[utoipa::path(get, path = "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}", tag = "mcp_servers",
    operation_id = "mcp_retrieve_mcp_tool",
    params(("mcp_server_id" = String, Path, description = "The server"), ("tool_id" = String, Path, description = "The tool")),
    responses((status = 200, description = "The tool", body = Tool), ReadErrors))]
async fn retrieve_tool(
    State(app): State<App>,
    Id(id): Id<McpServerId>,
    Id(tool): Id<ToolId>,
) -> Result<Answer<Tool>, ApiError> {
    Ok(Answer(Tool::from(&app.host.mcp_tool(id, tool).await?)))
}

/// Calls a tool of an MCP server, outside of any conversation. A client that goes away has given the call up.
#[utoipa::path(post, path = "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}/run", tag = "mcp_servers",
    operation_id = "mcp_run_tool", request_body = Option<ToolExecuteRequest>,
    params(("mcp_server_id" = String, Path, description = "The server"), ("tool_id" = String, Path, description = "The tool")),
    responses((status = 200, description = "What came of it", body = ToolExecutionResult), WriteErrors))]
async fn run_tool(
    State(app): State<App>,
    Id(id): Id<McpServerId>,
    Id(tool): Id<ToolId>,
    OptionalJson(request): OptionalJson<ToolExecuteRequest>,
) -> Result<Answer<ToolExecutionResult>, ApiError> {
    let tool = app.host.mcp_tool(id, tool).await?;
    let arguments = Value::Object(request.args).to_string();
    Ok(Answer(app.host.call_mcp_tool(id, tool.name(), &arguments).await?.into()))
}

impl App {
    /// All servers, with their names.
    pub(super) async fn mcp_servers(
        &self,
        reader: &Reader,
    ) -> Result<Vec<(String, McpServer)>, ApiError> {
        let whose = Whose::Server(Tables::MCP_SERVERS);
        let rows = reader.query(whose, query::all_mcp_servers).await?;
        let mut shown = Vec::with_capacity(rows.len());
        for (id, row) in rows {
            // A value that was taken back is not to be had by looking back.
            let server = if reader.is_of_the_past() {
                McpServer::new(id, &row.server, Opened::default())
            } else {
                self.mcp_server(id, &row.server).await
            };
            shown.push((row.server.name.clone(), server));
        }
        Ok(shown)
    }

    /// A server as it is answered. Secrets that cannot be opened are left out: whoever runs this server is told why.
    pub(super) async fn mcp_server(&self, id: McpServerId, server: &Server) -> McpServer {
        let opened = opened(&self.vault, Arc::new(server.clone())).await.unwrap_or_else(|error| {
            tracing::warn!(%id, %error, "secrets of an MCP server cannot be shown");
            Opened::default()
        });
        McpServer::new(id, server, opened)
    }

    pub(super) async fn make_mcp_server(
        &self,
        request: CreateMcpServerRequest,
    ) -> Result<Arc<KnownServer>, ApiError> {
        let id = self.host.next_mcp_server_id();
        let keeping = self.keeping(id.uuid(), request.has_secrets()).await?;
        let server = request.make(&keeping)?;
        self.check_program(&server)?;
        Ok(self.host.create_mcp_server(id, server).await?)
    }

    pub(super) async fn change_mcp_server(
        &self,
        id: McpServerId,
        request: UpdateMcpServerRequest,
    ) -> Result<Arc<KnownServer>, ApiError> {
        let keeping = self.keeping(id.uuid(), request.has_secrets()).await?;
        let may_start = self.mcp_stdio;
        let compute = move |old: Option<&Server>| {
            let missing = || Refusal::NotFound { what: "MCP server", id: id.to_string() };
            let server = request.over(old.ok_or_else(missing)?, &keeping)?;
            may_start_program(may_start, &server)?;
            Ok(Some(server))
        };
        Ok(self.host.update_mcp_server(id, Arc::new(compute)).await?)
    }

    /// The tools of a server that is not kept.
    pub(super) async fn try_mcp_server(
        &self,
        request: CreateMcpServerRequest,
    ) -> Result<Vec<OfferedTool>, ApiError> {
        let opened = request.opened();
        let trial = Trial { egress: self.egress.clone() };
        let server = request.make(&trial)?;
        self.check_program(&server)?;
        let (name, key) =
            (server.name.clone(), format!("trial of {}", self.host.next_mcp_server_id()));
        let target = McpTarget { key, server: Arc::new(server), opened: Some(opened) };
        Ok(self.host.ask_mcp_server(&name, target).await?)
    }

    fn check_program(&self, server: &Server) -> Result<(), Problem> {
        may_start_program(self.mcp_stdio, server)
    }

    /// What is done with what a client gives for a server.
    async fn keeping(&self, owner: Uuid, has_secrets: bool) -> Result<Kept, ApiError> {
        if has_secrets {
            self.vault.ready().await.map_err(|error| ApiError::no_vault(&error))?;
        }
        Ok(Kept { vault: self.vault.clone(), egress: self.egress.clone(), owner })
    }
}

fn may_start_program(may_start: bool, server: &Server) -> Result<(), Problem> {
    let is_program = matches!(server.transport, Transport::Stdio { .. });
    if is_program && !may_start { Err(Problem::Invalid(STDIO_OFF.to_owned())) } else { Ok(()) }
}

/// For a server that is kept.
struct Kept {
    vault: Vault,
    egress: Egress,
    owner: Uuid,
}

impl Keeping for Kept {
    fn address(&self, url: &str) -> Result<String, Problem> {
        address(&self.egress, url)
    }

    fn seal(&self, name: &str, value: &str, old: Option<&Sealed>) -> Result<Sealed, Problem> {
        let same = old.filter(|old| self.vault.open_value(name, old).is_ok_and(|old| old == value));
        match same {
            Some(old) => Ok(old.clone()),
            None => self
                .vault
                .seal(self.owner, name, value)
                .map_err(|error| Problem::Invalid(error.to_string())),
        }
    }
}

/// For a server that is tried only: what it needs is beside it.
struct Trial {
    egress: Egress,
}

impl Keeping for Trial {
    fn address(&self, url: &str) -> Result<String, Problem> {
        address(&self.egress, url)
    }

    fn seal(&self, _: &str, _: &str, _: Option<&Sealed>) -> Result<Sealed, Problem> {
        Ok(Sealed { owner: [0; 16], bytes: Vec::new() })
    }
}

fn address(egress: &Egress, url: &str) -> Result<String, Problem> {
    let checked = egress.check(url);
    checked.map(String::from).map_err(|error| Problem::Invalid(format!("server_url: {error}")))
}

/// Servers by their names, in the form of the older paths.
pub(super) fn by_name<T>(servers: Vec<(String, McpServer)>) -> BTreeMap<String, T>
where
    T: From<McpServer>,
{
    servers.into_iter().map(|(name, server)| (name, server.into())).collect()
}
