//! Messages as clients send them.

use retold_actors::run::NewMessage;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ApprovalCreate, Content, InputRole, Problem, ToolReturnCreate};

/// One item of `messages`. `type` tells which; without one, what looks like an approval is one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum InputMessage {
    /// Something said.
    Message(MessageCreate),
    /// A decision about tool calls that wait. Only the first item may be one.
    Approval(ApprovalCreate),
    /// Returns of tools that the client ran. Only the first item may be one.
    ToolReturn(ToolReturnCreate),
}

/// Something said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MessageCreate {
    /// `message`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// The client's own id of the message.
    #[serde(default)]
    pub otid: Option<String>,
    /// Without meaning here: there are no groups.
    #[serde(default)]
    pub group_id: Option<String>,
    /// Who is speaking.
    pub role: InputRole,
    /// What is said.
    pub content: Content,
    /// The speaker's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Who sends it.
    #[serde(default)]
    pub sender_id: Option<String>,
    /// Without meaning here: there are no batches.
    #[serde(default)]
    pub batch_item_id: Option<String>,
}

/// Written by hand: the rule for items without a `type` is none that serde has.
impl<'de> Deserialize<'de> for InputMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        let has = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
        let kind = match members.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            None | Some(Value::Null) if has("approve") || has("approval_request_id") => "approval",
            None | Some(Value::Null) => "message",
            Some(other) => {
                return Err(de::Error::custom(format!(
                    "type: Input should be a valid string, not {other}"
                )));
            }
        };
        match kind {
            "message" => MessageCreate::deserialize(&members).map(Self::Message),
            "approval" => ApprovalCreate::deserialize(&members).map(Self::Approval),
            "tool_return" => ToolReturnCreate::deserialize(&members).map(Self::ToolReturn),
            other => Err(de::Error::custom(format!(
                "type: Input should be 'message', 'approval' or 'tool_return', not {other:?}"
            ))),
        }
        .map_err(de::Error::custom)
    }
}

impl MessageCreate {
    /// A text of the user.
    #[must_use]
    pub fn user(content: Content) -> Self {
        Self {
            kind: None,
            otid: None,
            group_id: None,
            role: InputRole::User,
            content,
            name: None,
            sender_id: None,
            batch_item_id: None,
        }
    }

    /// The message as the core takes it.
    ///
    /// # Errors
    /// As [`Content::into_parts`].
    pub fn into_new_message(self) -> Result<NewMessage, Problem> {
        Ok(NewMessage {
            role: self.role.stored(),
            content: self.content.into_parts()?,
            name: self.name,
            otid: self.otid,
            sender: self.sender_id,
        })
    }
}

impl InputMessage {
    /// The client's own id of the message.
    #[must_use]
    pub fn otid(&self) -> Option<&str> {
        match self {
            Self::Message(message) => message.otid.as_deref(),
            Self::Approval(message) => message.otid.as_deref(),
            Self::ToolReturn(message) => message.otid.as_deref(),
        }
    }

    /// The message as the core takes it.
    ///
    /// # Errors
    /// [`Problem`] for anything but something said.
    pub fn into_new_message(self) -> Result<NewMessage, Problem> {
        match self {
            Self::Message(message) => message.into_new_message(),
            Self::Approval(_) | Self::ToolReturn(_) => Err(Problem::Invalid(
                "only the first item of `messages` can decide about tool calls; put it there"
                    .to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use retold_events::Role;
    use serde_json::json;

    use super::*;

    fn read(item: Value) -> Result<InputMessage, String> {
        serde_json::from_value(item).map_err(|error| error.to_string())
    }

    #[test]
    fn an_item_without_a_type_is_a_message_unless_it_looks_like_an_approval() {
        let message = read(json!({"role": "user", "content": "hi", "approve": null})).unwrap();
        assert!(matches!(message, InputMessage::Message(_)));
        for approval in [
            json!({"approve": false}),
            json!({"type": null, "approval_request_id": "message-1"}),
            json!({"type": "approval", "approvals": []}),
        ] {
            assert!(matches!(read(approval), Ok(InputMessage::Approval(_))));
        }
        let ret = read(json!({"type": "tool_return", "tool_returns": []}));
        assert!(matches!(ret, Ok(InputMessage::ToolReturn(_))));
    }

    #[test]
    fn a_decision_is_nothing_said() {
        let item = read(json!({"approve": true, "approval_request_id": "call_1"})).unwrap();
        assert!(matches!(item.into_new_message(), Err(Problem::Invalid(_))));
    }

    #[test]
    fn a_message_keeps_its_speaker_and_its_ids() {
        let given =
            json!({"role": "system", "content": "x", "otid": "o", "name": "n", "sender_id": "s"});
        let message = read(given).unwrap().into_new_message().unwrap();
        assert_eq!(message.role, Role::System);
        assert_eq!(message.otid.as_deref(), Some("o"));
        assert_eq!(message.name.as_deref(), Some("n"));
        assert_eq!(message.sender.as_deref(), Some("s"));
    }

    #[test]
    fn what_is_wrong_with_an_item_is_named() {
        for (item, expected) in [
            (json!({"role": "tool", "content": "x"}), "unknown variant `tool`"),
            (json!({"role": "user"}), "missing field `content`"),
            (json!({"type": "song"}), "song"),
            (json!({"role": "user", "content": [{"type": "image"}]}), "missing field `source`"),
            (json!("hi"), "expected a map"),
        ] {
            let problem = read(item).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
