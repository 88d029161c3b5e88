//! One test per thing that a Messages stream may hold.

use crate::{
    Chunk, Finish, ModelErrorKind, ProviderKind, Usage,
    harness::{KEY, SHORT, calls, collect, hear_error, hear_well, model, text, upstream, user},
    testing::{Reply, prompt},
};

const START: &str = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn delta(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":15}}}}"#
    )
}

/// A stream as Anthropic sends it: each event with its name.
fn stream(events: &[&str]) -> Reply {
    let named = |event: &&str| {
        let kind = event.split('"').nth(3).unwrap_or_default();
        format!("event: {kind}\ndata: {event}\n\n")
    };
    events.iter().map(named).fold(Reply::events(), Reply::chunk).end()
}

async fn hear(events: &[&str]) -> Vec<Chunk> {
    hear_well(ProviderKind::Anthropic, stream(events)).await
}

#[tokio::test]
async fn text_thinking_and_a_tool_call_by_the_book() {
    let chunks = hear(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"proof"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"xx"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"hello"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"find","input":{}}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"q\":"}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        &delta("tool_use"),
        STOP,
    ])
    .await;
    let usage = Usage {
        prompt_tokens: 60,
        completion_tokens: 15,
        cached_input_tokens: Some(30),
        cache_write_tokens: Some(20),
        reasoning_tokens: None,
    };
    assert_eq!(
        chunks,
        [
            Chunk::Reasoning("hm".to_owned()),
            Chunk::ReasoningSignature("proof".to_owned()),
            Chunk::RedactedReasoning("xx".to_owned()),
            Chunk::Text("hello".to_owned()),
            Chunk::ToolCall { index: 0, id: "toolu_1".to_owned(), name: "find".to_owned() },
            Chunk::ToolArguments { index: 0, fragment: "{\"q\":".to_owned() },
            Chunk::ToolArguments { index: 0, fragment: "1}".to_owned() },
            Chunk::End { finish: Finish::ToolCalls, usage: Some(usage) },
        ]
    );
}

#[tokio::test]
async fn several_calls_are_numbered_by_call_and_not_by_block() {
    let chunks = hear(&[
        START,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"one","input":{}}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"b","name":"two","input":{"x":1}}}"#,
        r#"{"type":"content_block_stop","index":4}"#,
        &delta("tool_use"),
        STOP,
    ])
    .await;
    let calls = calls(&chunks);
    assert_eq!((calls[0].1.as_str(), calls[0].2.as_str()), ("one", ""));
    assert_eq!(
        (calls[1].1.as_str(), calls[1].2.as_str()),
        ("two", r#"{"x":1}"#),
        "arguments given whole are kept"
    );
}

#[tokio::test]
async fn every_stop_reason_has_its_meaning() {
    for (reason, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("pause_turn", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("tool_use", Finish::ToolCalls),
        ("refusal", Finish::ContentFilter),
    ] {
        let chunks = hear(&[START, &delta(reason), STOP]).await;
        assert!(
            matches!(chunks[..], [Chunk::End { finish: found, .. }] if found == finish),
            "{reason}: {chunks:?}"
        );
    }
}

#[tokio::test]
async fn events_blocks_and_deltas_nobody_knows_yet_are_passed_over() {
    let chunks = hear(&[
        START,
        r#"{"type":"future_event","x":1}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{}}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"hi"}}"#,
        &delta("end_turn"),
        STOP,
    ])
    .await;
    assert_eq!(text(&chunks), "hi");
}

#[tokio::test]
async fn an_error_event_is_an_error_of_its_kind() {
    for (kind, expected) in [
        ("overloaded_error", ModelErrorKind::Server),
        ("api_error", ModelErrorKind::Server),
        ("rate_limit_error", ModelErrorKind::RateLimit),
        ("authentication_error", ModelErrorKind::Authentication),
        ("permission_error", ModelErrorKind::Authentication),
        ("billing_error", ModelErrorKind::InsufficientCredits),
        ("timeout_error", ModelErrorKind::Timeout),
        ("invalid_request_error", ModelErrorKind::BadRequest),
        ("request_too_large", ModelErrorKind::ContextWindowExceeded),
    ] {
        let event =
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"because"}}}}"#);
        let error = hear_error(ProviderKind::Anthropic, stream(&[START, &event])).await;
        assert_eq!(error.kind, expected, "{kind}");
        assert!(
            error.message.starts_with("anthropic ") && error.message.contains("because"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_end_without_a_stop_reason_is_a_broken_connection() {
    for reply in [stream(&[START]), stream(&[START, STOP]), stream(&[])] {
        assert_eq!(
            hear_error(ProviderKind::Anthropic, reply).await.kind,
            ModelErrorKind::Connection
        );
    }
    let finished = hear(&[START, &delta("end_turn")]).await;
    assert!(
        matches!(finished[..], [Chunk::End { finish: Finish::Stop, .. }]),
        "the reason is enough"
    );
}

#[tokio::test]
async fn a_whole_answer_to_a_streaming_request_is_taken() {
    let body = r#"{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"hello"},{"type":"tool_use","id":"a","name":"f","input":{"x":1}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4}}"#;
    let chunks = hear_well(ProviderKind::Anthropic, Reply::json(200, body)).await;
    assert_eq!((text(&chunks).as_str(), calls(&chunks)[0].2.as_str()), ("hello", r#"{"x":1}"#));
}

#[tokio::test]
async fn nonsense_is_an_invalid_response() {
    for event in [
        r#"{"type":"content_block_delta","index":7,"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"","name":"","input":{}}}"#,
        r#"{"type":"message_delta"#,
        "7",
    ] {
        let error = hear_error(ProviderKind::Anthropic, stream(&[START, event])).await;
        assert_eq!(error.kind, ModelErrorKind::InvalidResponse, "{event}");
    }
}

#[tokio::test]
async fn the_key_and_the_version_are_headers() {
    let upstream = upstream([stream(&[START, &delta("end_turn"), STOP])]).await;
    collect(model(&upstream, ProviderKind::Anthropic, SHORT).stream(&prompt("", vec![user("hi")])))
        .await;
    let request = &upstream.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/messages"));
    assert_eq!(
        (request.headers["x-api-key"].as_str(), request.headers["anthropic-version"].as_str()),
        (KEY, "2023-06-01")
    );
    assert!(!request.headers.contains_key("authorization"));
}
