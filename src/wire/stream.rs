//! A run's output as frames of an event stream.
//!
//! A frame is written once, straight into the bytes that are sent. What was recorded decides what is shown: whether a
//! run streams tokens or whole messages is the recording's business, so a frame can be made from its item alone, and a
//! stream that is taken up again shows exactly what the first one would have.

use bytes::Bytes;
use retold_actors::hub::last_seq;
use retold_events::{
    Message, RunId, StepId, Timestamp,
    agent::AgentType,
    output::{Delta, Item, Output},
    run::{EndStatus, RunError, StopReason},
};
use retold_snapshots::row::RunRow;
use serde::Serialize;
use uuid::Uuid;

use super::{
    AssistantMessage, CompactionStats, Content, EventMessage, Head, Id, JsonObject,
    LettaErrorMessage, LettaMessage, LettaPing, LettaStopReason, LettaUsageStatistics,
    ManyToolCalls, OneToolCall, ReasoningMessage, ReasoningSource, Time, ToolCallDelta,
    ToolCallMessage, View, WireId,
    expand::{expand_parts, part_otid, summary_head, summary_message},
};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The event's name. Only errors have one: the SDKs pass over named events.
    pub event: Option<&'static str>,
    /// The JSON text, or `[DONE]`.
    pub data: Bytes,
    /// The number of the output it shows, the cursor of `starting_after`.
    pub seq: u64,
}

impl Frame {
    /// The event in the form of a `text/event-stream`.
    #[must_use]
    pub fn sse(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.data.len() + 24);
        if let Some(event) = self.event {
            bytes.extend_from_slice(b"event: ");
            bytes.extend_from_slice(event.as_bytes());
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(b"data: ");
        bytes.extend_from_slice(&self.data);
        bytes.extend_from_slice(b"\n\n");
        bytes.into()
    }
}

/// Turns the output of one run into frames.
#[derive(Debug)]
pub struct Frames {
    run: RunId,
    view: View<'static>,
    /// Whether frames carry numbers: those of background runs do.
    numbered: bool,
    /// The greatest number shown, or asked to be skipped.
    last: u64,
    pings: u32,
    done: bool,
}

impl Frames {
    /// Frames of `run`, without those whose number is not greater than `starting_after`.
    #[must_use]
    pub fn new(run: &RunRow, agent_type: AgentType, starting_after: u64) -> Self {
        Self {
            run: run.id,
            view: View::of_request(agent_type, &run.request).into_owned(),
            numbered: run.request.background,
            last: starting_after,
            pings: 0,
            done: false,
        }
    }

    /// Whether the last frame was made.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// A sign of life. The first one of a stream tells the run's id.
    pub fn ping(&mut self, now: Timestamp) -> Frame {
        self.pings = self.pings.wrapping_add(1);
        let mut bytes = *self.run.as_bytes();
        bytes[12..].copy_from_slice(&self.pings.to_be_bytes());
        let mut head = self.head(WireId::Ping(Uuid::from_bytes(bytes)), now);
        head.seq_id = self.number(self.last);
        frame(&LettaMessage::from(LettaPing::new(head)), self.last)
    }

    /// Adds the frames of an item to `frames`. The end of the run gives the last ones; nothing comes after them.
    pub fn encode(&mut self, item: &Item, frames: &mut Vec<Frame>) {
        if self.done {
            return;
        }
        match &item.output {
            Output::Delta { step, message, part, delta } => {
                if item.seq > self.last {
                    let mut head = self.head(WireId::Message(*message), item.at);
                    head.otid = Some(part_otid(*message, *part).to_string());
                    self.delta(head, item.seq, *step, delta, frames);
                }
            }
            Output::Message { message, .. } => self.message(message, item.seq, frames),
            Output::Compacted { .. } => self.compacted(item, frames),
            Output::End { status, stop_reason, error, usage, steps, context_tokens } => {
                self.end(item.seq, *status, *stop_reason, error.as_ref(), frames, || {
                    LettaUsageStatistics::new(usage, *steps, *context_tokens)
                });
            }
        }
        self.last = self.last.max(last_seq(item));
    }

    fn head(&self, id: WireId, at: Timestamp) -> Head {
        Head {
            id,
            date: Time(at),
            name: None,
            otid: None,
            sender_id: None,
            step_id: None,
            is_err: None,
            interrupted: None,
            seq_id: None,
            run_id: Some(Id(self.run)),
        }
    }

    fn number(&self, seq: u64) -> Option<u64> {
        self.numbered.then_some(seq)
    }

    fn delta(
        &self,
        mut head: Head,
        seq: u64,
        step: StepId,
        delta: &Delta,
        frames: &mut Vec<Frame>,
    ) {
        head.step_id = Some(Id(step));
        head.seq_id = self.number(seq);
        let shown: LettaMessage = match delta {
            Delta::Reasoning(text) => {
                let source = if self.view.is_older() {
                    ReasoningSource::NonReasonerModel
                } else {
                    ReasoningSource::ReasonerModel
                };
                ReasoningMessage::new(head, source, text.clone(), None).into()
            }
            Delta::Text(text) => AssistantMessage::new(head, Content::Text(text.clone())).into(),
            Delta::ToolCall { id, name, arguments } => {
                let piece = ToolCallDelta {
                    name: name.clone(),
                    arguments: Some(arguments.clone()),
                    tool_call_id: Some(id.clone()),
                };
                let (one, many) = (OneToolCall::Delta(piece.clone()), ManyToolCalls::Delta(piece));
                ToolCallMessage::new(head, one, many).into()
            }
        };
        if self.view.shows(shown.message_type()) {
            frames.push(frame(&shown, seq));
        }
    }

    fn message(&self, message: &Message, first: u64, frames: &mut Vec<Frame>) {
        expand_parts(message, &self.view, |part, mut shown| {
            let seq = first + u64::from(part);
            if seq <= self.last {
                return;
            }
            if self.numbered {
                shown.set_seq_id(seq);
            }
            frames.push(frame(&shown, seq));
        });
    }

    fn compacted(&self, item: &Item, frames: &mut Vec<Frame>) {
        let Output::Compacted {
            summary,
            trigger,
            tokens_before,
            tokens_after,
            context_window,
            messages_before,
            messages_after,
        } = &item.output
        else {
            return;
        };
        if !self.view.summaries {
            return;
        }
        let mut notice = self.head(WireId::Bare(summary.id.uuid()), item.at);
        notice.seq_id = self.number(item.seq);
        let data = EventData {
            trigger,
            context_token_estimate: *tokens_before,
            context_window: *context_window,
        };
        let notice = EventMessage::new(notice, "compaction", JsonObject::of(&data));
        let stats = CompactionStats {
            trigger: trigger.clone(),
            context_tokens_before: Some(u64::from(*tokens_before)),
            context_tokens_after: Some(u64::from(*tokens_after)),
            context_window: u64::from(*context_window),
            messages_count_before: u64::from(*messages_before),
            messages_count_after: u64::from(*messages_after),
        };
        let mut head = summary_head(summary);
        head.seq_id = self.number(item.seq + 1);
        head.run_id = Some(Id(self.run));
        let summary = summary_message(head, summary.text(), Some(stats));
        for (seq, shown) in (item.seq..).zip([LettaMessage::from(notice), summary]) {
            if seq > self.last && self.view.shows(shown.message_type()) {
                frames.push(frame(&shown, seq));
            }
        }
    }

    /// The end is shown whatever a client has seen: its frames carry no number that one could ask to skip.
    fn end(
        &mut self,
        seq: u64,
        status: EndStatus,
        stop_reason: StopReason,
        error: Option<&RunError>,
        frames: &mut Vec<Frame>,
        usage: impl FnOnce() -> LettaUsageStatistics,
    ) {
        self.done = true;
        frames.push(frame(&LettaStopReason::new(stop_reason), seq));
        match (status, error) {
            (EndStatus::Failed, Some(error)) => {
                let message = LettaErrorMessage {
                    message_type: "error_message",
                    run_id: Id(self.run),
                    error_type: error.error_type.clone(),
                    message: error.message.clone(),
                    detail: error.detail.clone(),
                    seq_id: self.number(seq),
                };
                frames.push(Frame { event: Some("error"), ..frame(&message, seq) });
            }
            (EndStatus::Completed | EndStatus::Cancelled, _) | (EndStatus::Failed, None) => {
                frames.push(frame(&usage(), seq));
            }
        }
        frames.push(Frame { event: None, data: Bytes::from_static(b"[DONE]"), seq });
    }
}

/// What a compaction notice tells.
#[derive(Serialize)]
struct EventData<'a> {
    trigger: &'a str,
    context_token_estimate: u32,
    context_window: u32,
}

fn frame(shown: &impl Serialize, seq: u64) -> Frame {
    let mut data = Vec::with_capacity(384);
    serde_json::to_writer(&mut data, shown)
        .expect("wire messages are structs of text and numbers, and memory takes every write");
    Frame { event: None, data: data.into(), seq }
}
