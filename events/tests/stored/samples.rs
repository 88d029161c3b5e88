//! Fixed values of everything that is stored: every event, and every alternative of every enum in them.

use retold_events::{
    AgentId, BlockId, ConversationId, Image, JsonText, Message, MessageId, Part, Position,
    ReturnStatus, Role, RunId, Sealed, Secret, Seq, StepId, Timestamp, ToolCall, ToolId,
    ToolReturn, agent, block, mcp,
    output::{Delta, Item, Output},
    run, tool,
};
use uuid::Uuid;

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

/// All events of a block's stream, of the newest versions.
pub(crate) fn block_events() -> Samples<block::Event> {
    use block::{Author, Event};
    let client = || Author::Client;
    let tool = || by_agent(Some(text("memory_insert")));
    let edited =
        |author, restored| Event::Edited(block::Edited { block: full_block(), author, restored });
    vec![
        (
            "block_created",
            301,
            vec![Event::Created(block::Created { block: full_block(), author: client() })],
        ),
        ("block_edited", 302, vec![edited(tool(), None), edited(client(), Some(300))]),
        ("block_deleted", 303, vec![Event::Deleted(block::Deleted { author: client() })]),
        (
            "block_forked",
            304,
            vec![Event::Forked(block::Forked {
                from: block_id(1),
                version: Seq(301),
                inherited: 400,
                block: full_block(),
            })],
        ),
    ]
}

/// All events of a tool's stream.
pub(crate) fn tool_events() -> Samples<tool::Event> {
    use tool::{Event, Kind, Language};
    let requirement = |name, version: Option<&str>| tool::Requirement {
        name: text(name),
        version: version.map(text),
    };
    let full = tool::Tool {
        name: text("roll_dice"),
        description: Some(text("Rolls dice.")),
        kind: Kind::Custom { language: Language::Python },
        source: Some(text("def roll_dice(sides: int) -> int: ...")),
        schema: JsonText::new("{\"name\":\"roll_dice\"}"),
        args_schema: Some(JsonText::new("{\"type\":\"object\"}")),
        tags: vec![text("games"), text("retold:idempotent")],
        return_char_limit: 50_000,
        pip: Some(vec![requirement("requests", Some("2.32.3")), requirement("numpy", None)]),
        npm: Some(vec![]),
        default_requires_approval: Some(true),
        parallel: true,
        metadata: Some(JsonText::new("{\"team\":1}")),
        project_id: Some(text("project-1")),
    };
    let bare = tool::Tool {
        description: None,
        kind: Kind::Custom { language: Language::TypeScript },
        args_schema: None,
        tags: Vec::new(),
        return_char_limit: 1,
        pip: None,
        npm: Some(vec![requirement("zod", Some("4.1.0"))]),
        default_requires_approval: None,
        parallel: false,
        metadata: None,
        project_id: None,
        ..full.clone()
    };
    let remote = tool::Tool {
        kind: Kind::ExternalMcp { server_name: text("files"), remote_name: text("read") },
        source: None,
        default_requires_approval: Some(false),
        ..bare.clone()
    };
    let created = |tool| Event::Created(tool::Created { tool });
    let updated = |tool| Event::Updated(tool::Updated { tool });
    vec![
        ("tool_created", 401, vec![created(full.clone()), created(bare.clone()), created(remote)]),
        ("tool_updated", 402, vec![updated(full), updated(bare)]),
        ("tool_deleted", 403, vec![Event::Deleted(tool::Deleted {})]),
    ]
}

/// All events of an MCP server's stream.
pub(crate) fn mcp_events() -> Samples<mcp::Event> {
    use mcp::{Event, Remote, Server, Transport};
    let sealed = |byte: u8| Sealed { owner: [byte; 16], bytes: vec![byte, 0, 255] };
    let secret = |name: &str| Secret { name: text(name), value: sealed(3) };
    let full = Remote {
        url: text("https://mcp.example/v1"),
        auth_header: Some(text("X-Api-Key")),
        auth_token: Some(sealed(4)),
        custom_headers: vec![secret("X-Team")],
    };
    let bare = Remote {
        url: text("http://127.0.0.1:9/sse"),
        auth_header: None,
        auth_token: None,
        custom_headers: vec![],
    };
    let program = |args: &[&str], env| Transport::Stdio {
        command: text("npx"),
        args: args.iter().map(|it| text(it)).collect(),
        env,
    };
    let server = |name: &str, transport| Server { name: text(name), transport };
    let created = |server| Event::Created(mcp::Created { server });
    let updated = |server| Event::Updated(mcp::Updated { server });
    vec![
        (
            "mcp_server_created",
            501,
            vec![
                created(server("files", program(&["-y", "files"], vec![secret("TOKEN")]))),
                created(server("notes", Transport::StreamableHttp(full.clone()))),
                created(server("old", Transport::Sse(bare.clone()))),
            ],
        ),
        (
            "mcp_server_updated",
            502,
            vec![
                updated(server("files", program(&[], vec![]))),
                updated(server("notes", Transport::Sse(full))),
                updated(server("old", Transport::StreamableHttp(bare))),
            ],
        ),
        ("mcp_server_deleted", 503, vec![Event::Deleted(mcp::Deleted {})]),
    ]
}

fn tools_called() -> Vec<agent::Event> {
    let intent = |call_id: &str, is_idempotent| run::Intent {
        call_id: text(call_id),
        tool: tool_id(1),
        is_idempotent,
        key: [7; 16],
    };
    let said = run::Said {
        message: message(Role::Assistant),
        cut_by_length: true,
        usage: usage(),
        prompt_hash: [9; 16],
        model_started_at: at(6),
        model_ns: 1_500_000,
    };
    let called = |said| {
        agent::Event::ToolsCalled(run::ToolsCalled {
            run: run_id(),
            step: step_id(),
            said,
            intents: vec![intent("call_1", false), intent("call_2", true)],
        })
    };
    vec![called(Some(said)), called(None)]
}

fn calls_resolved() -> Vec<agent::Event> {
    use run::Resolution::{Cancelled, Client, Expired};
    let resolved = |(by, role)| {
        agent::Event::CallsResolved(run::CallsResolved {
            run: run_id(),
            step: step_id(),
            message: message(role),
            by,
        })
    };
    // The role of a message that waits has its sample here: those of other events are older than it.
    let samples = [(Client, Role::Tool), (Cancelled, Role::Tool), (Expired, Role::Approval)];
    samples.into_iter().map(resolved).collect()
}

fn decisions() -> Vec<run::Decision> {
    let approval = |approve, reason: Option<&str>| run::Decision::Approval {
        call_id: text("call_1"),
        approve,
        reason: reason.map(text),
    };
    vec![
        approval(true, None),
        approval(false, Some("not on Sundays")),
        run::Decision::Returned(returned(ReturnStatus::Error)),
    ]
}

fn asked_by() -> run::AskedBy {
    run::AskedBy { agent: agent_id(), run: run_id(), call: [7; 16], waits: true, depth: 2 }
}

fn client_tools() -> Vec<run::ClientTool> {
    vec![run::ClientTool {
        name: text("look"),
        description: text("Looks."),
        parameters: json("{\"type\":\"object\"}"),
    }]
}

fn returned(status: ReturnStatus) -> ToolReturn {
    ToolReturn {
        call_id: text("call_1"),
        name: text("look"),
        status,
        content: text("a tree"),
        stdout: vec![text("out")],
        stderr: vec![text("err")],
    }
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

/// What the bytes of version 1 of a block's events stand for today.
pub(crate) fn block_events_of_version_1() -> Samples<block::Event> {
    use block::{Author, Event};
    let (block, author) = (full_block(), Author::Client);
    vec![
        ("block_created", 301, vec![Event::Created(block::Created { block, author })]),
        (
            "block_edited",
            302,
            vec![Event::Edited(block::Edited {
                block: full_block(),
                author: by_agent(None),
                restored: None,
            })],
        ),
        ("block_deleted", 303, vec![Event::Deleted(block::Deleted { author: by_agent(None) })]),
    ]
}

fn by_agent(tool: Option<String>) -> block::Author {
    block::Author::Agent { agent: agent_id(), run: run_id(), tool }
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

fn created() -> agent::Created {
    agent::Created {
        config: config(),
        blocks: vec![block_id(1), block_id(2)],
        tools: vec![tool_id(1)],
        messages: messages(),
        compiled_from: vec![block_version()],
    }
}

/// As little as an agent can be.
fn bare() -> agent::Created {
    let mut config = config();
    config.description = None;
    config.metadata = None;
    config.tags = vec![];
    config.model.display_name = None;
    config.model.endpoint = None;
    config.model.provider_name = None;
    config.model.max_output_tokens = None;
    config.model.temperature = None;
    config.model.reasoning_effort = None;
    config.model.response_format = None;
    config.embedding = None;
    config.compaction.model = None;
    config.compaction.prompt = None;
    config.compaction.clip_chars = None;
    config.compaction.model_settings = None;
    config.tool_rules = vec![];
    config.hidden = None;
    config.max_files_open = None;
    config.per_file_view_window_char_limit = None;
    config.project_id = None;
    config.template_id = None;
    config.base_template_id = None;
    let (blocks, tools, messages) = (vec![], vec![], vec![]);
    agent::Created { config, blocks, tools, messages, compiled_from: vec![] }
}

fn configured(config: agent::Config) -> agent::Event {
    agent::Event::Configured(agent::Configured { config })
}

/// Every loop and every way of compaction.
fn configs() -> Vec<agent::Config> {
    use agent::{AgentType, CompactionMode};
    let kinds = [
        (AgentType::LettaV1, CompactionMode::All),
        (AgentType::MemgptV2, CompactionMode::SlidingWindow),
        (AgentType::Memgpt, CompactionMode::SelfCompactAll),
        (AgentType::LettaV1, CompactionMode::SelfCompactSlidingWindow),
    ];
    let with = |(agent_type, mode)| {
        let mut config = config();
        config.agent_type = agent_type;
        config.compaction.mode = mode;
        config
    };
    kinds.map(with).to_vec()
}

fn config() -> agent::Config {
    agent::Config {
        name: text("Sam"),
        agent_type: agent::AgentType::LettaV1,
        system: text("You are a helpful agent.\n"),
        description: Some(text("for tests")),
        metadata: Some(json("{\"a\":[1,2.5,null]}")),
        tags: vec![text("one"), text("zwei ü")],
        model: model_config(),
        embedding: Some(agent::EmbeddingConfig {
            handle: Some(text("openai/text-embedding-3-small")),
            config: json("{\"embedding_dim\":1536}"),
        }),
        compaction: agent::Compaction {
            model: Some(text("openai/gpt-4o-mini")),
            prompt: Some(text("Summarize.")),
            prompt_acknowledgement: true,
            mode: agent::CompactionMode::SlidingWindow,
            sliding_window_percentage: 0.3,
            clip_chars: Some(50_000),
            model_settings: Some(json("{}")),
        },
        tool_rules: tool_rules(),
        timezone: text("Europe/Berlin"),
        message_buffer_autoclear: false,
        hidden: Some(true),
        max_files_open: Some(5),
        per_file_view_window_char_limit: Some(15_000),
        project_id: Some(text("project-1")),
        template_id: Some(text("template-1")),
        base_template_id: Some(text("base-1")),
    }
}

fn model_config() -> agent::ModelConfig {
    agent::ModelConfig {
        handle: text("openai/gpt-4o-mini"),
        model: text("gpt-4o-mini"),
        display_name: Some(text("GPT-4o mini")),
        endpoint_type: text("openai"),
        endpoint: Some(text("https://api.openai.com/v1")),
        provider_name: Some(text("openai")),
        context_window: 128_000,
        max_output_tokens: Some(4096),
        temperature: Some(0.7),
        parallel_tool_calls: true,
        enable_reasoner: true,
        reasoning_effort: Some(text("medium")),
        max_reasoning_tokens: 1024,
        response_format: Some(json("{\"type\":\"text\"}")),
        other_config: json("{\"tier\":null}"),
        other_settings: json("{}"),
    }
}

/// Every kind of rule.
fn tool_rules() -> Vec<agent::ToolRule> {
    use agent::ToolRuleKind as Kind;
    let kinds = [
        Kind::RunFirst { args: Some(json("{\"q\":1}")) },
        Kind::ConstrainChildren { children: vec![text("a"), text("b")], nodes: None },
        Kind::ParentLast { children: vec![text("c")] },
        Kind::Conditional {
            default_child: Some(text("d")),
            mapping: vec![(text("yes"), text("e"))],
            require_mapping: true,
        },
        Kind::ContinueLoop,
        Kind::ExitLoop,
        Kind::MaxCount { limit: 3 },
        Kind::RequiredBeforeExit,
    ];
    let rule = |kind| agent::ToolRule {
        tool: text("search"),
        kind,
        prompt_template: Some(text("{{ tool }}")),
    };
    kinds.map(rule).to_vec()
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

fn inputs() -> Vec<run::Input> {
    vec![run::Input {
        role: Role::User,
        content: parts(),
        name: Some(text("ann")),
        otid: text("otid-2"),
        sender: Some(text("agent-y")),
        tokens: 9,
    }]
}

/// A request with everything, and one with as little as can be.
fn requests() -> Vec<run::Request> {
    let full = run::Request {
        run_type: text("send_message_streaming"),
        conversation: Some(conversation_id()),
        background: true,
        stream_tokens: true,
        max_steps: 50,
        use_assistant_message: true,
        assistant_message_tool_name: text("send_message"),
        assistant_message_tool_kwarg: text("message"),
        include_return_message_types: Some(vec![text("assistant_message")]),
        include_compaction_messages: true,
        override_model: Some(text("openai/gpt-4o")),
        override_system: Some(text("Be brief.")),
        callback_url: Some(text("https://example.com/done")),
        fingerprint: Some([7; 16]),
        metadata: Some(json("{\"k\":\"v\"}")),
    };
    let bare = run::Request {
        run_type: text("send_message"),
        conversation: None,
        background: false,
        stream_tokens: false,
        include_return_message_types: None,
        include_compaction_messages: false,
        override_model: None,
        override_system: None,
        callback_url: None,
        fingerprint: None,
        metadata: None,
        ..full.clone()
    };
    vec![full, bare]
}

fn usage() -> run::Usage {
    run::Usage {
        prompt_tokens: 1000,
        completion_tokens: 200,
        cached_input_tokens: Some(300),
        cache_write_tokens: None,
        reasoning_tokens: Some(0),
    }
}

fn run_error() -> run::RunError {
    run::RunError {
        error_type: text("llm_rate_limit"),
        message: text("the provider is busy"),
        detail: Some(text("429")),
        retry_after_s: Some(20),
    }
}

/// Every outcome.
fn steps_ended() -> Vec<agent::Event> {
    use run::StepOutcome;
    let outcomes = [
        (StepOutcome::Success, None),
        (StepOutcome::Failed { error: run_error() }, Some(run::StopReason::LlmApiError)),
        (StepOutcome::Cancelled, Some(run::StopReason::Cancelled)),
    ];
    let ended = |(outcome, stop_reason)| {
        agent::Event::StepEnded(run::StepEnded {
            run: run_id(),
            step: step_id(),
            outcome,
            input_enters: true,
            messages: vec![message(Role::Assistant), message(Role::Tool)],
            tools_called: vec!["memory_insert".to_owned()],
            usage: usage(),
            prompt_hash: Some([9; 16]),
            stop_reason,
            timing: run::StepTiming {
                started_at: at(1),
                model_started_at: at(2),
                model_ns: 3_000,
                tools_ns: 4_000,
                total_ns: 5_000,
            },
        })
    };
    outcomes.map(ended).to_vec()
}

/// Every status and every reason.
fn runs_ended() -> Vec<agent::Event> {
    use run::{EndStatus, StopReason};
    let ends = [
        (EndStatus::Completed, StopReason::EndTurn),
        (EndStatus::Failed, StopReason::Error),
        (EndStatus::Failed, StopReason::LlmApiError),
        (EndStatus::Failed, StopReason::InvalidLlmResponse),
        (EndStatus::Failed, StopReason::InvalidToolCall),
        (EndStatus::Completed, StopReason::MaxSteps),
        (EndStatus::Completed, StopReason::MaxTokensExceeded),
        (EndStatus::Completed, StopReason::NoToolCall),
        (EndStatus::Completed, StopReason::ToolRule),
        (EndStatus::Cancelled, StopReason::Cancelled),
        (EndStatus::Failed, StopReason::InsufficientCredits),
        (EndStatus::Completed, StopReason::RequiresApproval),
        (EndStatus::Failed, StopReason::ContextWindowOverflowInSystemPrompt),
    ];
    let ended = |(status, stop_reason)| {
        let failed = status == EndStatus::Failed;
        agent::Event::RunEnded(run::Ended {
            run: run_id(),
            status,
            stop_reason,
            error: failed.then(run_error),
            interrupted: failed,
            input: if status == EndStatus::Cancelled { vec![message(Role::User)] } else { vec![] },
            ttft_ns: (!failed).then_some(1_500_000),
            total_ns: 9_000_000,
        })
    };
    ends.map(ended).to_vec()
}

fn full_block() -> block::Block {
    block::Block {
        value: text("The human's name is Ann."),
        limit: 100_000,
        label: Some(text("human")),
        description: Some(text("about the human")),
        read_only: true,
        hidden: Some(false),
        metadata: json("{\"m\":true}"),
        tags: vec![text("t")],
        template_name: Some(text("tpl")),
        is_template: true,
        project_id: Some(text("p")),
        template_id: Some(text("ti")),
        base_template_id: Some(text("bt")),
        deployment_id: Some(text("d")),
        entity_id: Some(text("e")),
        preserve_on_migration: Some(true),
    }
}
