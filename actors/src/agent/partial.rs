//! What is kept of a step that was cut short: what its user saw, in a form that every provider accepts.

use retold_events::{RunId, ToolCall, agent::AgentType};

use super::Live;
use crate::{
    spoken::SpokenArgument,
    turn::{Answer, Partial},
};

impl Live {
    /// What of the step under way was shown, for a turn that does not hand in what it has.
    pub(super) fn shown_so_far(&mut self, run: RunId) -> Answer {
        let turn = self.turns.get_mut(&run);
        let partial = turn.map(|turn| std::mem::take(&mut turn.partial)).unwrap_or_default();
        self.answer_of(run, partial)
    }

    /// What was shown of a step, as the model would have said it: older agents think in text and speak in calls.
    pub(super) fn answer_of(&self, run: RunId, partial: Partial) -> Answer {
        let open = self.state.open_runs.get(&run);
        let Some(request) = open.map(|open| &open.request).filter(|_| self.speaks_in_calls())
        else {
            return partial.into_answer();
        };
        let Partial { reasoning, text } = partial;
        let mut answer = Answer::of(String::new(), reasoning);
        if !text.is_empty() {
            let arguments = serde_json::json!({ &request.assistant_message_tool_kwarg: text });
            answer.calls.push(ToolCall {
                id: format!("call_{}", run.uuid().simple()),
                name: request.assistant_message_tool_name.clone(),
                arguments: arguments.to_string(),
            });
        }
        answer
    }

    fn speaks_in_calls(&self) -> bool {
        self.state.config.agent_type != AgentType::LettaV1
    }

    /// The call by which an older agent was speaking when it was cut short, closed after what was said: its user saw
    /// that. Any other call was never made.
    pub(super) fn spoken(&self, run: RunId, answer: &Answer) -> Vec<ToolCall> {
        let Some(open) = self.state.open_runs.get(&run).filter(|_| self.speaks_in_calls()) else {
            return Vec::new();
        };
        let request = &open.request;
        let call =
            answer.calls.first().filter(|call| call.name == request.assistant_message_tool_name);
        let said = call.map(|call| {
            let said =
                SpokenArgument::new(&*request.assistant_message_tool_kwarg).push(&call.arguments);
            let arguments = serde_json::json!({ &request.assistant_message_tool_kwarg: said });
            (said, ToolCall { arguments: arguments.to_string(), ..call.clone() })
        });
        said.into_iter().filter(|(said, _)| !said.is_empty()).map(|(_, call)| call).collect()
    }
}
