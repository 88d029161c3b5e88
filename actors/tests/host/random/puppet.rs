//! A model that says what the test tells it to, when the test tells it to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream;
use retold_models::{
    Chunk, ChunkStream, Finish, Message, Model, ModelError, ModelErrorKind, Part, Prompt,
};
use tokio::sync::{mpsc, watch};

type Speaker = mpsc::UnboundedSender<Result<Chunk, ModelError>>;

/// The model of several agents, told apart by their system prompts.
#[derive(Debug, Clone)]
pub(super) struct Puppet {
    calls: Arc<Mutex<Vec<Option<Call>>>>,
    count: watch::Sender<usize>,
}

/// The newest call of an agent.
#[derive(Debug)]
struct Call {
    prompt: Vec<(&'static str, String)>,
    speaker: Speaker,
}

impl Puppet {
    pub(super) fn new(agents: usize) -> Self {
        let calls = (0..agents).map(|_| None).collect();
        Self { calls: Arc::new(Mutex::new(calls)), count: watch::Sender::new(0) }
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until so many calls were made.
    pub(super) async fn called(&self, calls: usize) {
        let mut count = self.count.subscribe();
        count.wait_for(|&count| count >= calls).await.expect("the sender is held here");
    }

    /// Role and text of each message of an agent's newest call; what tools returned is left out.
    pub(super) fn prompt(&self, agent: usize) -> Vec<(&'static str, String)> {
        self.lock()[agent].as_ref().expect("it was called").prompt.clone()
    }

    pub(super) fn say(&self, agent: usize, text: &str) {
        self.send(agent, Ok(Chunk::Text(text.to_owned())));
    }

    pub(super) fn call_memory_insert(&self, agent: usize, text: &str) {
        let arguments = format!(r#"{{"label":"human","new_string":"{text}"}}"#);
        let name = "memory_insert".to_owned();
        self.send(agent, Ok(Chunk::ToolCall { index: 0, id: text.to_owned(), name }));
        self.send(agent, Ok(Chunk::ToolArguments { index: 0, fragment: arguments }));
        self.send(agent, Ok(Chunk::End { finish: Finish::ToolCalls, usage: None }));
    }

    pub(super) fn finish(&self, agent: usize) {
        self.send(agent, Ok(Chunk::End { finish: Finish::Stop, usage: None }));
    }

    pub(super) fn fail(&self, agent: usize, kind: ModelErrorKind) {
        let message = "told to".to_owned();
        self.send(agent, Err(ModelError { kind, message, detail: None, retry_after: None }));
    }

    fn send(&self, agent: usize, chunk: Result<Chunk, ModelError>) {
        let calls = self.lock();
        let call = calls[agent].as_ref().expect("the reference knows of a call");
        call.speaker.send(chunk).expect("the call is under way");
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for Puppet {
    fn stream(&self, prompt: &Prompt<'_>) -> ChunkStream {
        let mut calls = self.lock();
        let agent = (0..calls.len())
            .find(|number| prompt.system.contains(&format!("You are agent {number}.")))
            .expect("every agent's system prompt says which one it is");
        let (speaker, chunks) = mpsc::unbounded_channel();
        calls[agent] = Some(Call { prompt: prompt.messages.iter().map(seen).collect(), speaker });
        drop(calls);
        self.count.send_modify(|count| *count += 1);
        Box::pin(stream::unfold(chunks, |mut chunks| async move {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        }))
    }
}

fn seen(message: &Message<'_>) -> (&'static str, String) {
    match message {
        Message::System(text) => ("system", (*text).to_owned()),
        Message::User(parts) => ("user", text(parts)),
        Message::Assistant { parts, .. } => ("assistant", text(parts)),
        Message::Tool { .. } => ("tool", String::new()),
    }
}

fn text(parts: &[Part<'_>]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(*text),
        Part::Image(_) | Part::Reasoning { .. } | Part::RedactedReasoning(_) => None,
    });
    texts.collect()
}
