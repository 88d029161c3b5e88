//! A tool as an MCP server offers it, and whether a model can be offered it in turn.

use retold_events::{
    JsonText,
    tool::{Kind, Tool},
};
use serde_json::{Map, Value};

use super::schema;

/// Bytes that a tool's schema may have: a model gets it with each request.
const MOST_SCHEMA_BYTES: usize = 64 << 10;
/// Characters of a return that a model gets to see, when no user says otherwise. Source: V1.
const RETURN_CHAR_LIMIT: u32 = 50_000;
/// Bytes of a name on its server.
const MOST_NAME_BYTES: usize = 256;

/// The server's word that repeating a call does no harm.
pub(crate) const IDEMPOTENT: &str = "retold:mcp-idempotent";
/// The server's word that a tool changes nothing.
pub(crate) const READ_ONLY: &str = "retold:mcp-read-only";

/// The tag that the tools of a server carry.
#[must_use]
pub fn server_tag(server: &str) -> String {
    format!("mcp:{server}")
}

/// A tool as its server describes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfferedTool {
    /// Its name, unique on its server.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    pub input_schema: Map<String, Value>,
    /// The JSON schema of what it returns.
    pub output_schema: Option<Map<String, Value>>,
    /// What its server says about its effects; only hints.
    pub annotations: Option<Value>,
    /// What else its server says.
    pub meta: Option<Value>,
}

/// Whether a tool can be offered to models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// In one word.
    pub status: HealthStatus,
    /// Why it is no better.
    pub reasons: Vec<String>,
}

/// V1's words for whether a tool can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// To every model, held to its schema to the letter.
    StrictCompliant,
    /// To every model.
    NonStrictOnly,
    /// To none.
    Invalid,
}

impl OfferedTool {
    /// Whether it can be offered.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.parameters() {
            Err(reason) => Health { status: HealthStatus::Invalid, reasons: vec![reason] },
            Ok(parameters) => {
                let reasons = schema::leniences(&parameters);
                let is_strict = reasons.is_empty();
                let status = if is_strict {
                    HealthStatus::StrictCompliant
                } else {
                    HealthStatus::NonStrictOnly
                };
                Health { status, reasons }
            }
        }
    }

    /// The schema of its arguments in the form that providers take.
    fn parameters(&self) -> Result<Map<String, Value>, String> {
        if self.name.is_empty() || self.name.len() > MOST_NAME_BYTES {
            return Err(format!("its name must have 1 to {MOST_NAME_BYTES} bytes"));
        }
        let whole = Value::Object(self.input_schema.clone()).to_string();
        let bytes = whole.len() + self.description().len();
        if bytes > MOST_SCHEMA_BYTES {
            return Err(format!(
                "its schema and description have {bytes} bytes, {MOST_SCHEMA_BYTES} are allowed"
            ));
        }
        schema::normalised(&self.input_schema)
    }

    fn description(&self) -> &str {
        let said = [&self.description, &self.title].into_iter().flatten();
        said.map(|text| text.trim()).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// Whether its server says so; what is not said is not so.
    fn hints(&self, hint: &str) -> bool {
        let said = self.annotations.as_ref().and_then(|all| all.get(hint));
        said.and_then(Value::as_bool) == Some(true)
    }

    fn is_read_only(&self) -> bool {
        self.hints("readOnlyHint")
    }

    fn is_idempotent(&self) -> bool {
        self.is_read_only() || self.hints("idempotentHint")
    }

    /// It as a tool of this server's, under this name. What users set stays as in `old`.
    ///
    /// # Errors
    /// Why it cannot be offered.
    pub(crate) fn tool(
        &self,
        server: &str,
        name: &str,
        old: Option<&Tool>,
    ) -> Result<Tool, String> {
        let description = self.description();
        let schema = serde_json::json!({
            "name": name,
            "description": description,
            "parameters": self.parameters()?,
        });
        let was_read_only = old.is_some_and(|old| old.tags.iter().any(|tag| tag == READ_ONLY));
        let is_read_only = self.is_read_only();
        let tags = old.map_or_else(Vec::new, |old| old.tags.clone());
        let mut tool = Tool {
            name: name.to_owned(),
            description: (!description.is_empty()).then(|| description.to_owned()),
            kind: Kind::ExternalMcp {
                server_name: server.to_owned(),
                remote_name: self.name.clone(),
            },
            source: None,
            schema: JsonText::new(schema.to_string()),
            args_schema: None,
            tags: with_tag(
                with_tag(tags, IDEMPOTENT, self.is_idempotent()),
                READ_ONLY,
                is_read_only,
            ),
            return_char_limit: old.map_or(RETURN_CHAR_LIMIT, |old| old.return_char_limit),
            pip: None,
            npm: None,
            default_requires_approval: old.and_then(|old| old.default_requires_approval),
            // A user may say otherwise as long as the server says the same.
            parallel: match old {
                Some(old) if was_read_only == is_read_only => old.parallel,
                Some(_) | None => is_read_only,
            },
            metadata: old.and_then(|old| old.metadata.clone()),
            project_id: old.and_then(|old| old.project_id.clone()),
        };
        tool.tags = with_tag(tool.tags, &server_tag(server), true);
        Ok(tool)
    }
}

/// Tags with this one among them, or without it.
pub(crate) fn with_tag(mut tags: Vec<String>, tag: &str, wanted: bool) -> Vec<String> {
    match tags.iter().position(|it| it == tag) {
        Some(place) if !wanted => drop(tags.remove(place)),
        None if wanted => tags.push(tag.to_owned()),
        Some(_) | None => {}
    }
    tags
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offered(value: Value) -> OfferedTool {
        let Value::Object(input_schema) = value else { panic!("a schema is an object") };
        OfferedTool { name: "read".to_owned(), input_schema, ..OfferedTool::default() }
    }

    fn hinting(hints: Value) -> OfferedTool {
        OfferedTool { annotations: Some(hints), ..offered(json!({"type": "object"})) }
    }

    #[test]
    fn only_a_hint_that_is_true_lets_a_call_be_made_again_or_beside_others() {
        for (hints, is_idempotent, is_parallel) in [
            (json!({"readOnlyHint": true}), true, true),
            (json!({"idempotentHint": true}), true, false),
            (json!({"readOnlyHint": false, "idempotentHint": "true"}), false, false),
            (json!({"readOnlyHint": 1}), false, false),
            (json!("readOnlyHint"), false, false),
        ] {
            let tool = hinting(hints.clone()).tool("files", "read", None).unwrap();
            assert_eq!(tool.tags.iter().any(|tag| tag == IDEMPOTENT), is_idempotent, "{hints}");
            assert_eq!(tool.parallel, is_parallel, "{hints}");
            assert!(tool.tags.contains(&"mcp:files".to_owned()));
        }
    }

    #[test]
    fn a_hint_that_is_taken_back_is_no_longer_believed_and_what_users_set_stays() {
        let first = hinting(json!({"readOnlyHint": true})).tool("files", "read", None).unwrap();
        let set = Tool {
            tags: [first.tags, vec!["mine".to_owned(), "retold:idempotent".to_owned()]].concat(),
            return_char_limit: 7,
            default_requires_approval: Some(true),
            parallel: false,
            ..first
        };
        let same =
            hinting(json!({"readOnlyHint": true})).tool("files", "read", Some(&set)).unwrap();
        assert_eq!(same, set);
        let taken_back = hinting(json!({})).tool("files", "read", Some(&set)).unwrap();
        assert_eq!(taken_back.tags, ["mcp:files", "mine", "retold:idempotent"]);
        assert_eq!((taken_back.return_char_limit, taken_back.parallel), (7, false));
        let again = hinting(json!({"readOnlyHint": true}));
        assert!(again.tool("files", "read", Some(&taken_back)).unwrap().parallel);
    }

    #[test]
    fn what_is_too_large_or_no_schema_of_arguments_is_named() {
        for schema in [
            json!({"type": "string"}),
            json!({"type": "object", "description": "x".repeat(MOST_SCHEMA_BYTES)}),
        ] {
            let health = offered(schema).health();
            assert_eq!((health.status, health.reasons.len()), (HealthStatus::Invalid, 1));
        }
        let nameless = OfferedTool { name: String::new(), ..offered(json!({"type": "object"})) };
        assert_eq!(nameless.health().status, HealthStatus::Invalid);
        let strict = json!({"type": "object", "additionalProperties": false});
        assert_eq!(offered(strict).health().status, HealthStatus::StrictCompliant);
        assert_eq!(offered(json!({})).health().status, HealthStatus::NonStrictOnly);
    }
}
