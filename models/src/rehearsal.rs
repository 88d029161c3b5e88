//! The rehearsal model: what a fresh server answers with before anybody has configured a provider.
//!
//! It is a script and says so. It understands a few sentences (a name, a fact, a question about them, a search), and
//! answers them the way an agent would, by calling the tools it is offered, so that memory, streaming and tool calls
//! can be seen working without a key and without a network. The same prompt gives the same chunks. It reads the last
//! messages and the memory section of the system text, never the whole history.

mod answer;
mod facts;
mod scene;
mod schema;
mod summary;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::{Chunk, ChunkStream, Finish, Message, Model, ModelInfo, Part, Prompt, Usage, tokens};
use answer::Answer;

/// The handle of the rehearsal model.
pub const HANDLE: &str = "retold/rehearsal";

/// The rehearsal model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rehearsal;

impl Rehearsal {
    /// The one there is.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// What the catalog says of it.
    #[must_use]
    pub fn info() -> ModelInfo {
        info()
    }
}

pub(crate) fn info() -> ModelInfo {
    ModelInfo {
        handle: HANDLE.to_owned(),
        name: "rehearsal".to_owned(),
        provider_name: "retold".to_owned(),
        provider_type: "letta",
        endpoint_type: "openai",
        endpoint: None,
        context_window: 128_000,
        max_output_tokens: None,
        supports_images: false,
        native_reasoning: false,
    }
}

impl Model for Rehearsal {
    fn stream(&self, prompt: &Prompt<'_>) -> ChunkStream {
        let answer = answer::decide(prompt);
        let chunks: Arc<[Chunk]> = chunks(prompt, answer).into();
        // Yielding between chunks lets a cancel in, and the reader see a stream where there is only a list.
        let stream = stream::unfold((chunks, 0), |(chunks, at)| async move {
            if at > 0 {
                tokio::task::yield_now().await;
            }
            let chunk = chunks.get(at)?.clone();
            Some((Ok(chunk), (chunks, at + 1)))
        });
        Box::pin(stream.fuse())
    }
}

fn chunks(prompt: &Prompt<'_>, answer: Answer) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let wants_reasoning = prompt.reasoning.as_ref().is_some_and(|reasoning| {
        reasoning.budget_tokens.is_some_and(|budget| budget > 0)
            || reasoning.effort.as_deref().is_some_and(|effort| effort != "none")
    });
    if wants_reasoning {
        chunks.push(Chunk::Reasoning(answer.reason().to_owned()));
    }
    let (finish, said) = match answer {
        Answer::Say { text, .. } => {
            let (text, finish) = match prompt.max_output_tokens {
                Some(limit) if tokens::estimate(&text) > limit => {
                    let cut = text.floor_char_boundary(limit as usize * 4);
                    (text[..cut].to_owned(), Finish::Length)
                }
                Some(_) | None => (text, Finish::Stop),
            };
            chunks.extend(words(&text).map(Chunk::Text));
            (finish, tokens::estimate(&text))
        }
        Answer::Call { name, arguments, .. } => {
            chunks.push(Chunk::ToolCall { index: 0, id: call_id(prompt, &name, &arguments), name });
            chunks.extend(
                words(&arguments).map(|fragment| Chunk::ToolArguments { index: 0, fragment }),
            );
            (Finish::ToolCalls, tokens::estimate(&arguments))
        }
    };
    let usage = Usage {
        prompt_tokens: u64::from(prompt_tokens(prompt)),
        completion_tokens: u64::from(said),
        ..Usage::default()
    };
    chunks.push(Chunk::End { finish, usage: Some(usage) });
    chunks
}

/// An estimate at four bytes a token: counting a long history on every call would cost more than the answer does.
fn prompt_tokens(prompt: &Prompt<'_>) -> u32 {
    let of_part = |part: &Part<'_>| match part {
        Part::Text(text) | Part::Reasoning { text, .. } | Part::RedactedReasoning(text) => {
            tokens::estimate(text)
        }
        Part::Image(_) => tokens::image_tokens(),
    };
    let of_message = |message: &Message<'_>| match message {
        Message::System(text) => tokens::estimate(text),
        Message::User(parts) => parts.iter().map(of_part).fold(0, u32::saturating_add),
        Message::Assistant { parts, calls } => {
            let called = calls.iter().map(|call| tokens::estimate(call.arguments));
            parts.iter().map(of_part).chain(called).fold(0, u32::saturating_add)
        }
        Message::Tool { content, .. } => tokens::estimate(content),
    };
    prompt
        .messages
        .iter()
        .map(of_message)
        .fold(tokens::estimate(prompt.system), u32::saturating_add)
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_inclusive(char::is_whitespace).map(str::to_owned)
}

/// An id that differs from those of other turns, and is the same for the same prompt (FNV-1a over what tells turns
/// apart).
fn call_id(prompt: &Prompt<'_>, name: &str, arguments: &str) -> String {
    let turn = prompt.messages.len().to_be_bytes();
    let bytes = turn.iter().chain(name.as_bytes()).chain(arguments.as_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("call_rehearsal_{hash:016x}")
}
