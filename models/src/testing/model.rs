//! A model that says what it was told to say.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future, stream};
use tokio::sync::Notify;

use crate::{
    Chunk, ChunkStream, Finish, Message, Model, ModelError, ModelErrorKind, Part, Prompt,
    ToolChoice, Usage,
};

/// One step of a scripted answer.
#[derive(Debug, Clone)]
pub enum Say {
    /// The next chunk.
    Chunk(Chunk),
    /// The call fails here.
    Fail(ModelError),
    /// Nothing for this long (virtual time, when the test pauses it).
    Wait(Duration),
    /// Nothing until the test notifies.
    Until(Arc<Notify>),
    /// Nothing, for ever.
    Hang,
}

impl Say {
    /// A piece of text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Chunk(Chunk::Text(text.to_owned()))
    }

    /// The end of an answer, with a usage of 10 + 5 tokens.
    #[must_use]
    pub fn end(finish: Finish) -> Self {
        let usage = Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() };
        Self::Chunk(Chunk::End { finish, usage: Some(usage) })
    }

    /// A whole answer of text, one chunk per word.
    #[must_use]
    pub fn answer(text: &str) -> Vec<Self> {
        text.split_inclusive(' ').map(Self::text).chain([Self::end(Finish::Stop)]).collect()
    }

    /// A whole answer of one tool call.
    #[must_use]
    pub fn call(id: &str, name: &str, arguments: &str) -> Vec<Self> {
        Self::calls(&[(id, name, arguments)])
    }

    /// A whole answer of several tool calls: id, name and arguments of each.
    #[must_use]
    pub fn calls(calls: &[(&str, &str, &str)]) -> Vec<Self> {
        let mut script = Vec::new();
        for (index, &(id, name, arguments)) in (0_u32..).zip(calls) {
            script.push(Self::Chunk(Chunk::ToolCall {
                index,
                id: id.to_owned(),
                name: name.to_owned(),
            }));
            script
                .push(Self::Chunk(Chunk::ToolArguments { index, fragment: arguments.to_owned() }));
        }
        script.push(Self::end(Finish::ToolCalls));
        script
    }

    /// A failed call.
    #[must_use]
    pub fn failure(kind: ModelErrorKind, message: &str) -> Vec<Self> {
        vec![Self::Fail(ModelError {
            kind,
            message: message.to_owned(),
            detail: None,
            retry_after: None,
        })]
    }
}

/// A prompt as a scripted model saw it, owned.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenPrompt {
    /// The system text.
    pub system: String,
    /// The messages, in order.
    pub messages: Vec<SeenMessage>,
    /// Names of the tools offered.
    pub tools: Vec<String>,
    /// `auto`, `required`, `none`, or the name of the tool.
    pub tool_choice: String,
    /// As in the prompt.
    pub parallel_tool_calls: bool,
    /// As in the prompt.
    pub max_output_tokens: Option<u32>,
    /// As in the prompt.
    pub temperature: Option<f64>,
}

/// A message as a scripted model saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// The text parts, joined by line feeds; of a tool message, the return.
    pub text: String,
    /// Id, name and arguments of each call.
    pub calls: Vec<(String, String, String)>,
    /// The call that a tool message answers.
    pub call_id: Option<String>,
}

impl SeenPrompt {
    fn new(prompt: &Prompt<'_>) -> Self {
        Self {
            system: prompt.system.to_owned(),
            messages: prompt.messages.iter().map(SeenMessage::new).collect(),
            tools: prompt.tools.iter().map(|tool| tool.name.clone()).collect(),
            tool_choice: match prompt.tool_choice {
                ToolChoice::Auto => "auto",
                ToolChoice::Required => "required",
                ToolChoice::Named(name) => name,
                ToolChoice::None => "none",
            }
            .to_owned(),
            parallel_tool_calls: prompt.parallel_tool_calls,
            max_output_tokens: prompt.max_output_tokens,
            temperature: prompt.temperature,
        }
    }

    /// The text of the last message, or nothing.
    #[must_use]
    pub fn last_text(&self) -> &str {
        self.messages.last().map_or("", |message| &message.text)
    }
}

impl SeenMessage {
    fn new(message: &Message<'_>) -> Self {
        let seen = |role, text: String| Self { role, text, calls: Vec::new(), call_id: None };
        match message {
            Message::System(text) => seen("system", (*text).to_owned()),
            Message::User(parts) => seen("user", text(parts)),
            Message::Assistant { parts, calls } => Self {
                calls: calls
                    .iter()
                    .map(|call| {
                        (call.id.to_owned(), call.name.to_owned(), call.arguments.to_owned())
                    })
                    .collect(),
                ..seen("assistant", text(parts))
            },
            Message::Tool { call_id, content, .. } => {
                Self { call_id: Some((*call_id).to_owned()), ..seen("tool", (*content).to_owned()) }
            }
        }
    }
}

fn text(parts: &[Part<'_>]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(*text),
        Part::Image(_) | Part::Reasoning { .. } | Part::RedactedReasoning(_) => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A model whose answers are scripted, one script per call.
///
/// Clones share scripts and records. A call for which there is no script fails with
/// [`ModelErrorKind::Server`], so that a test that runs on notices.
#[derive(Clone)]
pub struct ScriptedModel {
    inner: Arc<Inner>,
}

struct Inner {
    scripts: Mutex<VecDeque<Vec<Say>>>,
    responder: Option<Responder>,
    seen: Mutex<Vec<SeenPrompt>>,
    dropped: Mutex<usize>,
    /// Notified when a call starts and when a stream is dropped.
    changed: Notify,
}

type Responder = Box<dyn Fn(&SeenPrompt) -> Vec<Say> + Send + Sync>;

impl ScriptedModel {
    /// A model that answers its calls with `scripts`, in order.
    #[must_use]
    pub fn new(scripts: impl IntoIterator<Item = Vec<Say>>) -> Self {
        Self::build(scripts.into_iter().collect(), None)
    }

    /// A model that answers every call with what `responder` makes of its prompt.
    #[must_use]
    pub fn from_fn(responder: impl Fn(&SeenPrompt) -> Vec<Say> + Send + Sync + 'static) -> Self {
        Self::build(VecDeque::new(), Some(Box::new(responder)))
    }

    fn build(scripts: VecDeque<Vec<Say>>, responder: Option<Responder>) -> Self {
        let inner = Inner {
            scripts: Mutex::new(scripts),
            responder,
            seen: Mutex::default(),
            dropped: Mutex::default(),
            changed: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a script for one more call.
    pub fn push(&self, script: Vec<Say>) {
        lock(&self.inner.scripts).push_back(script);
    }

    /// Every prompt so far, oldest first.
    #[must_use]
    pub fn prompts(&self) -> Vec<SeenPrompt> {
        lock(&self.inner.seen).clone()
    }

    /// How many streams were dropped before their end: cancelled calls.
    #[must_use]
    pub fn dropped(&self) -> usize {
        *lock(&self.inner.dropped)
    }

    /// Waits until `calls` calls have been made.
    pub async fn called(&self, calls: usize) {
        self.until(|| lock(&self.inner.seen).len() >= calls).await;
    }

    /// Waits until `streams` streams have been dropped before their end.
    pub async fn cancelled(&self, streams: usize) {
        self.until(|| self.dropped() >= streams).await;
    }

    async fn until(&self, met: impl Fn() -> bool) {
        loop {
            let changed = self.inner.changed.notified();
            if met() {
                return;
            }
            changed.await;
        }
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel")
            .field("calls", &lock(&self.inner.seen).len())
            .finish_non_exhaustive()
    }
}

impl Model for ScriptedModel {
    fn stream(&self, prompt: &Prompt<'_>) -> ChunkStream {
        let seen = SeenPrompt::new(prompt);
        let script = match &self.inner.responder {
            Some(responder) => responder(&seen),
            None => lock(&self.inner.scripts).pop_front().unwrap_or_else(|| {
                Say::failure(ModelErrorKind::Server, "the scripted model has no script left")
            }),
        };
        lock(&self.inner.seen).push(seen);
        self.inner.changed.notify_waiters();
        let playing =
            Playing { script: script.into(), ended: false, inner: Arc::clone(&self.inner) };
        let chunks = stream::unfold(playing, |mut playing| async move {
            playing.next().await.map(|item| (item, playing))
        });
        Box::pin(chunks.fuse())
    }
}

/// One answer under way; its drop is what a test counts as a cancel.
struct Playing {
    script: VecDeque<Say>,
    ended: bool,
    inner: Arc<Inner>,
}

impl Playing {
    async fn next(&mut self) -> Option<Result<Chunk, ModelError>> {
        loop {
            if self.ended {
                return None;
            }
            match self.script.pop_front() {
                Some(Say::Chunk(chunk)) => {
                    self.ended = matches!(chunk, Chunk::End { .. });
                    return Some(Ok(chunk));
                }
                Some(Say::Fail(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                Some(Say::Wait(time)) => tokio::time::sleep(time).await,
                Some(Say::Until(notify)) => notify.notified().await,
                Some(Say::Hang) => future::pending().await,
                None => {
                    self.ended = true;
                    return None;
                }
            }
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        if !self.ended {
            *lock(&self.inner.dropped) += 1;
            self.inner.changed.notify_waiters();
        }
    }
}

/// A test that panicked elsewhere has already failed; its records are still worth reading.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
