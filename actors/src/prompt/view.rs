//! What a step works on: the agent as it was when the step began.
//!
//! A view is a function of the agent's state alone, so that a replay, which folds the same events, sees what the turn saw.

use std::sync::Arc;

use imbl::Vector;
use retold_events::{Message, RunId, StepId, Timestamp, ToolId, agent::Config, run::ClientTool};
use retold_snapshots::agent::State;

use crate::tool::caller::Caller;

/// What a turn works on. Nothing in it is copied history.
#[derive(Debug, Clone)]
pub(crate) struct StepView {
    pub(crate) step: StepId,
    pub(crate) started_at: Timestamp,
    /// Handle of the model.
    pub(crate) model: String,
    /// Its window, in tokens.
    pub(crate) context_window: u32,
    pub(crate) system: Arc<Message>,
    /// Messages in context, without the system message and without `input`.
    pub(crate) context: Vector<Arc<Message>>,
    /// Tokens in context as the provider counted them last; 0 when not known.
    pub(crate) context_tokens: u64,
    /// The run's input while it is not part of the context.
    pub(crate) input: Vec<Message>,
    pub(crate) tools: Vec<ToolId>,
    /// Tools that the client runs itself.
    pub(crate) client_tools: Arc<Vec<ClientTool>>,
    /// Names of the tools the run has called.
    pub(crate) tools_called: Vec<String>,
    pub(crate) config: Arc<Config>,
    /// What its tools get of the agent.
    pub(crate) caller: Caller,
}

impl StepView {
    /// The view of the step that `run` has under way; `None` when it has none.
    pub(crate) fn of(state: &State, run: RunId) -> Option<Self> {
        let open = state.open_runs.get(&run)?;
        let step = open.step.as_ref()?;
        let thread = state.threads.get(&open.request.conversation)?;
        let input = if open.input_entered { Vec::new() } else { open.input_messages() };
        Some(Self {
            step: step.id,
            started_at: step.at,
            model: step.model.clone(),
            context_window: step.context_window,
            system: thread.system.clone(),
            context: thread.context.clone(),
            context_tokens: thread.context_tokens,
            input,
            tools: state.tools.clone(),
            client_tools: Arc::clone(&open.client_tools),
            tools_called: open.tools_called.clone(),
            config: state.config.clone(),
            caller: Caller::of(state),
        })
    }

    /// The view of the step after this one. A running request keeps the system message it began with, or was compacted
    /// to: what its tools change in memory it learns from their returns, and the provider's cache of the prompt stays
    /// good.
    pub(crate) fn followed_by(self, next: Self) -> Self {
        Self { system: self.system, ..next }
    }

    /// Messages that are sent, the system message not counted.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.context.iter().map(AsRef::as_ref).chain(&self.input)
    }

    /// Tokens in context by our own count, the system message included and the input not.
    pub(crate) fn counted_tokens(&self) -> u64 {
        self.context.iter().map(|message| u64::from(message.tokens)).sum::<u64>()
            + u64::from(self.system.tokens)
    }

    /// Tokens of the input.
    pub(crate) fn input_tokens(&self) -> u64 {
        self.input.iter().map(|message| u64::from(message.tokens)).sum()
    }
}
