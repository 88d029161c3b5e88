//! From our conversation to one that Anthropic accepts.
//!
//! It wants turns that alternate, the user first and last, tool results at the head of the turn after their calls, no
//! blank text, and ids of a narrow alphabet. A conversation that breaks a rule is refused whole, so each is met here.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Image, Message, Part, ToolCall};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    User,
    Assistant,
}

#[derive(Debug, Serialize)]
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) content: Vec<Block<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Image {
        source: Source<'a>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Cow<'a, RawValue>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "str::is_empty")]
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Url { url: &'a str },
    Base64 { media_type: &'a str, data: &'a str },
}

/// Everything up to here may be served from the cache next time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct CacheControl {
    r#type: &'static str,
}

pub(super) const CACHE_HERE: CacheControl = CacheControl { r#type: "ephemeral" };

/// What stands where the user said nothing and something must stand.
const NOTHING: &str = "(no message)";

/// The turns of `messages`. Thinking is kept only when `with_thinking`, which must be off when the request asks for
/// none.
pub(super) fn turns<'a>(messages: &'a [Message<'a>], with_thinking: bool) -> Vec<Turn<'a>> {
    let mut turns: Vec<Turn<'a>> = Vec::new();
    for message in messages {
        let (role, blocks) = blocks(message, with_thinking);
        match turns.last_mut().filter(|turn| turn.role == role) {
            Some(turn) => turn.content.extend(blocks),
            None if blocks.is_empty() => {}
            None => turns.push(Turn { role, content: blocks }),
        }
    }
    for turn in turns.iter_mut().filter(|turn| turn.role == Role::User) {
        // The sort is stable: results keep their order, and so does the rest.
        turn.content.sort_by_key(|block| !matches!(block, Block::ToolResult { .. }));
    }
    if turns.first().is_none_or(|turn| turn.role == Role::Assistant) {
        turns.insert(0, Turn { role: Role::User, content: vec![text(NOTHING)] });
    }
    // A last turn of the assistant would be taken as the beginning of the answer, which newer models refuse.
    if turns.last().is_some_and(|turn| turn.role == Role::Assistant) {
        turns.push(Turn { role: Role::User, content: vec![text(NOTHING)] });
    }
    mark_for_cache(&mut turns);
    turns
}

/// Whether the tool loop that the conversation is in began without thinking that can be given back. Anthropic refuses
/// to think on in it.
pub(super) fn loop_lacks_thinking(messages: &[Message<'_>]) -> bool {
    for message in messages.iter().rev() {
        match message {
            Message::Tool { .. } | Message::System(_) => {}
            Message::User(_) => return false,
            Message::Assistant { parts, calls } => {
                let proven = parts.iter().any(|part| match part {
                    Part::Reasoning { signature, .. } => {
                        signature.is_some_and(|signature| !signature.is_empty())
                    }
                    Part::RedactedReasoning(_) => true,
                    Part::Text(_) | Part::Image(_) => false,
                });
                return !calls.is_empty() && !proven;
            }
        }
    }
    false
}

fn blocks<'a>(message: &'a Message<'a>, with_thinking: bool) -> (Role, Vec<Block<'a>>) {
    match message {
        Message::System(note) => (
            Role::User,
            vec![Block::Text { text: crate::model::system_note(note).into(), cache_control: None }],
        ),
        Message::User(parts) => {
            (Role::User, parts.iter().filter_map(|part| block(part, false)).collect())
        }
        Message::Assistant { parts, calls } => {
            let parts = parts.iter().filter_map(|part| block(part, with_thinking));
            (Role::Assistant, parts.chain(calls.iter().map(tool_use)).collect())
        }
        Message::Tool { call_id, content, is_error } => {
            let tool_use_id = legal_id(call_id);
            let result = Block::ToolResult {
                tool_use_id,
                content,
                is_error: *is_error,
                cache_control: None,
            };
            (Role::User, vec![result])
        }
    }
}

fn block<'a>(part: &Part<'a>, with_thinking: bool) -> Option<Block<'a>> {
    match *part {
        Part::Text(words) => (!words.trim().is_empty()).then(|| text(words)),
        Part::Image(image) => Some(Block::Image { source: source(image) }),
        // Thinking without its signature would be refused: it came from elsewhere, or its stream was cut.
        Part::Reasoning { text, signature } => signature
            .filter(|signature| with_thinking && !signature.is_empty())
            .map(|signature| Block::Thinking { thinking: text, signature }),
        Part::RedactedReasoning(data) => with_thinking.then_some(Block::RedactedThinking { data }),
    }
}

fn text(text: &str) -> Block<'_> {
    Block::Text { text: text.into(), cache_control: None }
}

/// A data URL is a picture by value, whatever it is called.
fn source(image: Image<'_>) -> Source<'_> {
    match image {
        Image::Base64 { media_type, data } => Source::Base64 { media_type, data },
        Image::Url(url) => {
            match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
                Some((media_type, data)) => Source::Base64 { media_type, data },
                None => Source::Url { url },
            }
        }
    }
}

fn tool_use<'a>(call: &ToolCall<'a>) -> Block<'a> {
    Block::ToolUse { id: legal_id(call.id), name: call.name, input: object(call.arguments) }
}

/// The arguments as an object; a model's malformed ones become none, since the return already told it so.
fn object(arguments: &str) -> Cow<'_, RawValue> {
    serde_json::from_str::<&RawValue>(arguments)
        .ok()
        .filter(|raw| raw.get().starts_with('{'))
        .map_or_else(|| Cow::Owned(empty_object()), Cow::Borrowed)
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

/// Ids of other providers in the history may hold characters that Anthropic refuses. Calls and results map alike.
fn legal_id(id: &str) -> Cow<'_, str> {
    let legal = |byte: char| byte.is_ascii_alphanumeric() || byte == '_' || byte == '-';
    if id.is_empty() {
        Cow::Borrowed("call")
    } else if id.chars().all(legal) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(id.chars().map(|char| if legal(char) { char } else { '_' }).collect())
    }
}

/// Marks the end of the conversation, so that the next step of the same run reads it from the cache.
fn mark_for_cache(turns: &mut [Turn<'_>]) {
    match turns.last_mut().and_then(|turn| turn.content.last_mut()) {
        Some(Block::Text { cache_control, .. } | Block::ToolResult { cache_control, .. }) => {
            *cache_control = Some(CACHE_HERE);
        }
        Some(
            Block::Image { .. }
            | Block::Thinking { .. }
            | Block::RedactedThinking { .. }
            | Block::ToolUse { .. },
        )
        | None => {}
    }
}
