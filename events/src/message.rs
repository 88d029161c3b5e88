//! A message as stored: what was said, by whom, in which step of which run.

use serde::{Deserialize, Serialize};

use crate::{ConversationId, MessageId, RunId, StepId, Timestamp};

/// A stored message. One of these may show as several messages on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id. Within an agent ids rise in the order of the history.
    pub id: MessageId,
    /// Who said it.
    pub role: Role,
    /// What was said, in order.
    pub content: Vec<Part>,
    /// The speaker's name, when one was given.
    pub name: Option<String>,
    /// The client's own id of the message.
    pub otid: Option<String>,
    /// Who sent it, when the client said so.
    pub sender: Option<String>,
    /// The handle of the model that said it.
    pub model: Option<String>,
    /// The calls an assistant made. In the context window each has its return in the next message.
    pub tool_calls: Vec<ToolCall>,
    /// What the tools returned.
    pub tool_returns: Vec<ToolReturn>,
    /// The step that made it; `None` for what was there before any run.
    pub step: Option<StepId>,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// The thread it belongs to; `None` is the agent's own.
    pub conversation: Option<ConversationId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tokens of its content, counted once, when it was made.
    pub tokens: u32,
    /// Whether it records a failure.
    pub is_err: bool,
    /// Whether it was cut short by a cancel or a crash; its text is then what was seen until that moment.
    pub interrupted: bool,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
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
    /// The model, with calls that wait for a person or for the client. While it is the last of its thread, they wait.
    Approval,
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Part {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image(Image),
    /// What the model thought.
    Reasoning {
        /// The text.
        text: String,
        /// The provider's proof of origin.
        signature: Option<String>,
    },
    /// Reasoning that the provider encrypted.
    RedactedReasoning {
        /// Opaque data, given back to the provider verbatim.
        data: String,
    },
}

/// A picture, by address or by value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Image {
    /// By address.
    Url {
        /// Where it is.
        url: String,
    },
    /// By value.
    Base64 {
        /// For instance `image/png`.
        media_type: String,
        /// Standard base64.
        data: String,
        /// The wished resolution, `low|high|auto`.
        detail: Option<String>,
    },
}

/// A call the model made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments: JSON text of an object.
    pub arguments: String,
}

/// What a tool returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolReturn {
    /// The id of the call this answers.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// Whether it did what was asked.
    pub status: ReturnStatus,
    /// The returned text; JSON text when the tool returned an object.
    pub content: String,
    /// Lines the tool wrote to its standard output.
    pub stdout: Vec<String>,
    /// Lines the tool wrote to its standard error.
    pub stderr: Vec<String>,
}

/// Whether a tool did what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnStatus {
    /// It did.
    Success,
    /// It did not; the content says why.
    Error,
}

impl Message {
    /// A message that says nothing yet.
    #[must_use]
    pub const fn new(id: MessageId, role: Role, created_at: Timestamp) -> Self {
        Self {
            id,
            role,
            content: Vec::new(),
            name: None,
            otid: None,
            sender: None,
            model: None,
            tool_calls: Vec::new(),
            tool_returns: Vec::new(),
            step: None,
            run: None,
            conversation: None,
            created_at,
            tokens: 0,
            is_err: false,
            interrupted: false,
        }
    }

    /// The text parts joined, without reasoning and pictures.
    #[must_use]
    pub fn text(&self) -> String {
        let mut joined = String::new();
        for part in &self.content {
            if let Part::Text { text } = part {
                joined.push_str(text);
            }
        }
        joined
    }
}
