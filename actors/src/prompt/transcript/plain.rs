//! A history as plain text, for the model that summarizes it: bounded, with a mark wherever something was left out.

use std::borrow::Cow;

use retold_events::{Message, Part, ReturnStatus, Role};

/// Longest text of one message or call, in characters. What is longer is mostly a tool's output or a pasted file, of
/// which a summary keeps a sentence.
const MESSAGE_CHARS: usize = 4000;

/// Room kept for the mark that stands for what was left out, in characters.
const MARK_CHARS: usize = 40;

/// The messages as text, an entry for each thing said, called or returned, of at most `max_chars` characters. When they
/// are more, entries from the middle are left out: the beginning says what it is about, the end where it stands.
pub(crate) fn render_for_summary<'a>(
    messages: impl Iterator<Item = &'a Message>,
    max_chars: usize,
) -> String {
    let entries: Vec<String> = messages.flat_map(entries).collect();
    // The character that joins an entry to the next counts as its own.
    let sizes: Vec<usize> = entries.iter().map(|entry| entry.chars().count() + 1).collect();
    if sizes.iter().sum::<usize>() <= max_chars.saturating_add(1) {
        return entries.join("\n");
    }
    let room = max_chars.saturating_sub(MARK_CHARS);
    let head = fitting(sizes.iter(), room / 4);
    let tail = fitting(sizes[head..].iter().rev(), room - room / 4);
    let last = entries.len() - tail;
    let mark = format!("[… {} entries left out …]", last - head);
    let kept = entries[..head].iter().chain([&mark]).chain(&entries[last..]);
    let text = kept.map(String::as_str).collect::<Vec<&str>>().join("\n");
    // Where not even the mark has room.
    clip(&text, max_chars, "").into_owned()
}

/// How many of `sizes` fit into `room`.
fn fitting<'a>(sizes: impl Iterator<Item = &'a usize>, room: usize) -> usize {
    let mut used = 0;
    sizes
        .take_while(|&&size| {
            used += size;
            used <= room
        })
        .count()
}

fn entries(message: &Message) -> Vec<String> {
    let who = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant | Role::Approval => "assistant",
        Role::Tool => "tool",
        Role::Summary => "earlier summary",
    };
    let mut entries = Vec::new();
    let said = said(message);
    if !said.trim().is_empty() {
        let cut_short = if message.interrupted { " (cut short)" } else { "" };
        entries.push(format!("{who}{cut_short}: {}", clipped(said.trim())));
    }
    for call in &message.tool_calls {
        entries.push(format!("{who} calls {}: {}", call.name, clipped(&call.arguments)));
    }
    for returned in &message.tool_returns {
        let verb = match returned.status {
            ReturnStatus::Success => "returns",
            ReturnStatus::Error => "fails",
        };
        entries.push(format!("{} {verb}: {}", returned.name, clipped(&returned.content)));
    }
    entries
}

/// Text and pictures of a message; what the model thought is no part of what happened.
fn said(message: &Message) -> String {
    let parts: Vec<&str> = message
        .content
        .iter()
        .filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            Part::Image(_) => Some("[picture]"),
            Part::Reasoning { .. } | Part::RedactedReasoning { .. } => None,
        })
        .collect();
    parts.join("\n")
}

fn clipped(text: &str) -> Cow<'_, str> {
    clip(text, MESSAGE_CHARS, " [… cut]")
}

/// `text` up to `limit` characters, with `mark` after it where it was cut.
fn clip<'a>(text: &'a str, limit: usize, mark: &str) -> Cow<'a, str> {
    match text.char_indices().nth(limit) {
        Some((end, _)) => Cow::Owned(format!("{}{mark}", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
