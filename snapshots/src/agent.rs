//! An agent as its history left it.

mod fork;
mod project;

use std::{collections::BTreeMap, sync::Arc};

use retold_events::{
    AgentId, BlockId, ConversationId, Message, MessageId, RunId, StepId, Timestamp, ToolId,
    ToolReturn,
    agent::{Config, ContextCompacted, ContextReplaced, Created, Event, SystemCompiled},
    defect::Defect,
    run::{self, Resolution, StepOutcome, StopReason},
};
use serde::{Deserialize, Serialize};

pub use fork::{Ancestor, Gap, MAX_ANCESTORS};
pub use project::{apply_and_project, project};

use crate::{
    Thread,
    row::RunRow,
    run::{OpenCalls, OpenRun, OpenStep, StartedRun},
    secret::{self, HeldSecret},
};

/// An agent: configuration, memory, what is in context, what is under way. History and ended runs are in rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Its id.
    pub id: AgentId,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When its configuration or memory last changed.
    pub updated_at: Timestamp,
    /// When anything last happened to it. Never decreases.
    pub last_at: Timestamp,
    /// Its configuration.
    pub config: Arc<Config>,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<BlockId>,
    /// Its tools, in the order they were attached.
    pub tools: Vec<ToolId>,
    /// Its threads; `None` is its own.
    pub threads: BTreeMap<Option<ConversationId>, Thread>,
    /// Runs that have not ended, in the order of their acceptance.
    pub open_runs: BTreeMap<RunId, OpenRun>,
    /// Ended runs whose callback has not been sent.
    pub callbacks: BTreeMap<RunId, RunRow>,
    /// The greatest message id given out.
    pub last_message: MessageId,
    /// The last run that ended.
    pub last_run: Option<LastRun>,
    /// Whether it is gone.
    pub deleted: bool,
    /// Whose messages its history begins with, the oldest first; none unless it was forked.
    pub ancestors: Vec<Ancestor>,
    /// What its tools find in their environment, sealed.
    pub secrets: Arc<Vec<HeldSecret>>,
}

/// What is known of the run that ended last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in nanoseconds.
    pub total_ns: u64,
    /// Why it ended.
    pub stop_reason: StopReason,
}

impl State {
    /// The state after the first event of every agent.
    #[must_use]
    pub fn created(id: AgentId, at: Timestamp, event: &Created) -> Self {
        let (system, rest) = match event.messages.split_first() {
            Some((system, rest)) => (system.clone(), rest),
            None => (no_system_message(id, at), &[][..]),
        };
        let last_message = rest.iter().map(|message| message.id).fold(system.id, MessageId::max);
        let thread = Thread::new(system, rest, event.compiled_from.clone());
        Self {
            id,
            created_at: at,
            updated_at: at,
            last_at: at,
            config: Arc::new(event.config.clone()),
            blocks: event.blocks.clone(),
            tools: event.tools.clone(),
            threads: BTreeMap::from([(None, thread)]),
            open_runs: BTreeMap::new(),
            callbacks: BTreeMap::new(),
            last_message,
            last_run: None,
            deleted: false,
            ancestors: Vec::new(),
            secrets: Arc::default(),
        }
    }

    /// The agent's own thread.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.threads
            .get(&None)
            .expect("every agent is created with its own thread, and it is never removed")
    }

    /// The run whose turn it is in a thread.
    #[must_use]
    pub fn running(&self, conversation: Option<ConversationId>) -> Option<&OpenRun> {
        self.open_runs
            .values()
            .find(|run| run.started.is_some() && run.request.conversation == conversation)
    }

    /// Those of `messages` that the agent did not have before.
    fn new_messages<'a>(&self, messages: &'a [Message]) -> impl Iterator<Item = &'a Message> {
        let last = self.last_message;
        messages.iter().filter(move |message| message.id > last)
    }

    /// Notes an id given out, to a message of run `owner` or of none.
    fn note_message(&mut self, id: MessageId, owner: Option<RunId>) {
        self.last_message = self.last_message.max(id);
        for run in self.open_runs.values_mut() {
            run.interleaved |= Some(run.id) != owner && run.holds_ids();
        }
    }

    /// Puts messages of a run at the end of a thread.
    fn enter(&mut self, run: RunId, thread: Option<ConversationId>, messages: Vec<Message>) {
        for message in messages {
            self.note_message(message.id, Some(run));
            if let Some(thread) = self.threads.get_mut(&thread) {
                thread.push(message);
            }
        }
    }
}

/// Folds one fact into the state. Total: it has no error to return. `at` is when it happened.
pub fn apply(state: &mut State, at: Timestamp, event: &Event) {
    state.last_at = state.last_at.max(at);
    match event {
        Event::Created(created) => *state = State::created(state.id, at, created),
        // What a fork begins with is folded from its parent, see [`State::forked`]: nothing is left to do.
        Event::Forked(_) => {}
        Event::Configured(configured) => {
            state.config = Arc::new(configured.config.clone());
            state.updated_at = at;
        }
        Event::BlockAttached(attached) => {
            state.blocks.push(attached.block);
            if Defect::HashedBlocks.is_on() {
                let hashed: std::collections::HashSet<BlockId> = state.blocks.drain(..).collect();
                state.blocks.extend(hashed);
            }
            state.updated_at = at;
        }
        Event::BlockDetached(detached) => {
            state.blocks.retain(|&block| block != detached.block);
            state.updated_at = at;
        }
        Event::ToolAttached(attached) => {
            state.tools.push(attached.tool);
            state.updated_at = at;
        }
        Event::ToolDetached(detached) => {
            state.tools.retain(|&tool| tool != detached.tool);
            state.updated_at = at;
        }
        Event::SecretsSet(set) => {
            state.secrets = Arc::new(secret::set(&state.secrets, &set.secrets, at));
            state.updated_at = at;
        }
        Event::SystemCompiled(compiled) => apply_compiled(state, compiled),
        Event::ContextReplaced(replaced) => {
            apply_replaced(state, replaced);
            state.updated_at = at;
        }
        Event::ContextCompacted(compacted) => apply_compacted(state, compacted),
        Event::Deleted(_) => {
            state.deleted = true;
            state.callbacks.clear();
            state.secrets = Arc::default();
        }
        Event::RunAccepted(_)
        | Event::RunStarted(_)
        | Event::StepStarted(_)
        | Event::StepEnded(_)
        | Event::CancelRequested(_)
        | Event::RunEnded(_)
        | Event::CallbackSent(_)
        | Event::RunDeleted(_)
        | Event::FeedbackGiven(_)
        | Event::ToolsCalled(_)
        | Event::ToolReturned(_)
        | Event::CallsResolved(_) => apply_run(state, at, event),
    }
}

fn apply_compiled(state: &mut State, compiled: &SystemCompiled) {
    if let Some(thread) = state.threads.get_mut(&compiled.conversation) {
        thread.system = Arc::new(recompiled(&thread.system, compiled));
        thread.compiled_at = compiled.compiled_at;
        thread.compiled_from.clone_from(&compiled.compiled_from);
    }
}

/// The system message with its new text: same id, same place.
fn recompiled(system: &Message, compiled: &SystemCompiled) -> Message {
    Message {
        content: vec![retold_events::Part::Text { text: compiled.text.clone() }],
        tokens: compiled.tokens,
        ..system.clone()
    }
}

/// Messages the agent did not have yet become part of its history, too.
fn apply_replaced(state: &mut State, replaced: &ContextReplaced) {
    let (Some(thread), Some((system, rest))) =
        (state.threads.get(&replaced.conversation), replaced.messages.split_first())
    else {
        return;
    };
    let mut thread = thread.clone();
    thread.system = Arc::new(system.clone());
    thread.replace(rest.iter().cloned().map(Arc::new).collect());
    thread.context_tokens = 0;
    let new: Vec<MessageId> = state.new_messages(&replaced.messages).map(|new| new.id).collect();
    thread.total += new.len() as u64;
    state.threads.insert(replaced.conversation, thread);
    new.into_iter().for_each(|id| state.note_message(id, None));
}

fn apply_compacted(state: &mut State, compacted: &ContextCompacted) {
    let summary = &compacted.summary;
    state.note_message(summary.id, None);
    if let Some(run) = summary.run.and_then(|run| state.open_runs.get_mut(&run)) {
        run.extend_range(std::slice::from_ref(summary));
    }
    if let Some(thread) = state.threads.get_mut(&compacted.conversation) {
        let kept =
            thread.context.iter().position(|message| Some(message.id) == compacted.kept_from);
        let mut context = kept.map_or_else(imbl::Vector::new, |index| thread.context.skip(index));
        context.push_front(Arc::new(compacted.summary.clone()));
        thread.replace(context);
        thread.total += 1;
        thread.context_tokens = u64::from(compacted.tokens_after);
    }
}

fn apply_run(state: &mut State, at: Timestamp, event: &Event) {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`apply` names every event; only those of runs come here"
    )]
    match event {
        Event::RunAccepted(accepted) => {
            state.open_runs.insert(accepted.run, open_run(at, accepted));
        }
        Event::RunStarted(started) => {
            if let Some(run) = state.open_runs.get_mut(&started.run) {
                run.started = Some(StartedRun {
                    attempt: started.attempt,
                    input_ids: started.input_ids.clone(),
                    at,
                });
            }
            for &id in &started.input_ids {
                state.note_message(id, Some(started.run));
            }
        }
        Event::StepStarted(started) => {
            state.note_message(started.message, Some(started.run));
            if let Some(run) = state.open_runs.get_mut(&started.run) {
                run.step = Some(open_step(at, started));
                run.steps += 1;
            }
        }
        Event::StepEnded(ended) => apply_step_ended(state, ended),
        Event::ToolsCalled(called) => {
            if let Some(run) = state.open_runs.get_mut(&called.run) {
                run.calls = Some(OpenCalls::new(called));
            }
        }
        Event::ToolReturned(returned) => {
            if let Some(calls) = open_calls(state, returned.run, returned.step) {
                calls.returned.push(returned.returned.clone());
            }
        }
        Event::CallsResolved(resolved) => apply_resolved(state, resolved),
        Event::CancelRequested(requested) => {
            if let Some(run) = state.open_runs.get_mut(&requested.run) {
                run.cancel_requested = true;
            }
        }
        Event::RunEnded(ended) => apply_run_ended(state, at, ended),
        Event::CallbackSent(sent) => {
            state.callbacks.remove(&sent.run);
        }
        Event::RunDeleted(deleted) => {
            state.callbacks.remove(&deleted.run);
        }
        _ => {}
    }
}

fn open_run(at: Timestamp, accepted: &run::Accepted) -> OpenRun {
    OpenRun {
        id: accepted.run,
        accepted_at: at,
        input: Arc::new(accepted.input.clone()),
        request: Arc::new(accepted.request.clone()),
        decisions: Arc::new(accepted.decisions.clone()),
        client_tools: Arc::new(accepted.client_tools.clone()),
        asked_by: accepted.asked_by,
        started: None,
        input_entered: false,
        step: None,
        calls: None,
        steps: 0,
        usage: run::Usage::default(),
        context_tokens: 0,
        cancel_requested: false,
        messages: None,
        tools_called: Vec::new(),
        interleaved: false,
    }
}

fn open_calls(state: &mut State, run: RunId, step: StepId) -> Option<&mut OpenCalls> {
    state.open_runs.get_mut(&run)?.calls.as_mut().filter(|calls| calls.step == step)
}

/// The returns of calls that waited enter the thread that they waited in. Those that were made are calls of the run that
/// brought the decision: its tool rules go on from them.
fn apply_resolved(state: &mut State, resolved: &run::CallsResolved) {
    let message = &resolved.message;
    if let Some(open) = state.open_runs.get_mut(&resolved.run) {
        open.calls = None;
        let decided = open.decisions.clone();
        let was_denied = |returned: &&ToolReturn| {
            resolved.by != Resolution::Client
                || decided.iter().any(|decision| denies(decision, &returned.call_id))
        };
        let made = message.tool_returns.iter().filter(|returned| !was_denied(returned));
        open.tools_called.extend(made.map(|returned| returned.name.clone()));
        open.extend_range(std::slice::from_ref(message));
    }
    state.note_message(message.id, Some(resolved.run));
    if let Some(thread) = state.threads.get_mut(&message.conversation) {
        thread.answer(message.clone());
    }
}

fn denies(decision: &run::Decision, call: &str) -> bool {
    matches!(decision, run::Decision::Approval { call_id, approve: false, .. } if call_id == call)
}

fn open_step(at: Timestamp, started: &run::StepStarted) -> OpenStep {
    OpenStep {
        id: started.step,
        message: started.message,
        model: started.model.clone(),
        provider: started.provider.clone(),
        endpoint_type: started.endpoint_type.clone(),
        context_window: started.context_window,
        at,
    }
}

fn apply_step_ended(state: &mut State, ended: &run::StepEnded) {
    let Some(open) = state.open_runs.get_mut(&ended.run) else { return };
    let conversation = open.request.conversation;
    let mut entering = if ended.input_enters { open.input_messages() } else { Vec::new() };
    entering.extend(ended.messages.iter().cloned());
    open.input_entered |= ended.input_enters;
    open.step = None;
    open.calls = None;
    open.interleaved &= entering.is_empty();
    open.usage.add(&ended.usage);
    open.extend_range(&entering);
    open.tools_called.extend(ended.tools_called.iter().cloned());
    if ended.outcome == StepOutcome::Success && ended.usage.total_tokens() > 0 {
        open.context_tokens = ended.usage.total_tokens();
        if let Some(thread) = state.threads.get_mut(&conversation) {
            thread.context_tokens = ended.usage.total_tokens();
        }
    }
    state.enter(ended.run, conversation, entering);
}

fn apply_run_ended(state: &mut State, at: Timestamp, ended: &run::Ended) {
    let Some(mut open) = state.open_runs.remove(&ended.run) else { return };
    open.extend_range(&ended.input);
    let conversation = open.request.conversation;
    if open.request.callback_url.is_some() {
        state.callbacks.insert(ended.run, RunRow::ended(state.id, &open, at, ended));
    }
    state.enter(ended.run, conversation, ended.input.clone());
    state.last_run = Some(LastRun { at, total_ns: ended.total_ns, stop_reason: ended.stop_reason });
}

/// Stands in where a damaged first event names no system message: `apply` has no error to return.
fn no_system_message(id: AgentId, at: Timestamp) -> Message {
    Message::new(MessageId::from_uuid(id.uuid()), retold_events::Role::System, at)
}
