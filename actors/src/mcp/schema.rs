//! A schema of arguments in the form that every provider takes: an object with properties, and nothing at its top that
//! decides between forms of the whole.
//!
//! Servers may say whatever JSON Schema allows, and some providers refuse a whole request for one tool of it. So what can
//! be said in the narrow form is brought into it, and what cannot is refused with a reason.

use serde_json::{Map, Value, json};

/// What stands at the top of a schema and does not pass: the choice between wholes, and where the schema is from.
const NOT_AT_THE_TOP: [&str; 12] = [
    "$schema", "$id", "$comment", "enum", "const", "not", "if", "then", "else", "anyOf", "oneOf",
    "allOf",
];
/// Characters of a parameter's name.
const MOST_PARAMETER_NAME: usize = 64;
/// How deep a schema may be nested.
const MAX_NESTING: usize = 32;
/// How many parts a schema may be put together from: they may refer to one another.
const MAX_PARTS: usize = 64;

/// A schema as providers take it.
///
/// # Errors
/// Why there is no such form of it.
pub(super) fn normalised(schema: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let whole = Value::Object(schema.clone());
    check_nested(&whole, &whole, 0)?;
    let (mut properties, mut required, mut left) = (Map::new(), Vec::new(), MAX_PARTS);
    collect(schema, &whole, &mut left, &mut properties, &mut required)?;
    for name in properties.keys() {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > MOST_PARAMETER_NAME || !name.bytes().all(fits) {
            return Err(format!(
                "its parameter {:?} has a name that providers refuse: letters, digits, `_`, `.` and `-` are allowed, \
                {MOST_PARAMETER_NAME} of them",
                name.chars().take(100).collect::<String>()
            ));
        }
    }
    required.retain(|name| properties.contains_key(name));
    let mut normal = schema.clone();
    for word in NOT_AT_THE_TOP {
        normal.remove(word);
    }
    normal.remove("$ref");
    normal.insert("type".to_owned(), json!("object"));
    normal.insert("properties".to_owned(), Value::Object(properties));
    normal.insert("required".to_owned(), json!(required));
    Ok(normal)
}

/// The properties of a schema and of those it is put together from. What only some of its alternatives need is not
/// required.
fn collect(
    schema: &Map<String, Value>,
    whole: &Value,
    left: &mut usize,
    properties: &mut Map<String, Value>,
    required: &mut Vec<String>,
) -> Result<(), String> {
    if !is_object(schema.get("type")) {
        return Err("its arguments are not an object: `type` must be \"object\"".to_owned());
    }
    match schema.get("properties") {
        Some(Value::Object(own)) => {
            for (name, property) in own {
                properties.entry(name.clone()).or_insert_with(|| property.clone());
            }
        }
        Some(_) => return Err("its `properties` are not an object".to_owned()),
        None => {}
    }
    require(required, names(schema.get("required")));
    for part in parts(schema, "allOf").chain(schema.contains_key("$ref").then_some(schema)) {
        let part = followed(part, whole, left)?;
        collect(part, whole, left, properties, required)?;
    }
    for word in ["anyOf", "oneOf"] {
        let mut of_all: Option<Vec<String>> = None;
        for part in parts(schema, word) {
            let part = followed(part, whole, left)?;
            let mut of_this = Vec::new();
            collect(part, whole, left, properties, &mut of_this)?;
            of_all = Some(match of_all {
                None => of_this,
                Some(all) => all.into_iter().filter(|name| of_this.contains(name)).collect(),
            });
        }
        require(required, of_all.unwrap_or_default());
    }
    Ok(())
}

fn is_object(word: Option<&Value>) -> bool {
    match word {
        None => true,
        Some(Value::String(word)) => word == "object",
        Some(Value::Array(words)) => words.iter().any(|word| word == "object"),
        Some(_) => false,
    }
}

fn names(required: Option<&Value>) -> Vec<String> {
    let names = required.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn require(required: &mut Vec<String>, more: Vec<String>) {
    for name in more {
        if !required.contains(&name) {
            required.push(name);
        }
    }
}

fn parts<'a>(
    schema: &'a Map<String, Value>,
    word: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    schema.get(word).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// What a part stands for. `left` is how many parts may still follow.
fn followed<'a>(
    part: &'a Map<String, Value>,
    whole: &'a Value,
    left: &mut usize,
) -> Result<&'a Map<String, Value>, String> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| format!("it is put together from more than {MAX_PARTS} parts"))?;
    match part.get("$ref").and_then(Value::as_str) {
        None => Ok(part),
        Some(reference) => {
            let found = target(reference, whole).and_then(Value::as_object);
            found.ok_or_else(|| nowhere(reference))
        }
    }
}

fn target<'a>(reference: &str, whole: &'a Value) -> Option<&'a Value> {
    whole.pointer(reference.strip_prefix('#')?)
}

fn nowhere(reference: &str) -> String {
    let shown: String = reference.chars().take(100).collect();
    format!("it refers to {shown:?}, which is not in it")
}

/// Refuses what no provider can follow: references out of the schema, and what is nested too deep.
fn check_nested(value: &Value, whole: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_NESTING {
        return Err(format!("it is nested more than {MAX_NESTING} deep"));
    }
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref")
                && target(reference, whole).is_none()
            {
                return Err(nowhere(reference));
            }
            members.values().try_for_each(|member| check_nested(member, whole, depth + 1))
        }
        Value::Array(items) => items.iter().try_for_each(|it| check_nested(it, whole, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Why a model cannot be held to this schema to the letter: one reason for each kind, and where it was met first.
pub(super) fn leniences(schema: &Map<String, Value>) -> Vec<String> {
    let mut reasons = Vec::new();
    lenient(&Value::Object(schema.clone()), "", &mut reasons);
    reasons
}

fn lenient(value: &Value, place: &str, reasons: &mut Vec<String>) {
    let Value::Object(schema) = value else { return };
    if let Some(Value::Object(properties)) = schema.get("properties") {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            add(reasons, "`additionalProperties` is not false", place);
        }
        let required = names(schema.get("required"));
        if properties.keys().any(|name| !required.contains(name)) {
            add(reasons, "not every property is required", place);
        }
        for (name, property) in properties {
            lenient(property, &format!("{place}.{name}"), reasons);
        }
    }
    if let Some(items) = schema.get("items") {
        lenient(items, &format!("{place}[]"), reasons);
    }
    for part in ["anyOf", "oneOf", "allOf"].into_iter().flat_map(|word| parts(schema, word)) {
        lenient(&Value::Object(part.clone()), place, reasons);
    }
}

fn add(reasons: &mut Vec<String>, what: &str, place: &str) {
    if !reasons.iter().any(|reason| reason.starts_with(what)) {
        let place = if place.is_empty() { "at the top" } else { place.trim_start_matches('.') };
        reasons.push(format!("{what} ({place})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("{value} is no object") };
        map
    }

    fn normal(value: Value) -> Result<Value, String> {
        normalised(&object(value)).map(Value::Object)
    }

    #[test]
    fn every_schema_becomes_an_object_with_properties() {
        let nothing = json!({"type": "object", "properties": {}, "required": []});
        for empty in [
            json!({}),
            json!({"type": "object"}),
            json!({"type": ["object", "null"], "$schema": "https://json-schema.org/draft/2020-12/schema"}),
            json!({"required": ["missing"]}),
        ] {
            assert_eq!(normal(empty.clone()), Ok(nothing.clone()), "{empty}");
        }
        let plain = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
            "additionalProperties": false, "description": "d"});
        assert_eq!(normal(plain.clone()), Ok(plain));
    }

    #[test]
    fn forms_of_the_whole_become_one_form() {
        let forms = json!({
            "anyOf": [
                {"type": "object", "properties": {"a": {"type": "string"}, "c": {}}, "required": ["a", "c"]},
                {"$ref": "#/$defs/Other"},
            ],
            "allOf": [{"properties": {"d": {}}, "required": ["d"]}],
            "$defs": {"Other": {"properties": {"b": {}, "c": {"type": "integer"}}, "required": ["c", "b"]}},
        });
        let one = normal(forms).unwrap();
        assert_eq!(one["properties"], json!({"a": {"type": "string"}, "b": {}, "c": {}, "d": {}}));
        assert_eq!(one["required"], json!(["d", "c"]));
        assert!(one.get("anyOf").is_none() && one.get("allOf").is_none());
        assert!(one["$defs"]["Other"].is_object(), "what is referred to stays");
    }

    #[test]
    fn what_has_no_such_form_is_refused_with_a_reason() {
        let mut deep = json!({});
        for _ in 0..60 {
            deep = json!({"properties": {"a": deep}});
        }
        for (schema, part) in [
            (json!({"type": "array"}), "object"),
            (json!({"type": 7}), "object"),
            (json!({"properties": []}), "properties"),
            (json!({"properties": {"a b": {}}}), "a b"),
            (json!({"properties": {"x".repeat(65): {}}}), "xxx"),
            (json!({"properties": {"a": {"$ref": "https://example.com/schema"}}}), "example.com"),
            (json!({"properties": {"a": {"$ref": "#/$defs/None"}}}), "None"),
            (
                json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}),
                "more than 64 parts",
            ),
            (json!({"allOf": [{"type": "string"}]}), "object"),
            (deep, "deep"),
        ] {
            let refused = normal(schema.clone()).unwrap_err();
            assert!(refused.contains(part), "{schema}: {refused}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_inside_is_fine() {
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(normal(tree).is_ok());
    }

    #[test]
    fn leniences_are_told_once_with_their_place() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {"a": {"type": "object", "properties": {"b": {}, "c": {"properties": {"d": {}}}}}}});
        assert_eq!(
            leniences(&object(schema)),
            ["`additionalProperties` is not false (a)", "not every property is required (a)"]
        );
    }
}
