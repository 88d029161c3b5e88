//! What the frames of a message stream mean to somebody watching.
//!
//! The reading is tolerant: fields it does not need may be missing and kinds it does not know are passed over, because
//! the server may be newer than this program.

use serde_json::Value;

/// One thing to show or to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The run that answers; carried by the first ping.
    Run(String),
    /// A piece of the model's reasoning.
    Reasoning(String),
    /// A piece of the answer, with the id of the message it belongs to.
    Answer { message: String, text: String },
    /// A piece of a tool call.
    ToolCall(ToolCall),
    /// What a tool gave back.
    ToolReturn { ok: bool, text: String },
    /// The history was summarised.
    Summary,
    /// Why the run stopped.
    Stopped(String),
    /// The run failed.
    Failed { message: String, detail: String },
    /// The stream is complete.
    Done,
}

/// A piece of a tool call: the name comes once, the arguments in fragments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToolCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    /// The agent waits for somebody's approval.
    pub(crate) needs_approval: bool,
}

/// Reads the data of one event.
///
/// # Errors
/// When the data is neither `[DONE]` nor JSON.
pub(crate) fn read(data: &str) -> Result<Vec<Frame>, serde_json::Error> {
    if data == "[DONE]" {
        return Ok(vec![Frame::Done]);
    }
    let value: Value = serde_json::from_str(data)?;
    Ok(match text(&value, "message_type").as_str() {
        "ping" => run(&value).into_iter().collect(),
        "reasoning_message" => vec![Frame::Reasoning(text(&value, "reasoning"))],
        "assistant_message" => {
            vec![Frame::Answer { message: text(&value, "id"), text: content(&value["content"]) }]
        }
        "tool_call_message" => tool_calls(&value, false),
        "approval_request_message" => tool_calls(&value, true),
        "tool_return_message" => {
            vec![Frame::ToolReturn {
                ok: text(&value, "status") != "error",
                text: content(&value["tool_return"]),
            }]
        }
        "summary_message" => vec![Frame::Summary],
        "stop_reason" => vec![Frame::Stopped(text(&value, "stop_reason"))],
        "error_message" => {
            vec![Frame::Failed { message: text(&value, "message"), detail: text(&value, "detail") }]
        }
        _ => vec![],
    })
}

fn run(value: &Value) -> Option<Frame> {
    value["run_id"].as_str().map(|run| Frame::Run(run.to_owned()))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// A string, or the text parts of a list.
fn content(value: &Value) -> String {
    match value.as_array() {
        Some(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        None => value.as_str().unwrap_or_default().to_owned(),
    }
}

/// The calls of one message: a list when the message is whole, else the single delta.
fn tool_calls(value: &Value, needs_approval: bool) -> Vec<Frame> {
    let single = std::slice::from_ref(&value["tool_call"]);
    let calls = value["tool_calls"].as_array().map_or(single, Vec::as_slice);
    let call = |call: &Value| ToolCall {
        id: text(call, "tool_call_id"),
        name: text(call, "name"),
        arguments: text(call, "arguments"),
        needs_approval,
    };
    calls.iter().map(|it| Frame::ToolCall(call(it))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(data: &str) -> Frame {
        let [frame] = read(data).unwrap().try_into().unwrap();
        frame
    }

    #[test]
    fn content_may_be_a_string_or_parts() {
        for content in [r#""hi""#, r#"[{"type":"text","text":"h"},{"type":"text","text":"i"}]"#] {
            let frame = one(&format!(
                r#"{{"message_type":"assistant_message","id":"m","content":{content}}}"#
            ));
            assert_eq!(frame, Frame::Answer { message: "m".to_owned(), text: "hi".to_owned() });
        }
    }

    #[test]
    fn a_delta_and_a_whole_tool_call_are_both_read() {
        let delta = r#"{"name":null,"arguments":"{\"a\"","tool_call_id":"c"}"#;
        let expected = Frame::ToolCall(ToolCall {
            id: "c".to_owned(),
            arguments: "{\"a\"".to_owned(),
            ..ToolCall::default()
        });
        for calls in [delta.to_owned(), format!("[{delta}]"), "null".to_owned()] {
            let data = format!(
                r#"{{"message_type":"tool_call_message","tool_call":{delta},"tool_calls":{calls}}}"#
            );
            assert_eq!(one(&data), expected);
        }
    }

    #[test]
    fn unknown_kinds_are_passed_over_and_nonsense_is_an_error() {
        assert_eq!(read(r#"{"message_type":"something_new"}"#).unwrap(), []);
        assert_eq!(read("[1,2]").unwrap(), []);
        assert_eq!(read("[DONE]").unwrap(), [Frame::Done]);
        assert!(read("nonsense").is_err());
    }
}
