//! Arguments that a tool rule fixes in advance: read out of the rule, checked against the tool, put into a call.

use retold_events::JsonText;
use serde_json::{Map, Value};

/// The arguments in a `run_first` rule.
pub(super) fn arguments(args: &JsonText) -> Map<String, Value> {
    serde_json::from_str(args.as_str()).unwrap_or_default()
}

/// The arguments for `child` in a child rule: a list of `{name, args}`, as clients write it, or an object by name.
pub(super) fn node_arguments(nodes: &JsonText, child: &str) -> Map<String, Value> {
    let args = match serde_json::from_str(nodes.as_str()) {
        Ok(Value::Array(mut nodes)) => {
            let node = nodes.iter_mut().find(|node| node["name"] == child);
            node.map(|node| node["args"].take())
        }
        Ok(Value::Object(mut nodes)) => nodes.remove(child),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | Err(_) => None,
    };
    match args {
        Some(Value::Object(args)) => args,
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )
        | None => Map::new(),
    }
}

/// The arguments of a call with those of a rule in their place: JSON text of an object. `schema` is that of the tool's
/// arguments; `arguments` that are no JSON object count as none.
///
/// # Errors
/// What the model is told when the tool has no such argument, or one of another type. The turn ends then: the rule is
/// wrong, and no answer of the model can mend it.
pub(crate) fn prefill(
    arguments: &str,
    prefilled: &Map<String, Value>,
    schema: &str,
) -> Result<String, String> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let mut merged: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    for (name, value) in prefilled {
        let property = &schema["properties"][name];
        if property.is_null() {
            return Err(format!(
                "A tool rule prefills the argument '{name}', which this tool does not have."
            ));
        }
        if !is_of_type(value, &property["type"]) {
            return Err(format!(
                "A tool rule prefills the argument '{name}' with a value that is not of the type {}.",
                property["type"]
            ));
        }
        merged.insert(name.clone(), value.clone());
    }
    Ok(Value::Object(merged).to_string())
}

/// Whether `value` is of a schema's `type`: a name, a list of names, or missing, which allows everything.
fn is_of_type(value: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::String(name) => is_named(value, name),
        Value::Array(names) => names.iter().any(|name| is_of_type(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    }
}

fn is_named(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}
