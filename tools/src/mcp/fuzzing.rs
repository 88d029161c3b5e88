//! What fuzzers call of what servers say. See [`crate::fuzzing`].

use rmcp::model::{CallToolResult, RequestId, ServerJsonRpcMessage, Tool};
use serde_json::Value;

use super::tool::{RemoteTool, Returned};
use super::wire;

pub use super::events::fuzzing::mcp_events;

/// A message of a server, a tool it offers, or what a call returned.
///
/// # Panics
/// When a promise is broken: an answer does not reach who waits for it, or becomes far more than it is.
pub fn mcp_messages(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        // What nobody can read may still say whose answer it is.
        let message = wire::message(data);
        assert!(matches!(message, None | Some(ServerJsonRpcMessage::Error(_))), "{message:?}");
        return;
    };
    // Written anew, so that each member is there once.
    let text = value.to_string();
    answered(&value, &text);
    if let Ok(tool) = serde_json::from_str::<Tool>(&text) {
        assert_eq!(RemoteTool::of(tool).name, value["name"]);
    }
    if let Ok(result) = serde_json::from_str::<CallToolResult>(&text) {
        let returned = Returned::of(result);
        assert!(returned.text.len() <= 4 * text.len() + 1024, "{}", returned.text.len());
        assert_eq!(returned.is_error, value["isError"] == true);
    }
}

/// An answer, however wrong, reaches who waits for it.
fn answered(value: &Value, text: &str) {
    let message = wire::message(text.as_bytes());
    let id = match &value["id"] {
        Value::String(id) => RequestId::String(id.as_str().into()),
        Value::Number(number) => match number.as_i64() {
            Some(id) => RequestId::Number(id),
            None => return,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return,
    };
    if !value["method"].is_null() {
        return;
    }
    let reached = match message {
        Some(ServerJsonRpcMessage::Response(response)) => response.id == id,
        Some(ServerJsonRpcMessage::Error(error)) => error.id == Some(id),
        Some(ServerJsonRpcMessage::Request(_) | ServerJsonRpcMessage::Notification(_)) | None => {
            false
        }
    };
    assert!(reached, "an answer to {} goes nowhere: {text}", value["id"]);
}
