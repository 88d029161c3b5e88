//! Messages as they are stored: in full, one for each that the log holds, where lists show several.

use retold_events::{
    ConversationId, Image, Message, MessageId, Part, ReturnStatus, Role, RunId, StepId, run::Input,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::wire::{Id, ImageSource, Time, ToolReturnStatus};

/// A message as the log holds it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredMessage {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<MessageId>,
    /// Who said it.
    pub role: StoredRole,
    /// What was said, in order.
    pub content: Vec<StoredPart>,
    /// The speaker's name.
    pub name: Option<String>,
    /// The client's own id of the message.
    pub otid: Option<String>,
    /// Who sent it.
    pub sender_id: Option<String>,
    /// The handle of the model that said it.
    pub model: Option<String>,
    /// The calls an assistant made.
    pub tool_calls: Vec<StoredToolCall>,
    /// What the tools returned.
    pub tool_returns: Vec<StoredToolReturn>,
    /// The step that made it.
    #[schema(value_type = Option<String>)]
    pub step_id: Option<Id<StepId>>,
    /// The run it belongs to.
    #[schema(value_type = Option<String>)]
    pub run_id: Option<Id<RunId>>,
    /// Which conversation; `null` is the agent's own thread.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Id<ConversationId>>,
    /// When it was made.
    pub created_at: Time,
    /// Tokens of its content.
    pub tokens: u32,
    /// Whether it records a failure.
    pub is_err: bool,
    /// Whether it was cut short by a cancel or a crash.
    pub interrupted: bool,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoredRole {
    /// The server, to the model.
    System,
    /// A person or a program.
    User,
    /// The model.
    Assistant,
    /// A tool.
    Tool,
    /// The stand-in for messages that left the context window.
    Summary,
    /// The model, with calls that wait for a person or for the client.
    Approval,
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StoredPart {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// Where it is, or the picture itself.
        source: ImageSource,
    },
    /// What the model thought.
    Reasoning {
        /// The text.
        text: String,
        /// The provider's proof of origin.
        signature: Option<String>,
    },
    /// Reasoning that the provider encrypted.
    RedactedReasoning {
        /// Opaque data.
        data: String,
    },
}

/// A call the model made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoredToolCall {
    /// The provider's id of the call.
    pub tool_call_id: String,
    /// The tool.
    pub name: String,
    /// JSON text of an object.
    pub arguments: String,
}

/// What a tool returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoredToolReturn {
    /// The call it answers.
    pub tool_call_id: String,
    /// The tool.
    pub name: String,
    /// Whether it did what was asked.
    pub status: ToolReturnStatus,
    /// The returned text.
    pub content: String,
    /// Lines of its standard output.
    pub stdout: Vec<String>,
    /// Lines of its standard error.
    pub stderr: Vec<String>,
}

/// A message that was sent to an agent, before it has a place in the history.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredInput {
    /// Who is speaking.
    pub role: StoredRole,
    /// What is said, in order.
    pub content: Vec<StoredPart>,
    /// The speaker's name.
    pub name: Option<String>,
    /// The client's own id of the message, or one made for it.
    pub otid: String,
    /// Who sent it.
    pub sender_id: Option<String>,
    /// Tokens of its content.
    pub tokens: u32,
}

impl From<&Message> for StoredMessage {
    fn from(message: &Message) -> Self {
        Self {
            id: Id(message.id),
            role: message.role.into(),
            content: message.content.iter().map(StoredPart::from).collect(),
            name: message.name.clone(),
            otid: message.otid.clone(),
            sender_id: message.sender.clone(),
            model: message.model.clone(),
            tool_calls: message.tool_calls.iter().map(StoredToolCall::from).collect(),
            tool_returns: message.tool_returns.iter().map(StoredToolReturn::from).collect(),
            step_id: message.step.map(Id),
            run_id: message.run.map(Id),
            conversation_id: message.conversation.map(Id),
            created_at: Time(message.created_at),
            tokens: message.tokens,
            is_err: message.is_err,
            interrupted: message.interrupted,
        }
    }
}

impl From<&Input> for StoredInput {
    fn from(input: &Input) -> Self {
        Self {
            role: input.role.into(),
            content: input.content.iter().map(StoredPart::from).collect(),
            name: input.name.clone(),
            otid: input.otid.clone(),
            sender_id: input.sender.clone(),
            tokens: input.tokens,
        }
    }
}

impl From<Role> for StoredRole {
    fn from(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
            Role::Tool => Self::Tool,
            Role::Summary => Self::Summary,
            Role::Approval => Self::Approval,
        }
    }
}

impl From<&Part> for StoredPart {
    fn from(part: &Part) -> Self {
        match part {
            Part::Text { text } => Self::Text { text: text.clone() },
            Part::Image(Image::Url { url }) => {
                Self::Image { source: ImageSource::Url { url: url.clone() } }
            }
            Part::Image(Image::Base64 { media_type, data, detail }) => Self::Image {
                source: ImageSource::Base64 {
                    media_type: media_type.clone(),
                    data: data.clone(),
                    detail: detail.clone(),
                },
            },
            Part::Reasoning { text, signature } => {
                Self::Reasoning { text: text.clone(), signature: signature.clone() }
            }
            Part::RedactedReasoning { data } => Self::RedactedReasoning { data: data.clone() },
        }
    }
}

impl From<&retold_events::ToolCall> for StoredToolCall {
    fn from(call: &retold_events::ToolCall) -> Self {
        Self {
            tool_call_id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        }
    }
}

impl From<&retold_events::ToolReturn> for StoredToolReturn {
    fn from(returned: &retold_events::ToolReturn) -> Self {
        Self {
            tool_call_id: returned.call_id.clone(),
            name: returned.name.clone(),
            status: match returned.status {
                ReturnStatus::Success => ToolReturnStatus::Success,
                ReturnStatus::Error => ToolReturnStatus::Error,
            },
            content: returned.content.clone(),
            stdout: returned.stdout.clone(),
            stderr: returned.stderr.clone(),
        }
    }
}
