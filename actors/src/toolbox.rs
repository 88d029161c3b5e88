//! Running a tool: the door through which every kind of tool comes into the loop.

use std::{collections::BTreeMap, sync::Arc};

use retold_events::{
    AgentId, ConversationId, Message, ReturnStatus, RunId, ToolCall, ToolId, ToolReturn, log::Log,
    tool::Kind,
};
use retold_models::ToolSchema;
use retold_snapshots::query::{self, MessageSearch};

use crate::{
    Clock, Job, Options, Ran, Runner,
    block::Blocks,
    mcp::servers::Servers,
    prompt::stock::MESSAGE_SENT,
    talk::{Sender, Talk},
    tool::{
        BuiltinKind, BuiltinTool, Known, KnownKind, Source, caller::Caller, memory,
        memory::MemoryEdit, output, registry::Registry, search,
    },
};

/// What a call does outside the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Whether it may be made once more when it is not known whether it happened.
    pub(crate) is_idempotent: bool,
    /// Whether it may be made while others of its step are.
    pub(crate) is_parallel: bool,
}

/// A call about to be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) agent: AgentId,
    pub(crate) run: RunId,
    /// The thread that the run holds.
    pub(crate) conversation: Option<ConversationId>,
    /// Runs of other agents that led to this one.
    pub(crate) depth: u16,
    pub(crate) caller: &'a Caller,
    pub(crate) timezone: &'a str,
    pub(crate) tool: ToolId,
    pub(crate) call: &'a ToolCall,
    /// The same for every attempt of this call, and no other call's.
    pub(crate) key: [u8; 16],
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(crate) enum Executed {
    /// It returned.
    Returned(ToolReturn),
    /// It is an edit of the agent's memory, which takes effect together with the step.
    Memory(MemoryEdit),
    /// It was not run: a person or the client has to decide first.
    Waits,
    /// It was not run: it waits for those that do.
    Held,
}

/// Tools as a turn sees them, those that come with the server and those that users made: what the model may be offered, and
/// what comes of a call.
#[derive(Debug)]
pub(crate) struct Toolbox {
    log: Log,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    blocks: Arc<Blocks>,
    talk: Talk,
    mcp: Arc<Servers>,
    runner: Option<Arc<dyn Runner>>,
}

impl Toolbox {
    pub(crate) fn new(
        log: Log,
        registry: Arc<Registry>,
        blocks: Arc<Blocks>,
        talk: Talk,
        mcp: Arc<Servers>,
        options: &Options,
    ) -> Self {
        let (clock, runner) = (Arc::clone(&options.clock), options.runner.clone());
        Self { log, clock, registry, blocks, talk, mcp, runner }
    }

    /// What agents ask of one another.
    pub(crate) fn talk(&self) -> &Talk {
        &self.talk
    }

    /// The tool with this id; `None` for an id that is no tool's.
    pub(crate) fn known(&self, id: ToolId) -> Option<Arc<Known>> {
        self.registry.get(id)
    }

    /// A tool as a model sees it; `heartbeat` adds the argument by which older agents go on.
    pub(crate) fn schema(&self, id: ToolId, heartbeat: bool) -> Option<ToolSchema> {
        self.known(id).map(|known| known.schema(heartbeat).clone())
    }

    /// What a call of a tool does outside the server; `None` for one that has no effect there.
    pub(crate) fn effect(&self, id: ToolId) -> Option<Effect> {
        let known = self.known(id)?;
        match &known.kind {
            // However often it is attempted, each receiver gets one run: see `talk`.
            KnownKind::Builtin(BuiltinTool { kind: BuiltinKind::Talk(_), .. }) => {
                Some(Effect { is_idempotent: true, is_parallel: true })
            }
            KnownKind::Builtin(_) => None,
            KnownKind::Made(_) => {
                Some(Effect { is_idempotent: known.is_idempotent(), is_parallel: known.parallel })
            }
        }
    }

    /// Characters a tool may return, at most; `None` for one that bounds itself.
    pub(crate) fn return_limit(&self, id: ToolId) -> Option<usize> {
        let known = self.known(id)?;
        match &known.kind {
            KnownKind::Builtin(BuiltinTool { kind: BuiltinKind::ConversationSearch, .. }) => None,
            KnownKind::Builtin(_) | KnownKind::Made(_) => Some(known.return_char_limit),
        }
    }

    /// Runs a call. Dropping the future ends the tool at once. A tool that fails returns an error for the model to read.
    pub(crate) async fn execute(&self, call: Call<'_>) -> Executed {
        let Some(known) = self.known(call.tool) else {
            let error = format!("the tool {:?} was deleted", call.call.name);
            return Executed::Returned(failed(call.call, error));
        };
        match &known.kind {
            KnownKind::Builtin(tool) => self.built_in(tool, call).await,
            KnownKind::Made(Kind::ExternalMcp { server_name, remote_name }) => {
                let Call { call, key, .. } = call;
                let ran = self.mcp.call(server_name, remote_name, &call.arguments, key).await;
                Executed::Returned(ran.into_return(call))
            }
            KnownKind::Made(Kind::Custom { .. }) => {
                Executed::Returned(self.made(&known, call).await)
            }
        }
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

    async fn built_in(&self, tool: &BuiltinTool, call: Call<'_>) -> Executed {
        let result = match tool.kind {
            BuiltinKind::SendMessage => Ok(MESSAGE_SENT.to_owned()),
            BuiltinKind::ConversationSearch => self.search(call).await,
            BuiltinKind::Talk(kind) => {
                let Call { agent, run, conversation, depth, key, .. } = call;
                let sender = Sender { agent, run, conversation, depth, key };
                self.talk.call(kind, sender, &call.call.arguments).await
            }
            BuiltinKind::Memory(kind) => match memory::parse(kind, &call.call.arguments) {
                Ok(edit) => return Executed::Memory(edit),
                Err(error) => Err(error),
            },
        };
        Executed::Returned(match result {
            Ok(content) => returned(call.call, ReturnStatus::Success, content, Vec::new()),
            Err(error) => failed(call.call, error),
        })
    }

    async fn made(&self, known: &Known, call: Call<'_>) -> ToolReturn {
        match self.run_made(known, call).await {
            Ok(ran) => ran.into_return(call.call),
            Err(error) => failed(call.call, error),
        }
    }

    async fn run_made(&self, known: &Known, call: Call<'_>) -> Result<Ran, String> {
        let Some(runner) = &self.runner else { return Err(NO_RUNNER.to_owned()) };
        let source = self.registry.source(known.id).await.map_err(|error| error.to_string())?;
        let Some(Source { language, text, requirements }) = source else {
            return Err("this tool has no source that could be run here".to_owned());
        };
        let caller = call.caller;
        let seen = caller.seen_by(&text, &self.log, &self.blocks, &self.registry).await;
        let job = Job {
            name: known.name.clone(),
            language,
            source: text,
            arguments: call.call.arguments.clone(),
            requirements,
            environment: BTreeMap::new(),
            secrets: caller.secrets(),
            agent: Some(call.agent),
            project: caller.config.project_id.clone(),
            agent_state: seen.map_err(|error| error.to_string())?,
            key: call.key,
            network: known.may_use_network(),
        };
        Ok(runner.run(job).await)
    }
}

/// What a call of a user's tool meets where none may be run.
pub(crate) const NO_RUNNER: &str = "this server runs no tools of users: it found no way to keep them in a cage; ask whoever \
    runs it to look at what `retold doctor` says";

impl Ran {
    fn into_return(self, call: &ToolCall) -> ToolReturn {
        let Self { result, stdout, stderr } = self;
        let (status, content) = match result {
            Ok(content) => (ReturnStatus::Success, content),
            Err(content) => (ReturnStatus::Error, content),
        };
        ToolReturn {
            call_id: call.id.clone(),
            name: call.name.clone(),
            status,
            content,
            stdout,
            stderr,
        }
    }
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
