//! Running a tool because a client asks for it: what to run, and what came of it.

use retold_actors::{Job, Ran};
use retold_events::{
    Message, MessageId, ReturnStatus, Role, Timestamp, ToolReturn as Returned,
    tool::{Kind, Language},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    PackageRequirement, Problem, SecretValues, ToolCreate, ToolReturnMessage, ToolReturnStatus,
    expand::returns_message,
};

/// Source to be run once, without being kept.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct ToolRunFromSource {
    /// A function with type hints and a docstring.
    pub source_code: String,
    /// Its arguments, by name.
    #[schema(value_type = Object)]
    pub args: Map<String, Value>,
    /// What it finds in its environment.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub env_vars: Option<SecretValues>,
    /// The function to call; the last one of the source when absent.
    pub name: Option<String>,
    /// `python` or `typescript`; `python` when absent.
    pub source_type: Option<String>,
    /// The schema of the arguments, where the source does not say it.
    #[schema(value_type = Option<Object>)]
    pub args_json_schema: Option<Map<String, Value>>,
    /// `{name, description, parameters}`; derived from the source when absent.
    #[schema(value_type = Option<Object>)]
    pub json_schema: Option<Map<String, Value>>,
    /// Python packages it needs.
    pub pip_requirements: Option<Vec<PackageRequirement>>,
    /// Packages of Node it needs.
    pub npm_requirements: Option<Vec<PackageRequirement>>,
}

/// Arguments for a tool that is to be run.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct ToolExecuteRequest {
    /// The arguments, by name; none when absent.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub args: Map<String, Value>,
}

/// What came of a tool that was run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolExecutionResult {
    /// Whether it did what was asked.
    pub status: ToolReturnStatus,
    /// What it returned; `null` when it failed.
    pub func_return: Option<String>,
    /// Always `null`: a tool cannot change its agent.
    #[schema(value_type = Option<Object>)]
    pub agent_state: Option<()>,
    /// Lines of its standard output.
    pub stdout: Vec<String>,
    /// Lines of its standard error; last of them why it failed.
    pub stderr: Vec<String>,
    /// Always `null`.
    pub sandbox_config_fingerprint: Option<String>,
}

impl ToolRunFromSource {
    /// What is to be run. Takes the time that parsing the source takes.
    ///
    /// # Errors
    /// As [`ToolCreate::derive`].
    pub fn into_job(self, key: [u8; 16]) -> Result<Job, Problem> {
        let create = ToolCreate {
            description: None,
            tags: None,
            source_code: self.source_code.clone(),
            source_type: self.source_type,
            json_schema: self.json_schema,
            args_json_schema: self.args_json_schema,
            return_char_limit: None,
            pip_requirements: self.pip_requirements,
            npm_requirements: self.npm_requirements,
            default_requires_approval: None,
            enable_parallel_execution: None,
        };
        let tool = create.derive()?.over(None)?;
        let language = match tool.kind {
            Kind::Custom { language } => language,
            Kind::ExternalMcp { .. } => Language::Python,
        };
        let requirements = match language {
            Language::Python => tool.pip,
            Language::TypeScript => tool.npm,
        };
        Ok(Job {
            name: self.name.unwrap_or(tool.name),
            language,
            source: self.source_code,
            arguments: Value::Object(self.args).to_string(),
            requirements: requirements.unwrap_or_default(),
            environment: self.env_vars.unwrap_or_default().into_variables(),
            secrets: Vec::new(),
            agent: None,
            project: None,
            agent_state: None,
            key,
            network: false,
        })
    }
}

impl From<Ran> for ToolExecutionResult {
    fn from(ran: Ran) -> Self {
        let Ran { result, stdout, mut stderr } = ran;
        let (status, func_return) = match result {
            Ok(text) => (ToolReturnStatus::Success, Some(text)),
            Err(why) => {
                stderr.push(why);
                (ToolReturnStatus::Error, None)
            }
        };
        Self {
            status,
            func_return,
            agent_state: None,
            stdout,
            stderr,
            sandbox_config_fingerprint: None,
        }
    }
}

/// What came of source that was run, in the form of a message. It is of no agent, so its ids mean nothing.
#[must_use]
pub fn return_message(name: &str, ran: Ran, at: Timestamp) -> ToolReturnMessage {
    let Ran { result, stdout, stderr } = ran;
    let (status, content) = match result {
        Ok(text) => (ReturnStatus::Success, text),
        Err(why) => (ReturnStatus::Error, why),
    };
    let returned = Returned {
        call_id: "null".to_owned(),
        name: name.to_owned(),
        status,
        content,
        stdout,
        stderr,
    };
    let message = Message::new(MessageId::from_uuid(Uuid::nil()), Role::Tool, at);
    returns_message(&message, &returned, std::slice::from_ref(&returned))
}
