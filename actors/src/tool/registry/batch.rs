//! Several tools changed at once, as one commit: the tools of an MCP server, and what happens to the server beside them.

use std::sync::Arc;

use retold_events::{
    NewEvent, Seq, StreamId, ToolId,
    codec::Event as _,
    log::{AppendError, Permit},
    store::{Append, Commit, RowChange},
    tool::{Created, Deleted, Event, Tool, Updated},
};
use retold_snapshots::{query, row::ToolRow, tool as fold};
use tokio::sync::oneshot;

use super::{Known, Registry, of_query, taken};
use crate::Refusal;

/// Events of another stream that are to stand in the same commit, with their rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    pub(crate) appends: Vec<Append>,
    pub(crate) rows: Vec<RowChange>,
}

/// What tools become: `None` for nothing any more. Without an id it is a new one.
type Changes = Vec<(Option<ToolId>, Option<Tool>)>;

/// The tools of a server as they stand, and the moment they were read at.
struct There {
    tools: Vec<(ToolId, ToolRow, Seq)>,
    generation: u64,
}

impl Registry {
    /// The tools of an MCP server, by creation.
    pub(crate) fn of_server(&self, server: &str) -> Vec<Arc<Known>> {
        self.read().of_server(server)
    }

    /// Changes the tools of an MCP server, together with what stands beside them. `plan` gets them as they stand, and whether a
    /// name is another tool's; it may be asked again, when somebody else was faster. Gives what it said, once that is
    /// durable.
    ///
    /// Whoever calls this must not be dropped meanwhile: see to it by a task of its own.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn edit_server<T: Send>(
        self: &Arc<Self>,
        server: &str,
        beside: Beside,
        plan: impl Fn(Vec<(ToolId, Tool)>, &dyn Fn(&str) -> bool) -> (Changes, T) + Send + Sync,
    ) -> Result<T, Refusal> {
        loop {
            let there = self.there(server).await?;
            let permit = self.log.reserve().await;
            let tools: Vec<(ToolId, Tool)> =
                there.tools.iter().map(|(id, row, _)| (*id, row.tool.clone())).collect();
            let is_taken = |name: &str| self.by_name(name).is_some();
            let (changes, said) = plan(tools, &is_taken);
            if changes.is_empty() && beside.appends.is_empty() {
                return Ok(said);
            }
            if let Some(durable) = self.place_all(permit, &there, changes, beside.clone())? {
                durable.await.map_err(|_| Refusal::Storage("the log is closed".to_owned()))??;
                return Ok(said);
            }
        }
    }

    /// The tools of a server as they are written, once all that is queued of them is.
    async fn there(&self, server: &str) -> Result<There, Refusal> {
        let (before, generation) = {
            let table = self.read();
            let ids = table.of_server(server).into_iter().map(|known| known.id);
            let before: Vec<_> = ids.filter_map(|id| table.before_id(id)).collect();
            (before, table.generation())
        };
        for ticket in before.iter().filter_map(|before| before.ticket) {
            self.log.durable(ticket).await?;
        }
        let read = self.log.read(move |store| {
            let mut tools = Vec::with_capacity(before.len());
            for before in before {
                let seq = store.stream_head(StreamId::Tool(before.id))?;
                match query::tool(store, before.id) {
                    Ok(row) => tools.extend(row.map(|row| (before.id, row, seq))),
                    Err(error) => return Ok(Err(of_query(error))),
                }
            }
            Ok(Ok(tools))
        });
        Ok(There { tools: read.await??, generation })
    }

    /// Queues the commit of the changes and puts the new states in place. `None` when any tool changed since.
    fn place_all(
        self: &Arc<Self>,
        permit: Permit,
        there: &There,
        changes: Changes,
        beside: Beside,
    ) -> Result<
        Option<oneshot::Receiver<Result<retold_events::store::Committed, AppendError>>>,
        Refusal,
    > {
        let now = self.options.clock.now();
        let mut table = self.write();
        if table.generation() != there.generation {
            return Ok(None);
        }
        let new = changes.iter().filter(|(id, _)| id.is_none()).count();
        let most = self.options.max_tools;
        if new > 0 && table.len() + new > most {
            return Err(Refusal::Invalid(format!(
                "this server would have {} tools, {most} are allowed; delete some",
                table.len() + new
            )));
        }
        let Beside { appends, rows } = beside;
        let mut commit = Commit { appends, rows, ..Commit::default() };
        let mut placed = Vec::with_capacity(changes.len());
        for (id, tool) in changes {
            let old = there.tools.iter().find(|(it, ..)| Some(*it) == id);
            let id = id.unwrap_or_else(|| ToolId::from_uuid(self.options.ids.next(now)));
            let at = old.map_or(now, |(_, row, _)| now.max(row.updated_at));
            let created_at = old.map(|(_, row, _)| row.created_at);
            let event = match (&tool, old) {
                (Some(tool), None) => Event::Created(Created { tool: tool.clone() }),
                (Some(tool), Some(_)) => Event::Updated(Updated { tool: tool.clone() }),
                (None, Some(_)) => Event::Deleted(Deleted {}),
                (None, None) => continue,
            };
            if let Some(tool) = &tool {
                let owner = table.by_name(&tool.name).map(|known| known.id);
                if owner.is_some_and(|owner| owner != id) {
                    return Err(taken(&tool.name, "the tools of a server need names of their own"));
                }
            }
            commit.rows.extend(fold::project(id, created_at, at, &event));
            commit.appends.push(Append {
                stream: StreamId::Tool(id),
                expected: old.map_or(Seq(0), |(.., seq)| *seq),
                events: vec![NewEvent {
                    id: self.options.ids.ulid(at),
                    causation: ulid::Ulid::nil(),
                    run: None,
                    at,
                    encoded: event.encode(),
                }],
            });
            placed.push((id, tool, table.next_generation()));
        }
        let (sender, durable) = oneshot::channel();
        let registry = Arc::clone(self);
        let touched: Vec<(ToolId, u64)> = placed.iter().map(|(id, _, at)| (*id, *at)).collect();
        let ticket = self.log.submit(permit, commit, move |answer| {
            if let Err(error) = &answer {
                tracing::error!(%error, "a commit of an MCP server's tools was refused");
                let runtime = registry.runtime.clone();
                runtime.spawn(async move {
                    for (id, generation) in touched {
                        registry.reload(id, generation).await;
                    }
                });
            }
            drop(sender.send(answer));
        });
        for (id, tool, generation) in placed {
            match tool {
                Some(tool) => table.put(Known::made(id, &tool), Some((ticket, generation))),
                None => table.remove(id),
            }
        }
        Ok(Some(durable))
    }
}
