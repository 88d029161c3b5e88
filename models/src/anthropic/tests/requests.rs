//! What is sent to Anthropic.

use serde_json::{Value, json};

use crate::{
    Image, Message, Part, Prompt, Reasoning, ToolCall, ToolChoice,
    anthropic::request::encode,
    harness::{schema, user},
    testing::prompt,
};

const MODEL: &str = "claude-sonnet-4-5-20250929";

fn body(model: &str, prompt: &Prompt<'_>) -> Value {
    serde_json::from_slice(&encode(model, prompt).unwrap()).unwrap()
}

fn thinking(budget: u32) -> Option<Reasoning> {
    Some(Reasoning { effort: None, budget_tokens: Some(budget) })
}

/// The turns without the marks for the cache.
fn turns(messages: Vec<Message<'_>>, reasoning: Option<Reasoning>) -> Value {
    let mut sent = body(MODEL, &Prompt { reasoning, ..prompt("", messages) })["messages"].clone();
    for turn in sent.as_array_mut().unwrap() {
        for block in turn["content"].as_array_mut().unwrap() {
            block.as_object_mut().unwrap().remove("cache_control");
        }
    }
    sent
}

fn called<'a>(parts: Vec<Part<'a>>, ids: &[&'a str]) -> Message<'a> {
    let calls =
        ids.iter().map(|id| ToolCall { id, name: "find", arguments: "{\"q\":1}" }).collect();
    Message::Assistant { parts, calls }
}

#[test]
fn the_system_text_is_a_cached_block_and_the_last_block_is_cached_too() {
    let sent = body(MODEL, &prompt("be kind", vec![user("hi")]));
    let cached = json!({"type": "ephemeral"});
    assert_eq!(
        sent["system"],
        json!([{"type": "text", "text": "be kind", "cache_control": cached}])
    );
    assert_eq!(sent["messages"][0]["content"][0]["cache_control"], cached);
    assert_eq!((sent["max_tokens"].clone(), sent["stream"].clone()), (json!(4096), json!(true)));
    for absent in ["temperature", "thinking", "tools", "tool_choice", "output_config"] {
        assert!(sent.get(absent).is_none(), "{absent}");
    }
    assert!(
        body(MODEL, &prompt(" ", vec![user("hi")])).get("system").is_none(),
        "a blank block would be refused"
    );
}

#[test]
fn turns_alternate_and_results_come_first() {
    let sent = turns(
        vec![
            user("hi"),
            user("there"),
            called(vec![Part::Text("let me see")], &["a", "b"]),
            Message::Tool { call_id: "a", content: "found", is_error: false },
            user("quick!"),
            Message::Tool { call_id: "b", content: "", is_error: true },
            Message::System("a note"),
        ],
        None,
    );
    assert_eq!(
        sent,
        json!([
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "a", "name": "find", "input": {"q": 1}},
                {"type": "tool_use", "id": "b", "name": "find", "input": {"q": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "found"},
                {"type": "tool_result", "tool_use_id": "b", "is_error": true},
                {"type": "text", "text": "quick!"},
                {"type": "text", "text": "<system_note>\na note\n</system_note>"},
            ]},
        ])
    );
}

#[test]
fn the_user_is_first_and_last_and_nothing_is_blank() {
    let nothing = json!([{"type": "text", "text": "(no message)"}]);
    let sent =
        turns(vec![Message::Assistant { parts: vec![Part::Text("hello")], calls: vec![] }], None);
    assert_eq!((&sent[0]["content"], &sent[2]["content"]), (&nothing, &nothing));
    assert_eq!(turns(vec![], None), json!([{"role": "user", "content": nothing}]));
    assert_eq!(turns(vec![user(" \n")], None), json!([{"role": "user", "content": nothing}]));
}

#[test]
fn thinking_goes_back_with_its_proof_and_without_one_it_stays_out() {
    let messages = || {
        let parts = vec![
            Part::Reasoning { text: "hm", signature: Some("proof") },
            Part::Reasoning { text: "unsigned", signature: None },
            Part::Reasoning { text: "unsigned", signature: Some("") },
            Part::RedactedReasoning("xx"),
        ];
        vec![
            user("hi"),
            called(parts, &["a"]),
            Message::Tool { call_id: "a", content: "found", is_error: false },
        ]
    };
    let call = json!({"type": "tool_use", "id": "a", "name": "find", "input": {"q": 1}});
    let with = turns(messages(), thinking(2000));
    assert_eq!(
        with[1]["content"],
        json!([{"type": "thinking", "thinking": "hm", "signature": "proof"},
               {"type": "redacted_thinking", "data": "xx"}, call])
    );
    assert_eq!(
        turns(messages(), None)[1]["content"],
        json!([call]),
        "a request that thinks not sends no thoughts"
    );
}

#[test]
fn a_budget_enables_thinking_raises_the_limit_and_drops_the_temperature() {
    let asked = Prompt {
        reasoning: thinking(5000),
        temperature: Some(0.3),
        max_output_tokens: Some(4096),
        ..prompt("", vec![user("hi")])
    };
    let sent = body(MODEL, &asked);
    assert_eq!(sent["thinking"], json!({"type": "enabled", "budget_tokens": 5000}));
    assert!(sent["max_tokens"].as_u64().unwrap() > 5000);
    assert!(sent.get("temperature").is_none());
    let small = body(MODEL, &Prompt { reasoning: thinking(10), ..prompt("", vec![user("hi")]) });
    assert_eq!(small["thinking"]["budget_tokens"], 1024);
    let plain = body(MODEL, &Prompt { temperature: Some(1.5), ..prompt("", vec![user("hi")]) });
    assert_eq!(plain["temperature"], 1.0, "Anthropic takes 0 to 1");
}

#[test]
fn newer_models_think_adaptively_with_an_effort() {
    let reasoning =
        Some(Reasoning { effort: Some("minimal".to_owned()), budget_tokens: Some(5000) });
    let asked = Prompt { reasoning, temperature: Some(0.3), ..prompt("", vec![user("hi")]) };
    let sent = body("claude-opus-5", &asked);
    assert_eq!(
        (sent["thinking"].clone(), sent["output_config"].clone()),
        (json!({"type": "adaptive"}), json!({"effort": "low"}))
    );
    assert!(sent.get("temperature").is_none());
}

#[test]
fn a_forced_tool_or_a_loop_begun_without_thinking_forbids_it() {
    let tools = [schema("find", "{\"type\":\"object\"}")];
    for choice in [ToolChoice::Required, ToolChoice::Named("find")] {
        let asked = Prompt {
            tools: &tools,
            tool_choice: choice,
            reasoning: thinking(2000),
            ..prompt("", vec![user("hi")])
        };
        assert!(body(MODEL, &asked).get("thinking").is_none());
    }
    let begun = vec![
        user("hi"),
        called(vec![], &["a"]),
        Message::Tool { call_id: "a", content: "x", is_error: false },
    ];
    assert!(
        body(MODEL, &Prompt { reasoning: thinking(2000), ..prompt("", begun.clone()) })
            .get("thinking")
            .is_none()
    );
    let over = [begun, vec![user("and now?")]].concat();
    assert!(
        body(MODEL, &Prompt { reasoning: thinking(2000), ..prompt("", over) })
            .get("thinking")
            .is_some()
    );
}

#[test]
fn tools_and_their_choice() {
    let tools = [schema("find", r#"{"type":"object","properties":{}}"#)];
    for (choice, parallel, written) in [
        (ToolChoice::Auto, true, json!({"type": "auto", "disable_parallel_tool_use": false})),
        (ToolChoice::Auto, false, json!({"type": "auto", "disable_parallel_tool_use": true})),
        (ToolChoice::Required, false, json!({"type": "any", "disable_parallel_tool_use": true})),
        (
            ToolChoice::Named("find"),
            true,
            json!({"type": "tool", "name": "find", "disable_parallel_tool_use": false}),
        ),
        (ToolChoice::None, false, json!({"type": "none"})),
    ] {
        let asked = Prompt {
            tools: &tools,
            tool_choice: choice,
            parallel_tool_calls: parallel,
            ..prompt("", vec![user("hi")])
        };
        let sent = body(MODEL, &asked);
        assert_eq!(sent["tool_choice"], written);
        assert_eq!(
            sent["tools"],
            json!([{"name": "find", "description": "does find", "input_schema": {"type": "object", "properties": {}}}])
        );
    }
}

#[test]
fn pictures_are_sent_by_url_or_by_value() {
    let parts = vec![
        Part::Image(Image::Url("https://x/y.png")),
        Part::Image(Image::Url("data:image/png;base64,AAAA")),
        Part::Image(Image::Base64 { media_type: "image/jpeg", data: "BBBB" }),
    ];
    assert_eq!(
        turns(vec![Message::User(parts)], None)[0]["content"],
        json!([
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "BBBB"}},
        ])
    );
}

#[test]
fn ids_and_arguments_of_other_providers_are_made_legal() {
    let calls = vec![ToolCall { id: "functions.find:0", name: "find", arguments: "{broken" }];
    let sent = turns(
        vec![
            user("hi"),
            Message::Assistant { parts: vec![], calls },
            Message::Tool { call_id: "functions.find:0", content: "x", is_error: false },
        ],
        None,
    );
    assert_eq!(
        sent[1]["content"][0],
        json!({"type": "tool_use", "id": "functions_find_0", "name": "find", "input": {}})
    );
    assert_eq!(sent[2]["content"][0]["tool_use_id"], "functions_find_0");
}
