//! From the events of a Chat Completions stream to chunks.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use serde_json::Value;

use super::{
    assembly::{Assembly, Broken},
    wire::{CallDelta, Choice, Completion, Delta, content},
};
use crate::{
    Chunk, Finish, ModelError, ModelErrorKind, Usage,
    http::{Decoder, Upstream},
    sse,
};

/// The answer to one call, as far as it has come.
#[derive(Debug)]
pub(super) struct Answer {
    upstream: Arc<Upstream>,
    calls: Assembly,
    usage: Option<Usage>,
    finish: Option<Finish>,
    done: bool,
}

impl Answer {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, calls: Assembly::new(), usage: None, finish: None, done: false }
    }

    fn completion(&mut self, text: &[u8], out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        let invalid = |error: serde_json::Error| {
            self.upstream.invalid(
                &format!("no JSON where it should be ({error})"),
                Some(&String::from_utf8_lossy(text)),
            )
        };
        if let Some(piece) = plain_text(text) {
            if !piece.is_empty() {
                out.push_back(Chunk::Text(piece));
            }
            return Ok(());
        }
        let completion: Completion = serde_json::from_slice(text).map_err(invalid)?;
        let is_error = completion.object.as_ref().and_then(Value::as_str) == Some("error");
        if is_error || completion.error.is_some_and(|error| !error.is_null()) {
            let whole: Value = serde_json::from_slice(text).map_err(invalid)?;
            return Err(self.upstream.reported(&whole));
        }
        // Some send running totals with every delta: the last one counts.
        self.usage = completion.usage.map(Usage::from).or(self.usage.take());
        // Only one answer was asked for; a second choice would be mixed into the first.
        let choices = completion.choices.unwrap_or_default();
        for choice in choices.into_iter().filter(|choice| choice.index.unwrap_or(0) == 0) {
            self.choice(choice, out)?;
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice, out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        if let Some(error) = choice.error.filter(|error| !error.is_null()) {
            return Err(self.upstream.reported(&error));
        }
        if let Some(delta) = choice.delta {
            self.delta(delta, out)?;
        }
        match choice.finish_reason.as_deref() {
            None | Some("") => {}
            Some("error") => {
                let what = "failed in mid-answer; try again";
                return Err(self.upstream.failure(ModelErrorKind::Server, what, None));
            }
            Some(reason) => self.finish = Some(finish(reason)),
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta, out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        let (thinking, text) = delta.content.map(content).unwrap_or_default();
        let reasoning = [delta.reasoning_content, delta.reasoning, Some(thinking)];
        let reasoning = reasoning.into_iter().flatten().find(|text| !text.is_empty());
        out.extend(reasoning.map(Chunk::Reasoning));
        let texts =
            [Some(text), delta.refusal].into_iter().flatten().filter(|text| !text.is_empty());
        out.extend(texts.map(Chunk::Text));
        let legacy = delta.function_call.map(|function| CallDelta {
            index: Some(0),
            id: None,
            function: Some(function),
        });
        for call in delta.tool_calls.into_iter().flatten().chain(legacy) {
            let pushed = self.calls.push(call, out);
            self.assembled(pushed)?;
        }
        Ok(())
    }

    fn assembled(&self, result: Result<(), Broken>) -> Result<(), ModelError> {
        result.map_err(|broken| self.upstream.invalid(&broken.to_string(), None))
    }
}

impl Decoder for Answer {
    fn event(&mut self, event: &sse::Event, out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        if event.name == "error" {
            let error =
                serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()));
            return Err(self.upstream.reported(&error));
        }
        self.completion(data.as_bytes(), out)
    }

    fn whole(&mut self, body: &[u8], out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        self.completion(body, out)
    }

    fn finished(&self) -> bool {
        self.finish.is_some()
    }

    fn complete(&self) -> bool {
        self.done
    }

    fn end(&mut self, out: &mut VecDeque<Chunk>) -> Result<(), ModelError> {
        let Some(finish) = self.finish else {
            // `[DONE]` alone does not say whether the model was done or cut off.
            let what = "broke the answer off before saying why it ended; try again";
            return Err(self.upstream.failure(ModelErrorKind::Connection, what, None));
        };
        let finished = self.calls.finish(out);
        self.assembled(finished)?;
        // Several providers say `stop` after tool calls.
        let finish = if finish == Finish::Stop && !self.calls.is_empty() {
            Finish::ToolCalls
        } else {
            finish
        };
        out.push_back(Chunk::End { finish, usage: self.usage });
        Ok(())
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "length" | "max_tokens" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        // `stop`, and the words of others for it: `eos`, `eos_token`, `end_turn`, `stop_sequence`, ...
        _ => Finish::Stop,
    }
}

/// The text of a frame that holds nothing but a piece of text, as nearly all of an answer do. Reading those strictly takes
/// a fifth of the time that the lenient way takes, which understands everything else.
fn plain_text(frame: &[u8]) -> Option<String> {
    let Plain { choices: [choice], error: None, usage: None } =
        serde_json::from_slice(frame).ok()?
    else {
        return None;
    };
    (choice.index == 0).then(|| choice.delta.content.unwrap_or_default().into_owned())
}

#[derive(serde::Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    choices: [PlainChoice<'a>; 1],
    error: Option<serde::de::IgnoredAny>,
    usage: Option<serde::de::IgnoredAny>,
}

#[derive(serde::Deserialize)]
struct PlainChoice<'a> {
    index: u64,
    #[serde(borrow)]
    delta: PlainDelta<'a>,
    /// Nothing but null: what ends an answer is read the other way.
    #[serde(rename = "finish_reason")]
    _finish_reason: (),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainDelta<'a> {
    #[serde(rename = "role", borrow, default)]
    _role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
}
