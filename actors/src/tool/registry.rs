//! All tools of the server in memory, without their sources.
//!
//! Tools are few and every step of every run looks them up, so they are read once, at the start, and kept. A tool that a
//! user made has no behaviour in time, only edits: like a block it needs no mailbox. An edit reads what is written,
//! computes, and then, in one short critical section without an await, finds that nobody was faster, queues its commit
//! and puts the new state in place. It is acknowledged when it is durable.
//!
//! **Names are unique**, built-in ones included. A tool that is deleted leaves its id with the agents that have it: whoever
//! looks an id up that names nothing passes over it, so no agent has to be written. A new tool of the old name has a new
//! id, so no agent gets it unasked.

pub(crate) mod batch;
mod table;

use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use retold_events::{
    NewEvent, Seq, StreamId, Timestamp, ToolId,
    codec::Event as _,
    log::{AppendError, Log, Permit},
    store::{Append, Commit},
    tool::{Created, Deleted, Event, Language, Requirement, Tool, Updated},
};
use retold_snapshots::{
    query::{self, QueryError, ToolFilter},
    row::ToolRow,
    tool as fold,
};
use tokio::sync::oneshot;

use self::table::{Before, Table};
use super::{Known, builtins, by_name};
use crate::{Options, Refusal};

/// Bytes that everything about a tool but its source may have. A model gets the schema with each request.
const MOST_BYTES_BESIDE_SOURCE: usize = 128 << 10;

/// What an edit makes of a tool as it stands: what it will be, or `None` for nothing any more. It may be asked again, when
/// somebody else was faster.
pub type Compute = Arc<dyn Fn(Option<&Tool>) -> Result<Option<Tool>, Refusal> + Send + Sync>;

/// Which tool an edit is of.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The one with this id, which must be there.
    Id(ToolId),
    /// The one of this name; it is made when there is none.
    Name(String),
}

/// The source of a tool, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is written in.
    pub language: Language,
    /// The text.
    pub text: String,
    /// The packages it needs, of its language.
    pub requirements: Vec<Requirement>,
}

/// All tools of the server.
#[derive(Debug)]
pub(crate) struct Registry {
    log: Log,
    options: Options,
    runtime: tokio::runtime::Handle,
    table: RwLock<Table>,
}

impl Registry {
    /// Reads all tools.
    ///
    /// # Errors
    /// What the store gives.
    pub(crate) async fn load(log: Log, options: Options) -> Result<Self, QueryError> {
        let rows = log.read(|store| Ok(query::all_tools(store, &ToolFilter::default()))).await??;
        let mut table = Table::default();
        for (id, row) in rows {
            table.put(Known::made(id, &row.tool), None);
        }
        let runtime = tokio::runtime::Handle::current();
        Ok(Self { log, options, runtime, table: RwLock::new(table) })
    }

    /// The tool with this id. `None` when there is none, or no longer.
    pub(crate) fn get(&self, id: ToolId) -> Option<Arc<Known>> {
        let builtin = || known_builtins().iter().find(|known| known.id == id).cloned();
        builtin().or_else(|| self.read().get(id))
    }

    /// The tool of this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Known>> {
        let builtin = || known_builtins().iter().find(|known| known.name == name).cloned();
        builtin().or_else(|| self.read().by_name(name))
    }

    /// What a call of a tool runs. `None` when there is no such tool, or it has no source.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub(crate) async fn source(&self, id: ToolId) -> Result<Option<Source>, Refusal> {
        let Some(row) = self.row(id).await? else { return Ok(None) };
        Ok(source_of(row.tool))
    }

    /// A tool that a user made, as it stands, with its source.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub(crate) async fn row(&self, id: ToolId) -> Result<Option<ToolRow>, Refusal> {
        // What is queued is waited for. One that is gone here may still be written: it is gone when that is durable.
        let ticket = self.read().before_id(id).and_then(|before| before.ticket);
        if let Some(ticket) = ticket {
            self.log.durable(ticket).await?;
        }
        self.log.read(move |store| Ok(query::tool(store, id))).await?.map_err(of_query)
    }

    /// Tools that users made, as they stand, with their sources, in the order asked for. Those that are gone are left out.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub(crate) async fn rows(&self, ids: Vec<ToolId>) -> Result<Vec<(ToolId, ToolRow)>, Refusal> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.log.read(move |store| {
            let one = |id| Ok(query::tool(store, id)?.map(|row| (id, row)));
            Ok(ids.into_iter().filter_map(|id| one(id).transpose()).collect::<Result<Vec<_>, _>>())
        });
        found.await?.map_err(of_query)
    }

    /// Makes, changes or deletes a tool and waits until that is durable. `None` when it is gone now.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn edit(
        self: &Arc<Self>,
        target: Target,
        compute: Compute,
    ) -> Result<Option<(ToolId, ToolRow)>, Refusal> {
        loop {
            let before = self.find(&target)?;
            if let Some(ticket) = before.as_ref().and_then(|before| before.ticket) {
                self.log.durable(ticket).await?;
            }
            let Some(change) = self.compute(before, Arc::clone(&compute)).await? else {
                // Somebody deleted it just now.
                continue;
            };
            if change.is_none() {
                return Ok(change.before.map(|(before, row, _)| (before.id, row)));
            }
            self.check_bounds(&change)?;
            let permit = self.log.reserve().await;
            if let Some(placed) = self.place(permit, change)? {
                let Placed { durable, row } = placed;
                durable.await.map_err(|_| Refusal::Storage("the log is closed".to_owned()))??;
                return Ok(row);
            }
        }
    }

    /// The tool an edit is of as it stands; `None` when it is to be made.
    fn find(&self, target: &Target) -> Result<Option<Before>, Refusal> {
        match target {
            Target::Id(id) => {
                if let Some(builtin) = known_builtins().iter().find(|known| known.id == *id) {
                    return Err(unchangeable(&builtin.name));
                }
                let missing = || Refusal::NotFound { what: "Tool", id: id.to_string() };
                self.read().before_id(*id).ok_or_else(missing).map(Some)
            }
            Target::Name(name) => Ok(self.read().before_name(name)),
        }
    }

    /// Reads what is written and computes what it will be, on a thread that may take its time. `None` when the tool was
    /// deleted in the meantime.
    async fn compute(
        &self,
        before: Option<Before>,
        compute: Compute,
    ) -> Result<Option<Change>, Refusal> {
        let computed = self.log.read(move |store| {
            let Some(before) = before else {
                return Ok(compute(None).map(|after| Some(Change { before: None, after })));
            };
            let row = match query::tool(store, before.id) {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(Ok(None)),
                Err(error) => return Ok(Err(of_query(error))),
            };
            let seq = store.stream_head(StreamId::Tool(before.id))?;
            let after = compute(Some(&row.tool));
            Ok(after.map(|after| Some(Change { before: Some((before, row, seq)), after })))
        });
        computed.await?
    }

    fn check_bounds(&self, change: &Change) -> Result<(), Refusal> {
        let Some(tool) = &change.after else { return Ok(()) };
        let (bytes, most) =
            (tool.source.as_ref().map_or(0, String::len), self.options.max_tool_source_bytes);
        if bytes > most {
            return Err(Refusal::Invalid(format!(
                "the source of tool '{}' has {bytes} bytes, {most} are allowed; move what is large into a package or a file it reads",
                tool.name
            )));
        }
        let beside = Tool { source: None, ..tool.clone() };
        let bytes = retold_snapshots::row::encode(&beside).len();
        if bytes > MOST_BYTES_BESIDE_SOURCE {
            return Err(Refusal::Invalid(format!(
                "tool '{}' has {bytes} bytes beside its source (schema, description, tags, metadata), {MOST_BYTES_BESIDE_SOURCE} are allowed",
                tool.name
            )));
        }
        Ok(())
    }

    /// Queues the commit of a change and puts the new state in place. `None` when somebody else was faster.
    fn place(self: &Arc<Self>, permit: Permit, change: Change) -> Result<Option<Placed>, Refusal> {
        let now = self.options.clock.now();
        let mut table = self.write();
        let stands = match &change.before {
            Some((before, ..)) => {
                table.before_id(before.id).is_some_and(|it| it.generation == before.generation)
            }
            None => change.after.as_ref().is_none_or(|tool| table.by_name(&tool.name).is_none()),
        };
        if !stands {
            return Ok(None);
        }
        self.check_name(&table, &change)?;
        let Change { before, after } = change;
        let made = || ToolId::from_uuid(self.options.ids.next(now));
        let id = before.as_ref().map_or_else(made, |(before, ..)| before.id);
        let seq = before.as_ref().map_or(Seq(0), |(.., seq)| *seq);
        let old = before.map(|(_, row, _)| row);
        let at = old.as_ref().map_or(now, |row| now.max(row.updated_at));
        let created_at = old.as_ref().map(|row| row.created_at);
        let event = match (&after, &old) {
            (Some(tool), None) => Event::Created(Created { tool: tool.clone() }),
            (Some(tool), Some(_)) => Event::Updated(Updated { tool: tool.clone() }),
            (None, _) => Event::Deleted(Deleted {}),
        };
        let commit = self.commit(id, seq, created_at, at, &event);
        let generation = table.next_generation();
        let (sender, durable) = oneshot::channel();
        let registry = Arc::clone(self);
        let ticket = self.log.submit(permit, commit, move |answer| {
            let refused = matches!(
                answer,
                Err(AppendError::Conflict(_) | AppendError::TooLong { .. } | AppendError::Refused)
            );
            if refused {
                tracing::error!(tool = %id, ?answer, "a commit was refused");
                // This may run under the lock of the table, so what is written is looked up beside it.
                let runtime = registry.runtime.clone();
                runtime.spawn(async move { registry.reload(id, generation).await });
            }
            drop(sender.send(answer));
        });
        match &after {
            Some(tool) => table.put(Known::made(id, tool), Some((ticket, generation))),
            None => table.remove(id),
        }
        let row = after.map(|tool| {
            (id, ToolRow { tool, created_at: created_at.unwrap_or(at), updated_at: at })
        });
        Ok(Some(Placed { durable, row }))
    }

    /// Names are unique, and there are only so many tools.
    fn check_name(&self, table: &Table, change: &Change) -> Result<(), Refusal> {
        let Some(tool) = &change.after else { return Ok(()) };
        if by_name(&tool.name).is_some() {
            return Err(unchangeable(&tool.name));
        }
        let owner = table.by_name(&tool.name).map(|known| known.id);
        let own = change.before.as_ref().map(|(before, ..)| before.id);
        if owner.is_some() && owner != own {
            return Err(taken(&tool.name, "give this one another name"));
        }
        let most = self.options.max_tools;
        if own.is_none() && table.len() >= most {
            return Err(Refusal::Invalid(format!(
                "this server has {most} tools, the most it may have; delete some"
            )));
        }
        Ok(())
    }

    fn commit(
        &self,
        id: ToolId,
        expected: Seq,
        created_at: Option<Timestamp>,
        at: Timestamp,
        event: &Event,
    ) -> Commit {
        let new = NewEvent {
            id: self.options.ids.ulid(at),
            causation: ulid::Ulid::nil(),
            run: None,
            at,
            encoded: event.encode(),
        };
        Commit {
            appends: vec![Append { stream: StreamId::Tool(id), expected, events: vec![new] }],
            rows: fold::project(id, created_at, at, event),
            ..Commit::default()
        }
    }

    /// Puts what is written in the place of what was not, unless somebody did since.
    async fn reload(&self, id: ToolId, generation: u64) {
        let read = self.log.read(move |store| Ok(query::tool(store, id))).await;
        let row = match read.map_err(QueryError::from).flatten() {
            Ok(row) => row,
            Err(error) => {
                tracing::error!(tool = %id, %error, "a tool could not be read");
                return;
            }
        };
        let mut table = self.write();
        if table.before_id(id).is_some_and(|it| it.generation != generation) {
            return;
        }
        match row {
            Some(row) => table.put(Known::made(id, &row.tool), None),
            None => table.remove(id),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an edit does: the tool as it stood, with the last event of its stream, and as it will be.
struct Change {
    before: Option<(Before, ToolRow, Seq)>,
    after: Option<Tool>,
}

impl Change {
    /// Whether there is nothing to do.
    fn is_none(&self) -> bool {
        self.before.as_ref().map(|(_, row, _)| &row.tool) == self.after.as_ref()
    }
}

/// An edit that is queued.
struct Placed {
    durable: oneshot::Receiver<Result<retold_events::store::Committed, AppendError>>,
    row: Option<(ToolId, ToolRow)>,
}

/// The built-in tools in the form of all others.
fn known_builtins() -> &'static [Arc<Known>] {
    static KNOWN: LazyLock<Vec<Arc<Known>>> =
        LazyLock::new(|| builtins().iter().map(|tool| Arc::new(Known::builtin(tool))).collect());
    &KNOWN
}

/// What a call of this tool runs; `None` where it is not run here.
#[must_use]
pub(crate) fn source_of(tool: Tool) -> Option<Source> {
    use retold_events::tool::Kind;
    let language = match tool.kind {
        Kind::Custom { language } => language,
        Kind::ExternalMcp { .. } => return None,
    };
    let requirements = match language {
        Language::Python => tool.pip,
        Language::TypeScript => tool.npm,
    };
    Some(Source { language, text: tool.source?, requirements: requirements.unwrap_or_default() })
}

fn unchangeable(name: &str) -> Refusal {
    taken(
        name,
        "it comes with the server and cannot be changed or deleted; give yours another name",
    )
}

/// V1's words, which clients know, and what to do.
fn taken(name: &str, hint: &str) -> Refusal {
    Refusal::Invalid(format!("Tool with name '{name}' already exists in your organization; {hint}"))
}

fn of_query(error: QueryError) -> Refusal {
    Refusal::Storage(error.to_string())
}
