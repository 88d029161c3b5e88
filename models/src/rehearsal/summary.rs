//! A summary without a language model: the first sentence of each message.

use super::{facts::sentence, scene};
use crate::{Message, Prompt};

/// Longest summary; what is over is left out from the middle, because the beginning says who is speaking and the end
/// what about.
const SUMMARY_BYTES: usize = 4 * 1024;

/// Whether the prompt asks for a summary and nothing else. An agent's own prompt has its memory section or tools.
pub(super) fn is_asked(prompt: &Prompt<'_>) -> bool {
    if !prompt.tools.is_empty() || prompt.system.contains("<memory_blocks>") {
        return false;
    }
    let system = prompt.system.to_ascii_lowercase();
    system.contains("summarize") || system.contains("summarise") || system.contains("summary")
}

pub(super) fn write(prompt: &Prompt<'_>) -> String {
    let lines: Vec<String> = match prompt.messages.as_slice() {
        // A whole transcript in one message has a line for each of its own.
        [Message::User(parts)] => {
            let transcript = scene::text(parts);
            transcript
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| format!("- {}", sentence(line)))
                .collect()
        }
        messages => messages.iter().filter_map(line).collect(),
    };
    let whole: usize = lines.iter().map(|line| line.len() + 1).sum();
    let mut summary = String::from(
        "Extract of the conversation (first sentence of each message; no language model wrote this):\n",
    );
    if whole <= SUMMARY_BYTES {
        summary.push_str(&lines.join("\n"));
        return summary;
    }
    let head = fitting(lines.iter(), SUMMARY_BYTES / 4);
    let tail =
        fitting(lines.iter().rev(), SUMMARY_BYTES - SUMMARY_BYTES / 4).min(lines.len() - head);
    summary.push_str(&lines[..head].join("\n"));
    summary.push_str(&format!("\n- ({} messages left out)\n", lines.len() - head - tail));
    summary.push_str(&lines[lines.len() - tail..].join("\n"));
    summary
}

/// How many of `lines` fit into `limit` bytes.
fn fitting<'a>(lines: impl Iterator<Item = &'a String>, limit: usize) -> usize {
    let mut used = 0;
    lines
        .take_while(|line| {
            used += line.len() + 1;
            used <= limit
        })
        .count()
}

fn line(message: &Message<'_>) -> Option<String> {
    let (who, text) = match message {
        Message::System(text) => ("system", (*text).into()),
        Message::User(parts) => ("user", scene::text(parts)),
        Message::Assistant { parts, .. } => ("assistant", scene::text(parts)),
        Message::Tool { content, .. } => ("tool", (*content).into()),
    };
    let first = sentence(&text);
    (!first.is_empty()).then(|| format!("- {who}: {first}"))
}
