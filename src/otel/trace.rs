//! One run as spans: `invoke_agent` over all of it, below it a `chat` per model call and an `execute_tool` per call of a
//! tool, all with the times that the events recorded.
//!
//! Events know how long the tools of a step took together. Where a step called one, that is its time; where it called
//! more, each of their spans lasts as long as all of them.

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};
use retold_events::{
    AgentId, ConversationId, Position, ReturnStatus, RunId, StepId, Timestamp, ToolCall,
    ToolReturn,
    agent::Event,
    run::{Accepted, Ended, RunError, StepEnded, StepOutcome, StepStarted, StopReason, Usage},
};

use super::{
    content::{self, Content},
    parent::Parent,
    value::{number, text, texts},
};
use crate::wire::WireStopReason;

/// Set in a span's flags: whether its parent is of another process is known.
const REMOTE_IS_KNOWN: u32 = 0x100;
/// Set in a span's flags: its parent is of another process.
const REMOTE: u32 = 0x200;
/// Set in a span's flags: it is recorded.
const SAMPLED: u32 = 1;

/// Whose run it is.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    /// Its name, while it is known.
    pub(super) name: Option<String>,
}

/// A run, read event by event.
#[derive(Debug)]
pub(super) struct Trace {
    agent: Agent,
    run: RunId,
    place: Place,
    accepted: Option<Begun>,
    /// The step under way.
    step: Option<StepStarted>,
    /// The model that was called first, and its provider.
    model: Option<(String, Option<String>)>,
    usage: Usage,
    below: Vec<Span>,
    ended: Option<(Timestamp, Ended)>,
    /// `None` unless it is asked for.
    content: Option<Content>,
    instructions: Option<String>,
}

/// Where the run's span is.
#[derive(Debug)]
struct Place {
    trace: Vec<u8>,
    span: Vec<u8>,
    parent: Option<Parent>,
}

/// How a run began.
#[derive(Debug)]
struct Begun {
    at: Timestamp,
    position: Position,
    conversation: Option<ConversationId>,
    override_system: Option<String>,
}

impl Trace {
    /// A run of which nothing has been read yet.
    pub(super) fn new(
        agent: Agent,
        run: RunId,
        parent: Option<Parent>,
        content: Option<Content>,
    ) -> Self {
        let trace = parent.as_ref().map_or(*run.as_bytes(), |parent| parent.trace);
        let place = Place { trace: trace.to_vec(), span: span_id(run.as_bytes(), 0), parent };
        Self {
            agent,
            run,
            place,
            accepted: None,
            step: None,
            model: None,
            usage: Usage::default(),
            below: Vec::new(),
            ended: None,
            content,
            instructions: None,
        }
    }

    /// Reads the next event of the run.
    pub(super) fn add(&mut self, position: Position, at: Timestamp, event: &Event) {
        if let Event::RunAccepted(accepted) = event {
            self.accepted(position, at, accepted);
        } else if let (Event::RunStarted(_), Some(begun)) = (event, &mut self.accepted) {
            begun.position = position;
        } else if let Event::StepStarted(started) = event {
            self.step = Some(started.clone());
        } else if let Event::StepEnded(ended) = event {
            self.stepped(ended);
        } else if let Event::RunEnded(ended) = event {
            self.ended = Some((at, ended.clone()));
        }
    }

    /// The moment and the thread whose system message is to be looked up; `None` when nobody asks for it, or the run had
    /// one of its own.
    pub(super) fn wants_instructions(&self) -> Option<(Position, Option<ConversationId>)> {
        let begun = self.accepted.as_ref().filter(|_| self.content.is_some())?;
        begun.override_system.is_none().then_some((begun.position, begun.conversation))
    }

    /// The system message that the model saw.
    pub(super) fn instruct(&mut self, text: Option<String>) {
        self.instructions = text;
    }

    fn accepted(&mut self, position: Position, at: Timestamp, accepted: &Accepted) {
        let request = &accepted.request;
        self.accepted = Some(Begun {
            at,
            position,
            conversation: request.conversation,
            override_system: request.override_system.clone(),
        });
        if let Some(content) = &mut self.content {
            content.accepted(&accepted.input);
            self.instructions.clone_from(&request.override_system);
        }
    }

    fn stepped(&mut self, ended: &StepEnded) {
        // A step that an earlier process began and never ended is none.
        let Some(step) = self.step.take().filter(|step| step.step == ended.step) else { return };
        self.usage.add(&ended.usage);
        self.model.get_or_insert_with(|| (step.model.clone(), step.provider.clone()));
        let finish = finish_reason(ended);
        let chat = self.chat(&step, ended, finish);
        self.below.push(chat);
        let returns = ended.messages.iter().flat_map(|message| &message.tool_returns);
        let calls = || ended.messages.iter().flat_map(|message| &message.tool_calls);
        for (index, returned) in returns.enumerate() {
            let call = calls().find(|call| call.id == returned.call_id);
            let tool = self.tool(ended, index, returned, call);
            self.below.push(tool);
        }
        if let Some(content) = &mut self.content {
            content.stepped(&ended.messages, finish);
        }
    }

    fn chat(&self, step: &StepStarted, ended: &StepEnded, finish: &str) -> Span {
        let timing = ended.timing;
        // The call of a step that was cut short has no time of its own.
        let lasted = if timing.model_ns > 0 { timing.model_ns } else { timing.total_ns };
        let model = model_name(&step.model, step.provider.as_deref());
        let mut attributes = vec![text("gen_ai.operation.name", "chat")];
        attributes.extend(about_model(&step.model, step.provider.as_deref()));
        attributes.push(self.conversation());
        attributes.push(text("gen_ai.agent.id", self.agent.id.to_string()));
        attributes.extend(usage(&ended.usage));
        attributes.push(texts("gen_ai.response.finish_reasons", &[finish]));
        attributes.push(text("retold.step.id", ended.step.to_string()));
        let error = match &ended.outcome {
            StepOutcome::Failed { error } => Some(error),
            StepOutcome::Success | StepOutcome::Cancelled => None,
        };
        if let Some(content) = &self.content {
            let mut after = Content::default();
            after.stepped(&ended.messages, finish);
            attributes.push(text("gen_ai.input.messages", content::as_text(&content.news)));
            attributes.push(text("gen_ai.output.messages", content::as_text(&after.output)));
        }
        let began = nanos(timing.model_started_at);
        let span = self.below(format!("chat {model}"), SpanKind::Client, step_span(ended.step));
        with_error(Span { attributes, ..lasting(span, began, lasted) }, error)
    }

    fn tool(
        &self,
        ended: &StepEnded,
        index: usize,
        returned: &ToolReturn,
        call: Option<&ToolCall>,
    ) -> Span {
        let timing = ended.timing;
        let mut attributes = vec![
            text("gen_ai.operation.name", "execute_tool"),
            text("gen_ai.tool.name", returned.name.as_str()),
            text("gen_ai.tool.call.id", returned.call_id.as_str()),
            text("retold.step.id", ended.step.to_string()),
        ];
        if self.content.is_some() {
            if let Some(call) = call {
                let arguments = content::cut(&call.arguments);
                attributes.push(text("gen_ai.tool.call.arguments", arguments));
            }
            attributes.push(text("gen_ai.tool.call.result", content::cut(&returned.content)));
        }
        let began = nanos(timing.model_started_at).saturating_add(timing.model_ns);
        let id = span_id(ended.step.as_bytes(), index as u64 + 1);
        let span = self.below(format!("execute_tool {}", returned.name), SpanKind::Internal, id);
        let span = lasting(span, began, timing.tools_ns);
        match returned.status {
            ReturnStatus::Success => Span { attributes, ..span },
            ReturnStatus::Error => {
                attributes.push(text("error.type", "tool_error"));
                Span { attributes, status: failed(String::new()), ..span }
            }
        }
    }

    /// The spans of the run, that of the whole first; none when its beginning or its end is not known.
    pub(super) fn spans(self) -> Vec<Span> {
        let (Some(begun), Some((at, ended))) = (&self.accepted, &self.ended) else {
            return Vec::new();
        };
        let mut spans = vec![self.whole(begun, *at, ended)];
        spans.extend(self.below);
        spans
    }

    fn whole(&self, begun: &Begun, at: Timestamp, ended: &Ended) -> Span {
        let mut attributes = vec![
            text("gen_ai.operation.name", "invoke_agent"),
            text("gen_ai.agent.id", self.agent.id.to_string()),
            self.conversation(),
            text("retold.run.id", self.run.to_string()),
            text("retold.run.stop_reason", WireStopReason::from(ended.stop_reason).word()),
        ];
        attributes.extend(self.agent.name.as_deref().map(|name| text("gen_ai.agent.name", name)));
        if let Some((model, provider)) = &self.model {
            attributes.extend(about_model(model, provider.as_deref()));
        }
        attributes.extend(usage(&self.usage));
        if let Some(content) = &self.content {
            attributes.push(text("gen_ai.input.messages", content::as_text(&content.input)));
            attributes.push(text("gen_ai.output.messages", content::as_text(&content.output)));
            if let Some(system) = &self.instructions {
                attributes.push(text("gen_ai.system_instructions", content::instructions(system)));
            }
        }
        let name = match &self.agent.name {
            Some(name) => format!("invoke_agent {name}"),
            None => "invoke_agent".to_owned(),
        };
        let parent = self.place.parent.as_ref();
        let span = Span {
            trace_id: self.place.trace.clone(),
            span_id: self.place.span.clone(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.span.to_vec()),
            trace_state: parent.map_or_else(String::new, |parent| parent.state.clone()),
            flags: SAMPLED | REMOTE_IS_KNOWN | if parent.is_some() { REMOTE } else { 0 },
            name,
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanos(begun.at),
            end_time_unix_nano: nanos(at.max(begun.at)),
            attributes,
            ..Span::default()
        };
        with_error(span, ended.error.as_ref())
    }

    /// A span below that of the run.
    fn below(&self, name: String, kind: SpanKind, span_id: Vec<u8>) -> Span {
        Span {
            trace_id: self.place.trace.clone(),
            span_id,
            parent_span_id: self.place.span.clone(),
            trace_state: self
                .place
                .parent
                .as_ref()
                .map_or_else(String::new, |parent| parent.state.clone()),
            flags: SAMPLED | REMOTE_IS_KNOWN,
            name,
            kind: kind.into(),
            ..Span::default()
        }
    }

    /// The thread: its own id, or that of the agent whose own thread it is.
    fn conversation(&self) -> KeyValue {
        let conversation = self.accepted.as_ref().and_then(|begun| begun.conversation);
        let id = conversation.map_or_else(|| self.agent.id.to_string(), |id| id.to_string());
        text("gen_ai.conversation.id", id)
    }
}

/// The name of a model without its provider's.
fn model_name<'a>(handle: &'a str, provider: Option<&str>) -> &'a str {
    let prefix = provider.unwrap_or_default();
    handle.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')).unwrap_or(handle)
}

fn about_model(handle: &str, provider: Option<&str>) -> [KeyValue; 2] {
    // Names of known providers are those of the conventions already; others are what an operator calls them.
    let named = provider.or_else(|| handle.split_once('/').map(|(provider, _)| provider));
    [
        text("gen_ai.provider.name", named.unwrap_or("_OTHER")),
        text("gen_ai.request.model", model_name(handle, named)),
    ]
}

fn usage(usage: &Usage) -> Vec<KeyValue> {
    let mut attributes = vec![
        number("gen_ai.usage.input_tokens", usage.prompt_tokens),
        number("gen_ai.usage.output_tokens", usage.completion_tokens),
    ];
    for (key, tokens) in [
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_input_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens),
    ] {
        attributes.extend(tokens.map(|tokens| number(key, tokens)));
    }
    attributes
}

/// Why the model stopped, as far as the events tell.
fn finish_reason(ended: &StepEnded) -> &'static str {
    let called = ended.messages.iter().any(|message| !message.tool_calls.is_empty());
    match (&ended.outcome, ended.stop_reason) {
        (StepOutcome::Failed { .. }, _) => "error",
        (StepOutcome::Cancelled, _) => "cancelled",
        (StepOutcome::Success, Some(StopReason::MaxTokensExceeded)) => "length",
        (StepOutcome::Success, _) if called => "tool_call",
        (StepOutcome::Success, _) => "stop",
    }
}

fn with_error(mut span: Span, error: Option<&RunError>) -> Span {
    if let Some(error) = error {
        span.attributes.push(text("error.type", error.error_type.as_str()));
        span.status = failed(error.message.clone());
    }
    span
}

fn failed(message: String) -> Option<Status> {
    Some(Status { message, code: StatusCode::Error.into() })
}

fn lasting(span: Span, began: u64, lasted: u64) -> Span {
    Span { start_time_unix_nano: began, end_time_unix_nano: began.saturating_add(lasted), ..span }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(0).saturating_mul(1000)
}

fn step_span(step: StepId) -> Vec<u8> {
    span_id(step.as_bytes(), 0)
}

/// The id of a span, which follows from what it is of.
fn span_id(of: &[u8; 16], index: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(of);
    hasher.update(&index.to_be_bytes());
    hasher.finalize().as_bytes()[..8].to_vec()
}
