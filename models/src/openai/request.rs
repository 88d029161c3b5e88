//! From a prompt to the body of a Chat Completions request.
//!
//! Texts are borrowed from the prompt and written once. What a dialect would refuse is left out rather than sent and
//! answered with a 400: see each field.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Image, Message, Part, Prompt, ProviderKind, ResponseFormat, ToolCall, ToolChoice, ToolSchema,
    catalog::known, provider::ProviderConfig,
};

/// A body in both of its forms.
pub(super) struct Body {
    pub(super) with_usage: Vec<u8>,
    /// Without `stream_options`, for providers that refuse it.
    pub(super) plain: Vec<u8>,
}

/// Written before the closing brace of the plain form: the prompt is borrowed and gone by the time a provider refuses
/// the field, so both forms must be made at once, and the history is not worth serialising twice.
const USAGE: &[u8] = br#","stream_options":{"include_usage":true}}"#;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Entry<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Entry<'a> {
    System {
        content: Cow<'a, str>,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        content: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Called<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Piece<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Url<'a> },
}

#[derive(Serialize)]
struct Url<'a> {
    url: Cow<'a, str>,
}

#[derive(Serialize)]
struct Called<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Word(&'static str),
    Named { r#type: &'static str, function: Name<'a> },
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonObject,
    JsonSchema { json_schema: &'a RawValue },
}

/// Writes `prompt` as a request for `model`.
pub(super) fn encode(
    config: &ProviderConfig,
    model: &str,
    prompt: &Prompt<'_>,
) -> serde_json::Result<Body> {
    let plain = serde_json::to_vec(&request(config, model, prompt))?;
    let mut with_usage = Vec::with_capacity(plain.len() + USAGE.len());
    with_usage.extend_from_slice(&plain[..plain.len() - 1]);
    with_usage.extend_from_slice(USAGE);
    Ok(Body { with_usage, plain })
}

fn request<'a>(config: &ProviderConfig, model: &'a str, prompt: &'a Prompt<'a>) -> Request<'a> {
    let is_openai = config.kind == ProviderKind::OpenAi;
    let reasons = is_openai && known::is_openai_reasoner(model);
    let (tools, tool_choice) = tools(config.kind, prompt);
    // OpenAI renamed the field and its reasoning models refuse the old name; others know only the old one.
    let new_name = config.host() == "api.openai.com";
    let effort = prompt.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref());
    Request {
        model,
        messages: messages(config.kind, prompt),
        stream: true,
        // OpenAI refuses the field without tools, and its o-series refuses it always.
        parallel_tool_calls: Some(prompt.parallel_tool_calls)
            .filter(|_| !tools.is_empty())
            .filter(|_| !(is_openai && known::is_o_series(model))),
        tools,
        tool_choice,
        max_completion_tokens: prompt.max_output_tokens.filter(|_| new_name),
        max_tokens: prompt.max_output_tokens.filter(|_| !new_name),
        // OpenAI's reasoning models refuse a temperature, its others refuse an effort.
        temperature: prompt.temperature.filter(|_| !reasons),
        reasoning_effort: effort.filter(|_| reasons || !is_openai),
        response_format: prompt.response_format.as_ref().and_then(|format| match format {
            ResponseFormat::Text => None,
            ResponseFormat::JsonObject => Some(Format::JsonObject),
            ResponseFormat::JsonSchema(json_schema) => Some(Format::JsonSchema { json_schema }),
        }),
    }
}

fn tools<'a>(kind: ProviderKind, prompt: &'a Prompt<'a>) -> (Vec<Tool<'a>>, Option<Choice<'a>>) {
    let all = |tools: &'a [ToolSchema]| tools.iter().map(tool).collect::<Vec<_>>();
    let choice = match prompt.tool_choice {
        ToolChoice::Named(name) if kind == ProviderKind::LmStudio => {
            // LM Studio takes only words: offering that one tool and requiring a call says the same.
            let only: Vec<_> =
                prompt.tools.iter().filter(|tool| tool.name == name).map(tool).collect();
            return (only, Some(Choice::Word("required")));
        }
        ToolChoice::Auto => Choice::Word("auto"),
        ToolChoice::Required => Choice::Word("required"),
        ToolChoice::Named(name) => Choice::Named { r#type: "function", function: Name { name } },
        ToolChoice::None => Choice::Word("none"),
    };
    (all(prompt.tools), (!prompt.tools.is_empty()).then_some(choice))
}

fn tool(schema: &ToolSchema) -> Tool<'_> {
    let function = Function {
        name: &schema.name,
        description: &schema.description,
        parameters: &schema.parameters,
    };
    Tool { r#type: "function", function }
}

fn messages<'a>(kind: ProviderKind, prompt: &'a Prompt<'a>) -> Vec<Entry<'a>> {
    let system =
        (!prompt.system.is_empty()).then(|| Entry::System { content: prompt.system.into() });
    system.into_iter().chain(prompt.messages.iter().map(|message| entry(kind, message))).collect()
}

fn entry<'a>(kind: ProviderKind, message: &'a Message<'a>) -> Entry<'a> {
    match message {
        Message::System(text) => match kind {
            // The chat templates of many open models refuse a system message that is not the first.
            ProviderKind::Vllm | ProviderKind::Ollama | ProviderKind::LmStudio => {
                Entry::User { content: Content::Text(crate::model::system_note(text).into()) }
            }
            ProviderKind::OpenAi | ProviderKind::OpenRouter | ProviderKind::Anthropic => {
                Entry::System { content: (*text).into() }
            }
        },
        Message::User(parts) => Entry::User { content: content(parts) },
        Message::Assistant { parts, calls } => {
            let text = text(parts);
            Entry::Assistant {
                // Null is only allowed beside calls.
                content: (!text.is_empty() || calls.is_empty()).then_some(text),
                tool_calls: calls.iter().map(called).collect(),
            }
        }
        // Chat Completions has no word for a failed tool: the text says it.
        Message::Tool { call_id, content, is_error: _ } => {
            Entry::Tool { tool_call_id: call_id, content }
        }
    }
}

fn called<'a>(call: &ToolCall<'a>) -> Called<'a> {
    // Strict servers parse the arguments of the history; a tool without any was called with nothing.
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments };
    Called {
        id: call.id,
        r#type: "function",
        function: CalledFunction { name: call.name, arguments },
    }
}

fn content<'a>(parts: &[Part<'a>]) -> Content<'a> {
    if !parts.iter().any(|part| matches!(part, Part::Image(_))) {
        return Content::Text(text(parts));
    }
    let piece = |part: &Part<'a>| match part {
        Part::Text(text) => Some(Piece::Text { text }),
        Part::Image(image) => Some(Piece::ImageUrl { image_url: Url { url: image_url(*image) } }),
        Part::Reasoning { .. } | Part::RedactedReasoning(_) => None,
    };
    Content::Parts(parts.iter().filter_map(piece).collect())
}

/// The text parts as one. Reasoning is not sent back: Chat Completions has no field for it that all accept, and
/// DeepSeek refuses it.
fn text<'a>(parts: &[Part<'a>]) -> Cow<'a, str> {
    let mut texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(*text),
        Part::Image(_) | Part::Reasoning { .. } | Part::RedactedReasoning(_) => None,
    });
    let first = texts.next().unwrap_or_default();
    texts.fold(Cow::Borrowed(first), |joined, next| Cow::Owned(format!("{joined}\n{next}")))
}

fn image_url(image: Image<'_>) -> Cow<'_, str> {
    match image {
        Image::Url(url) => Cow::Borrowed(url),
        Image::Base64 { media_type, data } => {
            Cow::Owned(format!("data:{media_type};base64,{data}"))
        }
    }
}
