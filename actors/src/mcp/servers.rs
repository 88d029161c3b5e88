//! All MCP servers that users made known, in memory.
//!
//! They are few and change seldom, so all edits pass through one lock, one after the other: what is read under it is what
//! is written. Readers and calls never wait for it, and nobody holds it while a server is spoken to. A server's tools
//! change in the same commit as the server: no tool is ever of a server that is not there.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use retold_events::{
    McpServerId, NewEvent, Seq, StreamId,
    codec::Event as _,
    log::Log,
    mcp::{Created, Deleted, Event, Server, Updated},
    store::Append,
};
use retold_snapshots::{
    mcp as fold,
    query::{self, QueryError},
    row::McpServerRow,
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};

use super::{McpCall, McpDoor, McpFailure, McpTarget, OfferedTool, Synced, sync, target_key};
use crate::{
    Options, Ran, Refusal,
    tool::registry::{Registry, batch::Beside},
};

/// What nobody can do where no MCP servers are spoken to.
const NO_DOOR: &str = "this server speaks to no MCP servers";
/// Servers that are asked for their tools at the same time.
const ASKED_AT_ONCE: usize = 16;
/// How much longer than its bound a server is waited for here. The door keeps the same bound, can say more of what happened,
/// and learns from it which sessions are of no use any more: it must not be cut short of that.
const DOOR_FIRST: Duration = Duration::from_secs(2);

/// What an edit makes of a server as it stands: what it will be, or `None` for nothing any more.
pub type ComputeServer =
    Arc<dyn Fn(Option<&Server>) -> Result<Option<Server>, Refusal> + Send + Sync>;

/// An MCP server as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// Its id.
    pub id: McpServerId,
    /// Everything about it.
    pub row: McpServerRow,
    server: Arc<Server>,
    seq: Seq,
    /// The place of the event that made it reached as it is.
    reached_since: Seq,
}

impl KnownServer {
    fn new(id: McpServerId, row: McpServerRow, seq: Seq, reached_since: Seq) -> Arc<Self> {
        let server = Arc::new(row.server.clone());
        Arc::new(Self { id, row, server, seq, reached_since })
    }

    /// What its client calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.row.server.name
    }

    /// It as it is spoken to.
    #[must_use]
    pub fn target(&self) -> McpTarget {
        McpTarget {
            key: target_key(self.id, self.reached_since),
            server: Arc::clone(&self.server),
            opened: None,
        }
    }
}

/// All MCP servers.
#[derive(Debug)]
pub(crate) struct Servers {
    options: Options,
    tools: Arc<Registry>,
    table: RwLock<BTreeMap<McpServerId, Arc<KnownServer>>>,
    editing: Mutex<()>,
    asked: Semaphore,
}

impl Servers {
    /// Reads all servers.
    ///
    /// # Errors
    /// What the store gives.
    pub(crate) async fn load(
        log: Log,
        tools: Arc<Registry>,
        options: Options,
    ) -> Result<Self, QueryError> {
        let read = log.read(|store| {
            let all = match query::all_mcp_servers(store) {
                Ok(all) => all,
                Err(error) => return Ok(Err(error)),
            };
            let mut table = BTreeMap::new();
            for (id, row) in all {
                let seq = store.stream_head(StreamId::McpServer(id))?;
                table.insert(id, KnownServer::new(id, row, seq, seq));
            }
            Ok(Ok(table))
        });
        let table = read.await??;
        Ok(Self {
            options,
            tools,
            table: RwLock::new(table),
            editing: Mutex::default(),
            asked: Semaphore::new(ASKED_AT_ONCE),
        })
    }

    pub(crate) fn get(&self, id: McpServerId) -> Option<Arc<KnownServer>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&id).cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<KnownServer>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().find(|known| known.name() == name).cloned()
    }

    /// No server is spoken to any longer.
    pub(crate) async fn close(&self) {
        if let Some(door) = &self.options.mcp {
            door.close().await;
        }
    }

    fn count(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Makes, changes or deletes a server, its tools with it, and waits until that is durable. `None` when it is gone now.
    ///
    /// Whoever calls this must not be dropped meanwhile: see to it by a task of its own.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn edit(
        &self,
        id: McpServerId,
        compute: ComputeServer,
    ) -> Result<Option<Arc<KnownServer>>, Refusal> {
        let _editing = self.editing.lock().await;
        let before = self.get(id);
        let after = compute(before.as_ref().map(|known| &known.row.server))?;
        if before.as_ref().map(|known| &known.row.server) == after.as_ref() {
            return Ok(before);
        }
        self.check(id, before.is_none(), after.as_ref())?;
        let at = before.as_ref().map_or_else(
            || self.options.clock.now(),
            |known| self.options.clock.now().max(known.row.updated_at),
        );
        let created_at = before.as_ref().map(|known| known.row.created_at);
        let seq = before.as_ref().map_or(Seq(0), |known| known.seq);
        let event = match (&after, &before) {
            (Some(server), None) => Event::Created(Created { server: server.clone() }),
            (Some(server), Some(_)) => Event::Updated(Updated { server: server.clone() }),
            (None, _) => Event::Deleted(Deleted {}),
        };
        let new = NewEvent {
            id: self.options.ids.ulid(at),
            causation: ulid::Ulid::nil(),
            run: None,
            at,
            encoded: event.encode(),
        };
        let append = Append { stream: StreamId::McpServer(id), expected: seq, events: vec![new] };
        let beside =
            Beside { appends: vec![append], rows: fold::project(id, created_at, at, &event) };
        let name = before.as_ref().map_or("", |known| known.name());
        let to = after.as_ref().map(|server| server.name.as_str());
        self.tools
            .edit_server(name, beside, |there, _| {
                let changes = match to {
                    Some(to) if to == name => Vec::new(),
                    Some(to) => sync::renamed(name, to, there),
                    None => there.into_iter().map(|(id, _)| (Some(id), None)).collect(),
                };
                (changes, ())
            })
            .await?;
        let reached_so = |server: &Server| {
            before.as_ref().is_some_and(|known| known.row.server.transport == server.transport)
        };
        let stays = after.as_ref().is_some_and(reached_so);
        let after = after.map(|server| {
            let reached_since = match &before {
                Some(known) if stays => known.reached_since,
                Some(_) | None => seq.next(),
            };
            let row = McpServerRow { server, created_at: created_at.unwrap_or(at), updated_at: at };
            KnownServer::new(id, row, seq.next(), reached_since)
        });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        match &after {
            Some(known) => drop(table.insert(id, Arc::clone(known))),
            None => drop(table.remove(&id)),
        }
        drop(table);
        if let (Some(before), Some(door), false) = (before, &self.options.mcp, stays) {
            door.forget(&before.target());
        }
        Ok(after)
    }

    /// Names are unique, and there are only so many servers.
    fn check(&self, id: McpServerId, is_new: bool, after: Option<&Server>) -> Result<(), Refusal> {
        let Some(server) = after else { return Ok(()) };
        if self.by_name(&server.name).is_some_and(|known| known.id != id) {
            return Err(Refusal::Conflict(format!(
                "an MCP server named '{}' is already there; give this one another name",
                server.name
            )));
        }
        let most = self.options.max_mcp_servers;
        if is_new && self.count() >= most {
            return Err(Refusal::Invalid(format!(
                "this server knows {most} MCP servers, the most it may know; delete some"
            )));
        }
        Ok(())
    }

    /// Asks a server for its tools and makes them those of this server. The same caution as with [`Servers::edit`].
    ///
    /// # Errors
    /// [`Refusal`]; then the tools are as they were.
    pub(crate) async fn sync(&self, id: McpServerId) -> Result<Synced, Refusal> {
        let missing = || no_server(&id.to_string());
        let asked = self.get(id).ok_or_else(missing)?;
        let offered = self.list(asked.name(), asked.target()).await?;
        let _editing = self.editing.lock().await;
        let known = self.get(id).ok_or_else(missing)?;
        if known.reached_since != asked.reached_since {
            return Err(Refusal::Conflict(format!(
                "the MCP server '{}' was changed while it was asked for its tools; try again",
                known.name()
            )));
        }
        let synced = self
            .tools
            .edit_server(known.name(), Beside::default(), |there, is_taken| {
                sync::plan(known.name(), &offered, there, is_taken)
            })
            .await?;
        for (tool, reason) in &synced.left_out {
            tracing::warn!(server = known.name(), tool, reason, "a tool cannot be offered");
        }
        Ok(synced)
    }

    /// The tools that a server says it has. `name` is for messages.
    ///
    /// # Errors
    /// [`Refusal`]: it is not to be spoken to, cannot be reached, or does not answer.
    pub(crate) async fn list(
        &self,
        name: &str,
        target: McpTarget,
    ) -> Result<Vec<OfferedTool>, Refusal> {
        let Some(door) = &self.options.mcp else {
            return Err(Refusal::Invalid(NO_DOOR.to_owned()));
        };
        let bound = self.options.mcp_timeout;
        let ask = async {
            // It is never closed.
            let _turn = self.asked.acquire().await;
            door.list(target).await
        };
        let late = || McpFailure::TimedOut(format!("it did not answer within {bound:?}"));
        let listed = timeout(bound + DOOR_FIRST, ask).await.unwrap_or_else(|_| Err(late()));
        listed.map_err(|failure| match failure {
            McpFailure::Refused(reason) => Refusal::Invalid(reason),
            McpFailure::Unreachable(reason) => {
                Refusal::McpUnreachable { server: name.to_owned(), reason }
            }
            McpFailure::TimedOut(reason) => Refusal::McpTimeout { server: name.to_owned(), reason },
        })
    }

    /// Calls a tool. Whatever goes wrong is a text for the model.
    pub(crate) async fn call(
        &self,
        server: &str,
        tool: &str,
        arguments: &str,
        key: [u8; 16],
    ) -> Ran {
        let result = self.called(server, tool, arguments, key).await;
        Ran { result, stdout: Vec::new(), stderr: Vec::new() }
    }

    async fn called(
        &self,
        server: &str,
        tool: &str,
        arguments: &str,
        key: [u8; 16],
    ) -> Result<String, String> {
        let door: &Arc<dyn McpDoor> = self.options.mcp.as_ref().ok_or(NO_DOOR)?;
        let known = self
            .by_name(server)
            .ok_or_else(|| format!("the MCP server {server:?} that this tool is of was deleted"))?;
        let arguments = serde_json::from_str(arguments)
            .map_err(|error| format!("the arguments are no JSON object: {error}"))?;
        let call = McpCall { target: known.target(), tool: tool.to_owned(), arguments, key };
        let bound = self.options.tool_timeout;
        timeout(bound + DOOR_FIRST, door.call(call)).await.unwrap_or_else(|_| {
            Err(format!(
                "the MCP server {server:?} did not answer within {bound:?}; what it was asked may have happened all \
                the same"
            ))
        })
    }
}

/// There is no such server.
pub(crate) fn no_server(id_or_name: &str) -> Refusal {
    Refusal::NotFound { what: "MCP server", id: id_or_name.chars().take(200).collect() }
}
