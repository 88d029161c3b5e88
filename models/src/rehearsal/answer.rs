//! What the rehearsal model does about what it sees.

use serde_json::Value;

use super::{
    facts::{Wish, understand},
    scene::{self, Block, Heard},
    schema, summary,
};
use crate::{Prompt, ResponseFormat, ToolChoice, ToolSchema, tokens::clip};

/// What it is; the first answer begins with it.
const IDENTITY: &str = "I am Retold's rehearsal model: a built-in script, not a language model. I can keep what you \
    tell me about yourself, tell it back, and search this conversation. Configure a provider to talk to a real model.";

/// Longest piece of somebody else's text that is repeated.
const QUOTE_BYTES: usize = 600;

/// Most search results that are told.
const RESULTS: usize = 3;

/// What it answers with.
#[derive(Debug)]
pub(super) enum Answer {
    Say { text: String, reason: &'static str },
    Call { name: String, arguments: String, reason: &'static str },
}

impl Answer {
    /// One sentence of reasoning, for prompts that ask for some.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Say { reason, .. } | Self::Call { reason, .. } => reason,
        }
    }
}

/// The answer to `prompt`.
pub(super) fn decide(prompt: &Prompt<'_>) -> Answer {
    if summary::is_asked(prompt) {
        return Answer::Say { text: summary::write(prompt), reason: "A summary is asked for." };
    }
    let heard = scene::heard(prompt);
    let words = match &heard {
        Heard::Said(text) => text.as_ref(),
        Heard::Returned { .. } | Heard::Nothing => "",
    };
    let choice = match &heard {
        Heard::Said(text) => said(prompt, text),
        Heard::Returned { tool, arguments, text, is_error } => speak(
            returned(tool, arguments, text, *is_error),
            "A tool has returned, so its outcome is to be told.",
        ),
        Heard::Nothing => speak("There is nothing new to answer.".to_owned(), "Nothing was said."),
    };
    permitted(prompt, choice, words)
}

fn speak(text: String, reason: &'static str) -> Answer {
    Answer::Say { text, reason }
}

fn said(prompt: &Prompt<'_>, text: &str) -> Answer {
    let blocks = scene::blocks(prompt.system);
    let human = blocks.iter().find(|block| block.label == "human");
    match understand(text) {
        Wish::Identity => speak(IDENTITY.to_owned(), "The user asks what I am."),
        Wish::OwnName => {
            speak(own_name(human), "The user asks for their name, which memory may hold.")
        }
        Wish::Recall => speak(recall(human), "The user asks what memory holds."),
        Wish::Search(query) => search(prompt, &query),
        Wish::Remember(facts) => remember(prompt, &blocks, &facts),
        Wish::Talk if text.trim().is_empty() => {
            speak("You sent no text that I could repeat.".to_owned(), "The message has no text.")
        }
        Wish::Talk => speak(
            format!("You said: {}", clip(text.trim(), QUOTE_BYTES)),
            "Nothing here to remember or find.",
        ),
    }
}

fn remember(prompt: &Prompt<'_>, blocks: &[Block<'_>], facts: &[String]) -> Answer {
    let new: Vec<&str> = facts
        .iter()
        .map(String::as_str)
        .filter(|fact| !blocks.iter().any(|block| block.value.contains(fact)))
        .collect();
    if new.is_empty() {
        return speak(
            format!("I have that in memory already: {}", facts.join(" ")),
            "Memory holds this already.",
        );
    }
    let content = new.join(" ");
    let tools = [("memory_insert", "new_string"), ("core_memory_append", "content")];
    let tool = tools.iter().find_map(|&(name, argument)| Some((tool(prompt, name)?, argument)));
    let mut writable = blocks.iter().filter(|block| !block.read_only);
    let block = writable.clone().find(|block| block.label == "human").or_else(|| writable.next());
    match (tool, block) {
        (Some((tool, argument)), Some(block)) => {
            let given = [("label", block.label), (argument, content.as_str())];
            let arguments = schema::arguments(tool, &given, &content, true);
            Answer::Call {
                name: tool.name.clone(),
                arguments,
                reason: "The user told something worth remembering.",
            }
        }
        (None, _) => speak(
            format!(
                "I would remember this, but this agent has no memory tool that I know: {content}"
            ),
            "There is something to remember and no tool for it.",
        ),
        (Some(_), None) => speak(
            format!(
                "I would remember this, but this agent has no memory block to write to: {content}"
            ),
            "There is something to remember and no block for it.",
        ),
    }
}

fn search(prompt: &Prompt<'_>, query: &str) -> Answer {
    match tool(prompt, "conversation_search") {
        Some(tool) => Answer::Call {
            name: tool.name.clone(),
            arguments: schema::arguments(tool, &[("query", query)], query, true),
            reason: "The user asks for something said earlier.",
        },
        None => speak(
            format!(
                "I would search for “{query}”, but this agent has no conversation_search tool."
            ),
            "There is something to search for and no tool for it.",
        ),
    }
}

fn own_name(human: Option<&Block<'_>>) -> String {
    let value = human.map_or("", |block| block.value);
    // The last one counts: names are corrected by telling them again.
    let name = value.rfind("name is ").map(|at| &value[at + "name is ".len()..]);
    let name = name.map(|rest| rest.split(['.', ',', '\n']).next().unwrap_or(rest).trim());
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("Your name is {name}."),
        None => "I do not have your name in memory yet. Tell me: “My name is …”.".to_owned(),
    }
}

fn recall(human: Option<&Block<'_>>) -> String {
    match human.map(|block| block.value).filter(|value| !value.is_empty()) {
        Some(value) => {
            format!("This is what my memory holds about you: {}", clip(value, QUOTE_BYTES))
        }
        None => "My memory holds nothing about you yet.".to_owned(),
    }
}

fn returned(tool: &str, arguments: &str, text: &str, is_error: bool) -> String {
    let given = serde_json::from_str::<Value>(arguments).unwrap_or_default();
    let argument = |name: &str| given.get(name).and_then(Value::as_str);
    let whole = text.trim();
    let text = clip(whole, QUOTE_BYTES);
    match tool {
        "memory_insert" | "core_memory_append" if is_error => {
            format!("I tried to remember that, but {tool} failed: {text}")
        }
        "memory_insert" | "core_memory_append" => {
            let fact = argument("new_string").or_else(|| argument("content")).unwrap_or_default();
            let label = argument("label").unwrap_or("memory");
            format!(
                "I will remember that. Written to the block “{label}”: {}",
                clip(fact, QUOTE_BYTES)
            )
        }
        "conversation_search" if is_error => {
            format!("I tried to search, but {tool} failed: {text}")
        }
        "conversation_search" => found(argument("query").unwrap_or_default(), whole),
        "send_message" => "I have nothing to add.".to_owned(),
        _ if is_error => format!("The tool {tool} failed: {text}"),
        _ => format!("The tool {tool} returned: {text}"),
    }
}

fn found(query: &str, text: &str) -> String {
    let results = serde_json::from_str::<Value>(text).unwrap_or_default();
    let list = results.get("results").and_then(Value::as_array);
    let Some(list) = list else {
        return format!("The search for “{query}” returned: {}", clip(text, QUOTE_BYTES));
    };
    if list.is_empty() {
        return format!("I found nothing about “{query}” in this conversation.");
    }
    let lines = list.iter().take(RESULTS).map(|result| {
        let field = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
        let when = [field("time_ago"), field("timestamp")]
            .into_iter()
            .find(|when| !when.is_empty())
            .unwrap_or("earlier");
        format!("- {} ({when}): {}", field("role"), clip(field("content"), QUOTE_BYTES / RESULTS))
    });
    format!("I found {} for “{query}”:\n{}", list.len(), lines.collect::<Vec<_>>().join("\n"))
}

/// Brings a choice into the form the prompt permits: no calls, a forced call, or every word through `send_message`.
fn permitted(prompt: &Prompt<'_>, choice: Answer, words: &str) -> Answer {
    let forced = match prompt.tool_choice {
        ToolChoice::None => None,
        ToolChoice::Named(name) => tool(prompt, name),
        ToolChoice::Required => prompt.tools.first(),
        ToolChoice::Auto => None,
    };
    match choice {
        Answer::Call { name, arguments, reason } => match prompt.tool_choice {
            ToolChoice::None => {
                introduced(prompt, "I may not call a tool just now.".to_owned(), reason)
            }
            ToolChoice::Named(only) if only != name => force(forced, words, reason, name),
            ToolChoice::Auto | ToolChoice::Required | ToolChoice::Named(_) => {
                Answer::Call { name, arguments, reason }
            }
        },
        Answer::Say { text, reason } => {
            let sender = tool(prompt, "send_message").filter(|sender| match prompt.tool_choice {
                ToolChoice::Auto | ToolChoice::Required => true,
                ToolChoice::Named(name) => name == sender.name,
                ToolChoice::None => false,
            });
            match (introduced(prompt, text, reason), sender) {
                (Answer::Say { text, reason }, Some(sender)) => {
                    let arguments = schema::arguments(sender, &[("message", &text)], &text, false);
                    Answer::Call { name: sender.name.clone(), arguments, reason }
                }
                (Answer::Say { text, reason }, None) if forced.is_none() => {
                    formatted(prompt, text, reason)
                }
                (answer @ (Answer::Say { .. } | Answer::Call { .. }), _) => {
                    let reason = answer.reason();
                    force(forced, words, reason, String::new())
                }
            }
        }
    }
}

/// A call that the prompt demands, whatever the script had in mind.
fn force(
    tool: Option<&ToolSchema>,
    words: &str,
    reason: &'static str,
    otherwise: String,
) -> Answer {
    match tool {
        Some(tool) => Answer::Call {
            name: tool.name.clone(),
            arguments: schema::arguments(tool, &[], words, true),
            reason,
        },
        None => {
            speak(format!("I was told to call a tool that is not offered. {otherwise}"), reason)
        }
    }
}

/// The first answer says what is speaking.
fn introduced(prompt: &Prompt<'_>, text: String, reason: &'static str) -> Answer {
    if text == IDENTITY || scene::has_spoken(prompt) {
        speak(text, reason)
    } else {
        speak(format!("{IDENTITY}\n\n{text}"), reason)
    }
}

/// Text as JSON where JSON is asked for; of a schema only the required fields are filled.
fn formatted(prompt: &Prompt<'_>, text: String, reason: &'static str) -> Answer {
    let text = match &prompt.response_format {
        None | Some(ResponseFormat::Text) => text,
        Some(ResponseFormat::JsonObject) => serde_json::json!({ "text": text }).to_string(),
        Some(ResponseFormat::JsonSchema(schema)) => {
            let whole: Value = serde_json::from_str(schema.get()).unwrap_or_default();
            schema::filled(whole.get("schema").unwrap_or(&whole), &text)
        }
    };
    speak(text, reason)
}

fn tool<'a>(prompt: &'a Prompt<'a>, name: &str) -> Option<&'a ToolSchema> {
    prompt.tools.iter().find(|tool| tool.name == name)
}
