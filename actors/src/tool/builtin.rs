//! The built-in tools: constants, the same on every server, so no event ever has to create one.
//!
//! Their ids have the form of all ids and lie before every id that a clock can give, in the order of this list.

mod table;

use retold_events::{ToolId, agent::AgentType};
use retold_models::ToolSchema;
use serde_json::{Map, Value, json, value::to_raw_value};

use self::table::BUILTINS;

/// A tool that comes with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltinTool {
    /// Its id, the same everywhere.
    pub id: ToolId,
    /// The name the model calls.
    pub name: &'static str,
    /// V1's word for its kind, for instance `letta_core`.
    pub tool_type: &'static str,
    /// What it does, as the model reads it.
    pub description: &'static str,
    /// JSON schema of the arguments object, as JSON text.
    pub parameters: &'static str,
    /// Whether calls of it may run side by side: it only reads.
    pub parallel: bool,
    /// What it does, as the turn reads it.
    pub kind: BuiltinKind,
}

/// What a built-in tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltinKind {
    /// Speaks to the user: how agents of the older types answer.
    SendMessage,
    /// Searches the messages of the agent.
    ConversationSearch,
    /// Edits a memory block.
    Memory(MemoryTool),
    /// Sends to other agents.
    Talk(TalkTool),
}

/// The ways to send to other agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TalkTool {
    /// `send_message_to_agent_and_wait_for_reply`: one agent, whose answer is returned.
    Ask,
    /// `send_message_to_agents_matching_tags`: several, whose answers are returned.
    AskMatching,
    /// `send_message_to_agent_async`: one agent; nothing is waited for.
    Tell,
}

/// The ways to edit a memory block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryTool {
    /// `core_memory_append`: a new line at the end.
    CoreAppend,
    /// `core_memory_replace`: every occurrence of a text.
    CoreReplace,
    /// `memory_insert`: new lines after a given one.
    Insert,
    /// `memory_replace`: the only occurrence of a text.
    Replace,
    /// `memory_rethink`: the whole value.
    Rethink,
}

/// Every built-in tool, in the order of their ids.
#[must_use]
pub const fn builtins() -> &'static [BuiltinTool] {
    &BUILTINS
}

/// The built-in tool of this id.
#[must_use]
pub fn by_id(id: ToolId) -> Option<&'static BuiltinTool> {
    BUILTINS.iter().find(|tool| tool.id == id)
}

/// The built-in tool of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static BuiltinTool> {
    BUILTINS.iter().find(|tool| tool.name == name)
}

/// The tools an agent of this type gets unless its client says otherwise, in the order it gets them.
#[must_use]
pub fn base_tools(agent_type: AgentType) -> Vec<ToolId> {
    let names: &[&str] = match agent_type {
        AgentType::LettaV1 => &["conversation_search", "memory_insert", "memory_replace"],
        AgentType::MemgptV2 => {
            &["send_message", "conversation_search", "memory_insert", "memory_replace"]
        }
        AgentType::Memgpt => {
            &["send_message", "conversation_search", "core_memory_append", "core_memory_replace"]
        }
    };
    names.iter().filter_map(|name| by_name(name)).map(|tool| tool.id).collect()
}

/// The tools with which agents send to one another, in the order an agent gets them.
#[must_use]
pub fn multi_agent_tools() -> Vec<ToolId> {
    let talks = |tool: &&BuiltinTool| matches!(tool.kind, BuiltinKind::Talk(_));
    BUILTINS.iter().filter(talks).map(|tool| tool.id).collect()
}

/// A built-in tool as a model is offered it.
///
/// `heartbeat` adds the required boolean `request_heartbeat`, with which agents of the older types say that they want
/// another step. `send_message` never has it: speaking to the user is what ends their turn.
#[must_use]
pub fn schema(tool: &BuiltinTool, heartbeat: bool) -> ToolSchema {
    let mut parameters: Map<String, Value> = serde_json::from_str(tool.parameters)
        .expect("the constants below are JSON objects, which a test reads");
    if heartbeat && tool.kind != BuiltinKind::SendMessage {
        add_heartbeat(&mut parameters);
    }
    ToolSchema {
        name: tool.name.to_owned(),
        description: tool.description.to_owned(),
        parameters: to_raw_value(&parameters).expect("a map with text keys is JSON"),
    }
}

/// Adds the argument by which older agents go on.
pub(super) fn add_heartbeat(parameters: &mut Map<String, Value>) {
    let properties = parameters.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("request_heartbeat".to_owned(), json!({
            "type": "boolean",
            "description": "True to act again right after this call, for example to read its result or to make \
                another call. False to stop here and wait for the user.",
        }));
    }
    let required = parameters.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.push(json!("request_heartbeat"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_well_formed_distinct_and_in_order() {
        assert!(builtins().is_sorted_by(|a, b| a.id < b.id));
        for tool in builtins() {
            assert_eq!(tool.id.to_string().parse(), Ok(tool.id));
            assert_eq!(by_id(tool.id), Some(tool));
            assert_eq!(by_name(tool.name), Some(tool));
        }
        assert_eq!(by_name("memory"), None);
    }

    #[test]
    fn every_schema_is_an_object_whose_required_members_exist() {
        for (tool, heartbeat) in builtins().iter().flat_map(|tool| [(tool, false), (tool, true)]) {
            let schema = schema(tool, heartbeat);
            let parameters: Value = serde_json::from_str(schema.parameters.get()).unwrap();
            assert_eq!(parameters["type"], "object");
            let properties = parameters["properties"].as_object().unwrap();
            let known: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
            for required in parameters["required"].as_array().unwrap() {
                assert!(known.contains(required.as_str().unwrap()), "{}: {required}", tool.name);
            }
            let continues = heartbeat && tool.name != "send_message";
            assert_eq!(known.contains("request_heartbeat"), continues, "{}", tool.name);
        }
    }

    #[test]
    fn a_heartbeat_is_a_required_boolean() {
        let schema = schema(by_name("memory_insert").unwrap(), true);
        let parameters: Value = serde_json::from_str(schema.parameters.get()).unwrap();
        assert_eq!(parameters["properties"]["request_heartbeat"]["type"], "boolean");
        assert_eq!(parameters["required"], json!(["label", "new_string", "request_heartbeat"]));
    }

    #[test]
    fn only_the_older_types_speak_by_a_tool() {
        let names = |agent_type| -> Vec<&str> {
            base_tools(agent_type).into_iter().map(|id| by_id(id).unwrap().name).collect()
        };
        assert_eq!(
            names(AgentType::LettaV1),
            ["conversation_search", "memory_insert", "memory_replace"]
        );
        assert_eq!(
            names(AgentType::MemgptV2),
            ["send_message", "conversation_search", "memory_insert", "memory_replace"]
        );
        assert_eq!(
            names(AgentType::Memgpt),
            ["send_message", "conversation_search", "core_memory_append", "core_memory_replace"]
        );
    }
}
