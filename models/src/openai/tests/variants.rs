//! One test per way in which providers answer, and fail.

use std::time::Duration;

use crate::{
    Chunk, Finish, ModelErrorKind, ProviderKind, Usage,
    harness::{KEY, SHORT, collect, hear, hear_error, hear_well, model, text, upstream, user},
    testing::{Reply, prompt},
};

const HELLO: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"hello"},"finish_reason":null}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

fn end(finish: Finish) -> Chunk {
    Chunk::End { finish, usage: None }
}

fn hello() -> Chunk {
    Chunk::Text("hello".to_owned())
}

#[tokio::test]
async fn an_answer_by_the_book_with_usage_in_a_chunk_without_choices() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}}"#;
    let chunks =
        hear_well(ProviderKind::OpenAi, Reply::stream(&[HELLO, STOP, usage, "[DONE]"])).await;
    let usage = Usage {
        prompt_tokens: 9,
        completion_tokens: 4,
        cached_input_tokens: Some(3),
        cache_write_tokens: None,
        reasoning_tokens: Some(2),
    };
    assert_eq!(chunks, [hello(), Chunk::End { finish: Finish::Stop, usage: Some(usage) }]);
}

#[tokio::test]
async fn missing_usage_is_no_usage() {
    let chunks = hear_well(ProviderKind::Ollama, Reply::stream(&[HELLO, STOP, "[DONE]"])).await;
    assert_eq!(chunks, [hello(), end(Finish::Stop)]);
}

#[tokio::test]
async fn of_running_totals_the_last_counts() {
    let first = r#"{"choices":[{"delta":{"content":"hello"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
    let last = r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;
    let chunks = hear_well(ProviderKind::Vllm, Reply::stream(&[first, last, "[DONE]"])).await;
    assert!(matches!(
        chunks[1],
        Chunk::End { usage: Some(Usage { completion_tokens: 2, .. }), .. }
    ));
}

#[tokio::test]
async fn reasoning_comes_under_either_name_and_only_once() {
    for delta in [
        r#"{"reasoning_content":"hm"}"#,
        r#"{"reasoning":"hm"}"#,
        r#"{"reasoning_content":"hm","reasoning":"hm","content":null}"#,
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}"#,
    ] {
        let reply =
            Reply::stream(&[&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#), STOP, "[DONE]"]);
        let chunks = hear_well(ProviderKind::Vllm, reply).await;
        assert_eq!(chunks, [Chunk::Reasoning("hm".to_owned()), end(Finish::Stop)], "{delta}");
    }
}

#[tokio::test]
async fn nulls_and_unknown_fields_are_passed_over() {
    let odd = r#"{"id":null,"choices":[{"index":0,"logprobs":null,"delta":{"content":null,"tool_calls":null,"refusal":null,"audio":7}}],"usage":null,"error":null,"x":[]}"#;
    let chunks =
        hear_well(ProviderKind::OpenAi, Reply::stream(&[odd, HELLO, STOP, "[DONE]"])).await;
    assert_eq!(chunks, [hello(), end(Finish::Stop)]);
}

#[tokio::test]
async fn a_refusal_is_text() {
    let refusal = r#"{"choices":[{"delta":{"refusal":"I can't."}}]}"#;
    let chunks = hear_well(ProviderKind::OpenAi, Reply::stream(&[refusal, STOP, "[DONE]"])).await;
    assert_eq!(text(&chunks), "I can't.");
}

#[tokio::test]
async fn every_finish_reason_has_its_meaning() {
    for (reason, finish) in [
        ("stop", Finish::Stop),
        ("eos", Finish::Stop),
        ("length", Finish::Length),
        ("content_filter", Finish::ContentFilter),
        ("tool_calls", Finish::ToolCalls),
        ("function_call", Finish::ToolCalls),
    ] {
        let stop = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
        let chunks = hear_well(ProviderKind::Vllm, Reply::stream(&[&stop, "[DONE]"])).await;
        assert_eq!(chunks, [end(finish)], "{reason}");
    }
}

#[tokio::test]
async fn stop_after_tool_calls_means_tool_calls() {
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#;
    let chunks = hear_well(ProviderKind::Ollama, Reply::stream(&[call, STOP, "[DONE]"])).await;
    assert_eq!(chunks.last(), Some(&end(Finish::ToolCalls)));
}

#[tokio::test]
async fn a_second_choice_is_not_mixed_into_the_first() {
    let second = r#"{"choices":[{"index":1,"delta":{"content":"other"}}]}"#;
    let chunks =
        hear_well(ProviderKind::OpenAi, Reply::stream(&[HELLO, second, STOP, "[DONE]"])).await;
    assert_eq!(text(&chunks), "hello");
}

#[tokio::test]
async fn an_end_without_done_is_an_end() {
    let chunks = hear_well(ProviderKind::Vllm, Reply::stream(&[HELLO, STOP])).await;
    assert_eq!(chunks, [hello(), end(Finish::Stop)]);
    // Not even the blank line after the last event.
    let cut = Reply::events().data(HELLO).chunk(format!("data: {STOP}")).end();
    assert_eq!(hear_well(ProviderKind::Vllm, cut).await, [hello(), end(Finish::Stop)]);
}

#[tokio::test]
async fn a_provider_that_finishes_and_neither_says_done_nor_hangs_up_has_answered() {
    let chunks = hear_well(ProviderKind::Vllm, Reply::events().data(HELLO).data(STOP).hang()).await;
    assert_eq!(chunks, [hello(), end(Finish::Stop)]);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_finish_spoils_nothing() {
    let chunks =
        hear_well(ProviderKind::Vllm, Reply::events().data(HELLO).data(STOP).close()).await;
    assert_eq!(chunks, [hello(), end(Finish::Stop)]);
}

#[tokio::test]
async fn an_end_without_a_finish_reason_is_a_broken_connection() {
    for reply in [
        Reply::stream(&[HELLO]),
        Reply::stream(&[HELLO, "[DONE]"]),
        Reply::stream(&[]),
        Reply::events().data(HELLO).close(),
        Reply::events().data(HELLO).chunk(r#"data: {"choices":[{"del"#).end(),
        Reply::raw("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").close(),
        Reply::default().close(),
    ] {
        let error = hear_error(ProviderKind::Vllm, reply.clone()).await;
        assert_eq!(error.kind, ModelErrorKind::Connection, "{reply:?} {error:?}");
    }
}

#[tokio::test]
async fn what_came_before_an_error_is_heard() {
    let (chunks, error) = hear(ProviderKind::Vllm, Reply::events().data(HELLO).close()).await;
    assert_eq!(chunks, [hello()]);
    assert!(error.is_some());
}

#[tokio::test]
async fn comments_keep_a_call_alive_past_the_silence() {
    let mut reply = Reply::events();
    for _ in 0..6 {
        reply = reply.wait(SHORT.silence / 2).chunk(": OPENROUTER PROCESSING\n\n");
    }
    let chunks =
        hear_well(ProviderKind::OpenRouter, reply.data(HELLO).data(STOP).data("[DONE]").end())
            .await;
    assert_eq!(chunks, [hello(), end(Finish::Stop)]);
}

#[tokio::test]
async fn a_whole_json_answer_to_a_streaming_request_is_taken() {
    let body = r#"{"object":"chat.completion","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":"hello","reasoning_content":"hm","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let chunks = hear_well(ProviderKind::OpenAi, Reply::json(200, body)).await;
    let usage = Usage { prompt_tokens: 1, completion_tokens: 2, ..Usage::default() };
    assert_eq!(
        chunks,
        [
            Chunk::Reasoning("hm".to_owned()),
            hello(),
            Chunk::ToolCall { index: 0, id: "a".to_owned(), name: "f".to_owned() },
            Chunk::ToolArguments { index: 0, fragment: "{}".to_owned() },
            Chunk::End { finish: Finish::ToolCalls, usage: Some(usage) },
        ]
    );
}

#[tokio::test]
async fn the_form_of_an_answer_is_told_by_its_bytes_and_not_by_its_content_type() {
    let stream = format!("data: {HELLO}\n\ndata: {STOP}\n\ndata: [DONE]\n\n");
    assert_eq!(
        hear_well(ProviderKind::Vllm, Reply::json(200, &stream)).await,
        [hello(), end(Finish::Stop)]
    );
}

#[tokio::test]
async fn an_error_inside_the_stream_is_an_error_of_its_kind() {
    for (event, kind) in [
        (r#"{"error":{"message":"no","code":429}}"#, ModelErrorKind::RateLimit),
        (r#"{"error":{"message":"no","type":"rate_limit_exceeded"}}"#, ModelErrorKind::RateLimit),
        (r#"{"error":{"message":"no","type":"server_error"}}"#, ModelErrorKind::Server),
        (r#"{"error":"out of memory"}"#, ModelErrorKind::Server),
        (
            r#"{"object":"error","message":"no","type":"BadRequestError","code":400}"#,
            ModelErrorKind::BadRequest,
        ),
        (r#"{"choices":[{"error":{"code":502,"message":"no"}}]}"#, ModelErrorKind::Server),
        (r#"{"choices":[{"finish_reason":"error","delta":{}}]}"#, ModelErrorKind::Server),
        (
            r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"raw":"maximum context length is 10"}}}"#,
            ModelErrorKind::ContextWindowExceeded,
        ),
    ] {
        let error = hear_error(ProviderKind::OpenRouter, Reply::stream(&[HELLO, event])).await;
        assert_eq!(error.kind, kind, "{event}: {error:?}");
    }
    let named = Reply::events().chunk("event: error\ndata: {\"message\":\"overloaded\"}\n\n").end();
    assert_eq!(hear_error(ProviderKind::LmStudio, named).await.kind, ModelErrorKind::Server);
}

#[tokio::test]
async fn broken_json_is_an_invalid_response() {
    let error = hear_error(ProviderKind::Vllm, Reply::stream(&[HELLO, r#"{"choices":["#])).await;
    assert_eq!(error.kind, ModelErrorKind::InvalidResponse);
    assert!(error.detail.is_some_and(|detail| detail.contains("choices")));
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_is_an_invalid_response_that_names_the_base_url() {
    let error = hear_error(
        ProviderKind::Vllm,
        Reply::whole(200, "text/html", "<html><body>Login</body></html>"),
    )
    .await;
    assert_eq!(error.kind, ModelErrorKind::InvalidResponse);
    assert!(error.message.contains("base URL"), "{error}");
}

#[tokio::test]
async fn a_provider_that_refuses_stream_options_is_asked_again_without_them_and_never_with_them_again()
 {
    let refusal = Reply::json(400, r#"{"detail":"extra fields not permitted: stream_options"}"#);
    let answer = Reply::stream(&[HELLO, STOP, "[DONE]"]);
    let upstream = upstream([refusal, answer.clone(), answer]).await;
    let model = model(&upstream, ProviderKind::Vllm, SHORT);
    for _ in 0..2 {
        let (chunks, error) = collect(model.stream(&prompt("", vec![user("hi")]))).await;
        assert_eq!((text(&chunks).as_str(), error.is_none()), ("hello", true));
    }
    let asked: Vec<bool> = upstream
        .requests()
        .iter()
        .map(|request| request.json().get("stream_options").is_some())
        .collect();
    assert_eq!(asked, [true, false, false]);
    let key = upstream.requests()[1].headers["authorization"].clone();
    assert_eq!(key, format!("Bearer {KEY}"));
}

#[tokio::test]
async fn any_other_refusal_is_asked_once() {
    let upstream = upstream([Reply::json(400, r#"{"error":{"message":"bad model"}}"#)]).await;
    let (_, error) =
        collect(model(&upstream, ProviderKind::Vllm, SHORT).stream(&prompt("", vec![user("hi")])))
            .await;
    assert_eq!(error.map(|error| error.kind), Some(ModelErrorKind::BadRequest));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(upstream.requests().len(), 1);
}
