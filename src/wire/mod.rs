//! The words the server speaks with its clients: V1's request and answer forms, and how stored facts become them.
//!
//! Wire types live here and nowhere else; stored types are converted explicitly, so that either side may change without
//! the other. Everything here is pure: no HTTP, no clock, no actors. Answers send every member V1 names, `null` where
//! there is nothing, because the SDKs' users read members without asking; requests ignore members they do not know, and
//! refuse aloud what V1 has and this server has not.

mod agent;
mod as_of;
mod backup;
mod block;
mod block_history;
mod catalog_queries;
mod compaction;
mod content;
mod create_agent;
mod decision;
pub mod event;
mod expand;
mod fork;
mod health;
mod id;
mod json;
mod llm_config;
mod mcp;
mod mcp_change;
mod mcp_header;
mod message;
mod message_input;
mod model;
mod model_choice;
mod page;
mod problem;
mod provider_trace;
mod queries;
mod query;
mod relations;
mod replay;
mod response;
mod response_format;
mod run;
mod run_queries;
mod run_trace;
mod secrets;
mod send;
mod settings;
mod step;
mod step_end;
mod stream;
mod time;
mod tool;
mod tool_agent;
mod tool_change;
mod tool_rule;
mod tool_run;
mod tool_search;
mod update_agent;
mod usage;
mod words;
pub mod ws;

#[cfg(test)]
mod tests;

pub use agent::{AgentState, Memory, ResetMessagesRequest};
pub use as_of::{AS_OF, AsOfQuery};
pub use backup::BackupQuery;
pub use block::{Block, BlockResponse, BlockUpdate, CreateBlock};
pub use block_history::{
    BlockAuthor, BlockAuthorType, BlockVersion, BlockVersionKind, RestoreBlockRequest,
};
pub use catalog_queries::{
    ApprovalQuery, BlocksQuery, ModelsQuery, TagsQuery, ToolsQuery, check_tool_type,
};
pub use compaction::{CompactionSettings, CompactionSettingsInput, default_compaction};
pub use content::{Content, ContentPart, ImageSource};
pub use create_agent::CreateAgentRequest;
pub use decision::{
    ApprovalCreate, CallAnswer, CallApproval, ClientReturn, ClientToolSchema, ToolReturnCreate,
};
pub use event::{Cursor, Event, EventName, EventPayload, EventsQuery, REDACTED};
pub use expand::{View, expand, expand_parts, part_otid, wire_span};
pub use fork::{ForkAgentRequest, Moment};
pub use health::{Check, CheckStatus, Probe};
pub use id::{Id, Kind, pattern_message};
pub use json::JsonObject;
pub use llm_config::{LlmConfig, LlmConfigInput, OtherConfig, ReasoningEffort};
pub use mcp::{McpRefreshed, McpServer, McpServerConfig, McpServerType, McpTested, McpTool};
pub use mcp_change::{
    AUTH_TOKEN, CreateMcpServerRequest, Keeping, McpServerConfigInput, McpServerInput,
    UpdateMcpServerRequest,
};
pub use mcp_header::auth_header;
pub use message::*;
pub use message_input::{InputMessage, MessageCreate};
pub use model::{EmbeddingConfig, EmbeddingModel, Model};
pub use model_choice::{Defaults, Found, MAX_DEFAULT_WINDOW, small_model};
pub use page::{HistoryPage, MAX_PAGE, MessagePage, Order, Page};
pub use problem::Problem;
pub use provider_trace::{ModelResponse, ProviderTrace, ResponseCall, ResponseError, ResponsePart};
pub use queries::{
    AgentBlocksQuery, AgentQuery, AgentToolsQuery, AgentsQuery, BlockAgentsQuery,
    BlockHistoryQuery, MessagesQuery, RecompileQuery, RunMessagesQuery, RunStepsQuery,
    StepMessagesQuery,
};
pub use query::{Pairs, QueryProblem};
pub use relations::Relations;
pub use replay::{ReplayDivergence, ReplayStatus, RunReplay, RunReplayStep};
pub use response::LettaResponse;
pub use response_format::ResponseFormat;
pub use run::{
    CallbackBody, CancelAgentRunRequest, LettaRequestConfig, RetrieveStreamRequest, Run, RunMetrics,
};
pub use run_queries::{RunsQuery, StepsQuery, StreamQuery};
pub use run_trace::{RunTraceQuery, TraceSpan};
pub use secrets::{AgentEnvironmentVariable, SecretValues};
pub use send::{Call, LettaAsyncRequest, LettaRequest, LettaStreamingRequest};
pub use settings::{
    AnthropicThinking, GeminiThinkingConfig, ModelSettings, ModelSettingsInput, OpenAiReasoning,
};
pub use step::{ModifyFeedbackRequest, Step, StepMetrics};
pub use stream::{Frame, Frames, Shown};
pub use time::Time;
pub use tool::{PackageRequirement, Tool};
pub use tool_agent::{SeenBlock, SeenMemory, SeenTool, ToolAgentState};
pub use tool_change::{DerivedTool, ToolCreate, ToolUpdate};
pub use tool_rule::{ToolCallNode, ToolRule, stored_rules};
pub use tool_run::{ToolExecuteRequest, ToolExecutionResult, ToolRunFromSource, return_message};
pub use tool_search::{ModifyApprovalRequest, ToolSearchRequest, ToolSearchResult};
pub use update_agent::UpdateAgent;
pub use usage::{
    CompletionTokensDetails, LettaUsageStatistics, PromptTokensDetails, UsageStatistics,
};
pub use words::*;

/// The user that everything belongs to: this server has one.
pub const DEFAULT_USER_ID: &str = "user-00000000-0000-4000-8000-000000000000";

/// Bytes of a tag: it is part of a key of the store.
const MOST_TAG_BYTES: usize = 500;

/// Tags as they are stored: each once, in the client's order.
///
/// # Errors
/// [`Problem::Unprocessable`] when one is empty or too long, or holds a NUL, which ends a tag in the index.
fn tags(given: Vec<String>) -> Result<Vec<String>, Problem> {
    let mut kept: Vec<String> = Vec::with_capacity(given.len());
    for tag in given {
        if tag.contains('\0') {
            return Err(Problem::Unprocessable(format!("tag {tag:?} holds a NUL character")));
        }
        if tag.is_empty() {
            return Err(Problem::Unprocessable("a tag may not be empty".to_owned()));
        }
        if tag.len() > MOST_TAG_BYTES {
            let start: String = tag.chars().take(20).collect();
            return Err(Problem::Unprocessable(format!(
                "tag {start:?}... has {} bytes, {MOST_TAG_BYTES} are allowed",
                tag.len()
            )));
        }
        if !kept.contains(&tag) {
            kept.push(tag);
        }
    }
    Ok(kept)
}
