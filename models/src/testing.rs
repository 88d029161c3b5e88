//! Scripted models and providers, for tests of this crate and of those above it.
//!
//! [`ScriptedModel`] stands in for a model behind the trait; [`ScriptedUpstream`] stands in for a provider behind a
//! real socket, so that what is tested includes the bytes. Both record what they were asked. Compiled only for tests
//! and under the feature `testing`.

mod model;
mod reply;
mod upstream;

pub use model::{Say, ScriptedModel, SeenMessage, SeenPrompt};
pub use reply::{Reply, Step};
pub use upstream::{Request, ScriptedUpstream};

use crate::{Message, ModelInfo, Prompt, ToolChoice};

/// A prompt of nothing but messages.
#[must_use]
pub fn prompt<'a>(system: &'a str, messages: Vec<Message<'a>>) -> Prompt<'a> {
    Prompt {
        system,
        messages,
        tools: &[],
        tool_choice: ToolChoice::Auto,
        parallel_tool_calls: false,
        max_output_tokens: None,
        temperature: None,
        reasoning: None,
        response_format: None,
    }
}

/// What a catalog says of a scripted model: a window of 128 000 tokens under the given handle.
#[must_use]
pub fn model_info(handle: &str) -> ModelInfo {
    let (provider, name) = handle.split_once('/').unwrap_or(("scripted", handle));
    ModelInfo {
        handle: handle.to_owned(),
        name: name.to_owned(),
        provider_name: provider.to_owned(),
        provider_type: "openai",
        endpoint_type: "openai",
        endpoint: None,
        context_window: 128_000,
        max_output_tokens: None,
        supports_images: true,
        native_reasoning: false,
    }
}
