//! The schemas of the plain types, and what is said of types that have none.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{given, notes::Notes};

/// What a hint says.
#[derive(Debug)]
pub(super) struct Hint {
    /// The schema of the type, without description and default.
    pub(super) schema: Map<String, Value>,
    /// Whether `None` is a value of it.
    pub(super) optional: bool,
    /// What `Annotated` or `Field` says about it.
    pub(super) notes: Notes,
}

/// The schema of a set of values, with the types they have; `None` when there is no value but `None`.
pub(super) fn enumeration(values: Vec<Value>) -> Option<Hint> {
    let (none, mut values): (Vec<Value>, Vec<Value>) = values.into_iter().partition(Value::is_null);
    let mut seen = HashSet::new();
    values.retain(|value| seen.insert(value.to_string()));
    let mut types: Vec<&str> = Vec::new();
    for value in &values {
        let kind = match value {
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => "string",
        };
        if !types.contains(&kind) {
            types.push(kind);
        }
    }
    let kind = match types.as_slice() {
        [] => return None,
        [one] => json!(one),
        several => json!(several),
    };
    let schema = object(json!({ "type": kind, "enum": values }));
    Some(Hint { optional: !none.is_empty(), ..of(schema) })
}

/// How large a schema is, in values and in pieces of 256 bytes of text.
pub(super) fn size(schema: &Value) -> usize {
    let own = 1 + schema.as_str().map_or(0, str::len) / 256;
    own + given::children(schema).into_iter().map(size).sum::<usize>()
}

pub(super) fn of(schema: Map<String, Value>) -> Hint {
    Hint { schema, optional: false, notes: Notes::default() }
}

pub(super) fn plain(kind: &str) -> Hint {
    of(object(json!({ "type": kind })))
}

pub(super) fn array(items: Map<String, Value>) -> Hint {
    of(object(json!({ "type": "array", "items": items })))
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

pub(super) const TUPLE: &str =
    "a tuple of any length; write `list[...]`, or a tuple that names the type of each item";

/// Why a type of this name has no schema, and what to write instead.
pub(super) fn no_schema(name: &str) -> String {
    match name {
        "Any" | "object" => "which tells a model nothing; write the type that is expected, or `str`".to_owned(),
        "tuple" | "Tuple" => TUPLE.to_owned(),
        "set" | "Set" | "frozenset" | "FrozenSet" | "Sequence" | "Iterable" | "MutableSequence" | "Collection" => {
            "which JSON does not have; write `list[...]`".to_owned()
        }
        "Mapping" | "MutableMapping" | "defaultdict" | "OrderedDict" => "which JSON does not have; write `dict`".to_owned(),
        "bytes" | "datetime" | "date" | "time" | "timedelta" | "UUID" | "Path" | "Decimal" => {
            "which JSON does not have; write `str` and convert it in the function".to_owned()
        }
        _ => "which is neither a type with a JSON schema nor a class of this source; write str, int, float, bool, list, dict, \
              Literal, Optional, a tuple of fixed length or a pydantic model that the source defines, or give json_schema \
              or args_json_schema"
            .to_owned(),
    }
}
