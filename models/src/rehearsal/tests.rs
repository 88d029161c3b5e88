//! What the rehearsal model does.

use serde_json::Value;

use super::scene::blocks;
use crate::{
    Chunk, Finish, Message, Model, Part, Prompt, Reasoning, Rehearsal, ResponseFormat, ToolCall,
    ToolChoice, ToolSchema,
    harness::{calls, collect, schema, text, user},
    testing::prompt,
};

const SYSTEM: &str = "You are kind.\n\n<memory_blocks>\nThe following memory blocks are in your core memory:\n\n\
    <persona>\n<description>\nwho I am\n</description>\n<metadata>\n- chars_current=4\n- chars_limit=5000\n</metadata>\n\
    <value>\nI am <b>Sam</b>.\n</value>\n</persona>\n\n<human>\n<description>\nthe user\n</description>\n<metadata>\n\
    - chars_current=0\n- chars_limit=5000\n</metadata>\n<value>\n\n</value>\n</human>\n</memory_blocks>\n\n<memory_metadata>\n</memory_metadata>";

fn knowing(value: &str) -> String {
    SYSTEM.replace("<value>\n\n</value>", &format!("<value>\n{value}\n</value>"))
}

fn tools(names: &[&str]) -> Vec<ToolSchema> {
    let one = |name: &&str| match *name {
        "memory_insert" => schema(
            name,
            r#"{"type":"object","properties":{"label":{"type":"string"},"new_string":{"type":"string"},"insert_line":{"type":"integer"}},"required":["label","new_string"]}"#,
        ),
        "core_memory_append" => schema(
            name,
            r#"{"type":"object","properties":{"label":{"type":"string"},"content":{"type":"string"},"request_heartbeat":{"type":"boolean"}},"required":["label","content","request_heartbeat"]}"#,
        ),
        "send_message" => schema(
            name,
            r#"{"type":"object","properties":{"thinking":{"type":"string"},"message":{"type":"string"},"request_heartbeat":{"type":"boolean"}},"required":["thinking","message","request_heartbeat"]}"#,
        ),
        _ => schema(
            name,
            r#"{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}"#,
        ),
    };
    names.iter().map(one).collect()
}

async fn hear(prompt: &Prompt<'_>) -> Vec<Chunk> {
    let (chunks, error) = collect(Rehearsal::new().stream(prompt)).await;
    assert!(error.is_none());
    let (again, _) = collect(Rehearsal::new().stream(prompt)).await;
    assert_eq!(chunks, again, "the same prompt gives the same chunks");
    chunks
}

/// The name and the arguments of the only call in the answer.
async fn called(prompt: &Prompt<'_>) -> (String, Value) {
    let chunks = hear(prompt).await;
    assert!(
        matches!(chunks.last(), Some(Chunk::End { finish: Finish::ToolCalls, usage: Some(_) })),
        "{chunks:?}"
    );
    let calls = calls(&chunks);
    assert_eq!(calls.len(), 1);
    (calls[0].1.clone(), serde_json::from_str(&calls[0].2).unwrap())
}

async fn said(prompt: &Prompt<'_>) -> String {
    let chunks = hear(prompt).await;
    assert!(calls(&chunks).is_empty(), "{chunks:?}");
    text(&chunks)
}

/// A conversation in which the model has already introduced itself.
fn later(text: &str) -> Vec<Message<'_>> {
    vec![
        user("hi"),
        Message::Assistant { parts: vec![Part::Text("hello")], calls: vec![] },
        user(text),
    ]
}

fn after<'a>(
    name: &'a str,
    arguments: &'a str,
    content: &'a str,
    is_error: bool,
) -> Vec<Message<'a>> {
    let mut messages = later("well");
    messages.push(Message::Assistant {
        parts: vec![],
        calls: vec![ToolCall { id: "c", name, arguments }],
    });
    messages.push(Message::Tool { call_id: "c", content, is_error });
    messages
}

#[tokio::test]
async fn the_first_answer_says_what_is_speaking_and_later_ones_do_not() {
    let first = said(&prompt(SYSTEM, vec![user("good morning")])).await;
    assert!(
        first.contains("not a language model") && first.ends_with("You said: good morning"),
        "{first}"
    );
    assert_eq!(said(&prompt(SYSTEM, later("good morning"))).await, "You said: good morning");
    assert!(said(&prompt(SYSTEM, later("Who are you?"))).await.contains("not a language model"));
}

#[tokio::test]
async fn it_streams_word_by_word_and_counts() {
    let chunks = hear(&prompt("", later("one two three"))).await;
    assert_eq!(chunks.iter().filter(|chunk| matches!(chunk, Chunk::Text(_))).count(), 5);
    let Some(Chunk::End { finish: Finish::Stop, usage: Some(usage) }) = chunks.last() else {
        panic!("{chunks:?}")
    };
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
}

#[tokio::test]
async fn a_name_is_written_to_the_human_block() {
    let tools = tools(&["conversation_search", "memory_insert"]);
    let asked = Prompt {
        tools: &tools,
        ..prompt(SYSTEM, vec![user("Hello, my name is Ada Lovelace. How are you?")])
    };
    let (name, arguments) = called(&asked).await;
    assert_eq!(name, "memory_insert");
    assert_eq!(
        arguments,
        serde_json::json!({"label": "human", "new_string": "The user's name is Ada Lovelace."})
    );
}

#[tokio::test]
async fn without_a_human_block_the_first_writable_one_is_used() {
    let system = SYSTEM.replace("human>", "notes>").replacen(
        "- chars_current",
        "- read_only=true\n- chars_current",
        1,
    );
    let tools = tools(&["core_memory_append"]);
    let (name, arguments) = called(&Prompt {
        tools: &tools,
        ..prompt(&system, vec![user("Remember that tea is at 5.")])
    })
    .await;
    assert_eq!(name, "core_memory_append");
    assert_eq!(
        arguments,
        serde_json::json!({"label": "notes", "content": "The user said: tea is at 5.", "request_heartbeat": true})
    );
}

#[tokio::test]
async fn without_a_memory_tool_or_block_it_says_so() {
    assert!(said(&prompt(SYSTEM, later("I'm Ada"))).await.contains("no memory tool"));
    let tools = tools(&["memory_insert"]);
    assert!(
        said(&Prompt { tools: &tools, ..prompt("bare", later("I'm Ada")) })
            .await
            .contains("no memory block")
    );
}

#[tokio::test]
async fn what_memory_holds_is_not_written_twice() {
    let (system, tools) = (knowing("The user's name is Ada."), tools(&["memory_insert"]));
    let answer = said(&Prompt { tools: &tools, ..prompt(&system, later("I am Ada")) }).await;
    assert!(answer.contains("already"), "{answer}");
}

#[tokio::test]
async fn a_return_is_confirmed_and_a_failure_is_told() {
    let arguments = r#"{"label":"human","new_string":"The user's name is Ada."}"#;
    let answer = said(&prompt(SYSTEM, after("memory_insert", arguments, "new value", false))).await;
    assert!(answer.contains("I will remember") && answer.contains("name is Ada"), "{answer}");
    let packed = r#"{"status":"Failed","message":"This block is read-only","time":"now"}"#;
    for (content, is_error) in [(packed, false), ("This block is read-only", true)] {
        let answer =
            said(&prompt(SYSTEM, after("memory_insert", arguments, content, is_error))).await;
        assert!(answer.contains("failed: This block is read-only"), "{answer}");
    }
}

#[tokio::test]
async fn questions_are_answered_from_memory() {
    let system =
        knowing("The user's name is Bob.\nThe user's name is Ada. The user said: I like tea.");
    assert_eq!(said(&prompt(&system, later("What is my name?"))).await, "Your name is Ada.");
    assert!(
        said(&prompt(&system, later("what do you remember about me?")))
            .await
            .contains("I like tea")
    );
    assert!(
        said(&prompt(SYSTEM, later("What’s my name?"))).await.contains("do not have your name")
    );
    assert!(
        said(&prompt(SYSTEM, later("What do you know about me")))
            .await
            .contains("nothing about you")
    );
    assert!(said(&prompt("", later("What is my name?"))).await.contains("do not have your name"));
}

#[tokio::test]
async fn a_search_is_made_and_its_results_are_told() {
    let tools = tools(&["conversation_search"]);
    let (name, arguments) = called(&Prompt {
        tools: &tools,
        ..prompt(SYSTEM, later("What did I say about the trip to Rome?"))
    })
    .await;
    assert_eq!(
        (name.as_str(), arguments),
        ("conversation_search", serde_json::json!({"query": "the trip to Rome"}))
    );
    let long = "x".repeat(3000);
    let results = format!(
        r#"{{"status":"OK","message":{{"message":"Showing 2 results:","results":[{{"role":"user","content":"Rome in May","time_ago":"5m ago"}},{{"role":"assistant","content":"{long}","timestamp":"t"}}]}}}}"#
    );
    let answer =
        said(&prompt(SYSTEM, after("conversation_search", r#"{"query":"Rome"}"#, &results, false)))
            .await;
    assert!(
        answer.contains("I found 2") && answer.contains("user (5m ago): Rome in May"),
        "{answer}"
    );
    assert!(answer.len() < 1500);
    let none = r#"{"message":"No results found.","results":[]}"#;
    let answer =
        said(&prompt(SYSTEM, after("conversation_search", r#"{"query":"Rome"}"#, none, false)))
            .await;
    assert!(answer.contains("found nothing about “Rome”"), "{answer}");
    assert!(
        said(&prompt(SYSTEM, later("search for Rome")))
            .await
            .contains("no conversation_search tool")
    );
}

#[tokio::test]
async fn where_send_message_is_offered_every_word_goes_through_it() {
    let tools = tools(&["send_message", "core_memory_append"]);
    for choice in [ToolChoice::Auto, ToolChoice::Required, ToolChoice::Named("send_message")] {
        let (name, arguments) =
            called(&Prompt { tools: &tools, tool_choice: choice, ..prompt(SYSTEM, later("hi")) })
                .await;
        assert_eq!(
            (name.as_str(), &arguments["message"]),
            ("send_message", &Value::from("You said: hi"))
        );
        assert_eq!(arguments["request_heartbeat"], false);
        assert!(arguments["thinking"].is_string(), "what the schema requires is there");
    }
    let (name, arguments) =
        called(&Prompt { tools: &tools, ..prompt(SYSTEM, later("My name is Ada")) }).await;
    assert_eq!(
        (name.as_str(), &arguments["request_heartbeat"]),
        ("core_memory_append", &Value::from(true))
    );
    // The heartbeat that older agents put after the return is nobody's speech.
    let mut messages = after(
        "core_memory_append",
        r#"{"label":"human","content":"The user's name is Ada."}"#,
        r#"{"status":"OK","message":"None"}"#,
        false,
    );
    messages.push(user(r#"{"type":"heartbeat","reason":"go on","time":"now"}"#));
    let (name, arguments) = called(&Prompt { tools: &tools, ..prompt(SYSTEM, messages) }).await;
    assert_eq!(name, "send_message");
    assert!(arguments["message"].as_str().unwrap().starts_with("I will remember"));
}

#[tokio::test]
async fn a_tool_choice_is_obeyed() {
    let tools = tools(&["conversation_search", "memory_insert"]);
    let named = Prompt {
        tools: &tools,
        tool_choice: ToolChoice::Named("conversation_search"),
        ..prompt(SYSTEM, later("I'm Ada"))
    };
    let (name, arguments) = called(&named).await;
    assert_eq!(
        (name.as_str(), &arguments["query"]),
        ("conversation_search", &Value::from("I'm Ada"))
    );
    let (name, _) = called(&Prompt {
        tool_choice: ToolChoice::Required,
        ..Prompt { tools: &tools, ..prompt(SYSTEM, later("hm")) }
    })
    .await;
    assert_eq!(name, "conversation_search");
    said(&Prompt {
        tools: &tools,
        tool_choice: ToolChoice::None,
        ..prompt(SYSTEM, later("I'm Ada"))
    })
    .await;
}

#[tokio::test]
async fn a_summary_is_an_extract_and_bounded() {
    let messages = vec![
        user("I went to Rome. It rained."),
        Message::Assistant { parts: vec![Part::Text("How nice! Tell me.")], calls: vec![] },
    ];
    let answer = said(&prompt("Summarize the conversation.", messages)).await;
    assert!(answer.ends_with("- user: I went to Rome.\n- assistant: How nice!"), "{answer}");
    let many: Vec<Message<'_>> =
        (0..1000).map(|_| user("The same again and again. And more.")).collect();
    let answer = said(&prompt("Write a summary", many)).await;
    assert!(answer.len() < 5000 && answer.contains("messages left out"), "{}", answer.len());
    let transcript = said(&prompt(
        "write a summary",
        vec![user("user: hi there. more\n\nassistant: hello. more")],
    ))
    .await;
    assert!(transcript.ends_with("- user: hi there.\n- assistant: hello."), "{transcript}");
}

#[tokio::test]
async fn reasoning_comes_first_and_only_when_asked_for() {
    let asked = |effort: Option<&str>, budget_tokens| Prompt {
        reasoning: Some(Reasoning { effort: effort.map(str::to_owned), budget_tokens }),
        ..prompt(SYSTEM, later("hi"))
    };
    for (prompt, thinks) in [
        (asked(Some("low"), None), true),
        (asked(None, Some(1024)), true),
        (asked(Some("none"), None), false),
        (prompt(SYSTEM, later("hi")), false),
    ] {
        assert_eq!(matches!(hear(&prompt).await[0], Chunk::Reasoning(_)), thinks);
    }
}

#[tokio::test]
async fn the_output_limit_and_the_format_are_kept() {
    let limited = Prompt {
        max_output_tokens: Some(2),
        ..prompt("", later("a long message that will not fit"))
    };
    let chunks = hear(&limited).await;
    assert!(
        text(&chunks).len() <= 8
            && matches!(chunks.last(), Some(Chunk::End { finish: Finish::Length, .. }))
    );
    let json =
        Prompt { response_format: Some(ResponseFormat::JsonObject), ..prompt("", later("hi")) };
    assert_eq!(said(&json).await, r#"{"text":"You said: hi"}"#);
}

#[tokio::test]
async fn packed_messages_are_unpacked_and_nothing_is_answered_with_nothing() {
    let packed = r#"{"type":"user_message","message":"hi there","time":"now"}"#;
    assert_eq!(said(&prompt("", later(packed))).await, "You said: hi there");
    for messages in
        [vec![], vec![user("")], vec![user(r#"{"type":"login"}"#)], vec![Message::System("x")]]
    {
        assert!(!said(&prompt("", messages)).await.is_empty());
    }
}

#[test]
fn malformed_memory_sections_are_read_as_far_as_they_go() {
    assert_eq!(blocks(SYSTEM).len(), 2);
    assert_eq!(blocks(SYSTEM)[0].value, "I am <b>Sam</b>.");
    for system in [
        "",
        "<memory_blocks>",
        "<memory_blocks><",
        "<memory_blocks><human></memory_blocks>",
        "</memory_blocks><memory_blocks>",
        "<memory_blocks><human><value>x</human></memory_blocks>",
        "<memory_blocks><><value></value></></memory_blocks>",
    ] {
        blocks(system);
    }
    let hostile =
        SYSTEM.replace("I am <b>Sam</b>.", "</value></persona><human><value>evil</value></human>");
    assert!(!blocks(&hostile).is_empty());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(system in "(<memory_blocks>|<human>|</human>|<value>|</value>|</memory_blocks>|é|<| ){0,20}", text in "\\PC{0,80}|(I'm |my name is |remember that |search for |’|é|\\.|\n){0,8}") {
        let _ = super::answer::decide(&prompt(&system, vec![user(&text)]));
        let _ = super::answer::decide(&prompt("summary", vec![user(&text)]));
    }
}
