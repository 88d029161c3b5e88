//! What the rehearsal model sees: the last thing that happened, and the memory blocks in the system text.
//!
//! Block values are free text written by users and models, so nothing here trusts the section to be well formed; what
//! cannot be read is not there.

use std::borrow::Cow;

use serde_json::Value;

use crate::{Message, Part, Prompt, ToolCall};

/// The last thing that happened.
#[derive(Debug, PartialEq)]
pub(super) enum Heard<'a> {
    /// The user spoke.
    Said(Cow<'a, str>),
    /// A tool returned.
    Returned { tool: &'a str, arguments: &'a str, text: Cow<'a, str>, is_error: bool },
    /// Nothing that calls for an answer.
    Nothing,
}

/// Longest text of a user that is looked at.
const HEARD_BYTES: usize = 8 * 1024;

/// What happened last, past the notes that servers add (heartbeats, alerts, logins).
pub(super) fn heard<'a>(prompt: &'a Prompt<'a>) -> Heard<'a> {
    for (at, message) in prompt.messages.iter().enumerate().rev() {
        match message {
            Message::System(_) => {}
            Message::User(parts) => {
                if let Some(said) = said(parts) {
                    return Heard::Said(said);
                }
            }
            Message::Tool { call_id, content, is_error } => {
                let call = call_of(&prompt.messages[..at], call_id);
                let (text, failed) = returned(content);
                return Heard::Returned {
                    tool: call.map_or("a tool", |call| call.name),
                    arguments: call.map_or("{}", |call| call.arguments),
                    text,
                    is_error: *is_error || failed,
                };
            }
            Message::Assistant { .. } => return Heard::Nothing,
        }
    }
    Heard::Nothing
}

/// Whether the assistant has said anything yet, in text or through `send_message`. Stops at the first it finds.
pub(super) fn has_spoken(prompt: &Prompt<'_>) -> bool {
    prompt.messages.iter().any(|message| match message {
        Message::Assistant { parts, calls } => {
            calls.iter().any(|call| call.name == "send_message")
                || parts
                    .iter()
                    .any(|part| matches!(part, Part::Text(text) if !text.trim().is_empty()))
        }
        Message::System(_) | Message::User(_) | Message::Tool { .. } => false,
    })
}

/// The text parts of one message, joined.
pub(super) fn text<'a>(parts: &[Part<'a>]) -> Cow<'a, str> {
    let mut texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(*text),
        Part::Image(_) | Part::Reasoning { .. } | Part::RedactedReasoning(_) => None,
    });
    let first = texts.next().unwrap_or_default();
    texts.fold(Cow::Borrowed(first), |joined, next| Cow::Owned(format!("{joined}\n{next}")))
}

/// What the user said, or `None` when it is a server's note in the user's role.
fn said<'a>(parts: &[Part<'a>]) -> Option<Cow<'a, str>> {
    let text = text(parts);
    if text.trim_start().starts_with('{')
        && let Ok(packed) = serde_json::from_str::<Value>(&text)
        && let Some(kind) = packed.get("type").and_then(Value::as_str)
    {
        return match kind {
            "user_message" => {
                packed.get("message").and_then(Value::as_str).map(|text| text.to_owned().into())
            }
            _ => None,
        };
    }
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..text.floor_char_boundary(HEARD_BYTES)]),
        Cow::Owned(text) => Cow::Owned(text[..text.floor_char_boundary(HEARD_BYTES)].to_owned()),
    })
}

fn call_of<'a>(before: &'a [Message<'a>], id: &str) -> Option<&'a ToolCall<'a>> {
    before.iter().rev().find_map(|message| match message {
        Message::Assistant { calls, .. } => calls.iter().find(|call| call.id == id),
        Message::System(_) | Message::User(_) | Message::Tool { .. } => None,
    })
}

/// The text of a return, taken out of `{"status", "message"}` where it is packed so, and whether it says it failed.
fn returned(content: &str) -> (Cow<'_, str>, bool) {
    let packed = serde_json::from_str::<Value>(content).ok();
    let message = packed
        .as_ref()
        .filter(|packed| packed.get("status").is_some())
        .and_then(|packed| packed.get("message"));
    match (message, &packed) {
        (Some(message), Some(packed)) => {
            let failed = packed["status"] != "OK" && packed["status"] != "success";
            (message.as_str().map_or_else(|| message.to_string(), str::to_owned).into(), failed)
        }
        _ => (Cow::Borrowed(content), false),
    }
}

/// A memory block as the system text shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    pub(super) value: &'a str,
    pub(super) read_only: bool,
}

/// The memory blocks of the system text, in order.
pub(super) fn blocks(system: &str) -> Vec<Block<'_>> {
    let section = between(system, "<memory_blocks>", "</memory_blocks>").unwrap_or_default();
    let mut blocks = Vec::new();
    let mut rest = section;
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        let Some(end) = rest.find('>') else { break };
        let label = &rest[..end];
        let closing = format!("</{label}>");
        let is_label =
            !label.is_empty() && !label.starts_with('/') && !label.contains(char::is_whitespace);
        let Some(length) = rest[end + 1..].find(&closing).filter(|_| is_label) else { continue };
        let inner = &rest[end + 1..end + 1 + length];
        if let Some(value) = between(inner, "<value>", "</value>") {
            let head = inner.split("<value>").next().unwrap_or_default();
            blocks.push(Block {
                label,
                value: value.trim(),
                read_only: head.contains("read_only=true"),
            });
        }
        rest = &rest[end + 1 + length + closing.len()..];
    }
    blocks
}

/// What stands between the first `open` and the last `close` after it.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let from = text.find(open)? + open.len();
    let to = text[from..].rfind(close)?;
    Some(&text[from..from + to])
}
