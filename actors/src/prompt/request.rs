//! What a model is asked in a step: a function of the step's view, the run's request and the tools there are.
//!
//! The turn asks with it and a replay checks with it, so there is one place where a prompt comes to be, and its hash says
//! whether two of them are the same. Nothing here awaits, counts time or writes.

use std::borrow::Cow;

use retold_events::{
    Image, Message, Part, ReturnStatus, ToolId,
    agent::{AgentType, ModelConfig},
    run::{ClientTool, Request},
};
use retold_models::{Prompt, Reasoning, ResponseFormat, ToolChoice, ToolSchema};
use serde_json::value::RawValue;

use super::{StepView, transcript::to_model};
use crate::rules::{Solver, disables_parallel};

/// What a step may call.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The tools as the model sees them.
    pub(crate) schemas: Vec<ToolSchema>,
    /// Whether the model has to call one.
    force: bool,
    /// Whether only the first call of an answer counts.
    pub(crate) one_call: bool,
    /// All tools there are for the agent, for the rules and the calls.
    pub(crate) attached: Vec<Attached>,
}

/// A tool that may be called.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) name: String,
    /// `None` for one that the client runs itself.
    pub(crate) tool: Option<ToolId>,
}

impl Offer {
    /// `schema` gives a tool as a model sees it, with the argument by which older agents go on or without it; `None` for
    /// an id that is no tool's.
    pub(crate) fn new(
        view: &StepView,
        schema: impl Fn(ToolId, bool) -> Option<ToolSchema>,
    ) -> Self {
        let older = must_call(view.config.agent_type);
        let of_client = |name: &str| view.client_tools.iter().any(|tool| tool.name == name);
        let ours = view.tools.iter().filter_map(|&id| Some((Some(id), schema(id, older)?)));
        let ours = ours.filter(|(_, schema)| !of_client(&schema.name));
        let theirs = view.client_tools.iter().map(|tool| (None, client_schema(tool)));
        let (attached, all): (Vec<Attached>, Vec<ToolSchema>) = ours
            .chain(theirs)
            .map(|(tool, schema)| (Attached { name: schema.name.clone(), tool }, schema))
            .unzip();
        let names: Vec<&str> = attached.iter().map(|tool| tool.name.as_str()).collect();
        let allowed = solver(view).allowed(&names);
        let schemas: Vec<ToolSchema> =
            all.into_iter().filter(|tool| allowed.tools.contains(&tool.name)).collect();
        let rules = &view.config.tool_rules;
        Self {
            force: (older || allowed.force) && !schemas.is_empty(),
            one_call: older || !view.config.model.parallel_tool_calls || disables_parallel(rules),
            schemas,
            attached,
        }
    }

    /// The schema of a tool's arguments as the model sees it, JSON text.
    pub(crate) fn parameters(&self, tool: &str) -> &str {
        let offered = self.schemas.iter().find(|schema| schema.name == tool);
        offered.map_or("{}", |schema| schema.parameters.get())
    }

    /// Tokens that the schemas take in a prompt, at four characters each.
    pub(crate) fn tokens(&self) -> u64 {
        let characters = self
            .schemas
            .iter()
            .map(|tool| tool.name.len() + tool.description.len() + tool.parameters.get().len())
            .sum::<usize>();
        (characters / 4) as u64
    }
}

/// A tool of the client as the model sees it. Its schema was checked when it came.
fn client_schema(tool: &ClientTool) -> ToolSchema {
    let parameters = RawValue::from_string(tool.parameters.as_str().to_owned())
        .unwrap_or_else(|_| RawValue::NULL.to_owned());
    ToolSchema { name: tool.name.clone(), description: tool.description.clone(), parameters }
}

/// The rules of a step, after the calls its run has made.
pub(crate) fn solver(view: &StepView) -> Solver<'_> {
    // Not simply the last message: the input of a run that was cancelled while it waited may stand after it.
    let last_return = view
        .context
        .iter()
        .rev()
        .find_map(|message| message.tool_returns.last())
        .filter(|_| !view.tools_called.is_empty())
        .map(|returned| returned.content.clone());
    Solver::new(&view.config.tool_rules, view.tools_called.clone(), last_return)
}

/// Whether agents of this type must call a tool in every step.
fn must_call(agent_type: AgentType) -> bool {
    agent_type != AgentType::LettaV1
}

/// A model call as it is about to be made.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    view: &'a StepView,
    offer: &'a Offer,
    system: Cow<'a, str>,
    response_format: Option<Format>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(view: &'a StepView, request: &'a Request, offer: &'a Offer) -> Self {
        let system = request
            .override_system
            .as_deref()
            .map_or_else(|| view.system.text().into(), Cow::Borrowed);
        let format = &view.config.model.response_format;
        let response_format = format.as_ref().and_then(|text| Format::parse(text.as_str()));
        Self { view, offer, system, response_format }
    }

    /// The call in a provider's terms. No history is copied.
    pub(crate) fn prompt(&self) -> Prompt<'_> {
        let config = &self.view.config.model;
        Prompt {
            system: &self.system,
            messages: to_model(self.view.messages()),
            tools: &self.offer.schemas,
            tool_choice: if self.offer.force { ToolChoice::Required } else { ToolChoice::Auto },
            parallel_tool_calls: !self.offer.one_call,
            max_output_tokens: config.max_output_tokens,
            temperature: config.temperature,
            reasoning: reasoning(config),
            response_format: self.response_format.as_ref().map(Format::borrow),
        }
    }

    /// Hash of what is sent: a replay that builds another prompt is found out by it. Every text goes in after its
    /// length.
    pub(crate) fn hash(&self) -> [u8; 16] {
        // Collected first: hashing one long piece is many times faster than as many short ones.
        let mut sent = Sent(Vec::with_capacity(self.system.len() + 4096));
        sent.text(&self.system);
        for message in self.view.messages() {
            sent.message(message);
        }
        for tool in &self.offer.schemas {
            sent.text(&tool.name);
            sent.text(tool.parameters.get());
        }
        let mut short = [0; 16];
        short.copy_from_slice(&blake3::hash(&sent.0).as_bytes()[..16]);
        short
    }
}

struct Sent(Vec<u8>);

impl Sent {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn message(&mut self, message: &Message) {
        self.0.extend_from_slice(message.id.as_bytes());
        for part in &message.content {
            match part {
                Part::Text { text } | Part::Reasoning { text, .. } => self.text(text),
                Part::RedactedReasoning { data } => self.text(data),
                Part::Image(Image::Url { url }) => self.text(url),
                Part::Image(Image::Base64 { data, .. }) => self.text(data),
            }
        }
        for call in &message.tool_calls {
            self.text(&call.name);
            self.text(&call.arguments);
        }
        for returned in &message.tool_returns {
            self.text(if returned.status == ReturnStatus::Success { "ok" } else { "failed" });
            self.text(&returned.content);
        }
    }
}

fn reasoning(config: &ModelConfig) -> Option<Reasoning> {
    let budget_tokens = Some(config.max_reasoning_tokens).filter(|&tokens| tokens > 0);
    let effort = config.reasoning_effort.clone();
    (config.enable_reasoner && (budget_tokens.is_some() || effort.is_some()))
        .then_some(Reasoning { effort, budget_tokens })
}

/// A response format that owns its schema while the prompt borrows it.
#[derive(Debug)]
enum Format {
    Text,
    JsonObject,
    JsonSchema(Box<RawValue>),
}

impl Format {
    fn borrow(&self) -> ResponseFormat<'_> {
        match self {
            Self::Text => ResponseFormat::Text,
            Self::JsonObject => ResponseFormat::JsonObject,
            Self::JsonSchema(schema) => ResponseFormat::JsonSchema(schema),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Wire {
            r#type: String,
            json_schema: Option<Box<RawValue>>,
        }
        let wire: Wire = serde_json::from_str(text).ok()?;
        match (wire.r#type.as_str(), wire.json_schema) {
            ("text", _) => Some(Self::Text),
            ("json_object", _) => Some(Self::JsonObject),
            ("json_schema", Some(schema)) => Some(Self::JsonSchema(schema)),
            _ => None,
        }
    }
}
