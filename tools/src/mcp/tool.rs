//! What a server offers and what comes back from it, in plain types.
//!
//! What comes back is text for a model: pictures, sounds and files are told in words, because their bytes would be noise to it.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents, Tool};
use serde_json::{Map, Value};

/// A tool of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteTool {
    /// Its name, unique on its server.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    pub input_schema: Map<String, Value>,
    /// The JSON schema of what it returns.
    pub output_schema: Option<Map<String, Value>>,
    /// What its server says about its effects; only hints.
    pub annotations: Option<Value>,
    /// What else its server says.
    pub meta: Option<Value>,
}

impl RemoteTool {
    pub(super) fn of(tool: Tool) -> Self {
        Self {
            name: tool.name.into_owned(),
            title: tool.title,
            description: tool.description.map(Into::into),
            input_schema: (*tool.input_schema).clone(),
            output_schema: tool.output_schema.map(|schema| (*schema).clone()),
            annotations: tool.annotations.and_then(|it| serde_json::to_value(it).ok()),
            meta: tool.meta.and_then(|it| serde_json::to_value(it).ok()),
        }
    }
}

/// A call to make.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolCall {
    /// The name of the tool on its server.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// What is the same in each attempt at the same call, sent as `_meta["retold/idempotencyKey"]`.
    pub idempotency_key: Option<String>,
    /// For the whole call, connecting included; otherwise the usual.
    pub timeout: Option<std::time::Duration>,
}

/// What came back from a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Returned {
    /// Whether the tool says that it failed; the text says how.
    pub is_error: bool,
    /// The parts of its answer, a line feed between two. Without parts, what it returned as data.
    pub text: String,
    /// What it returned as data.
    pub structured: Option<Value>,
}

impl Returned {
    pub(super) fn of(result: CallToolResult) -> Self {
        let mut text = result.content.iter().map(words).collect::<Vec<_>>().join("\n");
        if let (true, Some(data)) = (text.is_empty(), &result.structured_content) {
            text = data.to_string();
        }
        Self {
            is_error: result.is_error == Some(true),
            text,
            structured: result.structured_content,
        }
    }
}

fn words(part: &ContentBlock) -> String {
    match part {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => binary("image", Some(&image.mime_type), &image.data),
        ContentBlock::Audio(audio) => binary("audio", Some(&audio.mime_type), &audio.data),
        ContentBlock::Resource(resource) => match &resource.resource {
            ResourceContents::TextResourceContents { text, .. } => text.clone(),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                format!("{} {uri}", binary("resource", mime_type.as_deref(), blob))
            }
            _ => data(part),
        },
        ContentBlock::ResourceLink(_) => data(part),
        _ => data(part),
    }
}

fn data(part: &ContentBlock) -> String {
    serde_json::to_string(part).unwrap_or_else(|_| "[content that cannot be shown]".into())
}

/// Base64 has four characters for three bytes.
fn binary(what: &str, kind: Option<&str>, base64: &str) -> String {
    let bytes = base64.trim_end_matches('=').len() * 3 / 4;
    format!("[{what}: {}, {bytes} bytes]", kind.unwrap_or("of unknown type"))
}
