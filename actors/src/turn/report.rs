//! What a turn and its agent's actor tell one another.

use retold_events::{
    MessageId, RunId, StepId, ToolCall, ToolReturn,
    output::Delta,
    run::{Intent, StepTiming, Usage},
};
use retold_models::Finish;
use tokio::sync::oneshot;

use super::{Answer, Failure};
use crate::{prompt::StepView, toolbox::Executed};

/// Something happened in a turn.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) run: RunId,
    pub(crate) attempt: u32,
    pub(crate) kind: ReportKind,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum ReportKind {
    /// The model said more. Answered once that is durable.
    Said(Vec<PartDelta>, oneshot::Sender<()>),
    /// Calls with effects are about to be made. Answered once that is durable.
    Called(Box<CallsBegun>, oneshot::Sender<()>),
    /// A call of this step with an effect returned, and others are still to be made. Answered once that is durable.
    Returned(StepId, Box<ToolReturn>, oneshot::Sender<()>),
    /// The calls that waited for a decision are done. Answered with the first step's view, as `Done` is.
    Resolved(Vec<(ToolCall, Executed)>, oneshot::Sender<Option<StepView>>),
    /// The step is over. Answered with the next one, once this one is durable; with nothing when the run is over.
    Done(Box<StepDone>, oneshot::Sender<Option<StepView>>),
    /// History has to give way before the model can be called. Answered with the step's new view.
    Compacted(Box<Compacted>, oneshot::Sender<Option<StepView>>),
    /// The token was tripped: what the model had said, and what of it was not reported yet.
    Cancelled(Box<(Answer, Vec<PartDelta>)>),
    /// The step failed, and the run with it.
    Failed(Box<Failure>),
}

/// A piece of the message that is being said, with its part number on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartDelta {
    pub(crate) part: u32,
    pub(crate) delta: Delta,
}

/// Calls about to be made.
#[derive(Debug)]
pub(crate) struct CallsBegun {
    pub(crate) step: StepId,
    /// What the model said with them; `None` for calls that waited in the thread.
    pub(crate) said: Option<CallsSaid>,
    /// Those with effects.
    pub(crate) intents: Vec<Intent>,
}

/// What a model said in a step that is not over.
#[derive(Debug)]
pub(crate) struct CallsSaid {
    pub(crate) answer: Answer,
    /// The calls that are kept.
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    pub(crate) prompt_hash: [u8; 16],
    /// Tokens of the answer.
    pub(crate) tokens: u32,
    pub(crate) timing: StepTiming,
    /// What was said last and not reported yet.
    pub(crate) tail: Vec<PartDelta>,
}

/// A step that went well.
#[derive(Debug)]
pub(crate) struct StepDone {
    pub(crate) answer: Answer,
    /// The calls that were kept, with what came of each.
    pub(crate) executed: Vec<(ToolCall, Executed)>,
    /// Names of those that were run: no rule forbade them.
    pub(crate) called: Vec<String>,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    pub(crate) prompt_hash: [u8; 16],
    /// Tokens of the answer.
    pub(crate) tokens: u32,
    /// Whether a call was made in a way that ends the run.
    pub(crate) invalid_call: bool,
    pub(crate) timing: StepTiming,
    /// What was said last and not reported yet.
    pub(crate) tail: Vec<PartDelta>,
}

/// Older messages that give way.
#[derive(Debug)]
pub(crate) struct Compacted {
    pub(crate) summary: String,
    /// The first and the last message that give way.
    pub(crate) gone: (MessageId, MessageId),
    pub(crate) trigger: &'static str,
    pub(crate) tokens_before: u32,
    pub(crate) tokens_after: u32,
}

/// What of a step was shown, kept for a turn that does not hand in what it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partial {
    pub(crate) reasoning: String,
    pub(crate) text: String,
}

impl Partial {
    pub(crate) fn push(&mut self, delta: &Delta) {
        match delta {
            Delta::Reasoning(text) => self.reasoning.push_str(text),
            Delta::Text(text) => self.text.push_str(text),
            // A call that was not made is not kept: history must never hold a call without its return.
            Delta::ToolCall { .. } => {}
        }
    }

    pub(crate) fn into_answer(self) -> Answer {
        Answer::of(self.reasoning, self.text)
    }
}
