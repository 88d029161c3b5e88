//! What is sent to Chat Completions providers.

use serde_json::{Value, json, value::RawValue};

use crate::{
    Image, Message, Part, Prompt, ProviderConfig, ProviderKind, Reasoning, ResponseFormat,
    ToolCall, ToolChoice,
    harness::{schema, user},
    openai::request::encode,
    testing::prompt,
};

fn body(kind: ProviderKind, base: &str, model: &str, prompt: &Prompt<'_>) -> Value {
    let body = encode(&ProviderConfig::new(kind, base, None), model, prompt).unwrap();
    let with: Value = serde_json::from_slice(&body.with_usage).unwrap();
    let mut plain: Value = serde_json::from_slice(&body.plain).unwrap();
    plain["stream_options"] = json!({"include_usage": true});
    assert_eq!(plain, with, "the two forms differ in stream_options and nothing else");
    with
}

fn openai(model: &str, prompt: &Prompt<'_>) -> Value {
    body(ProviderKind::OpenAi, "https://api.openai.com/v1", model, prompt)
}

fn vllm(prompt: &Prompt<'_>) -> Value {
    body(ProviderKind::Vllm, "http://h:8000", "m", prompt)
}

#[test]
fn a_conversation_is_written_as_it_was() {
    let conversation = vec![
        user("hi"),
        Message::Assistant {
            parts: vec![
                Part::Reasoning { text: "secret", signature: Some("s") },
                Part::RedactedReasoning("xx"),
                Part::Text("let me see"),
            ],
            calls: vec![ToolCall { id: "c1", name: "find", arguments: "{\"q\":1}" }],
        },
        Message::Tool { call_id: "c1", content: "found", is_error: true },
        Message::Assistant {
            parts: vec![],
            calls: vec![ToolCall { id: "c2", name: "now", arguments: "" }],
        },
        Message::Tool { call_id: "c2", content: "noon", is_error: false },
        Message::System("a note"),
    ];
    let sent = openai("gpt-4o", &prompt("be kind", conversation));
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "let me see",
             "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{\"q\":1}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
            {"role": "assistant", "content": null,
             "tool_calls": [{"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c2", "content": "noon"},
            {"role": "system", "content": "a note"},
        ])
    );
    assert_eq!(sent["stream"], true);
    for absent in [
        "temperature",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_tokens",
        "response_format",
    ] {
        assert!(sent.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn a_note_in_mid_conversation_is_the_users_where_templates_refuse_it() {
    let sent = vllm(&prompt("s", vec![user("hi"), Message::System("a note")]));
    assert_eq!(
        sent["messages"][2],
        json!({"role": "user", "content": "<system_note>\na note\n</system_note>"})
    );
}

#[test]
fn pictures_are_sent_by_url_or_as_data_urls() {
    let parts = vec![
        Part::Text("look"),
        Part::Image(Image::Url("https://x/y.png")),
        Part::Image(Image::Base64 { media_type: "image/png", data: "AAAA" }),
    ];
    let sent = openai("gpt-4o", &prompt("", vec![Message::User(parts)]));
    assert_eq!(
        sent["messages"][0]["content"],
        json!([
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ])
    );
}

#[test]
fn the_output_limit_has_its_new_name_at_openai_and_its_old_one_elsewhere() {
    let limited = Prompt { max_output_tokens: Some(7), ..prompt("", vec![user("hi")]) };
    let sent = openai("gpt-4o", &limited);
    assert_eq!((sent["max_completion_tokens"].clone(), sent.get("max_tokens")), (json!(7), None));
    for sent in
        [vllm(&limited), body(ProviderKind::OpenAi, "https://proxy.example/v1", "gpt-4o", &limited)]
    {
        assert_eq!(
            (sent["max_tokens"].clone(), sent.get("max_completion_tokens")),
            (json!(7), None)
        );
    }
}

#[test]
fn tools_bring_their_choice_and_whether_they_may_be_parallel() {
    let tools = [schema("find", r#"{"type":"object","properties":{}}"#), schema("other", "{}")];
    for (choice, written) in [
        (ToolChoice::Auto, json!("auto")),
        (ToolChoice::Required, json!("required")),
        (ToolChoice::None, json!("none")),
        (ToolChoice::Named("find"), json!({"type": "function", "function": {"name": "find"}})),
    ] {
        let asked = Prompt {
            tools: &tools,
            tool_choice: choice,
            parallel_tool_calls: true,
            ..prompt("", vec![user("hi")])
        };
        let sent = openai("gpt-4o", &asked);
        assert_eq!(sent["tool_choice"], written);
        assert_eq!(sent["parallel_tool_calls"], true);
        assert_eq!(
            sent["tools"][0],
            json!({"type": "function", "function": {"name": "find", "description": "does find",
                   "parameters": {"type": "object", "properties": {}}}})
        );
        assert!(openai("o3-mini", &asked).get("parallel_tool_calls").is_none());
    }
    let named = Prompt {
        tools: &tools,
        tool_choice: ToolChoice::Named("find"),
        ..prompt("", vec![user("hi")])
    };
    let sent = body(ProviderKind::LmStudio, "http://h:1234", "m", &named);
    assert_eq!(
        (sent["tool_choice"].clone(), sent["tools"].as_array().map(Vec::len)),
        (json!("required"), Some(1))
    );
}

#[test]
fn effort_and_temperature_go_to_models_that_take_them() {
    let asked = Prompt {
        temperature: Some(0.5),
        reasoning: Some(Reasoning { effort: Some("low".to_owned()), budget_tokens: Some(2048) }),
        ..prompt("", vec![user("hi")])
    };
    let (chat, reasoner, open) =
        (openai("gpt-4o", &asked), openai("gpt-5.1", &asked), vllm(&asked));
    assert_eq!((chat["temperature"].clone(), chat.get("reasoning_effort")), (json!(0.5), None));
    assert_eq!(
        (reasoner.get("temperature"), reasoner["reasoning_effort"].clone()),
        (None, json!("low"))
    );
    assert_eq!(
        (open["temperature"].clone(), open["reasoning_effort"].clone()),
        (json!(0.5), json!("low"))
    );
}

#[test]
fn a_response_format_is_passed_on_whole() {
    let schema =
        RawValue::from_string(r#"{"name":"x","schema":{"type":"object"}}"#.to_owned()).unwrap();
    let sent = openai(
        "gpt-4o",
        &Prompt {
            response_format: Some(ResponseFormat::JsonSchema(&schema)),
            ..prompt("", vec![user("hi")])
        },
    );
    assert_eq!(
        sent["response_format"],
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}})
    );
    let sent = openai(
        "gpt-4o",
        &Prompt {
            response_format: Some(ResponseFormat::JsonObject),
            ..prompt("", vec![user("hi")])
        },
    );
    assert_eq!(sent["response_format"], json!({"type": "json_object"}));
}
