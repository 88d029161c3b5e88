//! Fixed values of everything that is stored: every event, and every alternative of every enum in them.

mod agents;
pub(crate) mod others;
mod runs;

use retold_events::{
    AgentId, BlockId, ConversationId, Image, JsonText, Message, MessageId, Part, Position,
    ReturnStatus, Role, RunId, Sealed, Secret, Seq, StepId, Timestamp, ToolCall, ToolId,
    ToolReturn, agent, block, mcp,
    output::{Delta, Item, Output},
    run, tool,
};
use uuid::Uuid;

pub(crate) use self::others::{block_events, mcp_events, tool_events};
use self::{agents::*, runs::*};

/// Name of the golden file, number of the type, samples.
type Samples<E> = Vec<(&'static str, u16, Vec<E>)>;

/// All events of an agent's stream.
pub(crate) fn agent_events() -> Samples<agent::Event> {
    use agent::Event;
    vec![
        ("agent_created", 101, vec![Event::Created(created()), Event::Created(bare())]),
        ("agent_configured", 102, configs().into_iter().map(configured).collect()),
        (
            "agent_block_attached",
            103,
            vec![Event::BlockAttached(agent::BlockAttached { block: block_id(1) })],
        ),
        (
            "agent_block_detached",
            104,
            vec![Event::BlockDetached(agent::BlockDetached { block: block_id(2) })],
        ),
        (
            "agent_tool_attached",
            105,
            vec![Event::ToolAttached(agent::ToolAttached { tool: tool_id(1) })],
        ),
        (
            "agent_tool_detached",
            106,
            vec![Event::ToolDetached(agent::ToolDetached { tool: tool_id(2) })],
        ),
        (
            "agent_system_compiled",
            107,
            vec![Event::SystemCompiled(agent::SystemCompiled {
                conversation: Some(conversation_id()),
                text: text("You are Sam."),
                tokens: 12,
                compiled_at: at(5),
                compiled_from: vec![block_version()],
            })],
        ),
        (
            "agent_context_replaced",
            108,
            vec![Event::ContextReplaced(agent::ContextReplaced {
                conversation: None,
                messages: messages(),
            })],
        ),
        (
            "agent_context_compacted",
            109,
            vec![Event::ContextCompacted(agent::ContextCompacted {
                conversation: None,
                summary: message(Role::Summary),
                kept_from: Some(message_id(4)),
                trigger: text("manual"),
                tokens_before: 70_000,
                tokens_after: 9_000,
                messages_before: 300,
                messages_after: 40,
            })],
        ),
        ("agent_deleted", 110, vec![Event::Deleted(agent::Deleted {})]),
        (
            "run_accepted",
            201,
            requests()
                .into_iter()
                .zip([None, Some(asked_by())])
                .map(|(request, asked_by)| {
                    Event::RunAccepted(run::Accepted {
                        run: run_id(),
                        input: inputs(),
                        request,
                        decisions: decisions(),
                        client_tools: client_tools(),
                        asked_by,
                    })
                })
                .collect(),
        ),
        ("tools_called", 210, tools_called()),
        (
            "tool_returned",
            211,
            vec![Event::ToolReturned(run::ToolReturned {
                run: run_id(),
                step: step_id(),
                returned: returned(ReturnStatus::Success),
            })],
        ),
        ("calls_resolved", 212, calls_resolved()),
        (
            "run_started",
            202,
            vec![Event::RunStarted(run::Started {
                run: run_id(),
                attempt: 2,
                input_ids: vec![message_id(1), message_id(2)],
            })],
        ),
        (
            "step_started",
            203,
            vec![Event::StepStarted(run::StepStarted {
                run: run_id(),
                step: step_id(),
                message: message_id(3),
                model: text("openai/gpt-4o-mini"),
                provider: Some(text("openai")),
                endpoint_type: text("openai"),
                context_window: 128_000,
            })],
        ),
        ("step_ended", 204, steps_ended()),
        (
            "cancel_requested",
            205,
            vec![Event::CancelRequested(run::CancelRequested { run: run_id() })],
        ),
        ("run_ended", 206, runs_ended()),
        (
            "callback_sent",
            207,
            vec![
                Event::CallbackSent(run::CallbackSent {
                    run: run_id(),
                    status_code: Some(204),
                    error: None,
                }),
                Event::CallbackSent(run::CallbackSent {
                    run: run_id(),
                    status_code: None,
                    error: Some(text("timed out")),
                }),
            ],
        ),
        ("run_deleted", 208, vec![Event::RunDeleted(run::Deleted { run: run_id() })]),
        (
            "feedback_given",
            209,
            [None, Some(run::Feedback::Positive), Some(run::Feedback::Negative)]
                .into_iter()
                .map(|feedback| {
                    Event::FeedbackGiven(run::FeedbackGiven {
                        run: run_id(),
                        step: step_id(),
                        feedback,
                        tags: vec![text("helpful")],
                    })
                })
                .collect(),
        ),
        (
            "agent_forked",
            111,
            vec![Event::Forked(agent::Forked {
                parent: agent_id(),
                seq: Seq(300),
                position: Position(70_000),
                name: text("Sam (fork)"),
                blocks: vec![agent::BlockFork {
                    from: block_id(1),
                    version: Seq(301),
                    block: block_id(3),
                }],
            })],
        ),
        (
            "agent_secrets_set",
            112,
            vec![
                Event::SecretsSet(agent::SecretsSet { secrets: Vec::new() }),
                Event::SecretsSet(agent::SecretsSet {
                    secrets: vec![secret("API_KEY", 1), secret("TOKEN", 200)],
                }),
            ],
        ),
    ]
}

/// What the bytes of older versions of an agent's events stand for today, with their version.
pub(crate) fn older_agent_events() -> Vec<(&'static str, u16, u16, Vec<agent::Event>)> {
    let accepted = |decisions: Vec<run::Decision>, client_tools: Vec<run::ClientTool>| {
        let lifted = |request| {
            agent::Event::RunAccepted(run::Accepted {
                run: run_id(),
                input: inputs(),
                request,
                decisions: decisions.clone(),
                client_tools: client_tools.clone(),
                asked_by: None,
            })
        };
        requests().into_iter().map(lifted).collect()
    };
    vec![
        ("run_accepted", 201, 1, accepted(Vec::new(), Vec::new())),
        ("run_accepted", 201, 2, accepted(decisions(), client_tools())),
    ]
}

/// Output items of every kind.
pub(crate) fn items() -> Vec<Item> {
    let delta = |delta| Output::Delta { step: step_id(), message: message_id(3), part: 1, delta };
    let call = |name: Option<&str>| Delta::ToolCall {
        id: text("call_1"),
        name: name.map(text),
        arguments: text("{\"a\""),
    };
    let outputs = [
        delta(Delta::Reasoning(text("hm"))),
        delta(Delta::Text(text("hello"))),
        delta(call(Some("search"))),
        delta(call(None)),
        Output::Message { message: message(Role::Assistant), span: 2 },
        Output::Compacted {
            summary: message(Role::Summary),
            trigger: text("context_window_exceeded"),
            tokens_before: 9,
            tokens_after: 8,
            context_window: 7,
            messages_before: 6,
            messages_after: 5,
        },
        Output::End {
            status: run::EndStatus::Completed,
            stop_reason: run::StopReason::EndTurn,
            error: None,
            usage: usage(),
            steps: 3,
            context_tokens: 456,
        },
    ];
    (1..).zip(outputs).map(|(seq, output)| Item { seq, at: at(seq), output }).collect()
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn json(text: &str) -> JsonText {
    JsonText::new(text)
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(1_764_000_000_000_000 + i64::try_from(micros).unwrap_or_default())
}

fn uuid(kind: u64, number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0199_0000_0000_4000 | kind, 0x8000_0000_0000_0000 | number)
}

fn agent_id() -> AgentId {
    AgentId::from_uuid(uuid(1, 1))
}

fn block_id(number: u64) -> BlockId {
    BlockId::from_uuid(uuid(2, number))
}

fn secret(name: &str, byte: u8) -> Secret {
    Secret { name: text(name), value: Sealed { owner: [byte; 16], bytes: vec![1, byte, 0, 255] } }
}

fn message_id(number: u64) -> MessageId {
    MessageId::from_uuid(uuid(3, number))
}

fn run_id() -> RunId {
    RunId::from_uuid(uuid(4, 1))
}

fn step_id() -> StepId {
    StepId::from_uuid(uuid(5, 1))
}

fn tool_id(number: u64) -> ToolId {
    ToolId::from_uuid(uuid(6, number))
}

fn conversation_id() -> ConversationId {
    ConversationId::from_uuid(uuid(7, 1))
}

fn block_version() -> agent::BlockVersion {
    agent::BlockVersion { block: block_id(1), version: Seq(300) }
}

/// A message of every role.
fn messages() -> Vec<Message> {
    let roles = [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Summary];
    roles.map(message).to_vec()
}

fn message(role: Role) -> Message {
    Message {
        id: message_id(4),
        role,
        content: parts(),
        name: Some(text("sam")),
        otid: Some(text("otid-1")),
        sender: Some(text("agent-x")),
        model: Some(text("openai/gpt-4o-mini")),
        tool_calls: vec![ToolCall {
            id: text("call_1"),
            name: text("search"),
            arguments: text("{\"q\":\"x\"}"),
        }],
        tool_returns: [ReturnStatus::Success, ReturnStatus::Error].map(tool_return).to_vec(),
        step: Some(step_id()),
        run: Some(run_id()),
        conversation: Some(conversation_id()),
        created_at: at(77),
        tokens: 21,
        is_err: false,
        interrupted: true,
    }
}

fn tool_return(status: ReturnStatus) -> ToolReturn {
    ToolReturn {
        call_id: text("call_1"),
        name: text("search"),
        status,
        content: text("found"),
        stdout: vec![text("out")],
        stderr: vec![text("err")],
    }
}

/// Every kind of part.
fn parts() -> Vec<Part> {
    vec![
        Part::Text { text: text("hello") },
        Part::Image(Image::Url { url: text("https://example.com/a.png") }),
        Part::Image(Image::Base64 {
            media_type: text("image/png"),
            data: text("aGk="),
            detail: Some(text("low")),
        }),
        Part::Reasoning { text: text("hm"), signature: Some(text("sig")) },
        Part::RedactedReasoning { data: text("opaque") },
    ]
}
