//! A run's output as frames of an event stream.
//!
//! A frame is written once, straight into the bytes that are sent. What was recorded decides what is shown: whether a
//! run streams tokens or whole messages is the recording's business, so a frame can be made from its item alone, and a
//! stream that is taken up again shows exactly what the first one would have.

use bytes::Bytes;
use retold_actors::hub::last_seq;
use retold_events::{
    Message, Role, RunId, StepId, Timestamp,
    agent::AgentType,
    defect::Defect,
    output::{Delta, Item, Output},
    run::{EndStatus, RunError},
};
use retold_snapshots::row::RunRow;
use serde::Serialize;
use uuid::Uuid;

use super::{
    AssistantMessage, CompactionStats, Content, EventMessage, Head, Id, JsonObject,
    LettaErrorMessage, LettaMessage, LettaPing, LettaStopReason, LettaUsageStatistics,
    ManyToolCalls, OneToolCall, ReasoningMessage, ReasoningSource, Time, ToolCallDelta,
    ToolCallMessage, View, WireId,
    expand::{approval_pieces, expand_parts, part_otid, summary_head, summary_message},
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
    /// What is shown under number `seq`, as an event.
    #[must_use]
    pub fn of(shown: Shown<'_>, seq: u64) -> Self {
        let data = match shown {
            Shown::Message(message) => encoded(message),
            Shown::StopReason(reason) => encoded(reason),
            Shown::Error(error) => encoded(error),
            Shown::Usage(usage) => encoded(usage),
            Shown::Done => Bytes::from_static(b"[DONE]"),
        };
        let event = matches!(shown, Shown::Error(_)).then_some("error");
        Self { event, data, seq }
    }

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

/// One thing that a stream shows, before it is written in the form of a transport.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// A message, or a piece of one.
    Message(&'a LettaMessage),
    /// The run ended, for this reason.
    StopReason(&'a LettaStopReason),
    /// It failed.
    Error(&'a LettaErrorMessage),
    /// What it cost, unless it failed.
    Usage(&'a LettaUsageStatistics),
    /// Nothing comes after this.
    Done,
}

/// Turns the output of one run into frames.
#[derive(Debug)]
pub struct Frames {
    run: RunId,
    view: View<'static>,
    /// Whether frames carry numbers: those of background runs do.
    numbered: bool,
    /// Whether the run streams tokens: what is asked for is then shown as one piece per call.
    piecewise: bool,
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
            piecewise: run.request.stream_tokens,
            last: starting_after + u64::from(Defect::StreamCursorOff.is_on()),
            pings: 0,
            done: false,
        }
    }

    /// The output of `run` for a reader that shows messages in a way of its own: all of it, from its beginning, with
    /// speech of older agents as the calls that it was.
    #[must_use]
    pub fn undressed(run: &RunRow, agent_type: AgentType) -> Self {
        let mut frames = Self::new(run, agent_type, 0);
        frames.view.types = None;
        frames.view.use_assistant_message = false;
        frames
    }

    /// The number to go on after.
    #[must_use]
    pub const fn cursor(&self) -> u64 {
        self.last
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
        Frame::of(Shown::Message(&LettaPing::new(head).into()), self.last)
    }

    /// Adds the frames of an item to `frames`. The end of the run gives the last ones; nothing comes after them.
    pub fn encode(&mut self, item: &Item, frames: &mut Vec<Frame>) {
        self.show(item, |seq, shown| frames.push(Frame::of(shown, seq)));
    }

    /// Hands out what an item shows, each with its number.
    pub fn show(&mut self, item: &Item, mut each: impl FnMut(u64, Shown<'_>)) {
        if self.done {
            return;
        }
        match &item.output {
            Output::Delta { step, message, part, delta } => {
                if item.seq > self.last {
                    let mut head = self.head(WireId::Message(*message), item.at);
                    head.otid = Some(part_otid(*message, *part).to_string());
                    self.delta(head, item.seq, *step, delta, each);
                }
            }
            Output::Message { message, span } => self.message(message, item.seq, *span, each),
            Output::Compacted { .. } => self.compacted(item, each),
            Output::End { status, stop_reason, error, usage, steps, context_tokens } => {
                self.done = true;
                each(item.seq, Shown::StopReason(&LettaStopReason::new(*stop_reason)));
                match (status, error) {
                    (EndStatus::Failed, Some(error)) => {
                        each(item.seq, Shown::Error(&self.failure(item.seq, error)));
                    }
                    (EndStatus::Completed | EndStatus::Cancelled, _)
                    | (EndStatus::Failed, None) => {
                        let usage = LettaUsageStatistics::new(usage, *steps, *context_tokens);
                        each(item.seq, Shown::Usage(&usage));
                    }
                }
                // The end is shown whatever a client has seen: its frames carry no number that one could ask to skip.
                each(item.seq, Shown::Done);
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
        mut each: impl FnMut(u64, Shown<'_>),
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
            each(seq, Shown::Message(&shown));
        }
    }

    fn message(
        &self,
        message: &Message,
        first: u64,
        span: u32,
        mut each: impl FnMut(u64, Shown<'_>),
    ) {
        let mut show = |part: u32, mut shown: LettaMessage| {
            let seq = first + u64::from(part);
            if seq <= self.last {
                return;
            }
            if self.numbered {
                shown.set_seq_id(seq);
            }
            each(seq, Shown::Message(&shown));
        };
        // In a stream of tokens each piece is about one call, as its numbers are.
        let piecewise = self.piecewise && message.tool_calls.len() == span as usize;
        if message.role == Role::Approval && piecewise {
            for (part, piece) in (0..).zip(approval_pieces(message)) {
                if self.view.shows(piece.message_type()) {
                    show(part, piece);
                }
            }
        } else {
            expand_parts(message, &self.view, show);
        }
    }

    fn compacted(&self, item: &Item, mut each: impl FnMut(u64, Shown<'_>)) {
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
                each(seq, Shown::Message(&shown));
            }
        }
    }

    fn failure(&self, seq: u64, error: &RunError) -> LettaErrorMessage {
        LettaErrorMessage {
            message_type: "error_message",
            run_id: Id(self.run),
            error_type: error.error_type.clone(),
            message: error.message.clone(),
            detail: error.detail.clone(),
            seq_id: self.number(seq),
        }
    }
}

/// What a compaction notice tells.
#[derive(Serialize)]
struct EventData<'a> {
    trigger: &'a str,
    context_token_estimate: u32,
    context_window: u32,
}

fn encoded(shown: &impl Serialize) -> Bytes {
    let mut data = Vec::with_capacity(384);
    serde_json::to_writer(&mut data, shown)
        .expect("wire messages are structs of text and numbers, and memory takes every write");
    data.into()
}
