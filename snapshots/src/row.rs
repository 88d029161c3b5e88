//! Rows of the read models: what lists and look-ups are served from.
//!
//! A row is written in the same batch as the events it follows from, and can be rebuilt by folding them again.

use bytes::Bytes;
use retold_events::{
    AgentId, BlockId, ConversationId, Message, MessageId, RunId, StepId, Timestamp,
    agent::Config,
    block::Block,
    mcp::Server,
    run::{
        AskedBy, EndStatus, Ended, Feedback, Request, RunError, StepEnded, StepOutcome, StepTiming,
        StopReason, Usage,
    },
    tool::Tool,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    agent::LastRun,
    run::{OpenRun, OpenStep},
};

/// Version of all row formats. A row of another version is rebuilt from the events it follows from.
const ROW_VERSION: u8 = 1;

/// Bytes that are not a row of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row of version {version:?} cannot be read by this version: {detail}")]
pub struct MalformedRow {
    /// The version found.
    pub version: Option<u8>,
    /// What is wrong.
    pub detail: String,
}

/// Encodes a row.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(row: &T) -> Bytes {
    let mut bytes = vec![ROW_VERSION];
    bytes
        .extend(postcard::to_stdvec(row).expect("plain structs of text and numbers always encode"));
    Bytes::from(bytes)
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`MalformedRow`] when the bytes are of another version or another row.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MalformedRow> {
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => {
            let malformed = |detail| MalformedRow { version: Some(ROW_VERSION), detail };
            match postcard::take_from_bytes(rest) {
                Ok((row, [])) => Ok(row),
                Ok((_, rest)) => Err(malformed(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(malformed(error.to_string())),
            }
        }
        other => Err(MalformedRow {
            version: other.map(|(version, _)| *version),
            detail: "unknown version".into(),
        }),
    }
}

/// What lists of agents filter and sort by. The rest is in the agent's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether lists leave it out.
    pub hidden: bool,
    /// See [`Config::project_id`].
    pub project_id: Option<String>,
    /// See [`Config::template_id`].
    pub template_id: Option<String>,
    /// See [`Config::base_template_id`].
    pub base_template_id: Option<String>,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When its configuration or memory last changed.
    pub updated_at: Timestamp,
    /// The run that ended last.
    pub last_run: Option<LastRun>,
}

impl AgentRow {
    pub(crate) fn new(
        config: &Config,
        created_at: Timestamp,
        updated_at: Timestamp,
        last_run: Option<LastRun>,
    ) -> Self {
        Self {
            name: config.name.clone(),
            tags: config.tags.clone(),
            hidden: config.hidden.unwrap_or(false),
            project_id: config.project_id.clone(),
            template_id: config.template_id.clone(),
            base_template_id: config.base_template_id.clone(),
            created_at,
            updated_at,
            last_run,
        }
    }
}

/// A block, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRow {
    /// Everything about it.
    pub block: Block,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A tool that a user made. As a row it has no source: that is a row of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRow {
    /// Everything about it.
    pub tool: Tool,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// An MCP server that a user made known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServerRow {
    /// Everything about it.
    pub server: Server,
    /// When it was made known.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A run, open or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Whose.
    pub agent: AgentId,
    /// Whether it has ended, and how.
    pub status: RunStatus,
    /// How it was asked for.
    pub request: Request,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Why it ended.
    pub stop_reason: Option<StopReason>,
    /// What went wrong.
    pub error: Option<RunError>,
    /// Whether the end of the process cut it short.
    pub interrupted: bool,
    /// The sum over its steps.
    pub usage: Usage,
    /// Model calls.
    pub steps: u32,
    /// Tokens in context at its end.
    pub context_tokens: u64,
    /// From acceptance to first output.
    pub ttft_ns: Option<u64>,
    /// From acceptance to end.
    pub total_ns: Option<u64>,
    /// First and last message it left in the thread.
    pub messages: Option<(MessageId, MessageId)>,
    /// What came of its callback.
    pub callback: Option<Callback>,
    /// Names of the tools it called.
    pub tools_called: Vec<String>,
    /// Which call of another agent it came of.
    pub asked_by: Option<AskedBy>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RunStatus {
    /// Accepted, waiting for its turn.
    Created,
    /// Under way.
    Running,
    /// Ended.
    Ended(EndStatus),
}

/// What came of a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// When it was sent.
    pub at: Timestamp,
    /// The status it answered.
    pub status_code: Option<u16>,
    /// Why it did not.
    pub error: Option<String>,
}

impl RunRow {
    /// The row of a run that has not ended.
    #[must_use]
    pub fn open(agent: AgentId, run: &OpenRun) -> Self {
        Self {
            id: run.id,
            agent,
            status: if run.started.is_some() { RunStatus::Running } else { RunStatus::Created },
            request: Request::clone(&run.request),
            created_at: run.accepted_at,
            completed_at: None,
            stop_reason: None,
            error: None,
            interrupted: false,
            usage: run.usage,
            steps: run.steps,
            context_tokens: run.context_tokens,
            ttft_ns: None,
            total_ns: None,
            messages: run.messages,
            callback: None,
            tools_called: run.tools_called.clone(),
            asked_by: run.asked_by,
        }
    }

    /// The row of a run at its end.
    #[must_use]
    pub fn ended(agent: AgentId, run: &OpenRun, at: Timestamp, ended: &Ended) -> Self {
        Self {
            status: RunStatus::Ended(ended.status),
            completed_at: Some(at),
            stop_reason: Some(ended.stop_reason),
            error: ended.error.clone(),
            interrupted: ended.interrupted,
            ttft_ns: ended.ttft_ns,
            total_ns: Some(ended.total_ns),
            ..Self::open(agent, run)
        }
    }
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Its id.
    pub id: StepId,
    /// Its run.
    pub run: RunId,
    /// Whose.
    pub agent: AgentId,
    /// Its run's thread.
    pub conversation: Option<ConversationId>,
    /// Handle of the model.
    pub model: String,
    /// Name of its provider.
    pub provider: Option<String>,
    /// Kind of its endpoint.
    pub endpoint_type: String,
    /// Its context window.
    pub context_window: u32,
    /// How it ended.
    pub outcome: StepOutcome,
    /// Why the loop ended here, if it did.
    pub stop_reason: Option<StopReason>,
    /// Tokens of the model call.
    pub usage: Usage,
    /// How long things took.
    pub timing: StepTiming,
    /// Its messages, the run's input included where it entered with this step.
    pub messages: Vec<MessageId>,
    /// See [`StepEnded::prompt_hash`].
    pub prompt_hash: Option<[u8; 16]>,
}

impl StepRow {
    pub(crate) fn new(
        agent: AgentId,
        run: &OpenRun,
        step: &OpenStep,
        ended: &StepEnded,
        entering: &[Message],
    ) -> Self {
        Self {
            id: step.id,
            run: run.id,
            agent,
            conversation: run.request.conversation,
            model: step.model.clone(),
            provider: step.provider.clone(),
            endpoint_type: step.endpoint_type.clone(),
            context_window: step.context_window,
            outcome: ended.outcome.clone(),
            stop_reason: ended.stop_reason,
            usage: ended.usage,
            timing: ended.timing,
            messages: entering.iter().map(|message| message.id).collect(),
            prompt_hash: ended.prompt_hash,
        }
    }
}

/// A client's judgement of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackRow {
    /// The judgement.
    pub feedback: Option<Feedback>,
    /// Its labels.
    pub tags: Vec<String>,
}

/// Who carries a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagOwner {
    /// An agent.
    Agent(AgentId),
    /// A block.
    Block(BlockId),
}

/// Key of a tag's row: the tag, 0, then its owner. Tags hold no NUL.
#[must_use]
pub fn tag_key(tag: &str, owner: TagOwner) -> Vec<u8> {
    let (kind, id) = match owner {
        TagOwner::Agent(id) => (1, id.uuid()),
        TagOwner::Block(id) => (2, id.uuid()),
    };
    let mut key = Vec::with_capacity(tag.len() + 18);
    key.extend_from_slice(tag.as_bytes());
    key.extend_from_slice(&[0, kind]);
    key.extend_from_slice(id.as_bytes());
    key
}

/// The tag of a tag row's key; `None` when the key is none.
#[must_use]
pub fn tag_of_key(key: &[u8]) -> Option<&str> {
    let end = key.len().checked_sub(18)?;
    std::str::from_utf8(key.get(..end)?).ok()
}

/// Key of the row that says which run came of a call of another agent.
#[must_use]
pub fn asked_key(by: &AskedBy, asked: AgentId) -> Vec<u8> {
    [&by.run.as_bytes()[..], &by.call, asked.as_bytes()].concat()
}

/// Key of the row that says since when calls wait in a thread. The agent's own thread has the nil id.
#[must_use]
pub fn waiting_key(agent: AgentId, conversation: Option<ConversationId>) -> Vec<u8> {
    pair_key(agent.as_bytes(), conversation.map_or(uuid::Uuid::nil(), |it| it.uuid()).as_bytes())
}

/// Two ids as one key: all of the second below the first.
#[must_use]
pub fn pair_key(first: &[u8; 16], second: &[u8; 16]) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.extend_from_slice(first);
    key.extend_from_slice(second);
    key
}
