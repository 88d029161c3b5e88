//! Tests over several wire types at once, and what they share: fixed ids, fixed times, an agent made from a request.

mod creating;
mod events;
mod garbage;
mod queries;
mod schema;
mod showing;
mod streaming;
mod updating;

use std::sync::Arc;

use retold_actors::{AgentView, BlockView, agent::NewAgent};
use retold_events::{
    AgentId, BlockId, Message, MessageId, Part, Role, RunId, StepId, Timestamp,
    agent::Created,
    run::{Request, Usage},
};
use retold_models::ModelInfo;
use retold_snapshots::{
    agent::State,
    block,
    row::{RunRow, RunStatus},
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

/// 2025-06-15T15:06:40Z.
const NOW: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

fn uuid(number: u8) -> Uuid {
    Uuid::from_u128(0x0197_7413_3a80_4000_8000_0000_0000_0000 | (u128::from(number) << 8))
}

fn agent_id() -> AgentId {
    AgentId::from_uuid(uuid(1))
}

fn run_id() -> RunId {
    RunId::from_uuid(uuid(2))
}

fn step_id() -> StepId {
    StepId::from_uuid(uuid(3))
}

fn message_id(number: u8) -> MessageId {
    MessageId::from_uuid(uuid(0x10 + number))
}

fn openai() -> ModelInfo {
    ModelInfo {
        handle: "openai/gpt-4o-mini".into(),
        name: "gpt-4o-mini".into(),
        provider_name: "openai".into(),
        provider_type: "openai",
        endpoint_type: "openai",
        endpoint: Some("https://api.openai.com/v1".into()),
        context_window: 200_000,
        max_output_tokens: Some(16_384),
        supports_images: true,
        native_reasoning: false,
    }
}

fn anthropic() -> ModelInfo {
    ModelInfo {
        handle: "anthropic/claude-sonnet-4-5".into(),
        name: "claude-sonnet-4-5".into(),
        provider_name: "anthropic".into(),
        provider_type: "anthropic",
        endpoint_type: "anthropic",
        endpoint: Some("https://api.anthropic.com/v1".into()),
        context_window: 64_000,
        max_output_tokens: None,
        supports_images: true,
        native_reasoning: true,
    }
}

fn found(model: ModelInfo) -> Found {
    Found { model: Some(model), ..Found::default() }
}

/// The agent a request leads to, its model looked up.
fn new_agent(body: Value) -> Result<NewAgent, Problem> {
    let request: CreateAgentRequest = serde_json::from_value(body).unwrap();
    let handle = request.model_handle(&Defaults::default()).unwrap();
    let info = if handle.starts_with("anthropic/") { anthropic() } else { openai() };
    request.into_new_agent(&Defaults::default(), &found(info))
}

/// A new agent as it is seen once it is made.
fn view(new: &NewAgent) -> AgentView {
    let blocks: Vec<BlockView> = new
        .new_blocks
        .iter()
        .zip(0x80..)
        .map(|(stored, number)| {
            let id = BlockId::from_uuid(uuid(number));
            BlockView { id, state: Arc::new(block::State::created(id, NOW, stored.clone())) }
        })
        .collect();
    let created = Created {
        config: new.config.clone(),
        blocks: blocks.iter().map(|view| view.id).collect(),
        tools: new.tools.clone(),
        messages: vec![message(0, Role::System, "You are compiled.")],
        compiled_from: Vec::new(),
    };
    let tools = new.tools.iter().filter_map(|&id| retold_actors::tool::by_id(id));
    let tools = tools.map(retold_actors::ToolView::Builtin).collect();
    AgentView { state: Arc::new(State::created(agent_id(), NOW, &created)), blocks, tools }
}

fn state_of(body: Value) -> State {
    State::clone(&view(&new_agent(body).unwrap()).state)
}

fn message(number: u8, role: Role, text: &str) -> Message {
    let content = if text.is_empty() { vec![] } else { vec![Part::Text { text: text.to_owned() }] };
    Message {
        id: message_id(number),
        role,
        content,
        name: None,
        otid: None,
        sender: None,
        model: None,
        tool_calls: Vec::new(),
        tool_returns: Vec::new(),
        step: (role == Role::Assistant || role == Role::Tool).then(step_id),
        run: Some(run_id()),
        conversation: None,
        created_at: NOW,
        tokens: 1,
        is_err: false,
        interrupted: false,
    }
}

/// A run as a request asks for it.
fn run_row(body: Value, call: Call) -> RunRow {
    let request: LettaStreamingRequest = serde_json::from_value(body).unwrap();
    let request: Request = request.into_send(agent_id(), call).unwrap().request;
    RunRow {
        id: run_id(),
        agent: agent_id(),
        status: RunStatus::Running,
        request,
        created_at: NOW,
        completed_at: None,
        stop_reason: None,
        error: None,
        interrupted: false,
        usage: usage(),
        steps: 1,
        context_tokens: 15,
        ttft_ns: None,
        total_ns: None,
        messages: None,
        callback: None,
        tools_called: Vec::new(),
        asked_by: None,
    }
}

fn usage() -> Usage {
    Usage { prompt_tokens: 10, completion_tokens: 5, reasoning_tokens: Some(2), ..Usage::default() }
}

/// Compares with a committed file under `src/wire/snapshots`.
fn golden(name: &str, value: &impl Serialize) {
    // By way of the serialiser that answers are written with: insta's own does not know verbatim JSON.
    let value = serde_json::to_value(value).unwrap();
    insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_json_snapshot!(name, value);
    });
}

fn golden_text(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

fn plain(agent_type: &str) -> Value {
    json!({
        "name": "Ada", "model": "openai/gpt-4o-mini", "agent_type": agent_type,
        "memory_blocks": [{"label": "human", "value": "Ada"}, {"label": "persona", "value": "kind"}],
        "tags": ["b", "a", "b"],
    })
}
