//! A request to send messages, and the run it asks for.

use retold_actors::run::Send;
use retold_events::{
    AgentId,
    run::{Decision, Request},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    ClientToolSchema, Content, InputMessage, MESSAGE_TYPES, MessageCreate, Problem,
    decision::client_tools, problem::not_supported, run::ASYNC_RUN_TYPE,
};

/// Model calls at most, when nobody says otherwise.
const DEFAULT_MAX_STEPS: u32 = 50;

/// How an answer is wanted: which route was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// One answer when the run has ended.
    Blocking,
    /// Events while it runs.
    Streaming,
    /// The run at once, its answer later.
    Async,
    /// OpenAI's form.
    ChatCompletion,
}

impl Call {
    const fn run_type(self) -> &'static str {
        match self {
            Self::Blocking => "send_message",
            Self::Streaming => "send_message_streaming",
            Self::Async => ASYNC_RUN_TYPE,
            Self::ChatCompletion => "openai_chat_completions",
        }
    }
}

/// Messages to an agent. Serves all routes that send; each has its own use for the last members.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LettaStreamingRequest {
    /// What is said. Either this or `input`.
    pub messages: Option<Vec<InputMessage>>,
    /// One message of the user.
    pub input: Option<Content>,
    /// Model calls at most; 50 when absent.
    #[schema(minimum = 1)]
    pub max_steps: Option<i64>,
    /// Whether a `send_message` call shows as an assistant message; true when absent.
    pub use_assistant_message: Option<bool>,
    /// The tool whose calls show so.
    pub assistant_message_tool_name: Option<String>,
    /// Its argument that holds the text.
    pub assistant_message_tool_kwarg: Option<String>,
    /// Message types the client wants to see; absent: all.
    pub include_return_message_types: Option<Vec<String>>,
    /// Without meaning here, as in V1's newer loops.
    #[schema(value_type = Option<String>)]
    pub enable_thinking: Option<Value>,
    /// Tools that the client runs itself. A call of one ends the run with `requires_approval`; the next request brings what
    /// it returned, and names them again.
    pub client_tools: Option<Vec<ClientToolSchema>>,
    /// Refused unless empty: skills of the client.
    #[schema(value_type = Option<Vec<Object>>)]
    pub client_skills: Option<Vec<Value>>,
    /// Handle of a model for this run only.
    pub override_model: Option<String>,
    /// Whether compaction shows as messages of its own kind.
    pub include_compaction_messages: Option<bool>,
    /// Refused when true.
    pub return_logprobs: Option<bool>,
    /// Without meaning unless `return_logprobs`.
    pub top_logprobs: Option<i64>,
    /// Refused when true.
    pub return_token_ids: Option<bool>,
    /// System text for this run only; `system` is another spelling.
    #[serde(alias = "system")]
    pub override_system: Option<String>,
    /// Whether events are wanted rather than one answer.
    pub streaming: Option<bool>,
    /// Whether events are pieces of messages rather than whole ones.
    pub stream_tokens: Option<bool>,
    /// Whether signs of life are wanted; true when absent.
    pub include_pings: Option<bool>,
    /// Whether the run is detached from the request, and its stream can be taken up again.
    pub background: Option<bool>,
    /// Address to call when the run has ended: `http` or `https`, without a login, and where everybody can call or the
    /// setting `egress_allow` lets the server call. Asynchronous runs only.
    pub callback_url: Option<String>,
}

/// V1's name of the form without streaming.
pub type LettaRequest = LettaStreamingRequest;

/// V1's name of the form with a callback.
pub type LettaAsyncRequest = LettaStreamingRequest;

impl LettaStreamingRequest {
    /// One message of the user.
    #[must_use]
    pub fn of_text(text: String, stream_tokens: bool) -> Self {
        Self {
            input: Some(Content::Text(text)),
            streaming: Some(stream_tokens),
            stream_tokens: Some(stream_tokens),
            ..Self::default()
        }
    }

    /// Whether events are wanted rather than one answer.
    #[must_use]
    pub fn streaming(&self) -> bool {
        self.streaming.unwrap_or(false)
    }

    /// Whether events are pieces of messages rather than whole ones.
    #[must_use]
    pub fn stream_tokens(&self) -> bool {
        self.stream_tokens.unwrap_or(false)
    }

    /// Whether the run is detached from the request.
    #[must_use]
    pub fn background(&self) -> bool {
        self.background.unwrap_or(false)
    }

    /// Whether signs of life are wanted.
    #[must_use]
    pub fn include_pings(&self) -> bool {
        self.include_pings.unwrap_or(true)
    }

    /// The run to ask the agent for.
    ///
    /// # Errors
    /// [`Problem::Unprocessable`] for what V1 answers with 422, [`Problem::Invalid`] for what this server does not do.
    pub fn into_send(self, agent: AgentId, call: Call) -> Result<Send, Problem> {
        self.check(call)?;
        let fingerprint = self.fingerprint(agent, call);
        let max_steps = max_steps(self.max_steps)?;
        let request = Request {
            run_type: call.run_type().to_owned(),
            conversation: None,
            background: self.background() || call == Call::Async,
            stream_tokens: self.stream_tokens() && call != Call::Async,
            max_steps,
            use_assistant_message: self.use_assistant_message.unwrap_or(true),
            assistant_message_tool_name: self
                .assistant_message_tool_name
                .unwrap_or_else(|| "send_message".to_owned()),
            assistant_message_tool_kwarg: self
                .assistant_message_tool_kwarg
                .unwrap_or_else(|| "message".to_owned()),
            include_return_message_types: self.include_return_message_types,
            include_compaction_messages: self.include_compaction_messages.unwrap_or(false),
            override_model: self.override_model.filter(|handle| !handle.is_empty()),
            override_system: self.override_system,
            callback_url: self.callback_url.filter(|_| call == Call::Async),
            fingerprint,
            metadata: None,
        };
        let client_tools = client_tools(self.client_tools.unwrap_or_default())?;
        let mut decisions = Vec::new();
        let messages = match (self.messages, self.input) {
            (Some(mut messages), None) => {
                decisions = take_decisions(&mut messages)?;
                messages.into_iter().map(InputMessage::into_new_message).collect()
            }
            (None, Some(input)) => {
                MessageCreate::user(input).into_new_message().map(|message| vec![message])
            }
            (Some(_), Some(_)) | (None, None) => Err(input_or_messages()),
        }?;
        Ok(Send { decisions, client_tools, ..Send::new(messages, request) })
    }

    fn check(&self, call: Call) -> Result<(), Problem> {
        let unprocessable = |message: &str| Err(Problem::Unprocessable(message.to_owned()));
        match (&self.messages, &self.input) {
            (Some(_), Some(_)) | (None, None) => return Err(input_or_messages()),
            (Some(messages), None) if messages.is_empty() => {
                return unprocessable(
                    "messages: List should have at least 1 item after validation, not 0",
                );
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if call == Call::Blocking && self.stream_tokens() {
            return unprocessable("stream_tokens can only be true when streaming is true");
        }
        if call == Call::Blocking && self.background() {
            return unprocessable("background can only be true when streaming is true");
        }
        let types = self.include_return_message_types.iter().flatten();
        if let Some(unknown) =
            types.into_iter().find(|kind| !MESSAGE_TYPES.contains(&kind.as_str()))
        {
            return Err(Problem::Unprocessable(format!(
                "include_return_message_types: Input should be one of {}, not {unknown:?}",
                MESSAGE_TYPES.join(", ")
            )));
        }
        self.check_supported()
    }

    fn check_supported(&self) -> Result<(), Problem> {
        let refuse = |what: &str, instead: &str| Err(not_supported(what, instead));
        if self.client_skills.as_ref().is_some_and(|skills| !skills.is_empty()) {
            return refuse("`client_skills`", "describe the skills in a memory block instead");
        }
        if self.return_logprobs == Some(true) {
            return refuse("`return_logprobs`", "leave it out");
        }
        if self.return_token_ids == Some(true) {
            return refuse("`return_token_ids`", "leave it out");
        }
        Ok(())
    }

    /// The same for a repeated request, as an SDK sends it after a timeout. Only requests whose messages all have ids of
    /// the client's can be repeated ones; of others, two with the same words are two.
    fn fingerprint(&self, agent: AgentId, call: Call) -> Option<[u8; 16]> {
        let messages = self.messages.as_ref()?;
        if !messages.iter().all(|message| message.otid().is_some_and(|otid| !otid.is_empty())) {
            return None;
        }
        let body = serde_json::to_vec(self).ok()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(agent.as_bytes());
        hasher.update(call.run_type().as_bytes());
        hasher.update(&[0]);
        hasher.update(&body);
        let mut fingerprint = [0; 16];
        hasher.finalize_xof().fill(&mut fingerprint);
        Some(fingerprint)
    }
}

/// Takes what the first item says of tool calls that wait, if it does.
fn take_decisions(messages: &mut Vec<InputMessage>) -> Result<Vec<Decision>, Problem> {
    if !matches!(messages.first(), Some(InputMessage::Approval(_) | InputMessage::ToolReturn(_))) {
        return Ok(Vec::new());
    }
    match messages.remove(0) {
        InputMessage::Approval(approval) => approval.into_decisions(),
        InputMessage::ToolReturn(returned) => returned.into_decisions(),
        InputMessage::Message(_) => Ok(Vec::new()),
    }
}

fn input_or_messages() -> Problem {
    Problem::Unprocessable("exactly one of `input` and `messages` must be given".to_owned())
}

fn max_steps(asked: Option<i64>) -> Result<u32, Problem> {
    let Some(asked) = asked else { return Ok(DEFAULT_MAX_STEPS) };
    if asked < 1 {
        return Err(Problem::Unprocessable(
            "max_steps: Input should be greater than or equal to 1".to_owned(),
        ));
    }
    Ok(u32::try_from(asked).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use retold_events::{Part, Role, next_uuid};
    use serde_json::json;

    use super::*;

    fn agent(number: u64) -> AgentId {
        AgentId::from_uuid(next_uuid(
            uuid::Uuid::nil(),
            retold_events::Timestamp::from_micros(1),
            number,
        ))
    }

    fn send(body: Value, call: Call) -> Result<Send, Problem> {
        serde_json::from_value::<LettaStreamingRequest>(body).unwrap().into_send(agent(1), call)
    }

    fn message(otid: &str) -> Value {
        json!({"messages": [{"role": "user", "content": "hi", "otid": otid}]})
    }

    #[test]
    fn the_shorthand_is_one_message_of_the_user() {
        let sent = send(json!({"input": "hi"}), Call::Blocking).unwrap();
        assert_eq!(sent.messages.len(), 1);
        assert_eq!(sent.messages[0].role, Role::User);
        assert_eq!(sent.messages[0].content, [Part::Text { text: "hi".into() }]);
        assert_eq!(sent.request.max_steps, 50);
        assert_eq!(sent.request.run_type, "send_message");
        assert!(sent.request.use_assistant_message && sent.request.fingerprint.is_none());
    }

    #[test]
    fn exactly_one_of_input_and_messages_is_taken() {
        for body in [
            json!({}),
            json!({"input": "a", "messages": [{"role": "user", "content": "b"}]}),
            json!({"messages": []}),
            json!({"input": null, "messages": null}),
        ] {
            assert!(matches!(send(body, Call::Streaming), Err(Problem::Unprocessable(_))));
        }
    }

    #[test]
    fn a_repeated_request_has_the_same_fingerprint_and_any_other_has_another() {
        let of = |body: Value, agent: AgentId, call| {
            let request: LettaStreamingRequest = serde_json::from_value(body).unwrap();
            request.into_send(agent, call).unwrap().request.fingerprint
        };
        let first = of(message("o-1"), agent(1), Call::Blocking);
        assert!(first.is_some());
        assert_eq!(of(message("o-1"), agent(1), Call::Blocking), first);
        assert_ne!(of(message("o-2"), agent(1), Call::Blocking), first);
        assert_ne!(of(message("o-1"), agent(2), Call::Blocking), first);
        assert_ne!(of(message("o-1"), agent(1), Call::Async), first);
        let without = json!({"messages": [{"role": "user", "content": "hi"}]});
        assert_eq!(of(without, agent(1), Call::Blocking), None);
    }

    #[test]
    fn streaming_flags_without_streaming_are_refused_but_pings_are_not() {
        for flag in ["stream_tokens", "background"] {
            let body = json!({"input": "hi", flag: true});
            assert!(matches!(send(body.clone(), Call::Blocking), Err(Problem::Unprocessable(_))));
            assert!(send(body, Call::Streaming).is_ok());
        }
        assert!(send(json!({"input": "hi", "include_pings": false}), Call::Blocking).is_ok());
    }

    #[test]
    fn what_this_server_does_not_do_is_refused_aloud_and_empty_lists_are_fine() {
        for body in [
            json!({"input": "hi", "client_skills": [{"name": "t"}]}),
            json!({"input": "hi", "return_logprobs": true}),
            json!({"input": "hi", "return_token_ids": true}),
        ] {
            assert!(matches!(send(body, Call::Blocking), Err(Problem::Invalid(_))));
        }
        let empty = json!({"input": "hi", "client_tools": [], "client_skills": null, "return_logprobs": false});
        assert!(send(empty, Call::Blocking).is_ok());
    }

    #[test]
    fn max_steps_is_at_least_one_and_types_must_exist() {
        for body in [
            json!({"input": "hi", "max_steps": 0}),
            json!({"input": "hi", "max_steps": -1}),
            json!({"input": "hi", "include_return_message_types": ["song"]}),
        ] {
            assert!(matches!(send(body, Call::Blocking), Err(Problem::Unprocessable(_))));
        }
        let sent = send(json!({"input": "hi", "max_steps": 1}), Call::Blocking).unwrap();
        assert_eq!(sent.request.max_steps, 1);
    }

    #[test]
    fn an_asynchronous_run_is_a_background_run_and_may_name_a_callback() {
        let body = json!({"input": "hi", "callback_url": "https://a/b", "stream_tokens": true});
        let request = send(body.clone(), Call::Async).unwrap().request;
        assert!(request.background && !request.stream_tokens);
        assert_eq!(request.callback_url.as_deref(), Some("https://a/b"));
        assert_eq!(send(body, Call::Streaming).unwrap().request.callback_url, None);
    }
}
