//! One test per way in which providers cut tool calls.

use serde_json::{Value, json};

use crate::{
    Chunk, Finish, ModelErrorKind, ProviderKind,
    harness::{calls, hear_error, hear_well},
    testing::Reply,
};

/// The calls made of these `tool_calls` deltas.
async fn assemble(deltas: &[Value]) -> Vec<(String, String, String)> {
    let chunks = hear_well(ProviderKind::Vllm, reply(deltas)).await;
    assert!(
        matches!(chunks.last(), Some(Chunk::End { finish: Finish::ToolCalls, .. })),
        "{chunks:?}"
    );
    calls(&chunks)
}

fn reply(deltas: &[Value]) -> Reply {
    let mut reply = Reply::events();
    for delta in deltas {
        reply = reply.data(
            &json!({"choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]}).to_string(),
        );
    }
    reply
        .data(
            &json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
                .to_string(),
        )
        .data("[DONE]")
        .end()
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[tokio::test]
async fn a_call_by_the_book() {
    let calls = assemble(&[
        json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "find", "arguments": ""}}),
        json!({"index": 0, "function": {"arguments": "{\"q\":"}}),
        json!({"index": 0, "function": {"arguments": "\"x\"}"}}),
    ])
    .await;
    assert_eq!(calls, [call("call_1", "find", r#"{"q":"x"}"#)]);
}

#[tokio::test]
async fn several_calls_by_number_may_be_interleaved() {
    let calls = assemble(&[
        json!({"index": 0, "id": "a", "function": {"name": "one", "arguments": "{"}}),
        json!({"index": 1, "id": "b", "function": {"name": "two", "arguments": "{"}}),
        json!({"index": 0, "function": {"arguments": "}"}}),
        json!({"index": 1, "function": {"arguments": "}"}}),
    ])
    .await;
    assert_eq!(calls, [call("a", "one", "{}"), call("b", "two", "{}")]);
}

#[tokio::test]
async fn a_missing_id_is_made_up_and_differs_from_call_to_call() {
    let deltas = [
        json!({"index": 0, "function": {"name": "one", "arguments": "{}"}}),
        json!({"index": 1, "function": {"name": "one", "arguments": "{}"}}),
    ];
    let (first, second) = (assemble(&deltas).await, assemble(&deltas).await);
    assert_eq!(first.len(), 2);
    assert_ne!(first[0].0, first[1].0);
    assert_ne!(first[0].0, second[0].0, "ids of two answers must not meet in one conversation");
}

#[tokio::test]
async fn without_numbers_an_id_tells_calls_apart() {
    let calls = assemble(&[
        json!({"id": "a", "function": {"name": "one", "arguments": "{\"x\""}}),
        json!({"id": "a", "function": {"arguments": ":1}"}}),
        json!({"id": "b", "function": {"name": "one", "arguments": "{\"x\":2}"}}),
    ])
    .await;
    assert_eq!(calls, [call("a", "one", r#"{"x":1}"#), call("b", "one", r#"{"x":2}"#)]);
}

#[tokio::test]
async fn without_numbers_and_ids_a_name_after_whole_arguments_begins_a_call() {
    let calls = assemble(&[
        json!({"function": {"name": "one", "arguments": "{\"x\":"}}),
        json!({"function": {"arguments": "\"}\"}"}}),
        json!({"function": {"name": "two", "arguments": "{}"}}),
    ])
    .await;
    let named: Vec<(&str, &str)> =
        calls.iter().map(|call| (call.1.as_str(), call.2.as_str())).collect();
    assert_eq!(named, [("one", r#"{"x":"}"}"#), ("two", "{}")]);
}

#[tokio::test]
async fn an_id_and_a_name_given_again_change_nothing() {
    let calls = assemble(&[
        json!({"index": 0, "id": "a", "function": {"name": "find", "arguments": ""}}),
        json!({"index": 0, "id": "a", "function": {"name": "find", "arguments": "{\"q\":"}}),
        json!({"index": 0, "id": "", "function": {"name": "find", "arguments": "1}"}}),
        json!({"index": 0, "id": "a", "function": {"name": "find", "arguments": ""}}),
    ])
    .await;
    assert_eq!(calls, [call("a", "find", r#"{"q":1}"#)]);
}

#[tokio::test]
async fn an_id_may_come_empty_or_null_on_later_deltas() {
    let calls = assemble(&[
        json!({"index": 0, "id": "a", "function": {"name": "find", "arguments": "{"}}),
        json!({"index": 0, "id": "", "function": {"name": "", "arguments": ""}}),
        json!({"index": 0, "id": null, "function": {"name": null, "arguments": "}"}}),
    ])
    .await;
    assert_eq!(calls, [call("a", "find", "{}")]);
}

#[tokio::test]
async fn a_cut_name_is_put_together_before_the_call_is_announced() {
    let calls = assemble(&[
        json!({"index": 0, "id": "a", "function": {"name": "find_"}}),
        json!({"index": 0, "function": {"name": "things"}}),
        json!({"index": 0, "function": {"arguments": "{}"}}),
    ])
    .await;
    assert_eq!(calls, [call("a", "find_things", "{}")]);
}

#[tokio::test]
async fn whole_calls_that_all_have_the_number_zero_are_several() {
    let calls = assemble(&[
        json!({"index": 0, "id": "a", "function": {"name": "one", "arguments": "{\"x\":1}"}}),
        json!({"index": 0, "id": "b", "function": {"name": "one", "arguments": "{\"x\":1}"}}),
    ])
    .await;
    assert_eq!(calls, [call("a", "one", r#"{"x":1}"#), call("b", "one", r#"{"x":1}"#)]);
    let calls = assemble(&[
        json!({"index": 0, "function": {"name": "one", "arguments": "{\"x\":1}"}}),
        json!({"index": 0, "function": {"name": "two", "arguments": "{\"x\":2}"}}),
    ])
    .await;
    assert_eq!(calls.len(), 2);
}

#[tokio::test]
async fn two_calls_under_one_id_get_two_ids() {
    let calls = assemble(&[
        json!({"index": 0, "id": "call", "function": {"name": "one", "arguments": "{}"}}),
        json!({"index": 1, "id": "call", "function": {"name": "two", "arguments": "{}"}}),
    ])
    .await;
    assert_ne!(calls[0].0, calls[1].0);
}

#[tokio::test]
async fn a_new_id_on_every_delta_is_not_a_new_call() {
    let calls = assemble(&[
        json!({"id": "r1", "function": {"name": "one", "arguments": "{\"x\":"}}),
        json!({"id": "r2", "function": {"arguments": "1}"}}),
    ])
    .await;
    assert_eq!(calls, [call("r1", "one", r#"{"x":1}"#)]);
}

#[tokio::test]
async fn a_call_without_arguments_is_announced_at_the_end() {
    let calls = assemble(&[json!({"index": 0, "id": "a", "function": {"name": "now"}})]).await;
    assert_eq!(calls, [call("a", "now", "")]);
}

#[tokio::test]
async fn arguments_may_be_an_object() {
    let calls =
        assemble(&[json!({"id": "a", "function": {"name": "find", "arguments": {"q": 1}}})]).await;
    assert_eq!(calls, [call("a", "find", r#"{"q":1}"#)]);
}

#[tokio::test]
async fn the_old_function_call_is_a_call() {
    let reply = Reply::stream(&[
        r#"{"choices":[{"delta":{"function_call":{"name":"find","arguments":""}}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"arguments":"{}"}}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"function_call"}]}"#,
        "[DONE]",
    ]);
    let chunks = hear_well(ProviderKind::OpenAi, reply).await;
    assert_eq!(calls(&chunks)[0].1, "find");
    assert!(matches!(chunks.last(), Some(Chunk::End { finish: Finish::ToolCalls, .. })));
}

#[tokio::test]
async fn a_call_without_a_name_is_an_invalid_response() {
    let error = hear_error(
        ProviderKind::Vllm,
        reply(&[json!({"index": 0, "function": {"arguments": "{}"}})]),
    )
    .await;
    assert_eq!(error.kind, ModelErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_flood_of_calls_is_an_invalid_response() {
    let deltas: Vec<Value> = (0..200)
        .map(|index| json!({"index": index, "function": {"name": "one", "arguments": "{}"}}))
        .collect();
    assert_eq!(
        hear_error(ProviderKind::Vllm, reply(&deltas)).await.kind,
        ModelErrorKind::InvalidResponse
    );
}
