//! The table of built-in tools. Their ids never change, so a new one comes last.

use retold_events::ToolId;
use uuid::Uuid;

use super::{BuiltinKind, BuiltinTool, MemoryTool, TalkTool};

const fn id(number: u128) -> ToolId {
    ToolId::from_uuid(Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 | number))
}

/// Of the tools that send to an agent by its id.
const TO_ONE_AGENT: &str = r#"{
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What the other agent will read. It knows who sent it."},
        "other_agent_id": {"type": "string", "description": "The id of the other agent: 'agent-' and a UUID."}
    },
    "required": ["message", "other_agent_id"]
}"#;

pub(super) static BUILTINS: [BuiltinTool; 10] = [
    BuiltinTool {
        id: id(1),
        name: "send_message",
        tool_type: "letta_core",
        description: "Say something to the user. Nothing else you write reaches them.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "message": {"type": "string", "description": "What the user will read. Any language, emoji included."}
            },
            "required": ["message"]
        }"#,
        parallel: false,
        kind: BuiltinKind::SendMessage,
    },
    BuiltinTool {
        id: id(2),
        name: "conversation_search",
        tool_type: "letta_core",
        description: "Find earlier messages of this conversation, including those no longer in your context. Every \
            argument narrows the search and may be left out; without a query you get the latest messages. Newest first.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "Words that the message contains, in any order and case."},
                "roles": {
                    "type": "array",
                    "items": {"type": "string", "enum": ["assistant", "user", "tool"]},
                    "description": "Whose messages to look at. Everybody's when left out."
                },
                "limit": {"type": "integer", "description": "How many messages to return at most. 5 when left out."},
                "start_date": {
                    "type": "string",
                    "description": "Only messages from this moment on: '2025-03-14' or '2025-03-14T09:30', in your time zone."
                },
                "end_date": {
                    "type": "string",
                    "description": "Only messages up to this moment, in the form of start_date. A date without a time means all of that day."
                }
            },
            "required": []
        }"#,
        parallel: true,
        kind: BuiltinKind::ConversationSearch,
    },
    BuiltinTool {
        id: id(3),
        name: "core_memory_append",
        tool_type: "letta_memory_core",
        description: "Write a new line at the end of one of your memory blocks. Returns the block's new value.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "label": {"type": "string", "description": "Label of the block to write to."},
                "content": {"type": "string", "description": "The text to add."}
            },
            "required": ["label", "content"]
        }"#,
        parallel: false,
        kind: BuiltinKind::Memory(MemoryTool::CoreAppend),
    },
    BuiltinTool {
        id: id(4),
        name: "core_memory_replace",
        tool_type: "letta_memory_core",
        description: "Replace a text in one of your memory blocks wherever it occurs there. Returns the block's new \
            value. An empty new_content deletes the text.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "label": {"type": "string", "description": "Label of the block to change."},
                "old_content": {"type": "string", "description": "The text to replace, exactly as it stands in the block."},
                "new_content": {"type": "string", "description": "The text that takes its place."}
            },
            "required": ["label", "old_content", "new_content"]
        }"#,
        parallel: false,
        kind: BuiltinKind::Memory(MemoryTool::CoreReplace),
    },
    BuiltinTool {
        id: id(5),
        name: "memory_insert",
        tool_type: "letta_sleeptime_core",
        description: "Add lines to one of your memory blocks, at its end or after a given line. Returns the block's \
            new value.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "label": {"type": "string", "description": "Label of the block to write to."},
                "new_string": {"type": "string", "description": "The text to add, without line numbers."},
                "insert_line": {
                    "type": "integer",
                    "default": -1,
                    "description": "The line after which the text goes: 0 puts it first, -1 puts it last. -1 when left out."
                }
            },
            "required": ["label", "new_string"]
        }"#,
        parallel: false,
        kind: BuiltinKind::Memory(MemoryTool::Insert),
    },
    BuiltinTool {
        id: id(6),
        name: "memory_replace",
        tool_type: "letta_sleeptime_core",
        description: "Replace a text that occurs exactly once in one of your memory blocks. Take in enough of what is \
            around it to be unmistakable. Returns the block's new value. An empty new_string deletes the text.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "label": {"type": "string", "description": "Label of the block to change."},
                "old_string": {"type": "string", "description": "The text to replace, exactly as it stands in the block, without line numbers."},
                "new_string": {"type": "string", "description": "The text that takes its place, without line numbers."}
            },
            "required": ["label", "old_string", "new_string"]
        }"#,
        parallel: false,
        kind: BuiltinKind::Memory(MemoryTool::Replace),
    },
    BuiltinTool {
        id: id(7),
        name: "memory_rethink",
        tool_type: "letta_sleeptime_core",
        description: "Rewrite one of your memory blocks from its first to its last line, for changes too large for \
            other tools: reordering, condensing, merging what is new. A label that does not exist yet makes a new \
            block. Returns the block's new value.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "label": {"type": "string", "description": "Label of the block to rewrite or to make."},
                "new_memory": {"type": "string", "description": "The whole new value. What it leaves out is forgotten."}
            },
            "required": ["label", "new_memory"]
        }"#,
        parallel: false,
        kind: BuiltinKind::Memory(MemoryTool::Rethink),
    },
    BuiltinTool {
        id: id(8),
        name: "send_message_to_agent_and_wait_for_reply",
        tool_type: "letta_multi_agent_core",
        description: "Send a message to another agent and wait for its answer, which is returned. Use it when you need \
            the answer to go on.",
        parameters: TO_ONE_AGENT,
        parallel: false,
        kind: BuiltinKind::Talk(TalkTool::Ask),
    },
    BuiltinTool {
        id: id(9),
        name: "send_message_to_agents_matching_tags",
        tool_type: "letta_multi_agent_core",
        description: "Send a message to every agent that carries certain tags and wait for their answers, which are \
            returned as a list. You are never among them.",
        parameters: r#"{
            "type": "object",
            "properties": {
                "message": {"type": "string", "description": "What the other agents will read. They know who sent it."},
                "match_all": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Tags of which an agent has to carry every one. May be empty."
                },
                "match_some": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Tags of which an agent has to carry at least one. Empty means that none is asked for."
                }
            },
            "required": ["message", "match_all", "match_some"]
        }"#,
        parallel: false,
        kind: BuiltinKind::Talk(TalkTool::AskMatching),
    },
    BuiltinTool {
        id: id(10),
        name: "send_message_to_agent_async",
        tool_type: "letta_multi_agent_core",
        description: "Send a message to another agent without waiting for an answer. It may answer later with a \
            message of its own.",
        parameters: TO_ONE_AGENT,
        parallel: false,
        kind: BuiltinKind::Talk(TalkTool::Tell),
    },
];
