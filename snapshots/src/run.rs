//! A run while something is left to do for it.

use std::sync::Arc;

use retold_events::{
    Message, MessageId, RunId, StepId, Timestamp, ToolReturn,
    run::{AskedBy, ClientTool, Decision, Input, Intent, Request, Said, ToolsCalled, Usage},
};
use serde::{Deserialize, Serialize};

/// Ids kept free below one that was given out: a summary that stands before what a run holds finds its id there. They
/// differ in bits of chance only, so nobody else's lie there.
pub const ROOM_BELOW: u128 = 4096;

/// A run that has not ended. The first one with [`OpenRun::started`] holds its thread; the others wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenRun {
    /// Its id.
    pub id: RunId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What was sent. Shared: it may hold pictures, and a state is cloned with every commit that a reader overlaps.
    pub input: Arc<Vec<Input>>,
    /// How it was asked for.
    pub request: Arc<Request>,
    /// Its answers to calls that wait in the thread.
    pub decisions: Arc<Vec<Decision>>,
    /// Tools that the client runs itself.
    pub client_tools: Arc<Vec<ClientTool>>,
    /// Which call of another agent it came of.
    pub asked_by: Option<AskedBy>,
    /// Set when its turn has come.
    pub started: Option<StartedRun>,
    /// Whether the input is part of the thread.
    pub input_entered: bool,
    /// The step under way.
    pub step: Option<OpenStep>,
    /// The calls with effects that were meant and are not all part of the thread yet.
    pub calls: Option<OpenCalls>,
    /// Model calls made, the one under way included.
    pub steps: u32,
    /// Tokens of the steps that ended.
    pub usage: Usage,
    /// Tokens in context after the last step that ended.
    pub context_tokens: u64,
    /// Whether somebody asked for its cancellation.
    pub cancel_requested: bool,
    /// First and last message it left in the thread.
    pub messages: Option<(MessageId, MessageId)>,
    /// Names of the tools called so far, in order: what tool rules look at.
    pub tools_called: Vec<String>,
    /// Whether ids were given to other messages of the agent while this run held some that are not stored yet. Its next
    /// messages then get a row each: no row may reach over another, or a list in the order of ids would have to guess.
    pub interleaved: bool,
}

/// A run whose turn has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedRun {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Ids of the input messages.
    pub input_ids: Vec<MessageId>,
    /// When.
    pub at: Timestamp,
}

/// The step under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenStep {
    /// Its id.
    pub id: StepId,
    /// Id of the message the model is saying.
    pub message: MessageId,
    /// Handle of the model.
    pub model: String,
    /// Name of its provider.
    pub provider: Option<String>,
    /// Kind of its endpoint.
    pub endpoint_type: String,
    /// Its context window, in tokens.
    pub context_window: u32,
    /// When it began.
    pub at: Timestamp,
}

/// Calls with effects, from their intent until their returns are part of the thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCalls {
    /// The step that made them.
    pub step: StepId,
    /// What the model said with them; `None` for calls that waited in the thread.
    pub said: Option<Arc<Said>>,
    /// Those with effects, in their order.
    pub intents: Vec<Intent>,
    /// What came back so far.
    pub returned: Vec<ToolReturn>,
}

impl OpenCalls {
    pub(crate) fn new(called: &ToolsCalled) -> Self {
        Self {
            step: called.step,
            said: called.said.clone().map(Arc::new),
            intents: called.intents.clone(),
            returned: Vec::new(),
        }
    }
}

impl OpenRun {
    /// The input as stored messages. Empty before the run's turn has come: only then do they get their ids.
    #[must_use]
    pub fn input_messages(&self) -> Vec<Message> {
        let Some(started) = &self.started else { return Vec::new() };
        self.input
            .iter()
            .zip(&started.input_ids)
            .map(|(input, &id)| input_message(self.id, &self.request, input, id, started.at))
            .collect()
    }

    pub(crate) fn extend_range(&mut self, messages: &[Message]) {
        for Message { id, .. } in messages {
            let (first, last) = self.messages.unwrap_or((*id, *id));
            self.messages = Some((first.min(*id), last.max(*id)));
        }
    }

    /// Whether it holds ids of messages that are not stored yet.
    pub(crate) fn holds_ids(&self) -> bool {
        self.started.is_some() && (!self.input_entered || self.step.is_some())
    }

    /// The ids of messages that are not stored yet.
    pub(crate) fn held_ids(&self) -> impl Iterator<Item = MessageId> {
        let input = self.started.iter().filter(|_| !self.input_entered);
        let input = input.flat_map(|started| started.input_ids.iter().copied());
        input.chain(self.step.as_ref().map(|step| step.message))
    }
}

/// One input as the stored message it becomes.
#[must_use]
pub fn input_message(
    run: RunId,
    request: &Request,
    input: &Input,
    id: MessageId,
    at: Timestamp,
) -> Message {
    Message {
        content: input.content.clone(),
        name: input.name.clone(),
        otid: Some(input.otid.clone()),
        sender: input.sender.clone(),
        run: Some(run),
        conversation: request.conversation,
        tokens: input.tokens,
        ..Message::new(id, input.role, at)
    }
}
