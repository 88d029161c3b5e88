//! A run in the simple frames of the WebSocket: thoughts, messages, and each call together with what it returned.
//!
//! A call is shown when its return is there, so its pieces are kept until then. That makes a frame depend on what came
//! before it: whoever takes up a run in the middle still has it read from its beginning here, and is shown what is new.

use std::collections::HashMap;

use retold_events::{RunId, agent::AgentType};
use retold_snapshots::row::RunRow;

use super::{Said, ServerFrame, Voice};
use crate::wire::{
    Content, Id, LettaMessage, LettaUsageStatistics, ManyToolCalls, OneToolCall, Shown, ToolReturn,
    ToolReturnStatus, WireId, WireStopReason, expand::argument,
};

/// Turns what a run shows into simple frames.
#[derive(Debug)]
pub struct Simple {
    run: RunId,
    /// The number after which frames are shown.
    after: u64,
    /// The tool whose calls are speech, and its argument that holds the text. Older agents only.
    speech: Option<(String, String)>,
    /// Calls that have not returned, by their ids.
    calls: HashMap<String, Call>,
    stop_reason: Option<WireStopReason>,
    usage: Option<LettaUsageStatistics>,
}

/// A call as far as it was said.
#[derive(Debug, Default)]
struct Call {
    name: String,
    arguments: String,
}

impl Simple {
    /// Frames of `run` after number `after`.
    #[must_use]
    pub fn new(run: &RunRow, agent_type: AgentType, after: u64) -> Self {
        let request = &run.request;
        let speech = match agent_type {
            AgentType::LettaV1 => None,
            AgentType::Memgpt | AgentType::MemgptV2 => Some((
                request.assistant_message_tool_name.clone(),
                request.assistant_message_tool_kwarg.clone(),
            )),
        };
        Self { run: run.id, after, speech, calls: HashMap::new(), stop_reason: None, usage: None }
    }

    /// Takes what is shown under number `seq`, and hands out its frames, each with the number to resume after.
    pub fn add(&mut self, seq: u64, shown: Shown<'_>, mut each: impl FnMut(u64, String)) {
        match shown {
            Shown::Message(message) => self.message(seq, message, each),
            Shown::StopReason(reason) => self.stop_reason = Some(reason.stop_reason),
            Shown::Usage(usage) => self.usage = Some(usage.clone()),
            Shown::Error(error) => {
                let cursor = seq.saturating_sub(1);
                let frame = ServerFrame::AgentResponseError {
                    message: &error.message,
                    code: &error.error_type,
                    hint: None,
                    detail: error.detail.as_deref(),
                    run_id: Some(Id(self.run)),
                    seq_id: Some(cursor),
                    request_id: None,
                };
                each(cursor, frame.text());
            }
            Shown::Done => {
                let frame = ServerFrame::AgentResponseEnd {
                    run_id: Some(Id(self.run)),
                    seq_id: Some(seq),
                    stop_reason: self.stop_reason,
                    usage: self.usage.as_ref(),
                    request_id: None,
                };
                each(seq, frame.text());
            }
        }
    }

    fn message(&mut self, seq: u64, message: &LettaMessage, mut each: impl FnMut(u64, String)) {
        let is_new = seq > self.after;
        match message {
            LettaMessage::Reasoning(thought) if is_new => {
                each(
                    seq,
                    self.said(seq, Voice::InternalMonologue, &thought.id, &thought.reasoning),
                );
            }
            LettaMessage::Assistant(speech) if is_new => {
                if let Content::Text(text) = &speech.content {
                    each(seq, self.said(seq, Voice::AssistantMessage, &speech.id, text));
                }
            }
            LettaMessage::ToolCall(calls) => self.note_calls(&calls.tool_call, &calls.tool_calls),
            // A client of these frames learns from the stop reason that a decision is awaited.
            LettaMessage::ApprovalRequest(asks) => {
                self.note_calls(&asks.tool_call, &asks.tool_calls);
            }
            LettaMessage::ToolReturn(returns) => {
                let count = returns.tool_returns.len();
                for (index, returned) in returns.tool_returns.iter().enumerate() {
                    let call = self.calls.remove(&returned.tool_call_id).unwrap_or_default();
                    if is_new {
                        // The number is taken once all that stands under it was shown.
                        let cursor = if index + 1 == count { seq } else { seq - 1 };
                        let name = returns.name.as_deref().unwrap_or_default();
                        let frame = self.returned(cursor, &returns.id, &call, returned, name);
                        if let Some(frame) = frame {
                            each(cursor, frame);
                        }
                    }
                }
            }
            LettaMessage::Reasoning(_)
            | LettaMessage::Assistant(_)
            | LettaMessage::System(_)
            | LettaMessage::User(_)
            | LettaMessage::HiddenReasoning(_)
            | LettaMessage::Summary(_)
            | LettaMessage::Event(_)
            | LettaMessage::Ping(_) => {}
        }
    }

    fn note_calls(&mut self, one: &OneToolCall, all: &ManyToolCalls) {
        if let ManyToolCalls::Calls(calls) = all {
            for call in calls {
                let noted = Call { name: call.name.clone(), arguments: call.arguments.clone() };
                self.calls.insert(call.tool_call_id.clone(), noted);
            }
        }
        if let OneToolCall::Delta(piece) = one {
            let id = piece.tool_call_id.clone().unwrap_or_default();
            let call = self.calls.entry(id).or_default();
            call.name.push_str(piece.name.as_deref().unwrap_or_default());
            call.arguments.push_str(piece.arguments.as_deref().unwrap_or_default());
        }
    }

    fn said(&self, seq: u64, voice: Voice, id: &WireId, text: &str) -> String {
        self.response(seq, voice, id, Said::Text(text))
    }

    /// A call that returned; speech where the call is how an agent speaks. `None` where that was shown piece by piece.
    fn returned(
        &self,
        cursor: u64,
        id: &WireId,
        call: &Call,
        returned: &ToolReturn,
        tool: &str,
    ) -> Option<String> {
        let function = if call.name.is_empty() { tool } else { &call.name };
        let status = match returned.status {
            ToolReturnStatus::Success => "success",
            ToolReturnStatus::Error => "error",
        };
        if let Some((name, kwarg)) = &self.speech
            && name == function
            && returned.status == ToolReturnStatus::Success
        {
            let text = argument(&call.arguments, kwarg)?;
            return Some(self.said(cursor, Voice::AssistantMessage, id, &text));
        }
        let said =
            Said::Call { function, args: &call.arguments, result: &returned.tool_return, status };
        Some(self.response(cursor, Voice::FunctionMessage, id, said))
    }

    fn response(&self, seq: u64, voice: Voice, id: &WireId, message: Said<'_>) -> String {
        let id = id.to_string();
        let (message_type, run_id) = (voice, Id(self.run));
        ServerFrame::AgentResponse { message_type, message, id, run_id, seq_id: seq }.text()
    }
}
