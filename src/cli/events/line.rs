//! An event as a line for a person, and in full.

use serde_json::Value;

use crate::chat::{harmless, one_line};

/// What happened when, to whom, and the gist of it.
pub(super) fn of(event: &Value) -> String {
    let text = |name: &str| harmless(event[name].as_str().unwrap_or("-"));
    let position = event["position"].as_u64().unwrap_or_default();
    let (time, kind, stream) = (text("time"), text("type"), text("stream"));
    let mut line = format!("{position:>8}  {time}  {kind:<23}  {stream}");
    if event["run_id"].is_string() {
        line.push_str("  ");
        line.push_str(&text("run_id"));
    }
    let gist = gist(&kind, &event["payload"]);
    if !gist.is_empty() {
        line.push_str("  ");
        line.push_str(&gist);
    }
    line
}

/// Everything about an event: what stands around it as a list, the particulars as JSON.
pub(super) fn whole(event: &Value) -> String {
    let mut text = String::new();
    for (name, value) in event.as_object().into_iter().flatten() {
        if name == "payload" || value.is_null() {
            continue;
        }
        let value = value.as_str().map_or_else(|| value.to_string(), harmless);
        text.push_str(&format!("{:<14}{value}\n", harmless(name)));
    }
    // JSON escapes what a terminal would obey.
    text.push_str(&format!("{:#}", event["payload"]));
    text
}

/// The most telling part of an event, on one line.
fn gist(kind: &str, payload: &Value) -> String {
    match kind {
        "agent.created" | "agent.configured" => quoted(&payload["config"]["name"]),
        "agent.forked" => {
            format!("{} from {}", quoted(&payload["name"]), plain(&payload["parent_id"]))
        }
        "agent.block_attached" | "agent.block_detached" => plain(&payload["block_id"]),
        "agent.tool_attached" | "agent.tool_detached" => plain(&payload["tool_id"]),
        "agent.secrets_set" => names(&payload["names"]),
        "agent.context_compacted" => {
            format!("{} -> {} tokens", payload["tokens_before"], payload["tokens_after"])
        }
        "run.accepted" => said(&payload["input"]),
        "mcp_server.created" | "mcp_server.updated" => quoted(&payload["server"]["server_name"]),
        "step.started" => plain(&payload["model"]),
        "step.ended" => step(payload),
        "step.feedback_given" => plain(&payload["feedback"]),
        "run.ended" => run(payload),
        "run.callback_sent" => plain(&payload["status_code"]),
        "block.created" | "block.edited" | "block.forked" => block(payload),
        "unreadable" => plain(&payload["error"]),
        _ => String::new(),
    }
}

fn names(names: &Value) -> String {
    let names: Vec<String> = names.as_array().into_iter().flatten().map(plain).collect();
    names.join(", ")
}

fn step(payload: &Value) -> String {
    let tokens = payload["usage"]["total_tokens"].as_u64().unwrap_or_default();
    let mut parts = vec![plain(&payload["outcome"]), format!("{tokens} tokens")];
    let tools: Vec<String> =
        payload["tools_called"].as_array().into_iter().flatten().map(plain).collect();
    if !tools.is_empty() {
        parts.push(tools.join(", "));
    }
    let said = said(&payload["messages"]);
    parts.extend((!said.is_empty()).then_some(said));
    parts.join(", ")
}

fn run(payload: &Value) -> String {
    let mut text = format!("{} ({})", plain(&payload["status"]), plain(&payload["stop_reason"]));
    if payload["error"].is_object() {
        text.push_str(": ");
        text.push_str(&plain(&payload["error"]["message"]));
    }
    text
}

fn block(payload: &Value) -> String {
    let author = &payload["author"];
    let by = if author["type"] == "agent" {
        let tool = author["tool"].as_str().map(|tool| format!(" with {}", one_line(tool)));
        format!(" by {}{}", plain(&author["agent_id"]), tool.unwrap_or_default())
    } else {
        String::new()
    };
    format!("{}{by}", quoted(&payload["block"]["label"]))
}

/// The first text that is said in a list of messages.
fn said(messages: &Value) -> String {
    let messages = messages.as_array().into_iter().flatten();
    let mut parts =
        messages.flat_map(|message| message["content"].as_array().into_iter().flatten());
    let text = parts.find(|part| part["type"] == "text");
    text.map_or_else(String::new, |part| quoted(&part["text"]))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => one_line(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            one_line(&value.to_string())
        }
    }
}

fn quoted(value: &Value) -> String {
    value.as_str().map_or_else(String::new, |text| format!("{:?}", one_line(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_what_happened_and_cannot_command_the_terminal() {
        let event = json!({
            "position": 12, "time": "2025-06-15T15:06:40.000000Z", "type": "run.accepted", "stream": "agent-1",
            "run_id": "run-1", "payload": { "input": [{ "content": [{ "type": "text", "text": "hi\u{1b}[2J\nthere" }] }] },
        });
        let expected = "      12  2025-06-15T15:06:40.000000Z  run.accepted             agent-1  run-1  \"hi[2J there\"";
        assert_eq!(of(&event), expected);
        assert!(!whole(&event).contains('\u{1b}'));
    }

    #[test]
    fn what_a_newer_server_tells_is_a_line_too() {
        let line = of(&json!({ "position": 1, "type": "moon.rose", "payload": 3 }));
        assert_eq!(line, "       1  -  moon.rose                -");
        assert_eq!(gist("step.ended", &json!({})), "-, 0 tokens");
        assert_eq!(gist("run.ended", &json!({ "status": "failed" })), "failed (-)");
    }
}
