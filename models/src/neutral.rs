//! A prompt as JSON of no provider's form: what a trace shows where there is no request of a provider's own.
//!
//! The built-in models take the prompt as it is, and the provider of an old step may no longer be configured. The form is
//! close to Chat Completions, because most readers know that, and it loses nothing: reasoning, failed tool calls and the
//! limits of the answer are all in it.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{Image, Message, Part, Prompt, ResponseFormat, ToolCall, ToolChoice, ToolSchema};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    system: &'a str,
    messages: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    tool_choice: &'a str,
    parallel_tool_calls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Entry<'a> {
    System { content: &'a str },
    User { content: Vec<Piece<'a>> },
    Assistant { content: Vec<Piece<'a>>, tool_calls: Vec<Called<'a>> },
    Tool { tool_call_id: &'a str, content: &'a str, is_error: bool },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    Text { text: &'a str },
    Reasoning { text: &'a str, signature: Option<&'a str> },
    RedactedReasoning { data: &'a str },
    ImageUrl { url: &'a str },
    ImageData { media_type: &'a str, data: &'a str },
}

#[derive(Serialize)]
struct Called<'a> {
    id: &'a str,
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
struct Reasoning<'a> {
    effort: Option<&'a str>,
    budget_tokens: Option<u32>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    Text,
    JsonObject,
    JsonSchema { json_schema: &'a RawValue },
}

/// `prompt` for `model` as JSON of a form that is no provider's.
///
/// # Errors
/// When a schema in the prompt cannot be written, which one that was read cannot be.
pub fn request(model: &str, prompt: &Prompt<'_>) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&Request {
        model,
        system: prompt.system,
        messages: prompt.messages.iter().map(entry).collect(),
        tools: prompt.tools.iter().map(tool).collect(),
        tool_choice: match prompt.tool_choice {
            ToolChoice::Auto => "auto",
            ToolChoice::Required => "required",
            ToolChoice::Named(name) => name,
            ToolChoice::None => "none",
        },
        parallel_tool_calls: prompt.parallel_tool_calls,
        max_output_tokens: prompt.max_output_tokens,
        temperature: prompt.temperature,
        reasoning: prompt.reasoning.as_ref().map(|reasoning| Reasoning {
            effort: reasoning.effort.as_deref(),
            budget_tokens: reasoning.budget_tokens,
        }),
        response_format: prompt.response_format.as_ref().map(|format| match format {
            ResponseFormat::Text => Format::Text,
            ResponseFormat::JsonObject => Format::JsonObject,
            ResponseFormat::JsonSchema(json_schema) => Format::JsonSchema { json_schema },
        }),
    })
}

fn tool(schema: &ToolSchema) -> Tool<'_> {
    Tool { name: &schema.name, description: &schema.description, parameters: &schema.parameters }
}

fn entry<'a>(message: &'a Message<'a>) -> Entry<'a> {
    match message {
        Message::System(content) => Entry::System { content },
        Message::User(parts) => Entry::User { content: parts.iter().map(piece).collect() },
        Message::Assistant { parts, calls } => Entry::Assistant {
            content: parts.iter().map(piece).collect(),
            tool_calls: calls
                .iter()
                .map(|&ToolCall { id, name, arguments }| Called { id, name, arguments })
                .collect(),
        },
        &Message::Tool { call_id, content, is_error } => {
            Entry::Tool { tool_call_id: call_id, content, is_error }
        }
    }
}

fn piece<'a>(part: &Part<'a>) -> Piece<'a> {
    match *part {
        Part::Text(text) => Piece::Text { text },
        Part::Image(Image::Url(url)) => Piece::ImageUrl { url },
        Part::Image(Image::Base64 { media_type, data }) => Piece::ImageData { media_type, data },
        Part::Reasoning { text, signature } => Piece::Reasoning { text, signature },
        Part::RedactedReasoning(data) => Piece::RedactedReasoning { data },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        Reasoning as Wished,
        harness::{schema, user},
        testing::prompt,
    };

    #[test]
    fn nothing_of_a_prompt_is_lost() {
        let conversation = vec![
            user("hi"),
            Message::Assistant {
                parts: vec![
                    Part::Reasoning { text: "hm", signature: Some("s") },
                    Part::RedactedReasoning("xx"),
                    Part::Text("look"),
                ],
                calls: vec![ToolCall { id: "c1", name: "find", arguments: "{}" }],
            },
            Message::Tool { call_id: "c1", content: "nothing", is_error: true },
            Message::System("a note"),
            Message::User(vec![
                Part::Image(Image::Url("http://h/p.png")),
                Part::Image(Image::Base64 { media_type: "image/png", data: "AAAA" }),
            ]),
        ];
        let tools = [schema("find", "{}")];
        let asked = Prompt {
            tools: &tools,
            tool_choice: ToolChoice::Required,
            max_output_tokens: Some(9),
            temperature: Some(0.5),
            reasoning: Some(Wished { effort: Some("low".to_owned()), budget_tokens: None }),
            response_format: Some(ResponseFormat::JsonObject),
            ..prompt("be kind", conversation)
        };
        let written: Value = serde_json::from_str(request("p/m", &asked).unwrap().get()).unwrap();
        assert_eq!((&written["model"], &written["system"]), (&json!("p/m"), &json!("be kind")));
        assert_eq!(
            written["messages"],
            json!([
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": [
                    {"type": "reasoning", "text": "hm", "signature": "s"},
                    {"type": "redacted_reasoning", "data": "xx"},
                    {"type": "text", "text": "look"},
                ], "tool_calls": [{"id": "c1", "name": "find", "arguments": "{}"}]},
                {"role": "tool", "tool_call_id": "c1", "content": "nothing", "is_error": true},
                {"role": "system", "content": "a note"},
                {"role": "user", "content": [
                    {"type": "image_url", "url": "http://h/p.png"},
                    {"type": "image_data", "media_type": "image/png", "data": "AAAA"},
                ]},
            ])
        );
        assert_eq!(written["tools"][0]["name"], "find");
        assert_eq!(
            (&written["tool_choice"], &written["temperature"]),
            (&json!("required"), &json!(0.5))
        );
        assert_eq!(written["max_output_tokens"], 9);
        assert_eq!(written["reasoning"], json!({"effort": "low", "budget_tokens": null}));
        assert_eq!(written["response_format"], json!({"type": "json_object"}));
    }
}
