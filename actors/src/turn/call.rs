//! One step: the model is called, what it says is reported as it comes, its tools are run.

use std::sync::Arc;

use futures_util::StreamExt as _;
use retold_events::{
    Timestamp,
    run::{RunError, Said, StepTiming, StopReason, Usage},
};
use retold_models::{Chunk, Finish, Model, ModelErrorKind, Resolved};
use retold_snapshots::run::OpenCalls;
use tokio::sync::oneshot;

use super::{
    Answer, Cut, Failure, PartDelta, ReportKind, StepDone, StepView, Turn,
    answer::{Pieces, join},
    report::{CallsBegun, CallsSaid},
    tools::{Plans, intents, must_ask, taken_over},
};
use crate::prompt::request::{Asked, Offer};

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
        let offer = Offer::new(view, |id, older| self.shared.toolbox.schema(id, older));
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
        let measured = |(model, info): Resolved| {
            self.shared.metrics.models.measured(model, &view.model, &info.handle)
        };
        resolved.map(measured).map_err(|error| unknown(error.to_string()))
    }

    /// Why the prompt will not fit, if it will not; judged by the provider's last count where there is one.
    fn overflow(&self, view: &StepView, offer: &Offer) -> Option<&'static str> {
        let expected =
            view.context_tokens.max(view.counted_tokens()) + view.input_tokens() + offer.tokens();
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
        let (mut stream, prompt_hash) = {
            let asked = Asked::new(view, &self.request, offer);
            (model.stream(&asked.prompt()), asked.hash())
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
        let Called { answer, finish, usage, mut tail } = called;
        let tokens = answer_tokens(&answer);
        let usage = usage.unwrap_or_else(|| estimated_usage(view, tokens));
        let kept = if offer.one_call { 1 } else { answer.calls.len() };
        let mut plans = Plans::of(self, view, offer, &answer.calls[..kept.min(answer.calls.len())]);
        let (called, invalid_call) = (std::mem::take(&mut plans.called), plans.invalid_call);
        let done = |answer, executed, called, timing, tail| StepDone {
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
        };
        if plans.waits() {
            timing.total_ns = self.now().nanos_since(timing.started_at);
            return Ok(done(answer, plans.held(), Vec::new(), timing, tail));
        }
        let tools_began = self.now();
        let intents = intents(view.step, &plans.planned);
        if !intents.is_empty() {
            let calls = plans.planned.iter().map(|planned| planned.call.clone()).collect();
            let (answer, tail) = (answer.clone(), std::mem::take(&mut tail));
            let said =
                CallsSaid { answer, calls, finish, usage, prompt_hash, tokens, timing, tail };
            let begun = CallsBegun { step: view.step, said: Some(said), intents };
            self.begin_calls(begun).await?;
        }
        let made = tokio::select! {
            biased;
            () = self.token.cancelled() => return Err(Cut::Cancelled(Box::new((answer, tail)))),
            made = self.make(view.step, &view.caller, plans.planned) => made?,
        };
        self.stop_the_clock(&mut timing, tools_began);
        Ok(done(answer, made, called, timing, tail))
    }

    /// Writes down that calls are about to be made.
    pub(super) async fn begin_calls(&self, begun: CallsBegun) -> Result<(), Cut> {
        let (reply, recorded) = oneshot::channel();
        self.report(ReportKind::Called(Box::new(begun), reply));
        // Without an answer the run has ended meanwhile: it was cancelled, and nothing was made.
        recorded.await.map_err(|_| Cut::Abandoned)
    }

    fn stop_the_clock(&self, timing: &mut StepTiming, tools_began: Timestamp) {
        let ended = self.now();
        timing.tools_ns = ended.nanos_since(tools_began);
        timing.total_ns = ended.nanos_since(timing.started_at);
    }

    /// Goes on with a step whose model had spoken and whose calls were begun when an earlier turn was cut off.
    pub(super) async fn take_over(
        &self,
        view: &StepView,
        calls: &OpenCalls,
        said: &Said,
    ) -> Result<StepDone, Cut> {
        let offer = Offer::new(view, |id, older| self.shared.toolbox.schema(id, older));
        let answer =
            Answer { parts: said.message.content.clone(), calls: said.message.tool_calls.clone() };
        // All of them, whatever the rules say by now: they are what the model said, and each needs its return.
        let plans = Plans::of(self, view, &offer, &answer.calls);
        let planned = taken_over(plans.planned, &calls.intents, &calls.returned);
        let tools_began = self.now();
        let made = tokio::select! {
            biased;
            () = self.token.cancelled() => return Err(Cut::Cancelled(Box::new((answer, Vec::new())))),
            made = self.make(view.step, &view.caller, planned) => made?,
        };
        let mut timing = StepTiming {
            started_at: view.started_at,
            model_started_at: said.model_started_at,
            model_ns: said.model_ns,
            ..StepTiming::default()
        };
        self.stop_the_clock(&mut timing, tools_began);
        Ok(StepDone {
            answer,
            executed: made,
            called: plans.called,
            finish: if said.cut_by_length { Finish::Length } else { Finish::Stop },
            usage: said.usage,
            prompt_hash: said.prompt_hash,
            tokens: said.message.tokens,
            invalid_call: plans.invalid_call,
            timing,
            tail: Vec::new(),
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
        let pieces = turn.request.stream_tokens.then(|| {
            Pieces::new(view.config.agent_type, &turn.request, offer.one_call, asks(view, offer))
        });
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

/// Names of the tools whose calls a person or the client decides.
fn asks(view: &StepView, offer: &Offer) -> Vec<String> {
    let asks = offer.attached.iter().filter(|tool| must_ask(&view.config, tool));
    asks.map(|tool| tool.name.clone()).collect()
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
    Usage {
        prompt_tokens: view.counted_tokens() + view.input_tokens(),
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
