//! Arguments that a tool's schema accepts.

use serde_json::{Map, Value};

use crate::{ToolSchema, tokens::clip};

/// Longest text put into an argument that the script knows nothing of.
const TEXT_BYTES: usize = 500;

/// The given arguments as JSON text, with what else the schema requires filled in: texts with `text`, numbers with the
/// smallest, the rest empty. `heartbeat` is given where the schema knows it.
pub(super) fn arguments(
    tool: &ToolSchema,
    given: &[(&str, &str)],
    text: &str,
    heartbeat: bool,
) -> String {
    let schema: Value = serde_json::from_str(tool.parameters.get()).unwrap_or_default();
    let mut arguments: Map<String, Value> =
        given.iter().map(|&(name, value)| (name.to_owned(), Value::from(value))).collect();
    if schema.pointer("/properties/request_heartbeat").is_some() {
        arguments.insert("request_heartbeat".to_owned(), heartbeat.into());
    }
    fill(&schema, &mut arguments, text);
    Value::Object(arguments).to_string()
}

/// An object with all that `schema` requires, as JSON text.
pub(super) fn filled(schema: &Value, text: &str) -> String {
    let mut object = Map::new();
    fill(schema, &mut object, text);
    Value::Object(object).to_string()
}

fn fill(schema: &Value, arguments: &mut Map<String, Value>, text: &str) {
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !arguments.contains_key(name) {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            let is_thought = matches!(name, "inner_thoughts" | "thinking");
            let text = if is_thought { "The rehearsal script chose this call." } else { text };
            arguments.insert(name.to_owned(), smallest(property.unwrap_or(&Value::Null), text));
        }
    }
}

fn smallest(schema: &Value, text: &str) -> Value {
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|list| list.first())
    {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
        Some("boolean") => false.into(),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => Value::Object(Map::new()),
        Some(_) | None => clip(text, TEXT_BYTES).into(),
    }
}
