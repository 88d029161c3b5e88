//! Values of the wrong kind: the answers tell clients what is wanted in words of JSON, not in names of the program.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{World, reply, text};

/// Words that only somebody who writes Rust can use.
const RUST: [&str; 14] = [
    "struct",
    "enum",
    "variant",
    "tuple",
    "newtype",
    "expected ",
    "sequence",
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "i64",
    "f64",
];

/// Values of all kinds.
fn values() -> Vec<Value> {
    let deep = json!([{ "type": 7, "role": "user", "content": [{ "type": "text" }] }]);
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!("nonsense"),
        json!([]),
        json!([7]),
        json!([[]]),
        json!(["x"]),
        json!([{}]),
        json!({}),
        json!({ "type": "nonsense" }),
        json!({ "type": 7 }),
        deep,
    ]
}

/// The schema that a schema leads to.
fn resolved<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            resolved(description, description.pointer(pointer).unwrap_or(&Value::Null))
        }
        None => schema["oneOf"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["type"] != "null"))
            .map_or(schema, |one| resolved(description, one)),
    }
}

/// The names of the members of a schema, those of what it is made of included.
fn members(schema: &Value) -> Vec<String> {
    let of = |schema: &Value| -> Vec<String> {
        schema["properties"].as_object().map(|it| it.keys().cloned().collect()).unwrap_or_default()
    };
    let parts = schema["allOf"].as_array().into_iter().flatten();
    parts.fold(of(schema), |mut all, part| {
        all.extend(of(part));
        all
    })
}

fn check(detail: &str, types: &[String], what: &str) {
    let words: Vec<&str> = detail.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for rust in RUST {
        let found = words.contains(&rust.trim()) || rust.ends_with(' ') && detail.contains(rust);
        assert!(!found, "{what}: {rust:?} in {detail}");
    }
    for name in types {
        assert!(!words.contains(&name.as_str()), "{what}: {name} in {detail}");
    }
}

#[tokio::test]
async fn no_refusal_of_a_body_names_a_type_of_the_program() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let block = world.post("/v1/blocks", json!({ "label": "x", "value": "x" })).await.ok();
    let description = world.get("/openapi.json").await.ok();
    let schemas = description["components"]["schemas"].as_object().expect("there are schemas");
    // Names of one word, such as Block, are words of the language, too.
    let is_compound = |name: &&String| name.chars().filter(char::is_ascii_uppercase).count() > 1;
    let types: Vec<String> = schemas.keys().filter(is_compound).cloned().collect();
    let mut refused = 0;
    for (path, item) in description["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("a path has operations") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            let filled = path
                .replace("{agent_id}", &agent)
                .replace("{block_id}", text(&block["id"]))
                .replace("{block_label}", "x");
            let method: Method = method.to_uppercase().parse().expect("a method");
            let mut bodies = values();
            for member in members(resolved(&description, schema)) {
                bodies.extend(values().into_iter().map(|value| {
                    // Some members are looked at only beside others.
                    let mut body = json!({ "label": "x", "value": "x", "tool_name": "x" });
                    body[&member] = value;
                    body
                }));
            }
            for body in bodies {
                // Only what is refused for its form is looked at here; nothing is waited for.
                let asked = world.ask(method.clone(), &filled).body(body.to_string());
                let answer = reply(asked).await;
                if answer.status != 422 {
                    continue;
                }
                refused += 1;
                let what = format!("{method} {path} {body}");
                check(text(&answer.body["detail"]), &types, &what);
            }
        }
    }
    assert!(refused > 500, "only {refused} were refused");
}

#[tokio::test]
async fn a_value_of_the_wrong_kind_is_told_in_words_of_json() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let messages = format!("/v1/agents/{agent}/messages");
    for (path, body, loc, says) in [
        ("/v1/agents", json!([]), "('body',)", "Input should be an object, not a list"),
        (
            "/v1/agents",
            json!({ "tags": "x" }),
            "'tags'",
            "Input should be a list, not the string \"x\"",
        ),
        ("/v1/agents", json!({ "tags": [7] }), "'tags', 0", "Input should be a string, not 7"),
        (
            "/v1/agents",
            json!({ "llm_config": 7 }),
            "'llm_config'",
            "Input should be an object, not 7",
        ),
        (
            &messages,
            json!({ "messages": {} }),
            "'messages'",
            "Input should be a list, not an object",
        ),
        (&messages, json!({ "input": 7 }), "'input'", "a string or a list of content parts, not 7"),
        (
            &messages,
            json!({ "input": "x", "max_steps": 1.5 }),
            "'max_steps'",
            "a whole number, not 1.5",
        ),
    ] {
        let refused = world.post(path, body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.text);
        let detail = text(&refused.body["detail"]);
        assert!(detail.contains(says) && detail.contains(loc), "{body}: {detail}");
    }
}
