//! A tool as everybody but its runner needs it: what a model is offered, and what the loop must know of it.

use std::sync::OnceLock;

use retold_events::{
    JsonText, ToolId,
    tool::{Kind, Tool},
};
use retold_models::ToolSchema;
use retold_snapshots::query;
use serde_json::{Map, Value, value::to_raw_value};

use super::{
    BuiltinTool, RETURN_CHAR_LIMIT,
    builtin::{self, BuiltinKind, add_heartbeat},
};
use crate::mcp;

/// A client's word that repeating a call does no harm: after a crash it may be made again.
const IDEMPOTENT: &str = "retold:idempotent";
/// A client's word that a tool needs the network.
const NETWORK: &str = "retold:network";

/// A tool of the server, without its source.
#[derive(Debug)]
pub struct Known {
    /// Its id.
    pub id: ToolId,
    /// The name a model calls.
    pub name: String,
    /// Where its calls go.
    pub kind: KnownKind,
    /// Characters of a return that a model gets to see.
    pub return_char_limit: usize,
    /// Whether a person has to agree to its calls, in agents it is given to from now on.
    pub requires_approval: bool,
    /// Whether calls of it may run beside other calls of one answer.
    pub parallel: bool,
    tags: Vec<String>,
    schema: ToolSchema,
    /// With the argument by which older agents go on. Few tools are ever offered so.
    with_heartbeat: OnceLock<ToolSchema>,
}

/// Where the calls of a tool go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownKind {
    /// To the server itself.
    Builtin(&'static BuiltinTool),
    /// To what a user made.
    Made(Kind),
}

impl Known {
    /// A tool that a user made.
    #[must_use]
    pub fn made(id: ToolId, tool: &Tool) -> Self {
        Self {
            id,
            name: tool.name.clone(),
            kind: KnownKind::Made(tool.kind.clone()),
            return_char_limit: usize::try_from(tool.return_char_limit).unwrap_or(usize::MAX),
            requires_approval: tool.default_requires_approval.unwrap_or(false),
            parallel: tool.parallel,
            tags: tool.tags.clone(),
            schema: offered(tool),
            with_heartbeat: OnceLock::new(),
        }
    }

    pub(crate) fn builtin(tool: &'static BuiltinTool) -> Self {
        Self {
            id: tool.id,
            name: tool.name.to_owned(),
            kind: KnownKind::Builtin(tool),
            return_char_limit: RETURN_CHAR_LIMIT,
            requires_approval: false,
            parallel: tool.parallel,
            tags: vec![tool.tool_type.to_owned()],
            schema: builtin::schema(tool, false),
            with_heartbeat: OnceLock::new(),
        }
    }

    /// It as a model is offered it; `heartbeat` adds the argument by which older agents go on.
    #[must_use]
    pub fn schema(&self, heartbeat: bool) -> &ToolSchema {
        let speaks = matches!(
            self.kind,
            KnownKind::Builtin(BuiltinTool { kind: BuiltinKind::SendMessage, .. })
        );
        if heartbeat && !speaks {
            self.with_heartbeat.get_or_init(|| beating(&self.schema))
        } else {
            &self.schema
        }
    }

    /// V1's word for its kind.
    #[must_use]
    pub fn tool_type(&self) -> &'static str {
        match &self.kind {
            KnownKind::Builtin(tool) => tool.tool_type,
            KnownKind::Made(kind) => query::kind_word(kind),
        }
    }

    /// The MCP server it is one of.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match &self.kind {
            KnownKind::Made(Kind::ExternalMcp { server_name, .. }) => Some(server_name),
            KnownKind::Made(Kind::Custom { .. }) | KnownKind::Builtin(_) => None,
        }
    }

    /// The name it has on its MCP server.
    #[must_use]
    pub fn remote_name(&self) -> Option<&str> {
        match &self.kind {
            KnownKind::Made(Kind::ExternalMcp { remote_name, .. }) => Some(remote_name),
            KnownKind::Made(Kind::Custom { .. }) | KnownKind::Builtin(_) => None,
        }
    }

    /// Whether a call may be made again when nobody knows what came of it.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.has_tag(IDEMPOTENT) || self.server_name().is_some() && self.has_tag(mcp::IDEMPOTENT)
    }

    /// Whether its calls may use the network.
    #[must_use]
    pub fn may_use_network(&self) -> bool {
        self.has_tag(NETWORK)
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|it| it == tag)
    }
}

/// A tool that a user made, as a model is offered it: of any moment, as its events have it.
#[must_use]
pub fn offered(tool: &Tool) -> ToolSchema {
    let mut schema = object(&tool.schema);
    let described = schema.get("description").and_then(Value::as_str).map(str::to_owned);
    let parameters = match schema.remove("parameters") {
        Some(Value::Object(parameters)) => parameters,
        // A tool without arguments, as providers want to be told.
        Some(_) | None => no_parameters(),
    };
    ToolSchema {
        name: tool.name.clone(),
        description: described.or_else(|| tool.description.clone()).unwrap_or_default(),
        parameters: to_raw_value(&parameters).expect("a map with text keys is JSON"),
    }
}

/// A schema with the argument by which older agents go on.
#[must_use]
pub fn beating(schema: &ToolSchema) -> ToolSchema {
    let mut parameters: Map<String, Value> =
        serde_json::from_str(schema.parameters.get()).unwrap_or_else(|_| no_parameters());
    add_heartbeat(&mut parameters);
    let parameters = to_raw_value(&parameters).expect("a map with text keys is JSON");
    ToolSchema { parameters, ..schema.clone() }
}

fn object(text: &JsonText) -> Map<String, Value> {
    serde_json::from_str(text.as_str()).unwrap_or_default()
}

fn no_parameters() -> Map<String, Value> {
    let Value::Object(parameters) =
        serde_json::json!({"type": "object", "properties": {}, "required": []})
    else {
        unreachable!("braces make an object")
    };
    parameters
}

#[cfg(test)]
mod tests {
    use retold_events::tool::Language;

    use super::*;
    use crate::tool::{builtins, by_name};

    fn tool(schema: &str) -> Tool {
        Tool {
            name: "roll".to_owned(),
            description: Some("Rolls.".to_owned()),
            kind: Kind::Custom { language: Language::Python },
            source: None,
            schema: JsonText::new(schema),
            args_schema: None,
            tags: vec![IDEMPOTENT.to_owned()],
            return_char_limit: 7,
            pip: None,
            npm: None,
            default_requires_approval: Some(true),
            parallel: true,
            metadata: None,
            project_id: None,
        }
    }

    #[test]
    fn a_built_in_tool_is_offered_as_it_is_without_a_look_up() {
        for it in builtins() {
            let known = Known::builtin(it);
            for heartbeat in [false, true] {
                let (offered, plain) = (known.schema(heartbeat), builtin::schema(it, heartbeat));
                assert_eq!(offered.parameters.get(), plain.parameters.get(), "{}", it.name);
                assert_eq!(
                    (&offered.name, &offered.description),
                    (&plain.name, &plain.description)
                );
            }
            assert_eq!(known.tool_type(), it.tool_type);
        }
        assert!(!Known::builtin(by_name("memory_insert").unwrap()).is_idempotent());
    }

    #[test]
    fn a_made_tool_is_offered_with_what_its_schema_says() {
        let id = ToolId::from_uuid(uuid::Uuid::from_u128(9));
        let known = Known::made(
            id,
            &tool(
                r#"{"name":"roll","description":"Dice.","parameters":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}"#,
            ),
        );
        assert_eq!(known.schema(false).description, "Dice.");
        assert_eq!(
            known.schema(false).parameters.get(),
            r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#
        );
        assert!(known.schema(true).parameters.get().contains(r#"["n","request_heartbeat"]"#));
        assert_eq!((known.return_char_limit, known.tool_type()), (7, "custom"));
        assert!(known.is_idempotent() && !known.may_use_network());
        assert!(known.requires_approval && known.parallel);
    }

    #[test]
    fn a_schema_without_parameters_is_one_of_no_arguments() {
        let offered = offered(&tool("{}"));
        assert_eq!((&offered.name[..], &offered.description[..]), ("roll", "Rolls."));
        let parameters: Value = serde_json::from_str(offered.parameters.get()).unwrap();
        assert_eq!(
            parameters,
            serde_json::json!({"type": "object", "properties": {}, "required": []})
        );
    }
}
