//! Runs as clients see them.

use retold_events::{AgentId, ConversationId, RunId, run::Request};
use retold_snapshots::row::{RunRow, RunStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{Id, JsonObject, LettaResponse, Time, WireRunStatus, WireStopReason, json as text};

/// A run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Run {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<RunId>,
    /// Where it stands.
    pub status: WireRunStatus,
    /// When it was accepted.
    pub created_at: Time,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// Whose.
    #[schema(value_type = String)]
    pub agent_id: Id<AgentId>,
    /// Which conversation; `null` is the agent's own thread.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Id<ConversationId>>,
    /// Always `null`.
    pub base_template_id: Option<String>,
    /// Whether it runs detached from the request that asked for it.
    pub background: Option<bool>,
    /// `run_type`, what the client gave, which agent and run asked for it (`asked_by_agent_id`, `asked_by_run_id`) where
    /// one did, and at the end `result` or `error`.
    pub metadata: JsonObject,
    /// How its messages are shown.
    pub request_config: LettaRequestConfig,
    /// Why it ended.
    pub stop_reason: Option<WireStopReason>,
    /// Address called at its end.
    pub callback_url: Option<String>,
    /// When that was called.
    pub callback_sent_at: Option<Time>,
    /// The status it answered.
    pub callback_status_code: Option<u16>,
    /// Why it did not.
    pub callback_error: Option<String>,
    /// From acceptance to the first output, in nanoseconds.
    pub ttft_ns: Option<u64>,
    /// From acceptance to the end, in nanoseconds.
    pub total_duration_ns: Option<u64>,
}

/// How a run's messages are shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LettaRequestConfig {
    /// Whether a `send_message` call shows as an assistant message.
    pub use_assistant_message: bool,
    /// The tool whose calls show so.
    pub assistant_message_tool_name: String,
    /// Its argument that holds the text.
    pub assistant_message_tool_kwarg: String,
    /// Message types the client wants to see; `null` is all.
    pub include_return_message_types: Option<Vec<String>>,
}

impl From<&Request> for LettaRequestConfig {
    fn from(request: &Request) -> Self {
        Self {
            use_assistant_message: request.use_assistant_message,
            assistant_message_tool_name: request.assistant_message_tool_name.clone(),
            assistant_message_tool_kwarg: request.assistant_message_tool_kwarg.clone(),
            include_return_message_types: request.include_return_message_types.clone(),
        }
    }
}

impl Run {
    /// A run as it is answered. `result` is what an asynchronous run produced, once it has ended.
    #[must_use]
    pub fn new(row: &RunRow, result: Option<&LettaResponse>) -> Self {
        let callback = row.callback.as_ref();
        Self {
            id: Id(row.id),
            status: row.status.into(),
            created_at: Time(row.created_at),
            completed_at: row.completed_at.map(Time),
            agent_id: Id(row.agent),
            conversation_id: row.request.conversation.map(Id),
            base_template_id: None,
            background: Some(row.request.background),
            metadata: JsonObject::of(&metadata(row, result)),
            request_config: (&row.request).into(),
            stop_reason: row.stop_reason.map(Into::into),
            callback_url: row.request.callback_url.clone(),
            callback_sent_at: callback.map(|callback| Time(callback.at)),
            callback_status_code: callback.and_then(|callback| callback.status_code),
            callback_error: callback.and_then(|callback| callback.error.clone()),
            ttft_ns: row.ttft_ns,
            total_duration_ns: row.total_ns,
        }
    }

    /// Whether [`Run::new`] wants the run's messages: it is an asynchronous run that has ended.
    #[must_use]
    pub fn wants_result(row: &RunRow) -> bool {
        row.request.run_type == ASYNC_RUN_TYPE && matches!(row.status, RunStatus::Ended(_))
    }
}

/// `metadata.run_type` of a run whose answer is fetched later.
pub(crate) const ASYNC_RUN_TYPE: &str = "send_message_async";

fn metadata(row: &RunRow, result: Option<&LettaResponse>) -> Map<String, Value> {
    let mut members = row.request.metadata.as_ref().map(text::map_of).unwrap_or_default();
    members.insert("run_type".into(), row.request.run_type.clone().into());
    if let Some(by) = &row.asked_by {
        members.insert("asked_by_agent_id".into(), by.agent.to_string().into());
        members.insert("asked_by_run_id".into(), by.run.to_string().into());
    }
    if let Some(error) = &row.error {
        members.insert("error".into(), error.message.clone().into());
        members.insert("error_type".into(), error.error_type.clone().into());
        members.insert("error_detail".into(), json!(error.detail));
    }
    if row.interrupted {
        members.insert("interrupted".into(), true.into());
    }
    if let Some(result) = result.filter(|_| row.error.is_none()) {
        members.insert("result".into(), json!(result));
    }
    members
}

/// What is sent to the address that a client wanted called at the end of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallbackBody {
    /// The run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// How it ended.
    pub status: WireRunStatus,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// As in [`Run`].
    pub metadata: JsonObject,
}

impl CallbackBody {
    /// The body for a run that has ended.
    #[must_use]
    pub fn new(row: &RunRow, result: Option<&LettaResponse>) -> Self {
        Self {
            run_id: Id(row.id),
            status: row.status.into(),
            completed_at: row.completed_at.map(Time),
            metadata: JsonObject::of(&metadata(row, result)),
        }
    }
}

/// Measurements of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunMetrics {
    /// The run.
    #[schema(value_type = String)]
    pub id: Id<RunId>,
    /// Whose.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<Id<AgentId>>,
    /// Always `null`.
    pub project_id: Option<String>,
    /// When it was accepted, in nanoseconds since 1970.
    pub run_start_ns: Option<i64>,
    /// From acceptance to the end, in nanoseconds.
    pub run_ns: Option<u64>,
    /// Model calls.
    pub num_steps: Option<u32>,
    /// Names of the tools it called, each once.
    pub tools_used: Option<Vec<String>>,
    /// Always `null`.
    pub template_id: Option<String>,
    /// Always `null`.
    pub base_template_id: Option<String>,
}

impl From<&RunRow> for RunMetrics {
    fn from(row: &RunRow) -> Self {
        let mut tools: Vec<String> = Vec::new();
        for tool in &row.tools_called {
            if !tools.contains(tool) {
                tools.push(tool.clone());
            }
        }
        Self {
            id: Id(row.id),
            agent_id: Some(Id(row.agent)),
            project_id: None,
            run_start_ns: Some(row.created_at.as_micros().saturating_mul(1000)),
            run_ns: row.total_ns,
            num_steps: Some(row.steps),
            tools_used: Some(tools),
            template_id: None,
            base_template_id: None,
        }
    }
}

/// Which runs to cancel.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct CancelAgentRunRequest {
    /// Absent: the agent's runs under way.
    pub run_ids: Option<Vec<String>>,
}

/// From where a stream is taken up again.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct RetrieveStreamRequest {
    /// Not needed: the path names the run.
    pub agent_id: Option<String>,
    /// Not needed: the path names the run.
    pub run_id: Option<String>,
    /// Not needed: the path names the run.
    pub otid: Option<String>,
    /// Number of the last event the client has; 0 or absent: from the beginning.
    pub starting_after: Option<u64>,
    /// Whether signs of life are wanted; true when absent.
    pub include_pings: Option<bool>,
    /// Without meaning here: nothing is polled.
    pub poll_interval: Option<f64>,
    /// Without meaning here: nothing is polled.
    pub batch_size: Option<u64>,
}
