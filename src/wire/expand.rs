//! How one stored message becomes several wire messages.
//!
//! The number of parts depends on the stored message alone, never on how it is looked at: a part that is hidden or
//! filtered out keeps its number, so that `otid`s and stream numbers are the same for every reader. An assistant message
//! has one part per thought, one for its text and one for its calls, in this order; every other message is one part.

use std::borrow::Cow;

use retold_events::{Message, MessageId, Part, ReturnStatus, Role, agent::AgentType, run::Request};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    ApprovalRequestMessage, AssistantMessage, CompactionStats, Content, Head,
    HiddenReasoningMessage, HiddenReasoningState, Id, LettaMessage, ManyToolCalls, OneToolCall,
    ReasoningMessage, ReasoningSource, SummaryMessage, SystemMessage, Time, ToolCall,
    ToolCallDelta, ToolCallMessage, ToolReturn, ToolReturnMessage, ToolReturnStatus, UserMessage,
    WireId,
};

/// How a reader wants to see messages.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// Which loop the agent runs: in the older ones, text is thought and `send_message` is speech.
    pub agent_type: AgentType,
    /// Whether a call of the tool below shows as an assistant message. Older agents only.
    pub use_assistant_message: bool,
    /// The tool whose calls show so.
    pub assistant_message_tool_name: Cow<'a, str>,
    /// Its argument that holds the text.
    pub assistant_message_tool_kwarg: Cow<'a, str>,
    /// Message types to show; `None` is all.
    pub types: Option<Cow<'a, [String]>>,
    /// Whether a summary shows as `summary_message` rather than as `user_message`.
    pub summaries: bool,
}

impl<'a> View<'a> {
    /// How lists of messages show them unless the client says otherwise.
    #[must_use]
    pub fn history(agent_type: AgentType) -> Self {
        Self {
            agent_type,
            use_assistant_message: true,
            assistant_message_tool_name: Cow::Borrowed("send_message"),
            assistant_message_tool_kwarg: Cow::Borrowed("message"),
            types: None,
            summaries: false,
        }
    }

    /// How the client that asked for a run wants to see its messages.
    #[must_use]
    pub fn of_request(agent_type: AgentType, request: &'a Request) -> Self {
        Self {
            agent_type,
            use_assistant_message: request.use_assistant_message,
            assistant_message_tool_name: Cow::Borrowed(&request.assistant_message_tool_name),
            assistant_message_tool_kwarg: Cow::Borrowed(&request.assistant_message_tool_kwarg),
            types: request.include_return_message_types.as_deref().map(Cow::Borrowed),
            summaries: request.include_compaction_messages,
        }
    }

    /// The same without a reference to the request.
    #[must_use]
    pub fn into_owned(self) -> View<'static> {
        View {
            agent_type: self.agent_type,
            use_assistant_message: self.use_assistant_message,
            assistant_message_tool_name: Cow::Owned(self.assistant_message_tool_name.into_owned()),
            assistant_message_tool_kwarg: Cow::Owned(
                self.assistant_message_tool_kwarg.into_owned(),
            ),
            types: self.types.map(|types| Cow::Owned(types.into_owned())),
            summaries: self.summaries,
        }
    }

    /// Whether the agent's loop is one of the older ones.
    #[must_use]
    pub fn is_older(&self) -> bool {
        match self.agent_type {
            AgentType::LettaV1 => false,
            AgentType::Memgpt | AgentType::MemgptV2 => true,
        }
    }

    pub(crate) fn shows(&self, message_type: &str) -> bool {
        self.types.as_deref().is_none_or(|types| types.iter().any(|shown| shown == message_type))
    }

    fn is_speech(&self, tool: &str) -> bool {
        self.is_older() && self.use_assistant_message && tool == self.assistant_message_tool_name
    }
}

/// Numbers a message takes in a stream: its parts, hidden ones included. An answer cut before its first word has none.
#[must_use]
pub fn wire_span(message: &Message) -> u32 {
    if message.role != Role::Assistant {
        return 1;
    }
    let thoughts = message.content.iter().filter(|part| is_thought(part)).count();
    let text = has_text(message);
    let parts = thoughts + usize::from(text) + usize::from(!message.tool_calls.is_empty());
    u32::try_from(parts).unwrap_or(u32::MAX)
}

/// Adds what a message shows to `shown`.
pub fn expand(message: &Message, view: &View<'_>, shown: &mut Vec<LettaMessage>) {
    expand_parts(message, view, |_, part| shown.push(part));
}

/// Hands out what a message shows, each with its number among the parts, from 0.
pub fn expand_parts(message: &Message, view: &View<'_>, mut each: impl FnMut(u32, LettaMessage)) {
    let mut show = |part: u32, shown: Option<LettaMessage>| {
        if let Some(shown) = shown.filter(|shown| view.shows(shown.message_type())) {
            each(part, shown);
        }
    };
    match message.role {
        Role::Assistant => assistant(message, view, show),
        Role::System => {
            let content = message.text();
            show(0, Some(SystemMessage::new(head(message, 0), content).into()));
        }
        Role::User => show(0, Some(user(message))),
        Role::Tool => show(0, tool_return(message, view)),
        Role::Approval => show(0, Some(approval_request(message).into())),
        Role::Summary => show(0, Some(summary(message, view.summaries))),
    }
}

/// The `otid` of a part: the message's UUID with the part's number in its low 7 bits.
#[must_use]
pub fn part_otid(message: MessageId, part: u32) -> Uuid {
    let mut bytes = *message.as_bytes();
    let low = u8::try_from(part & 0x7f).unwrap_or(0);
    bytes[15] = (bytes[15] & 0x80) | low;
    Uuid::from_bytes(bytes)
}

fn head(message: &Message, part: u32) -> Head {
    let own = message.otid.clone().filter(|_| part == 0);
    Head {
        id: WireId::Message(message.id),
        date: Time(message.created_at),
        name: message.name.clone(),
        otid: Some(own.unwrap_or_else(|| part_otid(message.id, part).to_string())),
        sender_id: message.sender.clone(),
        step_id: message.step.map(Id),
        is_err: message.is_err.then_some(true),
        interrupted: message.interrupted.then_some(true),
        seq_id: None,
        run_id: message.run.map(Id),
    }
}

const fn is_thought(part: &Part) -> bool {
    matches!(part, Part::Reasoning { .. } | Part::RedactedReasoning { .. })
}

fn has_text(message: &Message) -> bool {
    message.content.iter().any(|part| matches!(part, Part::Text { text } if !text.is_empty()))
}

fn assistant(message: &Message, view: &View<'_>, mut show: impl FnMut(u32, Option<LettaMessage>)) {
    let mut part = 0;
    for thought in message.content.iter().filter(|part| is_thought(part)) {
        show(part, thought_message(head(message, part), thought));
        part += 1;
    }
    if has_text(message) {
        let head = head(message, part);
        // What an older agent says beside or instead of a call is thought; what a client put in its mouth is speech.
        let spoken = !view.is_older() || (message.step.is_none() && message.tool_calls.is_empty());
        show(
            part,
            Some(if spoken {
                AssistantMessage::new(head, Content::Text(message.text())).into()
            } else {
                let source = ReasoningSource::NonReasonerModel;
                ReasoningMessage::new(head, source, message.text(), None).into()
            }),
        );
        part += 1;
    }
    if !message.tool_calls.is_empty() {
        show(part, Some(calls(message, view, part)));
    }
}

fn thought_message(head: Head, thought: &Part) -> Option<LettaMessage> {
    match thought {
        Part::Reasoning { text, signature } => {
            let source = ReasoningSource::ReasonerModel;
            Some(ReasoningMessage::new(head, source, text.clone(), signature.clone()).into())
        }
        Part::RedactedReasoning { data } => {
            let state = HiddenReasoningState::Redacted;
            Some(HiddenReasoningMessage::new(head, state, Some(data.clone())).into())
        }
        Part::Text { .. } | Part::Image(_) => None,
    }
}

fn calls(message: &Message, view: &View<'_>, part: u32) -> LettaMessage {
    if let [call] = &message.tool_calls[..]
        && view.is_speech(&call.name)
        && let Some(text) = argument(&call.arguments, &view.assistant_message_tool_kwarg)
    {
        return AssistantMessage::new(head(message, part), Content::Text(text)).into();
    }
    let (first, all) = one_and_all(message);
    ToolCallMessage::new(head(message, part), first, all).into()
}

/// Calls that wait for a person or for the client. Its `otid` is the id of the message itself.
pub(super) fn approval_request(message: &Message) -> ApprovalRequestMessage {
    let (first, all) = one_and_all(message);
    ApprovalRequestMessage::new(approval_head(message), first, all)
}

/// Calls that wait, as a stream of tokens shows them: one after the other, each as a piece that is whole.
pub(super) fn approval_pieces(message: &Message) -> impl Iterator<Item = LettaMessage> {
    message.tool_calls.iter().map(|call| {
        let piece = ToolCallDelta {
            name: Some(call.name.clone()),
            arguments: Some(call.arguments.clone()),
            tool_call_id: Some(call.id.clone()),
        };
        let (one, many) = (OneToolCall::Delta(piece.clone()), ManyToolCalls::Delta(piece));
        ApprovalRequestMessage::new(approval_head(message), one, many).into()
    })
}

fn approval_head(message: &Message) -> Head {
    Head { otid: Some(message.id.to_string()), ..head(message, 0) }
}

/// The calls of a message, and the first of them.
fn one_and_all(message: &Message) -> (OneToolCall, ManyToolCalls) {
    let calls: Vec<ToolCall> = message
        .tool_calls
        .iter()
        .map(|call| ToolCall {
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            tool_call_id: call.id.clone(),
        })
        .collect();
    let first = calls.first().cloned().unwrap_or_else(|| ToolCall {
        name: String::new(),
        arguments: String::new(),
        tool_call_id: String::new(),
    });
    (OneToolCall::Call(first), ManyToolCalls::Calls(calls))
}

/// A text argument of a call.
pub(crate) fn argument(arguments: &str, name: &str) -> Option<String> {
    let arguments: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(arguments).ok()?;
    arguments.get(name)?.as_str().map(str::to_owned)
}

/// `None` where the return of a message that was shown as speech would only repeat that it was sent.
fn tool_return(message: &Message, view: &View<'_>) -> Option<LettaMessage> {
    let first = message.tool_returns.first()?;
    let hidden = message
        .tool_returns
        .iter()
        .all(|ret| ret.status == ReturnStatus::Success && view.is_speech(&ret.name));
    if hidden {
        return None;
    }
    Some(returns_message(message, first, &message.tool_returns).into())
}

/// Returns as the message they are shown in; the first one's members stand at the top.
pub(super) fn returns_message(
    message: &Message,
    first: &retold_events::ToolReturn,
    all: &[retold_events::ToolReturn],
) -> ToolReturnMessage {
    let returns: Vec<ToolReturn> = all.iter().map(wire_return).collect();
    let mut head = head(message, 0);
    head.name = head.name.or_else(|| Some(first.name.clone()));
    let ToolReturn { tool_return, status, tool_call_id, stdout, stderr, .. } = wire_return(first);
    ToolReturnMessage::new(head, tool_return, status, tool_call_id, stdout, stderr, returns)
}

fn wire_return(ret: &retold_events::ToolReturn) -> ToolReturn {
    let lines = |lines: &Vec<String>| (!lines.is_empty()).then(|| lines.clone());
    ToolReturn {
        kind: "tool",
        tool_return: ret.content.clone(),
        status: match ret.status {
            ReturnStatus::Success => ToolReturnStatus::Success,
            ReturnStatus::Error => ToolReturnStatus::Error,
        },
        tool_call_id: ret.call_id.clone(),
        stdout: lines(&ret.stdout),
        stderr: lines(&ret.stderr),
    }
}

/// Text that the server or a client wrapped in JSON.
#[derive(Deserialize)]
struct Packed {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    #[serde(default)]
    compaction_stats: Option<CompactionStats>,
}

fn packed(text: &str) -> Option<Packed> {
    // Most text is not JSON; do not start a parser for it.
    if text.trim_start().starts_with('{') { serde_json::from_str(text).ok() } else { None }
}

fn user(message: &Message) -> LettaMessage {
    let mut content = Content::of_message(message);
    if let Content::Text(text) = &mut content
        && let Some(unpacked) = packed(text).filter(|packed| packed.kind == "user_message")
    {
        *text = unpacked.message;
    }
    UserMessage::new(head(message, 0), content).into()
}

fn summary(message: &Message, as_summary: bool) -> LettaMessage {
    let text = message.text();
    if !as_summary {
        return UserMessage::new(head(message, 0), Content::Text(text)).into();
    }
    summary_message(head(message, 0), text, None)
}

/// A summary with what is known of the compaction.
pub(crate) fn summary_message(
    head: Head,
    text: String,
    stats: Option<CompactionStats>,
) -> LettaMessage {
    match packed(&text) {
        Some(unpacked) => {
            let stats = stats.or(unpacked.compaction_stats);
            SummaryMessage::new(head, unpacked.message, stats).into()
        }
        None => SummaryMessage::new(head, text, stats).into(),
    }
}

/// The head of a summary as a stream shows it.
pub(crate) fn summary_head(message: &Message) -> Head {
    head(message, 0)
}
