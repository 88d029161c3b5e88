//! The schema that a client gives: `json_schema`, checked so far that any provider takes it.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{MAX_NAME, SchemaError};

/// How deep a schema may be nested.
pub(super) const MAX_NESTING: usize = 64;

/// Whether a provider takes this as the name of a tool, or of a parameter, of at most `most` characters.
pub(super) fn is_name(name: &str, most: usize) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=most).contains(&name.len()) && name.bytes().all(letter)
}

/// A given schema: all that the client said, with a name, and with parameters.
#[derive(Debug)]
pub(super) struct Explicit<'v> {
    pub(super) name: &'v str,
    pub(super) description: Option<&'v str>,
    schema: &'v Map<String, Value>,
}

impl<'v> Explicit<'v> {
    /// Checks a `json_schema`.
    pub(super) fn read(schema: &'v Value) -> Result<Self, SchemaError> {
        let Some(schema) = schema.as_object() else {
            return Err(refuse(
                "json_schema",
                "must be an object with `name`, `description` and `parameters`",
            ));
        };
        let name = match schema.get("name") {
            Some(Value::String(name)) => name,
            Some(_) => return Err(refuse("json_schema.name", "must be a text")),
            None => {
                return Err(refuse(
                    "json_schema",
                    "has no `name`; give it the name of the function",
                ));
            }
        };
        if !is_name(name, MAX_NAME) {
            return Err(SchemaError::Name {
                subject: format!("json_schema.name: `{name}`"),
                most: MAX_NAME,
            });
        }
        let description = match schema.get("description") {
            Some(Value::String(text)) => Some(text.as_str()).filter(|text| !text.trim().is_empty()),
            Some(Value::Null) | None => None,
            Some(_) => return Err(refuse("json_schema.description", "must be a text")),
        };
        if let Some(parameters) =
            schema.get("parameters").filter(|parameters| !parameters.is_null())
        {
            object_schema(parameters, "json_schema.parameters")?;
        }
        Ok(Self { name, description, schema })
    }

    /// The schema with this description, and with what it may lack.
    pub(super) fn complete(&self, description: &str) -> Value {
        let mut complete = Map::new();
        complete.insert("name".to_owned(), json!(self.name));
        complete.insert("description".to_owned(), json!(description));
        let mut parameters = self
            .schema
            .get("parameters")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_else(|| Map::from_iter([("type".to_owned(), json!("object"))]));
        for (key, empty) in [("properties", json!({})), ("required", json!([]))] {
            let member = parameters.entry(key).or_insert(Value::Null);
            if member.is_null() {
                *member = empty;
            }
        }
        complete.insert("parameters".to_owned(), Value::Object(parameters));
        for (key, value) in self.schema {
            complete.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(complete)
    }
}

/// Checks that `schema` describes an object as far as its members' names and types go.
pub(super) fn object_schema(schema: &Value, place: &str) -> Result<(), SchemaError> {
    let Some(object) = schema.as_object() else {
        return Err(refuse(place, "must be a schema of an object"));
    };
    if object.get("type").and_then(Value::as_str) != Some("object") {
        return Err(refuse(place, "must have the `type` \"object\""));
    }
    if too_deep(schema) {
        return Err(refuse(place, "is nested too deep; make it flatter"));
    }
    let nothing = Map::new();
    let properties = match object.get("properties") {
        Some(Value::Object(properties)) => properties,
        Some(Value::Null) | None => &nothing,
        Some(_) => return Err(refuse(&format!("{place}.properties"), "must be an object")),
    };
    for (name, property) in properties {
        if !property.is_object() && !property.is_boolean() {
            return Err(refuse(&format!("{place}.properties.{name}"), "must be a schema"));
        }
    }
    required(object.get("required"), properties, place)
}

fn required(
    required: Option<&Value>,
    properties: &Map<String, Value>,
    place: &str,
) -> Result<(), SchemaError> {
    let place = format!("{place}.required");
    let names = match required {
        Some(Value::Array(names)) => names,
        Some(Value::Null) | None => return Ok(()),
        Some(_) => return Err(refuse(&place, "must be an array of names")),
    };
    let mut seen = HashSet::new();
    for name in names {
        match name.as_str() {
            None => return Err(refuse(&place, "must be an array of names")),
            Some(name) if !seen.insert(name) => {
                return Err(refuse(&place, &format!("names `{name}` twice; name it once")));
            }
            Some(name) if !properties.contains_key(name) => {
                return Err(refuse(
                    &place,
                    &format!("names `{name}`, which `properties` does not have; add it there"),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Looks by levels, so that no depth is too much for it.
pub(super) fn too_deep(value: &Value) -> bool {
    let mut level = vec![value];
    for _ in 0..MAX_NESTING {
        level = level.into_iter().flat_map(children).collect();
    }
    !level.is_empty()
}

/// The values directly inside a value.
pub(super) fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(object) => object.values().collect(),
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

pub(super) fn refuse(place: &str, problem: &str) -> SchemaError {
    SchemaError::Given { place: place.to_owned(), problem: problem.to_owned() }
}
