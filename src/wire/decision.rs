//! What a client says of tool calls that wait, and the tools that it runs itself.

use retold_events::{
    JsonText, ReturnStatus, ToolReturn,
    run::{ClientTool, Decision},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Content, Problem, ToolReturnStatus};

/// A decision about tool calls: the first of the messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalCreate {
    /// `approval`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The client's own id of the message.
    pub otid: Option<String>,
    /// Without meaning here: there are no groups.
    pub group_id: Option<String>,
    /// The decisions, one for each call that waits.
    pub approvals: Option<Vec<CallAnswer>>,
    /// The one decision, in the older form.
    pub approve: Option<bool>,
    /// What it decides, in the older form: the id of a call, or of the message that asks.
    pub approval_request_id: Option<String>,
    /// Why, in the older form.
    pub reason: Option<String>,
}

/// Returns of tools that the client ran: the first of the messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolReturnCreate {
    /// `tool_return`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The client's own id of the message.
    pub otid: Option<String>,
    /// Without meaning here: there are no groups.
    pub group_id: Option<String>,
    /// The returns, one for each call that waits.
    pub tool_returns: Vec<ClientReturn>,
}

/// What a client says of one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CallAnswer {
    /// Whether the server may make it.
    Approval(CallApproval),
    /// What it returned: the client made it.
    Tool(ClientReturn),
}

/// Whether a call may be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallApproval {
    /// The call.
    pub tool_call_id: String,
    /// Whether it may be made.
    pub approve: bool,
    /// Why; the model is told.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a call returned that the client made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientReturn {
    /// The call.
    pub tool_call_id: String,
    /// The returned text.
    pub tool_return: Content,
    /// Whether it did what was asked.
    pub status: ToolReturnStatus,
    /// Lines of its standard output.
    #[serde(default)]
    pub stdout: Option<Vec<String>>,
    /// Lines of its standard error.
    #[serde(default)]
    pub stderr: Option<Vec<String>>,
}

/// A tool that the client runs itself, for one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientToolSchema {
    /// Its name, which hides a tool of the server of the same name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// JSON schema of its arguments: an object schema.
    #[serde(default)]
    pub parameters: Option<Map<String, Value>>,
}

impl ApprovalCreate {
    /// The decisions as the core takes them.
    ///
    /// # Errors
    /// [`Problem`] where there is none, or a return is no text.
    pub fn into_decisions(self) -> Result<Vec<Decision>, Problem> {
        if let Some(approvals) = self.approvals.filter(|approvals| !approvals.is_empty()) {
            return approvals.into_iter().map(CallAnswer::into_decision).collect();
        }
        match (self.approve, self.approval_request_id) {
            (Some(approve), Some(call_id)) => {
                Ok(vec![Decision::Approval { call_id, approve, reason: self.reason }])
            }
            (None, _) | (_, None) => Err(Problem::Unprocessable(
                "approvals: an approval needs at least one item, each with `tool_call_id` and `approve`, or with \
                 `tool_call_id`, `tool_return` and `status`"
                    .to_owned(),
            )),
        }
    }
}

impl ToolReturnCreate {
    /// The returns as the core takes them.
    ///
    /// # Errors
    /// [`Problem`] where there is none, or one is no text.
    pub fn into_decisions(self) -> Result<Vec<Decision>, Problem> {
        if self.tool_returns.is_empty() {
            return Err(Problem::Unprocessable(
                "tool_returns: List should have at least 1 item after validation, not 0".to_owned(),
            ));
        }
        self.tool_returns.into_iter().map(ClientReturn::into_decision).collect()
    }
}

impl CallAnswer {
    fn into_decision(self) -> Result<Decision, Problem> {
        match self {
            Self::Approval(CallApproval { tool_call_id: call_id, approve, reason }) => {
                Ok(Decision::Approval { call_id, approve, reason })
            }
            Self::Tool(returned) => returned.into_decision(),
        }
    }
}

impl ClientReturn {
    fn into_decision(self) -> Result<Decision, Problem> {
        let parts = self.tool_return.into_parts()?;
        let mut content = String::new();
        for part in &parts {
            match part {
                retold_events::Part::Text { text } => content.push_str(text),
                retold_events::Part::Image(_)
                | retold_events::Part::Reasoning { .. }
                | retold_events::Part::RedactedReasoning { .. } => {
                    return Err(Problem::Unprocessable(
                        "tool_return: only text parts can be returned by a tool; describe the picture instead"
                            .to_owned(),
                    ));
                }
            }
        }
        Ok(Decision::Returned(ToolReturn {
            call_id: self.tool_call_id,
            // The core knows which tool was called.
            name: String::new(),
            status: match self.status {
                ToolReturnStatus::Success => ReturnStatus::Success,
                ToolReturnStatus::Error => ReturnStatus::Error,
            },
            content,
            stdout: self.stdout.unwrap_or_default(),
            stderr: self.stderr.unwrap_or_default(),
        }))
    }
}

/// Longest name of a tool that providers take.
const LONGEST_NAME: usize = 64;

/// Tools of the client as the core takes them.
///
/// # Errors
/// [`Problem::Unprocessable`] for a name that no provider takes, for one that comes twice, and for a schema of something
/// other than an object.
pub(super) fn client_tools(tools: Vec<ClientToolSchema>) -> Result<Vec<ClientTool>, Problem> {
    let mut taken: Vec<ClientTool> = Vec::with_capacity(tools.len());
    for (index, tool) in tools.into_iter().enumerate() {
        let wrong = |what: String| Problem::Unprocessable(format!("client_tools.{index}.{what}"));
        let fits = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
        if tool.name.is_empty() || tool.name.len() > LONGEST_NAME || !tool.name.chars().all(fits) {
            return Err(wrong(format!(
                "name: Input should be 1 to {LONGEST_NAME} letters, digits, '_' or '-', not {:?}",
                tool.name
            )));
        }
        if taken.iter().any(|other| other.name == tool.name) {
            return Err(wrong(format!("name: {:?} is there twice", tool.name)));
        }
        let parameters = object_schema(tool.parameters).map_err(wrong)?;
        taken.push(ClientTool {
            name: tool.name,
            description: tool.description.unwrap_or_default(),
            parameters: JsonText::new(parameters.to_string()),
        });
    }
    Ok(taken)
}

/// The schema of a tool's arguments; without one, a tool that takes none.
fn object_schema(given: Option<Map<String, Value>>) -> Result<Value, String> {
    let mut schema = given.unwrap_or_default();
    match schema.get("type") {
        None => {
            schema.insert("type".to_owned(), "object".into());
        }
        Some(Value::String(kind)) if kind == "object" => {}
        Some(other) => {
            return Err(format!("parameters.type: Input should be 'object', not {other}"));
        }
    }
    schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    Ok(Value::Object(schema))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decisions(item: Value) -> Result<Vec<Decision>, Problem> {
        serde_json::from_value::<ApprovalCreate>(item).unwrap().into_decisions()
    }

    #[test]
    fn an_approval_of_each_form_is_a_decision() {
        let denied = Decision::Approval {
            call_id: "call_1".into(),
            approve: false,
            reason: Some("no".into()),
        };
        for item in [
            json!({"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "call_1", "approve": false, "reason": "no"}]}),
            json!({"approve": false, "approval_request_id": "call_1", "reason": "no"}),
        ] {
            assert_eq!(decisions(item).unwrap(), std::slice::from_ref(&denied));
        }
        assert!(decisions(json!({"approve": true})).is_err());
        assert!(decisions(json!({"approvals": []})).is_err());
    }

    #[test]
    fn a_return_of_the_client_is_a_decision() {
        let item = json!({"approvals": [{"type": "tool", "tool_call_id": "c", "status": "error",
            "tool_return": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "stderr": ["x"]}]});
        let [Decision::Returned(returned)] = &decisions(item).unwrap()[..] else { panic!() };
        assert_eq!((returned.content.as_str(), returned.status), ("ab", ReturnStatus::Error));
        assert_eq!(returned.stderr, ["x"]);
    }

    #[test]
    fn tools_of_a_client_are_checked() {
        let read = |tools: Value| client_tools(serde_json::from_value(tools).unwrap());
        let tools = read(json!([{"name": "look"}])).unwrap();
        assert_eq!(tools[0].parameters.as_str(), r#"{"type":"object","properties":{}}"#);
        for (wrong, says) in [
            (json!([{"name": "a b"}]), "client_tools.0.name"),
            (json!([{"name": "a"}, {"name": "a"}]), "client_tools.1.name"),
            (json!([{"name": "a", "parameters": {"type": "string"}}]), "parameters.type"),
        ] {
            let Err(Problem::Unprocessable(text)) = read(wrong) else { panic!() };
            assert!(text.contains(says), "{text}");
        }
    }
}
