//! What people and models said, in the words of the conventions. Only made when it is asked for.
//!
//! A model's call gets what is new to it with this call: the run's input with the first, what the tools returned with each
//! further one. What was there before is in the spans before; repeating all of it in every span would make the traces of
//! an agent grow with the square of its history.
//!
//! Source: `gen-ai-input-messages.json` and `gen-ai-output-messages.json` of the conventions.

use retold_events::{Image, Message, Part, Role, ToolCall, run::Input};
use serde_json::{Value, json};

/// Longest text that is passed on; backends refuse attributes that are much larger.
const LONGEST_TEXT: usize = 32 << 10;

/// What was said in a run, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// What the run was sent.
    pub(super) input: Vec<Value>,
    /// What is new to the model with its next call.
    pub(super) news: Vec<Value>,
    /// What the model said last.
    pub(super) output: Vec<Value>,
}

impl Content {
    /// The run was sent this.
    pub(super) fn accepted(&mut self, input: &[Input]) {
        self.input = input
            .iter()
            .map(|input| said(input.role, parts(&input.content), input.name.as_deref()))
            .collect();
        self.news = self.input.clone();
    }

    /// A step left these messages, and its model's call ended for this reason.
    pub(super) fn stepped(&mut self, messages: &[Message], finish: &str) {
        self.news.clear();
        self.output.clear();
        for message in messages {
            let mut spoken = said(message.role, whole(message), message.name.as_deref());
            if message.role == Role::Assistant {
                spoken["finish_reason"] = finish.into();
                self.output.push(spoken);
            } else {
                self.news.push(spoken);
            }
        }
    }
}

/// Messages as the text of an attribute.
pub(super) fn as_text(messages: &[Value]) -> String {
    Value::from(messages).to_string()
}

/// System instructions as the text of an attribute.
pub(super) fn instructions(text: &str) -> String {
    json!([{ "type": "text", "content": cut(text) }]).to_string()
}

/// A text that may be passed on.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST_TEXT)])
}

fn said(role: Role, parts: Vec<Value>, name: Option<&str>) -> Value {
    let role = match role {
        Role::System | Role::Summary => "system",
        Role::User => "user",
        Role::Assistant | Role::Approval => "assistant",
        Role::Tool => "tool",
    };
    let mut said = json!({ "role": role, "parts": parts });
    if let Some(name) = name {
        said["name"] = name.into();
    }
    said
}

/// All parts of a stored message: what was said, the calls, the returns.
fn whole(message: &Message) -> Vec<Value> {
    let mut all = parts(&message.content);
    all.extend(message.tool_calls.iter().map(call));
    all.extend(message.tool_returns.iter().map(|returned| {
        json!({ "type": "tool_call_response", "id": returned.call_id, "response": cut(&returned.content) })
    }));
    all
}

fn call(call: &ToolCall) -> Value {
    let arguments =
        serde_json::from_str(&call.arguments).unwrap_or_else(|_| cut(&call.arguments).into());
    let arguments: Value =
        if call.arguments.len() > LONGEST_TEXT { cut(&call.arguments).into() } else { arguments };
    json!({ "type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments })
}

fn parts(content: &[Part]) -> Vec<Value> {
    content.iter().filter_map(part).collect()
}

/// A part as the conventions have it. Pictures are named, not passed on; what a provider encrypted says nothing.
fn part(part: &Part) -> Option<Value> {
    match part {
        Part::Text { text } => Some(json!({ "type": "text", "content": cut(text) })),
        Part::Reasoning { text, .. } => Some(json!({ "type": "reasoning", "content": cut(text) })),
        Part::Image(Image::Url { url }) => {
            Some(json!({ "type": "uri", "modality": "image", "uri": cut(url) }))
        }
        Part::Image(Image::Base64 { media_type, .. }) => {
            Some(json!({ "type": "image", "mime_type": media_type }))
        }
        Part::RedactedReasoning { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "é".repeat(LONGEST_TEXT);
        let cut = cut(&text);
        assert!(cut.len() <= LONGEST_TEXT + '…'.len_utf8());
        assert!(cut.ends_with('…') && cut.starts_with('é'));
    }
}
