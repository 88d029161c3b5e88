//! Lists of the MCP servers that users made known.

use retold_events::{
    McpServerId, StreamId,
    store::{EventStore, Table},
};

use super::{
    Page, QueryError,
    scan::{self, Window, check_cursors},
};
use crate::row::McpServerRow;

/// A page of MCP servers by creation.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there never was such a server.
pub fn mcp_servers(
    store: &dyn EventStore,
    page: &Page<McpServerId>,
) -> Result<Vec<(McpServerId, McpServerRow)>, QueryError> {
    check_cursors(page, |id| Ok(store.stream_head(StreamId::McpServer(id))?.0 > 0))?;
    let window = Window::in_order(page)?;
    window.fill(scan::whole(store, Table::McpServers, &window))
}

/// Every MCP server, by creation.
///
/// # Errors
/// [`QueryError`].
pub fn all_mcp_servers(
    store: &dyn EventStore,
) -> Result<Vec<(McpServerId, McpServerRow)>, QueryError> {
    let window = Window::everything();
    window.fill(scan::whole(store, Table::McpServers, &window))
}

/// One MCP server.
///
/// # Errors
/// [`QueryError`].
pub fn mcp_server(
    store: &dyn EventStore,
    id: McpServerId,
) -> Result<Option<McpServerRow>, QueryError> {
    scan::get(store, Table::McpServers, id.as_bytes())
}
