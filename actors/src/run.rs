//! Sending to an agent, and what comes of a cancel.

use retold_events::{
    Part, Role,
    run::{EndStatus, Input, Request},
};
use retold_snapshots::row::RunRow;

/// One message to an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// Who is speaking: user, system or assistant.
    pub role: Role,
    /// What is said.
    pub content: Vec<Part>,
    /// The speaker's name.
    pub name: Option<String>,
    /// The client's own id of the message; one is made where it is missing.
    pub otid: Option<String>,
    /// Who sends it.
    pub sender: Option<String>,
}

impl NewMessage {
    /// A user message of plain text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let content = vec![Part::Text { text: text.to_owned() }];
        Self { role: Role::User, content, name: None, otid: None, sender: None }
    }
}

/// What is sent, and how it is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// At least one message.
    pub messages: Vec<NewMessage>,
    /// How it is to be run.
    pub request: Request,
}

/// What is sent, ready for the agent.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) input: Vec<Input>,
    pub(crate) request: Request,
}

/// What sending gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The run.
    pub run: RunRow,
    /// Whether the same request was already under way, and this is that one's run.
    pub attached: bool,
}

/// What came of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The run ended by it.
    Cancelled,
    /// The run had already ended, so.
    AlreadyEnded(EndStatus),
    /// This agent has no such run.
    Unknown,
}
