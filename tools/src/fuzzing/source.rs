//! Sources of tools: whatever is sent, there is one schema that every provider takes, or an error that names a line.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::schema::{
    Given, Language, MAX_NAME, MAX_SCHEMA, SchemaError, Signature, check_arguments, derive,
};

/// Bytes that a schema may have beyond what a source says itself: the constants that names stand for may be repeated until
/// their bound, and a character may become six as an escape of JSON.
const MOST_SCHEMA: usize = 64 << 20;
/// How deep a schema may be nested as JSON. Readers of JSON stop at 128, and it is a part of larger answers.
const MOST_LEVELS: usize = 80;
/// Characters of a parameter's name.
const MOST_PARAMETER: usize = 64;

/// Any bytes, as the source of a tool in both languages.
///
/// # Panics
/// When a promise is broken.
pub fn tool_source(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    python(&source);
    typescript(&source);
}

fn python(source: &str) {
    let outcome = derive(source, Language::Python, Given::default());
    match &outcome {
        Ok(signature) => {
            check(signature);
            let given = Given { json_schema: Some(&signature.json_schema), ..Given::default() };
            let again = derive(source, Language::Python, given);
            assert_eq!(again, outcome, "a schema that was made is one that may be given");
        }
        Err(error) => refused(error, source),
    }
    let names = json!({"name": "f", "description": "Does."});
    let given = Given { json_schema: Some(&names), name: Some("g"), ..Given::default() };
    match derive(source, Language::Python, given) {
        Ok(signature) => check(&signature),
        Err(error) => refused(&error, source),
    }
}

fn typescript(source: &str) {
    let names = json!({"name": "f"});
    let given = Given { json_schema: Some(&names), ..Given::default() };
    match derive(source, Language::TypeScript, given) {
        Ok(signature) => assert!(source.contains("export") && signature.name == "f"),
        Err(error) => refused(&error, source),
    }
}

/// An error is a sentence, and the line and column that it names are there.
fn refused(error: &SchemaError, source: &str) {
    let text = error.to_string();
    assert!(text.len() <= 16 * source.len() + 1024, "a refusal is no larger than its cause");
    let Some((line, rest)) = number(&text, "line ") else { return };
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let plain = source.replace("\r\n", "\n").replace('\r', "\n");
    let named = plain.split('\n').nth(line.checked_sub(1).expect("lines count from 1"));
    let named = named.unwrap_or_else(|| panic!("there is no such line: {text}"));
    if let Some((column, _)) = number(rest, ", column ") {
        let last = named.chars().count() + 1;
        assert!((1..=last).contains(&column), "there is no such column: {text}");
    }
}

/// The number after `before`, with which `text` begins, and what follows.
fn number<'t>(text: &'t str, before: &str) -> Option<(usize, &'t str)> {
    let rest = text.strip_prefix(before)?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}

/// What providers ask of a tool.
pub(super) fn check(signature: &Signature) {
    let Signature { name, description, json_schema } = signature;
    assert!(is_name(name, MAX_NAME), "{name}");
    assert!(!description.trim().is_empty(), "{name}");
    assert_eq!(json_schema["name"], **name);
    assert_eq!(json_schema["description"], **description);
    let parameters = &json_schema["parameters"];
    assert_eq!(parameters["type"], "object", "{parameters}");
    let properties = parameters["properties"].as_object().expect("there are properties");
    for (name, property) in properties {
        assert!(is_name(name, MOST_PARAMETER), "{name}");
        assert!(property["description"].is_string(), "{name} is described");
    }
    let mut left = 4 * MAX_SCHEMA;
    schema(parameters, &mut left, 0);
    assert!(json_schema.to_string().len() <= MOST_SCHEMA, "it is no larger than its bound");
    let arguments = example(parameters);
    assert_eq!(check_arguments(json_schema, &arguments), Ok(()), "{arguments} fits {parameters}");
}

fn is_name(name: &str, most: usize) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    (1..=most).contains(&name.len()) && name.chars().all(letter)
}

/// Checks one schema and those within. `left` is how many there may be.
fn schema(it: &Value, left: &mut usize, level: usize) {
    *left = left.checked_sub(1).expect("a schema has a bounded number of parts");
    assert!(level <= MOST_LEVELS, "it is not nested too deep");
    let Value::Object(members) = it else { panic!("a schema is an object: {it}") };
    if let Some(choices) = members.get("anyOf") {
        each(choices, left, level + 2);
        return;
    }
    let types: Vec<&str> = match &it["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            panic!("a schema has a type: {it}")
        }
    };
    assert!(!types.is_empty() && types.iter().all(|name| TYPES.contains(name)), "{types:?}");
    if let Some(values) = members.get("enum") {
        let values = values.as_array().expect("values are a list");
        assert!(!values.is_empty(), "there is a value that fits");
        let fits = |value: &Value| types.iter().any(|name| is_a(name, value));
        assert!(values.iter().all(fits), "{values:?} are of {types:?}");
        let different: HashSet<String> = values.iter().map(Value::to_string).collect();
        assert_eq!(different.len(), values.len(), "each value is there once: {values:?}");
    }
    if types == ["array"] {
        schema(&it["items"], left, level + 1);
        if let Some(items) = members.get("prefixItems") {
            let count = each(items, left, level + 2);
            assert_eq!((&it["minItems"], &it["maxItems"]), (&json!(count), &json!(count)));
        }
    }
    if let Some(properties) = members.get("properties") {
        object(properties, &it["required"], left, level);
    }
}

fn object(properties: &Value, required: &Value, left: &mut usize, level: usize) {
    let properties = properties.as_object().expect("properties are an object");
    let required = required.as_array().expect("there is a list of what is required");
    for (number, name) in required.iter().enumerate() {
        assert!(!required[..number].contains(name), "{name} is required once");
        let name = name.as_str().expect("what is required has a name");
        assert!(properties.contains_key(name), "{name} is required and not there");
    }
    for property in properties.values() {
        schema(property, left, level + 2);
    }
}

/// Checks all schemas of a list, and gives their number.
fn each(list: &Value, left: &mut usize, level: usize) -> usize {
    let list = list.as_array().expect("it is a list of schemas");
    assert!(!list.is_empty(), "there is a choice");
    for it in list {
        schema(it, left, level);
    }
    list.len()
}

const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "object", "array", "null"];

fn is_a(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => name == "number" || (name == "integer" && !number.is_f64()),
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}

/// A value that a schema asks for: the smallest, with what is required only.
fn example(schema: &Value) -> Value {
    if let Some(choice) = schema["anyOf"].get(0) {
        return example(choice);
    }
    if let Some(value) = schema["enum"].get(0) {
        return value.clone();
    }
    match schema["type"].as_str().or(schema["type"][0].as_str()) {
        Some("string") => json!(""),
        Some("integer") => json!(-1),
        Some("number") => json!(0.5),
        Some("boolean") => json!(false),
        Some("array") => {
            schema["prefixItems"].as_array().into_iter().flatten().map(example).collect()
        }
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten();
            let members = required.filter_map(Value::as_str);
            let of = |name: &str| (name.to_owned(), example(&schema["properties"][name]));
            Value::Object(members.map(of).collect::<Map<_, _>>())
        }
        Some(_) | None => Value::Null,
    }
}
