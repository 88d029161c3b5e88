//! What can happen to an agent: its configuration, its memory, its message threads.
//!
//! What happens to its runs and steps is in [`crate::run`]; both are one stream, because an agent is one writer.

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, BlockId, ConversationId, JsonText, Message, MessageId, Position, Secret, Seq,
    Timestamp, ToolId, run,
};

/// A fact about an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It came to be.
    Created(Created),
    /// Its configuration changed.
    Configured(Configured),
    /// A block became part of its memory.
    BlockAttached(BlockAttached),
    /// A block is no longer part of its memory.
    BlockDetached(BlockDetached),
    /// It may call a tool.
    ToolAttached(ToolAttached),
    /// It may no longer call a tool.
    ToolDetached(ToolDetached),
    /// The system message of one of its threads was rewritten in place.
    SystemCompiled(SystemCompiled),
    /// The context window of a thread was set by a client.
    ContextReplaced(ContextReplaced),
    /// Older messages of a thread gave way to a summary.
    ContextCompacted(ContextCompacted),
    /// It is gone; its id is never used again.
    Deleted(Deleted),
    /// A run was accepted.
    RunAccepted(run::Accepted),
    /// A run's turn has come.
    RunStarted(run::Started),
    /// A step began: a model is about to be called.
    StepStarted(run::StepStarted),
    /// A step ended, well or badly. What it says enters the thread in the same moment.
    StepEnded(run::StepEnded),
    /// Somebody asked for a run to be cancelled.
    CancelRequested(run::CancelRequested),
    /// A run ended. The first one of these per run wins; there is never a second.
    RunEnded(run::Ended),
    /// The address a client wanted called at the end of a run was called.
    CallbackSent(run::CallbackSent),
    /// A client removed a run from the lists.
    RunDeleted(run::Deleted),
    /// A client judged a step.
    FeedbackGiven(run::FeedbackGiven),
    /// It came to be as a fork of another agent.
    Forked(Forked),
    /// Tool calls with effects are about to be made.
    ToolsCalled(run::ToolsCalled),
    /// A tool call with effects returned.
    ToolReturned(run::ToolReturned),
    /// Tool calls that waited for a decision have their returns.
    CallsResolved(run::CallsResolved),
    /// Its secrets were set.
    SecretsSet(SecretsSet),
}

/// An agent came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// Everything about it but its memory.
    pub config: Config,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<BlockId>,
    /// Its tools, in the order they were attached.
    pub tools: Vec<ToolId>,
    /// Its first messages, the system message first.
    pub messages: Vec<Message>,
    /// Versions of the blocks the system message was compiled from.
    pub compiled_from: Vec<BlockVersion>,
}

/// An agent's configuration changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    /// Everything about it, after the change.
    pub config: Config,
}

/// A block became part of an agent's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockAttached {
    /// Which block.
    pub block: BlockId,
}

/// A block is no longer part of an agent's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDetached {
    /// Which block.
    pub block: BlockId,
}

/// An agent may call a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolAttached {
    /// Which tool.
    pub tool: ToolId,
}

/// An agent may no longer call a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolDetached {
    /// Which tool.
    pub tool: ToolId,
}

/// An agent's secrets were set: what its tools find in their environment. Sealed, so that the log shows names only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsSet {
    /// All of them, after it. One that did not change has the bytes it had.
    pub secrets: Vec<Secret>,
}

/// The system message of a thread was rewritten in place: same id, new text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemCompiled {
    /// Which thread; `None` is the agent's own.
    pub conversation: Option<ConversationId>,
    /// The new text.
    pub text: String,
    /// Tokens of the text.
    pub tokens: u32,
    /// The time the text itself names as its compilation.
    pub compiled_at: Timestamp,
    /// Versions of the blocks it was compiled from.
    pub compiled_from: Vec<BlockVersion>,
}

/// A block as it stood at one event of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockVersion {
    /// Which block.
    pub block: BlockId,
    /// The last event of its stream that is included.
    pub version: Seq,
}

/// The context window of a thread was set by a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextReplaced {
    /// Which thread; `None` is the agent's own.
    pub conversation: Option<ConversationId>,
    /// The messages now in context, the system message first.
    pub messages: Vec<Message>,
}

/// Older messages of a thread gave way to a summary. The originals stay in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextCompacted {
    /// Which thread; `None` is the agent's own.
    pub conversation: Option<ConversationId>,
    /// What stands for them, right after the system message.
    pub summary: Message,
    /// The first message that stayed; `None` when none but the system message did.
    pub kept_from: Option<MessageId>,
    /// What set it off: `context_window_exceeded`, `post_step_context_check` or `manual`.
    pub trigger: String,
    /// Tokens in context before, as far as known.
    pub tokens_before: u32,
    /// Tokens in context after.
    pub tokens_after: u32,
    /// Messages in context before.
    pub messages_before: u32,
    /// Messages in context after.
    pub messages_after: u32,
}

/// An agent came to be as a fork: its history begins as the history of its parent up to a moment. Nothing is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    /// Whose history it goes on from.
    pub parent: AgentId,
    /// The last event of the parent's stream that is included.
    pub seq: Seq,
    /// The moment, among all events of the server.
    pub position: Position,
    /// Its name.
    pub name: String,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<BlockFork>,
}

/// A block of a fork, and the parent's block it is a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFork {
    /// The parent's.
    pub from: BlockId,
    /// The last event of its stream that is included.
    pub version: Seq,
    /// The fork's own.
    pub block: BlockId,
}

/// An agent is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {}

/// Everything about an agent but its memory, its tools and its messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Its name. Names need not be unique.
    pub name: String,
    /// Which loop it runs.
    pub agent_type: AgentType,
    /// The system prompt before compilation.
    pub system: String,
    /// For people; not shown to the model.
    pub description: Option<String>,
    /// Free JSON object of the client.
    pub metadata: Option<JsonText>,
    /// Labels of the client, for finding it again.
    pub tags: Vec<String>,
    /// The model it speaks with.
    pub model: ModelConfig,
    /// The embedding model, as the client gave or chose it: JSON of an `EmbeddingConfig`.
    pub embedding: Option<EmbeddingConfig>,
    /// How its history is compacted.
    pub compaction: Compaction,
    /// What orders its tool calls.
    pub tool_rules: Vec<ToolRule>,
    /// IANA name of the time zone its model thinks in.
    pub timezone: String,
    /// Whether each run starts with an empty history.
    pub message_buffer_autoclear: bool,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Kept for the client, without meaning here.
    pub max_files_open: Option<u64>,
    /// Kept for the client, without meaning here.
    pub per_file_view_window_char_limit: Option<u64>,
    /// Kept for the client, without meaning here.
    pub project_id: Option<String>,
    /// Kept for the client, without meaning here.
    pub template_id: Option<String>,
    /// Kept for the client, without meaning here.
    pub base_template_id: Option<String>,
}

/// Which loop an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AgentType {
    /// The current loop: text answers, native reasoning, several calls per step.
    LettaV1,
    /// The older loop: answers are `send_message` calls, one call per step, heartbeats. Newer memory tools.
    MemgptV2,
    /// The oldest loop: like `MemgptV2` with the older memory tools.
    Memgpt,
}

/// The model an agent speaks with, resolved once and then fixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// `provider/model`.
    pub handle: String,
    /// The provider's own name of the model.
    pub model: String,
    /// The name shown to people.
    pub display_name: Option<String>,
    /// The kind of endpoint, in V1's words.
    pub endpoint_type: String,
    /// The provider's base address.
    pub endpoint: Option<String>,
    /// The provider's name.
    pub provider_name: Option<String>,
    /// Tokens the agent may fill, at most.
    pub context_window: u32,
    /// Tokens of one answer, at most.
    pub max_output_tokens: Option<u32>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: bool,
    /// Whether the model should reason.
    pub enable_reasoner: bool,
    /// `none|minimal|low|medium|high|xhigh`.
    pub reasoning_effort: Option<String>,
    /// Thinking budget in tokens; 0 is none.
    pub max_reasoning_tokens: u32,
    /// JSON of a `ResponseFormat`.
    pub response_format: Option<JsonText>,
    /// Members of the client's `llm_config` and `model_settings` that mean nothing here: a JSON object each.
    pub other_config: JsonText,
    /// See `other_config`.
    pub other_settings: JsonText,
}

/// An embedding model, as the client chose it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingConfig {
    /// `provider/model`.
    pub handle: Option<String>,
    /// JSON of the whole `EmbeddingConfig`.
    pub config: JsonText,
}

/// How an agent's history is compacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compaction {
    /// Handle of the model that summarizes; `None` is the agent's own.
    pub model: Option<String>,
    /// What it is asked; `None` is the stock prompt.
    pub prompt: Option<String>,
    /// Whether the summarizer acknowledges first.
    pub prompt_acknowledgement: bool,
    /// Which messages give way.
    pub mode: CompactionMode,
    /// Share of the messages that give way at first, within 0..=1.
    pub sliding_window_percentage: f64,
    /// Upper bound of the summary, in characters.
    pub clip_chars: Option<u32>,
    /// JSON of the summarizer's `ModelSettings`, kept for the client.
    pub model_settings: Option<JsonText>,
}

/// Which messages give way to a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompactionMode {
    /// All but the system message.
    All,
    /// The older share.
    SlidingWindow,
    /// As `All`, summarized by the agent's own model and prompt.
    SelfCompactAll,
    /// As `SlidingWindow`, summarized by the agent's own model and prompt.
    SelfCompactSlidingWindow,
}

/// A rule that orders tool calls within one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRule {
    /// The tool it speaks of.
    pub tool: String,
    /// What it says.
    pub kind: ToolRuleKind,
    /// Kept for the client.
    pub prompt_template: Option<String>,
}

/// What a tool rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToolRuleKind {
    /// Called first. `args` is JSON of prefilled arguments.
    RunFirst {
        /// Arguments that override the model's.
        args: Option<JsonText>,
    },
    /// After it, only its children. `nodes` is JSON of prefilled arguments per child.
    ConstrainChildren {
        /// The tools allowed next.
        children: Vec<String>,
        /// Arguments that override the model's, per child.
        nodes: Option<JsonText>,
    },
    /// Its children are allowed only right after it.
    ParentLast {
        /// The tools it opens.
        children: Vec<String>,
    },
    /// After it, the tool its return maps to.
    Conditional {
        /// Where nothing matches.
        default_child: Option<String>,
        /// Return text and the tool it leads to.
        mapping: Vec<(String, String)>,
        /// Whether no match means no tool.
        require_mapping: bool,
    },
    /// The loop goes on after it.
    ContinueLoop,
    /// The loop ends after it.
    ExitLoop,
    /// At most this often per request.
    MaxCount {
        /// How often.
        limit: u32,
    },
    /// The loop may not end before it was called.
    RequiredBeforeExit,
    /// A person has to agree to each call of it.
    RequiresApproval,
}
