//! Samples of what happens to blocks, tools and MCP servers.

use super::*;

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

pub(super) fn by_agent(tool: Option<String>) -> block::Author {
    block::Author::Agent { agent: agent_id(), run: run_id(), tool }
}

pub(super) fn full_block() -> block::Block {
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
