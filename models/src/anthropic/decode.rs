//! From the events of a Messages stream to chunks.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Chunk, Finish, ModelError, ModelErrorKind, Usage,
    http::{Decoder, Upstream},
    limits, sse,
};

/// The answer to one call, as far as it has come.
#[derive(Debug)]
pub(super) struct Answer {
    upstream: Arc<Upstream>,
    /// The tool calls under way, by the number of their content block.
    open_calls: HashMap<u64, OpenCall>,
    calls: u32,
    counts: Counts,
    counted: bool,
    finish: Option<Finish>,
    stopped: bool,
}

#[derive(Debug)]
struct OpenCall {
    index: u32,
    /// Arguments given whole at the start, used when no fragment follows.
    whole: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: End,
        #[serde(default)]
        usage: Counts,
    },
    MessageStop,
    Ping,
    Error {
        error: Value,
    },
    /// The whole answer, from a server that does not stream.
    Message(Message),
    /// Anthropic adds events and asks clients to pass over those they do not know.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Counts,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        #[serde(default)]
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        #[serde(default)]
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the variants are named by the wire")]
enum Delta {
    TextDelta {
        text: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct End {
    stop_reason: Option<String>,
}

/// Counts as they come in two parts: the request's at the start, the answer's at the end, some of them null.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl Counts {
    /// Later counts are totals and replace earlier ones, but a zero in a delta says nothing of the request.
    fn update(&mut self, later: Self) {
        let newer = |new: Option<u64>, old: Option<u64>| new.filter(|&new| new > 0).or(old).or(new);
        *self = Self {
            input_tokens: newer(later.input_tokens, self.input_tokens),
            output_tokens: newer(later.output_tokens, self.output_tokens),
            cache_read_input_tokens: newer(
                later.cache_read_input_tokens,
                self.cache_read_input_tokens,
            ),
            cache_creation_input_tokens: newer(
                later.cache_creation_input_tokens,
                self.cache_creation_input_tokens,
            ),
        };
    }

    fn usage(self) -> Usage {
        let cached = self.cache_read_input_tokens.unwrap_or(0)
            + self.cache_creation_input_tokens.unwrap_or(0);
        Usage {
            // Anthropic counts the cached tokens beside the others, we count them among them.
            prompt_tokens: self.input_tokens.unwrap_or(0) + cached,
            completion_tokens: self.output_tokens.unwrap_or(0),
            cached_input_tokens: self.cache_read_input_tokens,
            cache_write_tokens: self.cache_creation_input_tokens,
            reasoning_tokens: None,
        }
    }
}

impl Answer {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        Self {
            upstream,
            open_calls: HashMap::new(),
            calls: 0,
            counts: Counts::default(),
            counted: false,
            finish: None,
            stopped: false,
        }
    }

    fn take(&mut self, json: &[u8], out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        let event: Event = serde_json::from_slice(json).map_err(|error| {
            let said = String::from_utf8_lossy(json);
            self.upstream.invalid(&format!("an event that cannot be read ({error})"), Some(&said))
        })?;
        match event {
            Event::MessageStart { message } => self.count(message.usage),
            Event::ContentBlockStart { index, content_block } => {
                self.begin(index, content_block, out)?
            }
            Event::ContentBlockDelta { index, delta } => self.go_on(index, delta, out)?,
            Event::ContentBlockStop { index } => self.close(index, out),
            Event::MessageDelta { delta, usage } => {
                self.count(usage);
                self.finish = delta.stop_reason.as_deref().map(finish).or(self.finish);
            }
            Event::MessageStop => self.stopped = true,
            Event::Ping | Event::Unknown => {}
            Event::Error { error } => return Err(self.upstream.reported(&error)),
            Event::Message(message) => {
                for (index, block) in (0..).zip(message.content) {
                    self.begin(index, block, out)?;
                    self.close(index, out);
                }
                self.count(message.usage);
                self.finish = message.stop_reason.as_deref().map(finish);
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        block: u64,
        content: Block,
        out: &mut VecDeque<Chunk>,
    ) -> Result<(), ModelError> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        match content {
            Block::Text { text } => out.extend(some(text).map(Chunk::Text)),
            Block::Thinking { thinking, signature } => {
                out.extend(some(thinking).map(Chunk::Reasoning));
                out.extend(some(signature).map(Chunk::ReasoningSignature));
            }
            Block::RedactedThinking { data } => out.push_back(Chunk::RedactedReasoning(data)),
            Block::ToolUse { id, name, input } => {
                let index = self.calls;
                if index as usize >= limits::TOOL_CALLS {
                    return Err(self
                        .upstream
                        .invalid(&format!("more than {} tool calls", limits::TOOL_CALLS), None));
                }
                if id.is_empty() || name.is_empty() {
                    return Err(self.upstream.invalid("a tool call without id or name", None));
                }
                self.calls += 1;
                let whole =
                    input.as_object().filter(|input| !input.is_empty()).map(|_| input.to_string());
                self.open_calls.insert(block, OpenCall { index, whole });
                out.push_back(Chunk::ToolCall { index, id, name });
            }
            Block::Unknown => {}
        }
        Ok(())
    }

    fn go_on(
        &mut self,
        block: u64,
        delta: Delta,
        out: &mut VecDeque<Chunk>,
    ) -> Result<(), ModelError> {
        match delta {
            Delta::TextDelta { text } => out.push_back(Chunk::Text(text)),
            Delta::ThinkingDelta { thinking } => out.push_back(Chunk::Reasoning(thinking)),
            Delta::SignatureDelta { signature } => {
                out.push_back(Chunk::ReasoningSignature(signature))
            }
            Delta::InputJsonDelta { partial_json } => {
                let Some(call) = self.open_calls.get_mut(&block) else {
                    return Err(self.upstream.invalid("arguments of no tool call", None));
                };
                call.whole = None;
                if !partial_json.is_empty() {
                    out.push_back(Chunk::ToolArguments {
                        index: call.index,
                        fragment: partial_json,
                    });
                }
            }
            Delta::Unknown => {}
        }
        Ok(())
    }

    fn close(&mut self, block: u64, out: &mut VecDeque<Chunk>) {
        if let Some(OpenCall { index, whole: Some(fragment) }) = self.open_calls.remove(&block) {
            out.push_back(Chunk::ToolArguments { index, fragment });
        }
    }

    fn count(&mut self, counts: Counts) {
        self.counted |= counts.input_tokens.is_some() || counts.output_tokens.is_some();
        self.counts.update(counts);
    }
}

impl Decoder for Answer {
    fn event(&mut self, event: &sse::Event, out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        if event.data.trim().is_empty() {
            return Ok(());
        }
        self.take(event.data.as_bytes(), out)
    }

    fn whole(&mut self, body: &[u8], out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        self.take(body, out)
    }

    fn finished(&self) -> bool {
        self.finish.is_some()
    }

    fn complete(&self) -> bool {
        self.stopped
    }

    fn end(&mut self, out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        let Some(finish) = self.finish else {
            let what = "broke the answer off before saying why it ended; try again";
            return Err(self.upstream.failure(ModelErrorKind::Connection, what, None));
        };
        out.push_back(Chunk::End { finish, usage: self.counted.then(|| self.counts.usage()) });
        Ok(())
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::ContentFilter,
        // `end_turn`, `stop_sequence`, and `pause_turn`, which only tools on Anthropic's side cause.
        _ => Finish::Stop,
    }
}
