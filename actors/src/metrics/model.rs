//! Calls of models: how long, how soon, how many tokens.
//!
//! A model is measured where it is resolved, by a wrapper that lets its stream pass: so every call counts, those that
//! compact a history too, and the loop that makes them knows nothing of it.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::Stream;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use retold_events::run::Usage;
use retold_models::{Chunk, ChunkStream, Model, ModelError, ModelErrorKind, Prompt};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::LONG;

/// Handles that have numbers of their own. A provider that gives no list takes any name, so a client could make up more
/// and more of them; those beyond are counted together.
const HANDLES: usize = 128;
/// What handles beyond [`HANDLES`] are called.
const OTHER: &str = "other";

/// The numbers of all models of a host.
#[derive(Debug, Clone)]
pub(crate) struct Models {
    calls: Family<Call, Counter>,
    open: Gauge,
    seconds: Family<Handle, Histogram, fn() -> Histogram>,
    first_chunk_seconds: Family<Handle, Histogram, fn() -> Histogram>,
    tokens: Family<Tokens, Counter>,
    handles: Arc<Mutex<HashMap<String, Handle>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handle {
    model: Arc<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    model: Arc<String>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    model: Arc<String>,
    kind: &'static str,
}

impl Default for Models {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(LONG);
        Self {
            calls: Family::default(),
            open: Gauge::default(),
            seconds: Family::new_with_constructor(histogram),
            first_chunk_seconds: Family::new_with_constructor(histogram),
            tokens: Family::default(),
            handles: Arc::default(),
        }
    }
}

impl Models {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "retold_model_calls",
            "Calls of models, by how they ended; dropped are those that a cancel cut short",
            self.calls.clone(),
        );
        registry.register(
            "retold_model_calls_open",
            "Calls of models under way",
            self.open.clone(),
        );
        registry.register(
            "retold_model_call_seconds",
            "Calls of models, from the request to the end of the answer",
            self.seconds.clone(),
        );
        registry.register(
            "retold_model_first_chunk_seconds",
            "Calls of models, from the request to the first piece of the answer",
            self.first_chunk_seconds.clone(),
        );
        registry.register(
            "retold_tokens",
            "Tokens of steps: of prompts, of completions, and of prompts from a provider's cache",
            self.tokens.clone(),
        );
    }

    /// A model whose calls are measured. `asked` is what it was asked for by, `handle` what the catalog calls it.
    pub(crate) fn measured(
        &self,
        model: Arc<dyn Model>,
        asked: &str,
        handle: &str,
    ) -> Arc<dyn Model> {
        let (models, handle) = (self.clone(), self.handle(handle));
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.len() < HANDLES && !handles.contains_key(asked) {
            handles.insert(asked.to_owned(), handle.clone());
        }
        drop(handles);
        Arc::new(Measured { model, models, handle })
    }

    /// A step used tokens of a model that the catalog resolved.
    pub(super) fn used(&self, handle: &str, usage: &Usage) {
        let Handle { model } = self.handle(handle);
        let cached = usage.cached_input_tokens.unwrap_or(0);
        for (kind, tokens) in [
            ("prompt", usage.prompt_tokens),
            ("completion", usage.completion_tokens),
            ("cached_prompt", cached),
        ] {
            let labels = Tokens { model: Arc::clone(&model), kind };
            self.tokens.get_or_create_owned(&labels).inc_by(tokens);
        }
    }

    fn handle(&self, handle: &str) -> Handle {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = handles.get(handle) {
            return known.clone();
        }
        let name = if handles.len() < HANDLES { handle } else { OTHER };
        let new = Handle { model: Arc::new(name.to_owned()) };
        if handles.len() < HANDLES {
            handles.insert(handle.to_owned(), new.clone());
        }
        new
    }
}

/// A model whose calls are measured.
#[derive(Debug)]
struct Measured {
    model: Arc<dyn Model>,
    models: Models,
    handle: Handle,
}

impl Model for Measured {
    fn stream(&self, prompt: &Prompt<'_>) -> ChunkStream {
        self.models.open.inc();
        Box::pin(Answering {
            answer: self.model.stream(prompt),
            began: Instant::now(),
            first_chunk: Some(self.models.first_chunk_seconds.get_or_create_owned(&self.handle)),
            outcome: "dropped",
            models: self.models.clone(),
            handle: self.handle.clone(),
        })
    }

    fn request(&self, prompt: &Prompt<'_>) -> Option<Box<RawValue>> {
        self.model.request(prompt)
    }
}

/// One answer while it comes. What it was is counted when it is dropped, because a cancel drops it.
struct Answering {
    answer: ChunkStream,
    began: Instant,
    /// Taken with the first chunk.
    first_chunk: Option<Histogram>,
    outcome: &'static str,
    models: Models,
    handle: Handle,
}

impl Stream for Answering {
    type Item = Result<Chunk, ModelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.answer.as_mut().poll_next(cx);
        if let Poll::Ready(Some(item)) = &polled {
            if let Some(histogram) = self.first_chunk.take().filter(|_| item.is_ok()) {
                histogram.observe(self.began.elapsed().as_secs_f64());
            }
            match item {
                Ok(Chunk::End { .. }) => self.outcome = "success",
                Ok(_) => {}
                Err(error) => self.outcome = kind_name(error.kind),
            }
        }
        polled
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let call = Call { model: Arc::clone(&self.handle.model), outcome: self.outcome };
        self.models.calls.get_or_create_owned(&call).inc();
        self.models.open.dec();
        let seconds = self.models.seconds.get_or_create_owned(&self.handle);
        seconds.observe(self.began.elapsed().as_secs_f64());
    }
}

fn kind_name(kind: ModelErrorKind) -> &'static str {
    match kind {
        ModelErrorKind::Authentication => "authentication",
        ModelErrorKind::InsufficientCredits => "insufficient_credits",
        ModelErrorKind::RateLimit => "rate_limit",
        ModelErrorKind::Timeout => "timeout",
        ModelErrorKind::ContextWindowExceeded => "context_window_exceeded",
        ModelErrorKind::BadRequest => "bad_request",
        ModelErrorKind::Server => "server",
        ModelErrorKind::Connection => "connection",
        ModelErrorKind::InvalidResponse => "invalid_response",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn handles_beyond_the_bound_are_counted_together() {
        let models = Models::default();
        let usage = Usage { prompt_tokens: 1, ..Usage::default() };
        for number in 0..HANDLES * 2 {
            models.used(&format!("openai/made-up-{number}"), &usage);
            models.used("openai/made-up-0", &usage);
        }
        let mut registry = Registry::default();
        models.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let prompts: Vec<&str> =
            text.lines().filter(|line| line.contains("kind=\"prompt\"")).collect();
        assert_eq!(prompts.len(), HANDLES + 1);
        let total = |model: &str, tokens: usize| {
            let line = format!("retold_tokens_total{{model=\"{model}\",kind=\"prompt\"}} {tokens}");
            assert!(prompts.contains(&line.as_str()), "{line}");
        };
        total(OTHER, HANDLES);
        total("openai/made-up-0", HANDLES * 2 + 1);
    }
}
