//! MCP servers: made known, seen, changed, deleted, asked for their tools, called.
//!
//! What changes something runs in a task of its own, so that a client who goes away leaves nothing half done.

use std::{future::Future, sync::Arc};

use retold_events::{McpServerId, Position, ToolId, mcp::Server};
use retold_snapshots::{load, row::McpServerRow};

use super::{Host, ToolView};
use crate::{
    Ran, Refusal,
    mcp::{
        ComputeServer, KnownServer, McpTarget, OfferedTool, Synced,
        servers::{Servers, no_server},
    },
    pasts::of_load,
    tool::output,
};

impl Host {
    /// An id for a server that is about to be made: what is secret about it is sealed for this id.
    #[must_use]
    pub fn next_mcp_server_id(&self) -> McpServerId {
        let options = &self.0.shared.options;
        McpServerId::from_uuid(options.ids.next(options.clock.now()))
    }

    /// Makes a server known and asks it for its tools. One that cannot be reached is known all the same, without any.
    ///
    /// # Errors
    /// [`Refusal`]; a conflict where the name is taken.
    pub async fn create_mcp_server(
        &self,
        id: McpServerId,
        server: Server,
    ) -> Result<Arc<KnownServer>, Refusal> {
        let compute: ComputeServer = Arc::new(move |_| Ok(Some(server.clone())));
        self.change_mcp_server(id, compute).await
    }

    /// Changes a server and asks it for its tools, which stay as they were when it does not say.
    ///
    /// # Errors
    /// [`Refusal`]; a conflict where the name is taken.
    pub async fn update_mcp_server(
        &self,
        id: McpServerId,
        compute: ComputeServer,
    ) -> Result<Arc<KnownServer>, Refusal> {
        let there: ComputeServer = Arc::new(move |server| {
            let server = server.ok_or_else(|| no_server(&id.to_string()))?;
            compute(Some(server))
        });
        self.change_mcp_server(id, there).await
    }

    async fn change_mcp_server(
        &self,
        id: McpServerId,
        compute: ComputeServer,
    ) -> Result<Arc<KnownServer>, Refusal> {
        self.check_room()?;
        self.on_its_own(move |servers| async move {
            let known = servers.edit(id, compute).await?.ok_or_else(|| no_server(&id.to_string()))?;
            if let Err(refusal) = servers.sync(id).await {
                tracing::warn!(server = known.name(), %refusal, "its tools are not known; refresh it");
            }
            Ok(known)
        })
        .await
    }

    /// Deletes a server and its tools. Agents that have those do so no longer; calls under way may still be answered.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_mcp_server(&self, id: McpServerId) -> Result<(), Refusal> {
        let gone: ComputeServer =
            Arc::new(move |server| server.map(|_| None).ok_or_else(|| no_server(&id.to_string())));
        self.on_its_own(move |servers| async move { servers.edit(id, gone).await.map(drop) }).await
    }

    /// Asks a server for its tools. Those it still has keep their ids, so agents keep them.
    ///
    /// # Errors
    /// [`Refusal`]; then the tools are as they were.
    pub async fn refresh_mcp_server(&self, id: McpServerId) -> Result<Synced, Refusal> {
        self.check_room()?;
        self.on_its_own(move |servers| async move { servers.sync(id).await }).await
    }

    /// A tool by the name it has on its server, which is asked for its tools first.
    ///
    /// # Errors
    /// [`Refusal`]; not found when the server has none of that name, invalid when it cannot be offered to models.
    pub async fn add_mcp_tool(&self, id: McpServerId, remote: &str) -> Result<ToolView, Refusal> {
        let synced = self.refresh_mcp_server(id).await?;
        if let Some((name, reason)) = synced.left_out.iter().find(|(name, _)| name == remote) {
            return Err(Refusal::Invalid(format!(
                "the tool '{name}' cannot be offered to models: {reason}"
            )));
        }
        let server = self.0.mcp.get(id).ok_or_else(|| no_server(&id.to_string()))?;
        let tools = self.0.shared.tools.of_server(server.name());
        let known = tools.iter().find(|known| known.remote_name() == Some(remote));
        let missing = || Refusal::NotFound { what: "Tool", id: remote.chars().take(200).collect() };
        self.mcp_tool(id, known.ok_or_else(missing)?.id).await
    }

    /// The server with this id.
    #[must_use]
    pub fn mcp_server(&self, id: McpServerId) -> Option<Arc<KnownServer>> {
        self.0.mcp.get(id)
    }

    /// The server of this name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn mcp_server_named(&self, name: &str) -> Result<Arc<KnownServer>, Refusal> {
        self.0.mcp.by_name(name).ok_or_else(|| no_server(name))
    }

    /// A server as it stood.
    ///
    /// # Errors
    /// [`Refusal`]; it is not found when it was not known yet, or no longer.
    pub async fn mcp_server_at(
        &self,
        id: McpServerId,
        position: Position,
    ) -> Result<McpServerRow, Refusal> {
        let read = self.0.pasts.read(move |store| load::mcp_server(store, id, Some(position)));
        let broken = || Refusal::Storage(format!("the history of {id} could not be folded"));
        let loaded = read.await?.ok_or_else(broken)?.map_err(of_load)?;
        let there = loaded.filter(|loaded| !loaded.state.deleted);
        there.map(|it| it.state.into_row()).ok_or_else(|| no_server(&id.to_string()))
    }

    /// The tools of a server as they are kept, by creation.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn mcp_tools(&self, id: McpServerId) -> Result<Vec<ToolView>, Refusal> {
        let server = self.0.mcp.get(id).ok_or_else(|| no_server(&id.to_string()))?;
        let ids = self.0.shared.tools.of_server(server.name()).into_iter().map(|known| known.id);
        let rows = self.0.shared.tools.rows(ids.collect()).await?;
        Ok(rows.into_iter().map(|(id, row)| ToolView::Made { id, row: Arc::new(row) }).collect())
    }

    /// A tool of a server.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn mcp_tool(&self, id: McpServerId, tool: ToolId) -> Result<ToolView, Refusal> {
        let missing = || Refusal::NotFound { what: "Tool", id: tool.to_string() };
        self.mcp_tools(id).await?.into_iter().find(|view| view.id() == tool).ok_or_else(missing)
    }

    /// The tools a server says it has at this moment. Nothing of it is kept. `name` is for messages.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be reached, or may not be.
    pub async fn ask_mcp_server(
        &self,
        name: &str,
        target: McpTarget,
    ) -> Result<Vec<OfferedTool>, Refusal> {
        self.0.mcp.list(name, target).await
    }

    /// Calls a tool of a server because a client asks for it: outside any run, so nothing of it is written down. `tool` is
    /// its name, there or here. Dropping the future gives the call up.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]. What goes wrong with the call is in what came of it.
    pub async fn call_mcp_tool(
        &self,
        id: McpServerId,
        tool: &str,
        arguments: &str,
    ) -> Result<Ran, Refusal> {
        let server = self.0.mcp.get(id).ok_or_else(|| no_server(&id.to_string()))?;
        let tools = self.0.shared.tools.of_server(server.name());
        let named = |known: &&Arc<crate::tool::Known>| {
            known.name == tool || known.remote_name() == Some(tool)
        };
        let missing = || Refusal::NotFound { what: "Tool", id: tool.chars().take(200).collect() };
        let known = tools.iter().find(named).ok_or_else(missing)?;
        let remote = known.remote_name().unwrap_or(tool);
        let ran = self.0.mcp.call(server.name(), remote, arguments, self.fresh_key().0).await;
        let cut = |text: String| output::cut(&text, known.return_char_limit).into_owned();
        Ok(Ran { result: ran.result.map(cut), ..ran })
    }

    async fn on_its_own<T, F>(&self, work: impl FnOnce(Arc<Servers>) -> F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let task = tokio::spawn(work(Arc::clone(&self.0.mcp)));
        task.await.unwrap_or_else(|error| Err(Refusal::Storage(error.to_string())))
    }
}
