//! Schemas that clients give, and arguments that models make: whatever both say, there is one answer, and soon.

use serde_json::{Map, Value};

use crate::schema::{Given, Language, Signature, check_arguments, derive};

/// The tool whose schema is given.
const SOURCE: &str = "def f(x):\n    '''Does.'''\n";
/// Bytes of a refusal: names and values are cut.
const LONGEST_REFUSAL: usize = 32 << 10;
/// Bytes that may come of a given schema, whose parts can refer to one another: a byte of text may become six.
const LARGEST: usize = 16 << 20;

/// Two values as JSON: a schema, and from the next line on the arguments.
///
/// # Panics
/// When a promise is broken.
pub fn tool_arguments(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (schema, arguments) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return };
    given(&schema);
    if let Ok(arguments) = serde_json::from_str::<Value>(arguments) {
        checked(&schema, &arguments);
    }
}

/// The schema as each of those that a client can give.
fn given(schema: &Value) {
    let of = |given| derive(SOURCE, Language::Python, given);
    let whole = of(Given { json_schema: Some(schema), ..Given::default() });
    let args = of(Given { args_json_schema: Some(schema), ..Given::default() });
    for outcome in [&whole, &args] {
        match outcome {
            Ok(signature) => {
                object(signature);
                let given = Given { json_schema: Some(&signature.json_schema), ..Given::default() };
                assert_eq!(&of(given), outcome, "a schema that was taken is taken again");
            }
            Err(error) => {
                let most = 16 * schema.to_string().len() + 1024;
                assert!(error.to_string().len() <= most, "a refusal is no larger than its cause");
            }
        }
    }
}

/// What providers ask of the parameters as a whole.
fn object(signature: &Signature) {
    let parameters = &signature.json_schema["parameters"];
    assert_eq!(parameters["type"], "object");
    let properties = parameters["properties"].as_object().expect("there are properties");
    assert!(properties.values().all(|it| it.is_object() || it.is_boolean()), "they are schemas");
    let required = parameters["required"].as_array().expect("there is a list of what is required");
    for (number, name) in required.iter().enumerate() {
        assert!(!required[..number].contains(name), "{name} is required once");
        let name = name.as_str().expect("what is required has a name");
        assert!(properties.contains_key(name), "{name} is required and not there");
    }
    assert!(signature.json_schema.to_string().len() <= LARGEST, "what comes of it is bounded");
}

fn checked(schema: &Value, arguments: &Value) {
    let outcome = check_arguments(schema, arguments);
    assert_eq!(check_arguments(schema, arguments), outcome, "there is one answer");
    let parameters = schema.get("parameters").filter(|it| it.is_object());
    if let Some(parameters) = parameters.filter(|it| it.get("parameters").is_none()) {
        assert_eq!(check_arguments(parameters, arguments), outcome, "in either form");
    }
    match (outcome, arguments.as_object()) {
        (Ok(()), Some(arguments)) => fits(parameters.unwrap_or(schema), arguments),
        (Ok(()), None) => panic!("arguments are an object"),
        (Err(text), _) => {
            assert!(text.starts_with("argument `") || text.starts_with("the arguments must be "));
            assert!(text.len() <= LONGEST_REFUSAL, "a refusal is short: {} bytes", text.len());
        }
    }
}

/// What is certain of arguments that were let through, by a look that knows nothing of references and choices.
fn fits(parameters: &Value, arguments: &Map<String, Value>) {
    let required = parameters.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        assert!(arguments.contains_key(name), "{name} is required");
    }
    let properties = parameters.get("properties").and_then(Value::as_object);
    let others = parameters.get("additionalProperties");
    let open = others.is_some_and(|others| *others == Value::Bool(true) || others.is_object());
    for name in arguments.keys() {
        let is_known = properties.is_some_and(|properties| properties.contains_key(name));
        assert!(open || is_known, "{name} is not known");
    }
    // Of the others a check may have run out of steps.
    if let Some((name, value)) = arguments.iter().next()
        && let Some(schema) = properties.and_then(|properties| properties.get(name))
        && schema.get("$ref").is_none()
        && let Some(kind) = schema.get("type").and_then(Value::as_str)
    {
        let is_so = match kind {
            "string" => value.is_string(),
            "integer" | "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            "null" => value.is_null(),
            _ => false,
        };
        assert!(is_so, "{value} is no {kind}");
    }
}
