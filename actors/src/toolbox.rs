//! Running a tool: the door through which every kind of tool comes into the loop.

use std::{
    fmt::Debug,
    sync::{Arc, LazyLock},
};

use futures_util::future::BoxFuture;
use retold_events::{AgentId, Message, ReturnStatus, ToolCall, ToolId, ToolReturn, log::Log};
use retold_models::ToolSchema;
use retold_snapshots::query::{self, MessageSearch};

use crate::{
    Clock,
    prompt::stock::MESSAGE_SENT,
    tool::{self, BuiltinKind, memory, memory::MemoryEdit, output, search},
};

/// Tools as a turn sees them: what the model may be offered, and what comes of a call.
pub(crate) trait Toolbox: Debug + Send + Sync + 'static {
    /// The tool with this id as a model sees it; `heartbeat` adds the argument by which older agents go on. `None` for
    /// an id that is no tool's.
    fn schema(&self, id: ToolId, heartbeat: bool) -> Option<ToolSchema>;

    /// The name of the tool with this id.
    fn name(&self, id: ToolId) -> Option<&str>;

    /// Runs a call. Dropping the future ends the tool at once. A tool that fails returns an error for the model to read.
    fn execute<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Executed>;
}

/// A call about to be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) agent: AgentId,
    pub(crate) timezone: &'a str,
    pub(crate) call: &'a ToolCall,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(crate) enum Executed {
    /// It returned.
    Returned(ToolReturn),
    /// It is an edit of the agent's memory, which takes effect together with the step.
    Memory(MemoryEdit),
}

/// The tools that come with the server.
#[derive(Debug)]
pub(crate) struct Builtins {
    log: Log,
    clock: Arc<dyn Clock>,
}

impl Builtins {
    pub(crate) fn new(log: Log, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock }
    }

    async fn search(&self, call: Call<'_>) -> Result<String, String> {
        let wanted = search::parse(&call.call.arguments, call.timezone)?;
        let (agent, limit) = (call.agent, wanted.limit);
        let search = MessageSearch {
            query: wanted.query.unwrap_or_default(),
            roles: (!wanted.roles.is_empty()).then_some(wanted.roles),
            start: wanted.start,
            end: wanted.end,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let found: Vec<Message> = self
            .log
            .read(move |store| Ok(query::search_messages(store, agent, &search)))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        Ok(search::render(&found, self.clock.now(), call.timezone))
    }
}

impl Toolbox for Builtins {
    fn schema(&self, id: ToolId, heartbeat: bool) -> Option<ToolSchema> {
        builtin_schema(id, heartbeat)
    }

    fn name(&self, id: ToolId) -> Option<&str> {
        tool::by_id(id).map(|tool| tool.name)
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Executed> {
        Box::pin(async move {
            let Some(tool) = tool::by_name(&call.call.name) else {
                return Executed::Returned(failed(
                    call.call,
                    format!("there is no tool named {:?}", call.call.name),
                ));
            };
            let result = match tool.kind {
                BuiltinKind::SendMessage => Ok(MESSAGE_SENT.to_owned()),
                BuiltinKind::ConversationSearch => self.search(call).await,
                BuiltinKind::Memory(kind) => match memory::parse(kind, &call.call.arguments) {
                    Ok(edit) => return Executed::Memory(edit),
                    Err(error) => Err(error),
                },
            };
            Executed::Returned(match result {
                Ok(content) => returned(call.call, ReturnStatus::Success, content, Vec::new()),
                Err(error) => failed(call.call, error),
            })
        })
    }
}

/// A built-in tool as a model sees it, see [`Toolbox::schema`].
pub(crate) fn builtin_schema(id: ToolId, heartbeat: bool) -> Option<ToolSchema> {
    // Built once: every step of every run offers them.
    static SCHEMAS: LazyLock<Vec<[ToolSchema; 2]>> = LazyLock::new(|| {
        tool::builtins()
            .iter()
            .map(|tool| [false, true].map(|beat| tool::schema(tool, beat)))
            .collect()
    });
    let index = tool::builtins().iter().position(|tool| tool.id == id)?;
    Some(SCHEMAS[index][usize::from(heartbeat)].clone())
}

/// The return of a call that could not do what was asked.
pub(crate) fn failed(call: &ToolCall, error: String) -> ToolReturn {
    let line = output::error_line(&call.name, &error);
    returned(call, ReturnStatus::Error, error, vec![line])
}

/// The return of a call.
pub(crate) fn returned(
    call: &ToolCall,
    status: ReturnStatus,
    content: String,
    stderr: Vec<String>,
) -> ToolReturn {
    ToolReturn {
        call_id: call.id.clone(),
        name: call.name.clone(),
        status,
        content,
        stdout: Vec::new(),
        stderr,
    }
}
