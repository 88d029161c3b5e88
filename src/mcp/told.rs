//! What a server says of its tools, without the secrets it was given.
//!
//! It becomes tools, which are in the log and in every prompt, so a server that repeats a token would have it there for ever.
//! What people and models read is cleaned. A default or an example that holds a secret is left out: the server puts in its
//! own when nothing is said. Names, and values that a schema demands, stay as they are, because calls are made by them.

use retold_actors::mcp::OfferedTool;
use retold_tools::mcp::RemoteTool;
use serde_json::{Map, Value};

use crate::caged::redact::Redactor;

/// Members of a schema that are for its readers.
const READ: [&str; 3] = ["description", "title", "$comment"];
/// Members of a schema that a call can do without.
const SPARE: [&str; 3] = ["default", "examples", "example"];
/// Members of a schema whose own members are names, with a schema each.
const BY_NAME: [&str; 5] =
    ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

/// A tool in the words of the core.
pub(super) fn offered(tool: RemoteTool, redactor: &Redactor) -> OfferedTool {
    let RemoteTool { name, title, description, input_schema, output_schema, annotations, meta } =
        tool;
    let text = |text: Option<String>| text.map(|text| redactor.clean(text));
    let schema = |mut schema: Map<String, Value>| {
        clean_schema(&mut schema, redactor);
        schema
    };
    OfferedTool {
        name,
        title: text(title),
        description: text(description),
        input_schema: schema(input_schema),
        output_schema: output_schema.map(schema),
        annotations: annotations.map(|it| cleaned(it, redactor)),
        meta: meta.map(|it| cleaned(it, redactor)),
    }
}

fn clean_schema(schema: &mut Map<String, Value>, redactor: &Redactor) {
    schema.retain(|name, value| !SPARE.contains(&&**name) || !holds(value, redactor));
    for (name, value) in schema {
        match value {
            Value::String(text) if READ.contains(&&**name) => {
                *text = redactor.clean(std::mem::take(text));
            }
            Value::Object(named) if BY_NAME.contains(&&**name) => {
                named.values_mut().for_each(|inner| clean_within(inner, redactor));
            }
            Value::Object(_) | Value::Array(_) => clean_within(value, redactor),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn clean_within(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::Object(schema) => clean_schema(schema, redactor),
        Value::Array(items) => items.iter_mut().for_each(|item| clean_within(item, redactor)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn holds(value: &Value, redactor: &Redactor) -> bool {
    match value {
        Value::String(text) => redactor.clean(text.clone()) != *text,
        Value::Array(items) => items.iter().any(|item| holds(item, redactor)),
        Value::Object(members) => members.values().any(|member| holds(member, redactor)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn cleaned(value: Value, redactor: &Redactor) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.clean(text)),
        Value::Array(items) => items.into_iter().map(|item| cleaned(item, redactor)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, it)| (name, cleaned(it, redactor))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("an object is meant") };
        members
    }

    #[test]
    fn what_is_read_is_cleaned_and_what_calls_are_made_by_stays() {
        let said = "for swordfish-1";
        let schema = json!({
            "description": said,
            "required": ["swordfish-1"],
            "properties": {
                "swordfish-1": {"enum": ["swordfish-1"], "default": "swordfish-1"},
                "default": {"type": "string", "title": said, "default": "other"},
                "list": {"items": [{"anyOf": [{"description": said, "examples": [[said]]}]}]},
            },
        });
        let tool = RemoteTool {
            name: "swordfish-1".to_owned(),
            title: Some(said.to_owned()),
            description: Some(said.to_owned()),
            input_schema: object(schema.clone()),
            output_schema: Some(object(schema)),
            annotations: Some(json!({"title": said, "readOnlyHint": true})),
            meta: Some(json!([said])),
        };
        let clean = "for [secret TOKEN]";
        let schema = json!({
            "description": clean,
            "required": ["swordfish-1"],
            "properties": {
                "swordfish-1": {"enum": ["swordfish-1"]},
                "default": {"type": "string", "title": clean, "default": "other"},
                "list": {"items": [{"anyOf": [{"description": clean}]}]},
            },
        });
        let expected = OfferedTool {
            name: "swordfish-1".to_owned(),
            title: Some(clean.to_owned()),
            description: Some(clean.to_owned()),
            input_schema: object(schema.clone()),
            output_schema: Some(object(schema)),
            annotations: Some(json!({"title": clean, "readOnlyHint": true})),
            meta: Some(json!([clean])),
        };
        assert_eq!(offered(tool, &Redactor::of([("TOKEN", "swordfish-1")])), expected);
    }
}
