//! Sending to an agent, and what comes of a cancel.

use retold_events::{
    Part, Role,
    run::{AskedBy, ClientTool, Decision, EndStatus, Input, Request, RunError},
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
    /// The messages.
    pub messages: Vec<NewMessage>,
    /// Answers to calls that wait for a person or for the client; then no message is needed.
    pub decisions: Vec<Decision>,
    /// Tools that the client runs itself, in this run.
    pub client_tools: Vec<ClientTool>,
    /// Which call of another agent it comes of.
    pub asked_by: Option<AskedBy>,
    /// How it is to be run.
    pub request: Request,
}

impl Send {
    /// Messages to an agent that nothing is asked of but an answer.
    #[must_use]
    pub const fn new(messages: Vec<NewMessage>, request: Request) -> Self {
        Self { messages, decisions: Vec::new(), client_tools: Vec::new(), asked_by: None, request }
    }
}

/// What is sent, ready for the agent.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) input: Vec<Input>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) client_tools: Vec<ClientTool>,
    pub(crate) asked_by: Option<AskedBy>,
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

/// What sort of error it is when the end of the process cut a run short.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Why a run, and the step it was in, failed that the end of the process cut short.
#[must_use]
pub fn interrupted() -> RunError {
    RunError {
        error_type: INTERRUPTED.to_owned(),
        message: "the server stopped while the run was under way; what was sent and said until then is kept; send a new message to go on"
            .to_owned(),
        detail: None,
        retry_after_s: None,
    }
}
