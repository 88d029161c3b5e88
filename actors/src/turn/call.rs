//! One step: the model is called, what it says is reported as it comes, its tools are run.

use std::sync::Arc;

use futures_util::StreamExt as _;
use retold_events::{
    Image, Message, Part, ReturnStatus,
    agent::{AgentType, ModelConfig},
    run::{RunError, StepTiming, StopReason, Usage},
};
use retold_models::{
    Chunk, Finish, Model, ModelErrorKind, Prompt, Reasoning, ResponseFormat, ToolChoice, ToolSchema,
};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{
    Answer, Cut, Failure, PartDelta, ReportKind, StepDone, StepView, Turn,
    answer::{Pieces, join},
    tools::{Offer, Ran},
};
use crate::prompt::transcript::to_model;

/// Compactions of one step at most: each leaves less, so more would not help.
const MAX_COMPACTIONS: u32 = 3;
/// Bytes of output that may wait for the log before the provider is no longer read.
const WAITING_BYTES: usize = 64 << 10;

/// What a model call gave.
struct Called {
    answer: Answer,
    finish: Finish,
    usage: Option<Usage>,
    tail: Vec<PartDelta>,
}

impl Turn {
    /// Takes one step. Compacts the history first where it does not fit, and again where the provider says so.
    pub(super) async fn step(&self, view: &mut StepView) -> Result<StepDone, Cut> {
        let model = self.model(view).await?;
        let mut compactions = 0;
        let offer = Offer::new(self, view);
        loop {
            if let Some(trigger) = self.overflow(view, &offer)
                && compactions < MAX_COMPACTIONS
            {
                compactions += 1;
                self.compact(view, trigger).await?;
                continue;
            }
            let mut timing = StepTiming {
                started_at: view.started_at,
                model_started_at: self.now(),
                ..StepTiming::default()
            };
            match self.call(view, &*model, &offer).await {
                Ok((called, prompt_hash)) => {
                    timing.model_ns = self.now().nanos_since(timing.model_started_at);
                    return self.finish(view, &offer, called, prompt_hash, timing).await;
                }
                Err(Stopped::TooLong(_)) if compactions < MAX_COMPACTIONS && can_shrink(view) => {
                    compactions += 1;
                    self.compact(view, "context_window_exceeded").await?;
                }
                Err(Stopped::TooLong(failure)) => return Err(too_long(view, *failure).into()),
                Err(Stopped::Cut(cut)) => return Err(cut),
            }
        }
    }

    async fn model(&self, view: &StepView) -> Result<Arc<dyn Model>, Cut> {
        let resolved = tokio::select! {
            biased;
            () = self.token.cancelled() => return Err(Cut::Cancelled(Box::default())),
            resolved = self.shared.catalog.resolve_or_refresh(&view.model) => resolved,
        };
        let unknown = |message: String| {
            let error = RunError {
                error_type: "llm_bad_request".to_owned(),
                message,
                detail: None,
                retry_after_s: None,
            };
            Failure { error, stop_reason: StopReason::LlmApiError }.into()
        };
        resolved.map(|(model, _)| model).map_err(|error| unknown(error.to_string()))
    }

    /// Why the prompt will not fit, if it will not; judged by the provider's last count where there is one.
    fn overflow(&self, view: &StepView, offer: &Offer) -> Option<&'static str> {
        let input: u64 = view.input.iter().map(|message| u64::from(message.tokens)).sum();
        let counted = counted_tokens(view);
        let expected = view.context_tokens.max(counted) + input + offer.tokens();
        let window = u64::from(view.context_window);
        if !can_shrink(view) {
            return None;
        }
        if expected > window {
            Some("context_window_exceeded")
        } else if view.context_tokens > window * 9 / 10 {
            Some("post_step_context_check")
        } else {
            None
        }
    }

    async fn call(
        &self,
        view: &StepView,
        model: &dyn Model,
        offer: &Offer,
    ) -> Result<(Called, [u8; 16]), Stopped> {
        let config = &view.config.model;
        let response_format =
            config.response_format.as_ref().and_then(|text| parse_response_format(text.as_str()));
        let system = self
            .request
            .override_system
            .as_deref()
            .map_or_else(|| view.system.text(), str::to_owned);
        let prompt_hash = hash(&system, view, &offer.schemas);
        let mut stream = {
            let messages = view.context.iter().map(AsRef::as_ref).chain(&view.input);
            let prompt = Prompt {
                system: &system,
                messages: to_model(messages),
                tools: &offer.schemas,
                tool_choice: if offer.force { ToolChoice::Required } else { ToolChoice::Auto },
                parallel_tool_calls: !offer.one_call,
                max_output_tokens: config.max_output_tokens,
                temperature: config.temperature,
                reasoning: reasoning(config),
                response_format: response_format.as_ref().map(Format::borrow),
            };
            model.stream(&prompt)
        };
        let mut listener = Listener::new(self, view, offer);
        loop {
            tokio::select! {
                biased;
                () = self.token.cancelled() => {
                    return Err(Stopped::Cut(Cut::Cancelled(Box::new((listener.answer, listener.waiting)))));
                }
                () = listener.reported() => {}
                chunk = stream.next(), if listener.may_hear_more() => match chunk {
                    Some(Ok(Chunk::End { finish, usage })) => {
                        let Listener { answer, waiting, .. } = listener;
                        let usage = usage.map(from_provider);
                        return Ok((Called { answer, finish, usage, tail: waiting }, prompt_hash));
                    }
                    Some(Ok(chunk)) => listener.hear(&chunk),
                    Some(Err(error)) if error.kind == ModelErrorKind::ContextWindowExceeded => {
                        return Err(Stopped::TooLong(Box::new(error.into())));
                    }
                    Some(Err(error)) => return Err(Stopped::Cut(error.into())),
                    None => return Err(Stopped::Cut(Failure::internal("the model ended without saying so").into())),
                },
            }
        }
    }

    async fn finish(
        &self,
        view: &StepView,
        offer: &Offer,
        called: Called,
        prompt_hash: [u8; 16],
        mut timing: StepTiming,
    ) -> Result<StepDone, Cut> {
        let Called { answer, finish, usage, tail } = called;
        let tools_began = self.now();
        let ran = tokio::select! {
            biased;
            () = self.token.cancelled() => return Err(Cut::Cancelled(Box::new((answer, tail)))),
            ran = self.execute(view, offer, &answer) => ran,
        };
        let ended = self.now();
        timing.tools_ns = ended.nanos_since(tools_began);
        timing.total_ns = ended.nanos_since(timing.started_at);
        let tokens = answer_tokens(&answer);
        let usage = usage.unwrap_or_else(|| estimated_usage(view, tokens));
        let Ran { executed, called, invalid_call } = ran;
        Ok(StepDone {
            answer,
            executed,
            called,
            finish,
            usage,
            prompt_hash,
            tokens,
            invalid_call,
            timing,
            tail,
        })
    }
}

/// Why a call gave nothing.
enum Stopped {
    TooLong(Box<Failure>),
    Cut(Cut),
}

/// Collects what the model says, and reports it as fast as the log takes it: one report under way, the rest joined.
struct Listener<'a> {
    turn: &'a Turn,
    pieces: Option<Pieces>,
    answer: Answer,
    waiting: Vec<PartDelta>,
    waiting_bytes: usize,
    under_way: Option<oneshot::Receiver<()>>,
}

impl<'a> Listener<'a> {
    fn new(turn: &'a Turn, view: &StepView, offer: &Offer) -> Self {
        let pieces = turn
            .request
            .stream_tokens
            .then(|| Pieces::new(view.config.agent_type, &turn.request, offer.one_call));
        Self {
            turn,
            pieces,
            answer: Answer::default(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            under_way: None,
        }
    }

    fn hear(&mut self, chunk: &Chunk) {
        self.answer.push(chunk);
        if let Some(piece) = self.pieces.as_mut().and_then(|pieces| pieces.of(chunk)) {
            self.waiting_bytes += bytes(chunk);
            join(&mut self.waiting, piece);
            if self.under_way.is_none() {
                self.report();
            }
        }
    }

    fn report(&mut self) {
        let (reply, durable) = oneshot::channel();
        self.under_way = Some(durable);
        self.waiting_bytes = 0;
        self.turn.report(ReportKind::Said(std::mem::take(&mut self.waiting), reply));
    }

    fn may_hear_more(&self) -> bool {
        self.waiting_bytes < WAITING_BYTES
    }

    /// Ends when the report under way is durable, having sent what came together meanwhile. Never ends without one.
    async fn reported(&mut self) {
        match &mut self.under_way {
            Some(durable) => {
                // A report that the actor dropped was of a stale attempt: the token is about to say so.
                let _ = durable.await;
                self.under_way = None;
                if !self.waiting.is_empty() {
                    self.report();
                }
            }
            None => std::future::pending().await,
        }
    }
}

fn bytes(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Reasoning(text)
        | Chunk::Text(text)
        | Chunk::ToolArguments { fragment: text, .. } => text.len(),
        Chunk::ToolCall { id, name, .. } => id.len() + name.len(),
        Chunk::ReasoningSignature(_) | Chunk::RedactedReasoning(_) | Chunk::End { .. } => 0,
    }
}

/// Whether anything but the system message and the input could give way.
pub(super) fn can_shrink(view: &StepView) -> bool {
    view.context.len() > 1
}

pub(super) fn counted_tokens(view: &StepView) -> u64 {
    view.context.iter().map(|message| u64::from(message.tokens)).sum::<u64>()
        + u64::from(view.system.tokens)
}

/// What cannot fit even after compaction ends the run, and says what is too long.
fn too_long(view: &StepView, failure: Failure) -> Failure {
    if u64::from(view.system.tokens) <= u64::from(view.context_window) {
        return failure;
    }
    Failure {
        error: RunError {
            error_type: "context_window_overflow_in_system_prompt".to_owned(),
            message: format!(
                "the system message alone has {} tokens, more than the context window of {}; shorten the system prompt or the memory blocks",
                view.system.tokens, view.context_window
            ),
            detail: failure.error.detail,
            retry_after_s: None,
        },
        stop_reason: StopReason::ContextWindowOverflowInSystemPrompt,
    }
}

fn reasoning(config: &ModelConfig) -> Option<Reasoning> {
    let budget_tokens = Some(config.max_reasoning_tokens).filter(|&tokens| tokens > 0);
    let effort = config.reasoning_effort.clone();
    (config.enable_reasoner && (budget_tokens.is_some() || effort.is_some()))
        .then_some(Reasoning { effort, budget_tokens })
}

/// A response format that owns its schema while the prompt borrows it.
enum Format {
    Text,
    JsonObject,
    JsonSchema(Box<RawValue>),
}

impl Format {
    fn borrow(&self) -> ResponseFormat<'_> {
        match self {
            Self::Text => ResponseFormat::Text,
            Self::JsonObject => ResponseFormat::JsonObject,
            Self::JsonSchema(schema) => ResponseFormat::JsonSchema(schema),
        }
    }
}

fn parse_response_format(text: &str) -> Option<Format> {
    #[derive(serde::Deserialize)]
    struct Wire {
        r#type: String,
        json_schema: Option<Box<RawValue>>,
    }
    let wire: Wire = serde_json::from_str(text).ok()?;
    match (wire.r#type.as_str(), wire.json_schema) {
        ("text", _) => Some(Format::Text),
        ("json_object", _) => Some(Format::JsonObject),
        ("json_schema", Some(schema)) => Some(Format::JsonSchema(schema)),
        _ => None,
    }
}

fn from_provider(usage: retold_models::Usage) -> Usage {
    Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        cached_input_tokens: usage.cached_input_tokens,
        cache_write_tokens: usage.cache_write_tokens,
        reasoning_tokens: usage.reasoning_tokens,
    }
}

/// Our own count, for providers that give none.
fn estimated_usage(view: &StepView, completion_tokens: u32) -> Usage {
    let input: u64 = view.input.iter().map(|message| u64::from(message.tokens)).sum();
    Usage {
        prompt_tokens: counted_tokens(view) + input,
        completion_tokens: u64::from(completion_tokens),
        ..Usage::default()
    }
}

/// Tokens of what a model said, calls included.
fn answer_tokens(answer: &Answer) -> u32 {
    let calls = answer.calls.iter().map(|call| {
        retold_models::tokens::count(&call.name)
            .saturating_add(retold_models::tokens::count(&call.arguments))
    });
    calls.fold(crate::agent::count(&answer.parts), u32::saturating_add)
}

/// Hash of what is sent: a replay that builds another prompt is found out by it. Every text goes in after its length.
fn hash(system: &str, view: &StepView, tools: &[ToolSchema]) -> [u8; 16] {
    // Collected first: hashing one long piece is many times faster than as many short ones.
    let mut sent = Sent(Vec::with_capacity(system.len() + 4096));
    sent.text(system);
    for message in view.context.iter().map(AsRef::as_ref).chain(&view.input) {
        sent.message(message);
    }
    for tool in tools {
        sent.text(&tool.name);
        sent.text(tool.parameters.get());
    }
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(&sent.0).as_bytes()[..16]);
    short
}

struct Sent(Vec<u8>);

impl Sent {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn message(&mut self, message: &Message) {
        self.0.extend_from_slice(message.id.as_bytes());
        for part in &message.content {
            match part {
                Part::Text { text } | Part::Reasoning { text, .. } => self.text(text),
                Part::RedactedReasoning { data } => self.text(data),
                Part::Image(Image::Url { url }) => self.text(url),
                Part::Image(Image::Base64 { data, .. }) => self.text(data),
            }
        }
        for call in &message.tool_calls {
            self.text(&call.name);
            self.text(&call.arguments);
        }
        for returned in &message.tool_returns {
            self.text(if returned.status == ReturnStatus::Success { "ok" } else { "failed" });
            self.text(&returned.content);
        }
    }
}

/// Whether agents of this type must call a tool in every step.
pub(super) fn must_call(agent_type: AgentType) -> bool {
    agent_type != AgentType::LettaV1
}
