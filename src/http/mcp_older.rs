//! MCP servers under the paths of older clients, which know them by name.

use std::collections::BTreeMap;

use axum::{Json as Answer, extract::State};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::{Json, OptionalJson, ServerName, ServerTool, ToolName},
    mcp::by_name,
    openapi::{ListErrors, McpErrors, WriteErrors},
    past::Reader,
};
use crate::wire::{
    CreateMcpServerRequest, McpRefreshed, McpServerConfig, McpServerConfigInput, McpTested,
    McpTool, Tool, ToolExecuteRequest, ToolExecutionResult,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, add))
        .routes(routes!(test))
        .routes(routes!(update, delete))
        .routes(routes!(list_tools))
        .routes(routes!(resync))
        .routes(routes!(add_tool))
        .routes(routes!(execute))
}

/// The MCP servers by their names.
#[utoipa::path(get, path = "/v1/tools/mcp/servers", tag = "tools", operation_id = "list_mcp_servers",
    responses((status = 200, description = "All of them", body = BTreeMap<String, McpServerConfig>), ListErrors))]
async fn list(
    State(app): State<App>,
) -> Result<Answer<BTreeMap<String, McpServerConfig>>, ApiError> {
    Ok(Answer(by_name(app.mcp_servers(&Reader::now(&app.host)).await?)))
}

/// Makes an MCP server known and asks it for its tools.
#[utoipa::path(put, path = "/v1/tools/mcp/servers", tag = "tools", operation_id = "add_mcp_server",
    request_body = McpServerConfigInput,
    responses((status = 200, description = "All servers", body = [McpServerConfig]), WriteErrors))]
async fn add(
    State(app): State<App>,
    Json(request): Json<McpServerConfigInput>,
) -> Result<Answer<Vec<McpServerConfig>>, ApiError> {
    app.make_mcp_server(CreateMcpServerRequest::try_from(request)?).await?;
    all(&app).await
}

/// Asks an MCP server for its tools without keeping anything.
#[utoipa::path(post, path = "/v1/tools/mcp/servers/test", tag = "tools", operation_id = "test_mcp_server",
    request_body = McpServerConfigInput,
    responses((status = 200, description = "The tools it has", body = McpTested), WriteErrors, McpErrors))]
async fn test(
    State(app): State<App>,
    Json(request): Json<McpServerConfigInput>,
) -> Result<Answer<McpTested>, ApiError> {
    let named = McpServerConfigInput {
        server_name: request.server_name.or_else(|| Some("test".to_owned())),
        ..request
    };
    let tools = app.try_mcp_server(CreateMcpServerRequest::try_from(named)?).await?;
    Ok(Answer(tools.into()))
}

/// Changes an MCP server and asks it for its tools. Absent members and `null` stay as they are.
#[utoipa::path(patch, path = "/v1/tools/mcp/servers/{mcp_server_name}", tag = "tools",
    operation_id = "update_mcp_server", request_body = McpServerConfigInput,
    params(("mcp_server_name" = String, Path, description = "The server")),
    responses((status = 200, description = "The server after the change", body = McpServerConfig), WriteErrors))]
async fn update(
    State(app): State<App>,
    ServerName(name): ServerName,
    Json(request): Json<McpServerConfigInput>,
) -> Result<Answer<McpServerConfig>, ApiError> {
    let server = app.host.mcp_server_named(&name)?;
    let known = app.change_mcp_server(server.id, request.into()).await?;
    Ok(Answer(app.mcp_server(known.id, &known.row.server).await.into()))
}

/// Deletes an MCP server and its tools.
#[utoipa::path(delete, path = "/v1/tools/mcp/servers/{mcp_server_name}", tag = "tools",
    operation_id = "delete_mcp_server",
    params(("mcp_server_name" = String, Path, description = "The server")),
    responses((status = 200, description = "The servers that are left", body = [McpServerConfig]), WriteErrors))]
async fn delete(
    State(app): State<App>,
    ServerName(name): ServerName,
) -> Result<Answer<Vec<McpServerConfig>>, ApiError> {
    let server = app.host.mcp_server_named(&name)?;
    app.host.delete_mcp_server(server.id).await?;
    all(&app).await
}

/// The tools an MCP server has at this moment, in its own words, and whether each can be offered to models.
#[utoipa::path(get, path = "/v1/tools/mcp/servers/{mcp_server_name}/tools", tag = "tools",
    operation_id = "list_mcp_tools_by_server",
    params(("mcp_server_name" = String, Path, description = "The server")),
    responses((status = 200, description = "Its tools", body = [McpTool]), WriteErrors, McpErrors))]
async fn list_tools(
    State(app): State<App>,
    ServerName(name): ServerName,
) -> Result<Answer<Vec<McpTool>>, ApiError> {
    let server = app.host.mcp_server_named(&name)?;
    let tools = app.host.ask_mcp_server(server.name(), server.target()).await?;
    Ok(Answer(tools.into_iter().map(McpTool::from).collect()))
}

/// Asks an MCP server for its tools. Those it still has keep their ids, so agents keep them.
#[utoipa::path(post, path = "/v1/tools/mcp/servers/{mcp_server_name}/resync", tag = "tools",
    operation_id = "resync_mcp_server_tools",
    params(("mcp_server_name" = String, Path, description = "The server"),
        ("agent_id" = Option<String>, Query, description = "Taken and without meaning: agents keep their tools")),
    responses((status = 200, description = "What became of its tools", body = McpRefreshed), WriteErrors, McpErrors))]
async fn resync(
    State(app): State<App>,
    ServerName(name): ServerName,
) -> Result<Answer<McpRefreshed>, ApiError> {
    let server = app.host.mcp_server_named(&name)?;
    Ok(Answer(app.host.refresh_mcp_server(server.id).await?.into()))
}

/// A tool of an MCP server, which is asked for its tools first. Older clients make them known one by one.
#[utoipa::path(post, path = "/v1/tools/mcp/servers/{mcp_server_name}/{mcp_tool_name}", tag = "tools",
    operation_id = "add_mcp_tool",
    params(("mcp_server_name" = String, Path, description = "The server"),
        ("mcp_tool_name" = String, Path, description = "The name the tool has there")),
    responses((status = 200, description = "The tool", body = Tool), WriteErrors, McpErrors))]
async fn add_tool(
    State(app): State<App>,
    ServerTool { server, tool }: ServerTool,
) -> Result<Answer<Tool>, ApiError> {
    let server = app.host.mcp_server_named(&server)?;
    Ok(Answer(Tool::from(&app.host.add_mcp_tool(server.id, &tool).await?)))
}

/// Calls a tool of an MCP server, outside of any conversation. A client that goes away has given the call up.
#[utoipa::path(post, path = "/v1/tools/mcp/servers/{mcp_server_name}/tools/{tool_name}/execute", tag = "tools",
    operation_id = "execute_mcp_tool", request_body = Option<ToolExecuteRequest>,
    params(("mcp_server_name" = String, Path, description = "The server"),
        ("tool_name" = String, Path, description = "The name the tool has there, or here")),
    responses((status = 200, description = "What came of it", body = ToolExecutionResult), WriteErrors))]
async fn execute(
    State(app): State<App>,
    ServerName(server): ServerName,
    ToolName(tool): ToolName,
    OptionalJson(request): OptionalJson<ToolExecuteRequest>,
) -> Result<Answer<ToolExecutionResult>, ApiError> {
    let server = app.host.mcp_server_named(&server)?;
    let arguments = Value::Object(request.args).to_string();
    Ok(Answer(app.host.call_mcp_tool(server.id, &tool, &arguments).await?.into()))
}

async fn all(app: &App) -> Result<Answer<Vec<McpServerConfig>>, ApiError> {
    let servers = app.mcp_servers(&Reader::now(&app.host)).await?;
    Ok(Answer(servers.into_iter().map(|(_, server)| server.into()).collect()))
}
