//! The one trait, and the words it is spoken in.
//!
//! A prompt borrows everything: building one copies no history. An implementation serialises the request body inside
//! [`Model::stream`], before it returns, so the stream itself owns what it needs and borrows nothing.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use serde_json::value::RawValue;

/// What a model streams: any number of chunks, then exactly one [`Chunk::End`] or one error, then nothing.
pub type ChunkStream = Pin<Box<dyn Stream<Item = Result<Chunk, ModelError>> + Send + 'static>>;

/// A language model that answers prompts.
pub trait Model: Send + Sync + std::fmt::Debug + 'static {
    /// Starts one call. The request is serialised before this returns; nothing is sent until the stream is polled.
    ///
    /// Dropping the stream at any point drops the connection to the provider.
    fn stream(&self, prompt: &Prompt<'_>) -> ChunkStream;

    /// The body of the request that [`Model::stream`] sends for `prompt`, without sending it: JSON, no headers, and the
    /// provider's key struck out should it stand in a text. `None` for a model that is no provider's; what it gets is
    /// told by [`neutral::request`](crate::neutral::request).
    fn request(&self, _prompt: &Prompt<'_>) -> Option<Box<RawValue>> {
        None
    }
}

/// One request to a model. Everything is borrowed.
#[derive(Debug, Clone)]
pub struct Prompt<'a> {
    /// The system text; empty means none.
    pub system: &'a str,
    /// The conversation without the system text, oldest first. Each assistant tool call is followed by its return.
    pub messages: Vec<Message<'a>>,
    /// Tools the model may call.
    pub tools: &'a [ToolSchema],
    /// Whether it may, must or must not call one.
    pub tool_choice: ToolChoice<'a>,
    /// Whether more than one call per answer is allowed.
    pub parallel_tool_calls: bool,
    /// Upper bound of the answer, in tokens.
    pub max_output_tokens: Option<u32>,
    /// Sampling temperature, when the caller set one.
    pub temperature: Option<f64>,
    /// Reasoning wishes, when the caller set any.
    pub reasoning: Option<Reasoning>,
    /// The form of the answer, when the caller asked for one.
    pub response_format: Option<ResponseFormat<'a>>,
}

/// One message of the conversation.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// A note in mid-conversation with the authority of the system.
    System(&'a str),
    /// What a person said.
    User(Vec<Part<'a>>),
    /// What the model said, thought and called, in the order it did.
    Assistant {
        /// Reasoning and text parts; images do not occur here.
        parts: Vec<Part<'a>>,
        /// The calls it made.
        calls: Vec<ToolCall<'a>>,
    },
    /// What a tool returned.
    Tool {
        /// The id of the call this answers.
        call_id: &'a str,
        /// The text of the return.
        content: &'a str,
        /// Whether the tool failed.
        is_error: bool,
    },
}

/// One part of a message.
#[derive(Debug, Clone)]
pub enum Part<'a> {
    /// Plain text.
    Text(&'a str),
    /// A picture.
    Image(Image<'a>),
    /// The model's own reasoning, given back to it.
    Reasoning {
        /// The text.
        text: &'a str,
        /// The provider's proof of origin; Anthropic refuses thinking without it.
        signature: Option<&'a str>,
    },
    /// Reasoning the provider encrypted; given back verbatim.
    RedactedReasoning(&'a str),
}

/// A picture, by address or by value.
#[derive(Debug, Clone, Copy)]
pub enum Image<'a> {
    /// The provider fetches it.
    Url(&'a str),
    /// Base64 `data` of `media_type`.
    Base64 {
        /// For instance `image/png`.
        media_type: &'a str,
        /// Standard base64.
        data: &'a str,
    },
}

/// A call the model made.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The provider's id of the call.
    pub id: &'a str,
    /// The tool's name.
    pub name: &'a str,
    /// The arguments: JSON text of an object.
    pub arguments: &'a str,
}

/// A tool as the model sees it.
#[derive(Debug, Clone)]
pub struct ToolSchema {
    /// The name the model calls.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema of the arguments, an object schema.
    pub parameters: Box<RawValue>,
}

/// Whether the model calls a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// As it likes.
    Auto,
    /// Some tool, its choice.
    Required,
    /// This tool.
    Named(&'a str),
    /// No tool.
    None,
}

/// How much a model should reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasoning {
    /// `none|minimal|low|medium|high|xhigh`, sent to providers that take an effort.
    pub effort: Option<String>,
    /// Thinking budget in tokens, sent to providers that take one (Anthropic: at least 1024).
    pub budget_tokens: Option<u32>,
}

/// The form of the answer.
#[derive(Debug, Clone)]
pub enum ResponseFormat<'a> {
    /// Plain text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema: the whole `json_schema` object of the request.
    JsonSchema(&'a RawValue),
}

/// One thing a model said while answering.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    /// More reasoning text.
    Reasoning(String),
    /// The signature of the reasoning part just streamed.
    ReasoningSignature(String),
    /// A reasoning part the provider encrypted, whole.
    RedactedReasoning(String),
    /// More answer text.
    Text(String),
    /// A tool call begins. `index` numbers the calls of this answer from 0; `id` is never empty: where the provider
    /// gives none, one is made up.
    ToolCall {
        /// Number of the call in this answer.
        index: u32,
        /// The provider's id of the call.
        id: String,
        /// The tool's name, complete.
        name: String,
    },
    /// More argument text of call `index`.
    ToolArguments {
        /// Number of the call in this answer.
        index: u32,
        /// A fragment of JSON text.
        fragment: String,
    },
    /// The answer is complete.
    End {
        /// Why it ended.
        finish: Finish,
        /// What it cost; `None` when the provider did not say.
        usage: Option<Usage>,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// It reached the output limit.
    Length,
    /// It wants its tools called.
    ToolCalls,
    /// The provider withheld the rest.
    ContentFilter,
}

/// Tokens of one call, as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Request tokens served from the provider's cache.
    pub cached_input_tokens: Option<u64>,
    /// Request tokens written to the provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
}

/// A call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    /// What sort of failure, which decides the HTTP status and the run's stop reason.
    pub kind: ModelErrorKind,
    /// One sentence for a person: which provider, what happened, what to do.
    pub message: String,
    /// What the provider said, cut to 2 KiB; never holds a key.
    pub detail: Option<Arc<str>>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
}

/// The sorts of failure of a model call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// The provider refused the key (401, 403).
    Authentication,
    /// No credits left (402, or a quota error).
    InsufficientCredits,
    /// Too many requests (429).
    RateLimit,
    /// No answer in time: connecting, first byte, or silence between chunks.
    Timeout,
    /// The request is larger than the model's context window.
    ContextWindowExceeded,
    /// The provider refused the request (other 4xx).
    BadRequest,
    /// The provider failed (5xx, overloaded).
    Server,
    /// No connection could be made or it broke in mid-answer.
    Connection,
    /// The answer was not understandable, or larger than its bound.
    InvalidResponse,
}

/// A note of the system in mid-conversation, for providers whose conversations have only the user and the assistant.
pub(crate) fn system_note(text: &str) -> String {
    format!("<system_note>\n{text}\n</system_note>")
}
