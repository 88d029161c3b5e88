//! From a prompt to the body of a Messages request.

use serde::Serialize;
use serde_json::value::RawValue;

use super::conversation::{CACHE_HERE, CacheControl, Turn, loop_lacks_thinking, turns};
use crate::{
    Prompt, ToolChoice,
    catalog::known::{self, Thinking},
};

/// The answer's bound when the caller gives none; the field is required. Letta's default.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// The smallest thinking budget Anthropic takes, and what is left for the answer beside a budget as large as the bound.
const SMALLEST_BUDGET: u32 = 1024;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<[System<'a>; 1]>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Think>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Output<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
}

#[derive(Serialize)]
struct System<'a> {
    r#type: &'static str,
    text: &'a str,
    cache_control: CacheControl,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a RawValue,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Choice<'a> {
    Auto { disable_parallel_tool_use: bool },
    Any { disable_parallel_tool_use: bool },
    Tool { name: &'a str, disable_parallel_tool_use: bool },
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Think {
    Enabled { budget_tokens: u32 },
    Adaptive,
}

#[derive(Serialize)]
struct Output<'a> {
    effort: &'a str,
}

/// Writes `prompt` as a request for `model`.
pub(super) fn encode(model: &str, prompt: &Prompt<'_>) -> serde_json::Result<Vec<u8>> {
    let thinking = thinking(model, prompt);
    let asked = prompt.max_output_tokens.unwrap_or(DEFAULT_MAX_TOKENS).max(1);
    let max_tokens = match thinking {
        // The bound includes the thinking and must be larger than its budget.
        Some(Think::Enabled { budget_tokens }) => {
            asked.max(budget_tokens.saturating_add(SMALLEST_BUDGET))
        }
        Some(Think::Adaptive) | None => asked,
    };
    let adaptive = known::claude_thinking(model) == Thinking::Adaptive;
    let request = Request {
        model,
        max_tokens,
        stream: true,
        system: (!prompt.system.trim().is_empty()).then_some([System {
            r#type: "text",
            text: prompt.system,
            cache_control: CACHE_HERE,
        }]),
        messages: turns(&prompt.messages, thinking.is_some()),
        tools: prompt
            .tools
            .iter()
            .map(|tool| Tool {
                name: &tool.name,
                description: &tool.description,
                input_schema: &tool.parameters,
            })
            .collect(),
        tool_choice: (!prompt.tools.is_empty()).then(|| choice(prompt)),
        thinking,
        output_config: effort(prompt).filter(|_| adaptive).map(|effort| Output { effort }),
        // Thinking and the newest models refuse a temperature; the others take 0 to 1.
        temperature: prompt
            .temperature
            .filter(|_| thinking.is_none() && !adaptive)
            .map(|temperature| temperature.clamp(0.0, 1.0)),
    };
    serde_json::to_vec(&request)
}

fn choice<'a>(prompt: &Prompt<'a>) -> Choice<'a> {
    let disable_parallel_tool_use = !prompt.parallel_tool_calls;
    match prompt.tool_choice {
        ToolChoice::Auto => Choice::Auto { disable_parallel_tool_use },
        ToolChoice::Required => Choice::Any { disable_parallel_tool_use },
        ToolChoice::Named(name) => Choice::Tool { name, disable_parallel_tool_use },
        ToolChoice::None => Choice::None,
    }
}

/// Whether and how to think. A forced tool forbids thinking, and so does a tool loop that began without it.
fn thinking(model: &str, prompt: &Prompt<'_>) -> Option<Think> {
    let budget = prompt.reasoning.as_ref()?.budget_tokens.filter(|&budget| budget > 0);
    let forced = match prompt.tool_choice {
        ToolChoice::Required | ToolChoice::Named(_) => !prompt.tools.is_empty(),
        ToolChoice::Auto | ToolChoice::None => false,
    };
    if forced || loop_lacks_thinking(&prompt.messages) {
        return None;
    }
    match known::claude_thinking(model) {
        Thinking::None => None,
        Thinking::Budget => {
            budget.map(|budget| Think::Enabled { budget_tokens: budget.max(SMALLEST_BUDGET) })
        }
        Thinking::Adaptive => {
            (budget.is_some() || effort(prompt).is_some()).then_some(Think::Adaptive)
        }
    }
}

/// The effort as Anthropic spells it; `none` is no effort and `minimal` its `low`.
fn effort<'a>(prompt: &'a Prompt<'_>) -> Option<&'a str> {
    match prompt.reasoning.as_ref()?.effort.as_deref()? {
        "none" => None,
        "minimal" => Some("low"),
        other => Some(other),
    }
}
