//! The blocking answer: what a run produced, why it ended and what it cost.

use retold_events::{
    Message, Role,
    agent::AgentType,
    output::{Item, Output},
    run::StopReason,
};
use retold_snapshots::row::RunRow;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    LettaMessage, LettaStopReason, LettaUsageStatistics, View,
    expand::{expand, summary_head, summary_message},
};

/// What a run produced.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LettaResponse {
    /// Thoughts, texts, calls and returns in order; not the input.
    pub messages: Vec<LettaMessage>,
    /// Why the run ended.
    pub stop_reason: LettaStopReason,
    /// What it cost.
    pub usage: LettaUsageStatistics,
    /// Always `null`: log probabilities are not recorded.
    #[schema(value_type = Option<Object>)]
    pub logprobs: Option<()>,
    /// Always `null`: token ids are not recorded.
    #[schema(value_type = Option<Vec<Object>>)]
    pub turns: Option<()>,
}

impl LettaResponse {
    /// The answer of a run that has ended, from the messages it left in the history. Those of the client are passed over.
    #[must_use]
    pub fn of_messages<'a>(
        messages: impl IntoIterator<Item = &'a Message>,
        run: &RunRow,
        agent_type: AgentType,
    ) -> Self {
        let view = View::of_request(agent_type, &run.request);
        let mut shown = Vec::new();
        for message in messages {
            match message.role {
                // What the run itself said has a step; what it was told has none.
                Role::Assistant | Role::Approval | Role::Tool if message.step.is_some() => {
                    expand(message, &view, &mut shown);
                }
                Role::Summary if view.summaries => expand(message, &view, &mut shown),
                Role::Assistant
                | Role::Approval
                | Role::Tool
                | Role::Summary
                | Role::User
                | Role::System => {}
            }
        }
        Self::new(shown, run)
    }

    /// The answer of a run that has ended, from its output. Deltas are passed over: a run that streamed tokens is answered
    /// by [`LettaResponse::of_messages`].
    #[must_use]
    pub fn of_items<'a>(
        items: impl IntoIterator<Item = &'a Item>,
        run: &RunRow,
        agent_type: AgentType,
    ) -> Self {
        let view = View::of_request(agent_type, &run.request);
        let mut shown = Vec::new();
        for item in items {
            match &item.output {
                Output::Message { message, .. } => expand(message, &view, &mut shown),
                Output::Compacted { summary, .. }
                    if view.summaries && view.shows("summary_message") =>
                {
                    shown.push(summary_message(summary_head(summary), summary.text(), None));
                }
                Output::Compacted { .. } | Output::Delta { .. } | Output::End { .. } => {}
            }
        }
        Self::new(shown, run)
    }

    fn new(messages: Vec<LettaMessage>, run: &RunRow) -> Self {
        // A run without a reason has not ended; whoever asks so early is told the most harmless one.
        let reason = run.stop_reason.unwrap_or(StopReason::EndTurn);
        Self {
            messages,
            stop_reason: LettaStopReason::new(reason),
            usage: LettaUsageStatistics::from(run),
            logprobs: None,
            turns: None,
        }
    }
}
