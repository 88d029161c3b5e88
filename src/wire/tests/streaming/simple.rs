//! The simple frames of the WebSocket.

use super::*;
use crate::wire::ws::Simple;

/// The simple frames of `items` after number `after`, each with the number to resume after.
fn simple(
    row: &RunRow,
    agent_type: AgentType,
    items: &[Item],
    after: u64,
) -> Vec<(u64, Value, String)> {
    let mut frames = Frames::undressed(row, agent_type);
    let mut simple = Simple::new(row, agent_type, after);
    let mut shown = Vec::new();
    for item in items {
        frames.show(item, |seq, what| {
            simple.add(seq, what, |cursor, text| {
                shown.push((cursor, serde_json::from_str(&text).unwrap(), text));
            });
        });
    }
    assert!(frames.is_done());
    shown
}

fn of_tokens(after: u64) -> Vec<(u64, Value, String)> {
    simple(&background(), AgentType::LettaV1, &token_stream(), after)
}

#[test]
fn thoughts_words_and_calls_with_their_returns_are_told_apart() {
    let frames = of_tokens(0);
    let told: Vec<(u64, &Value, &Value)> = frames
        .iter()
        .map(|(cursor, frame, _)| (*cursor, &frame["message_type"], &frame["message"]))
        .collect();
    let call =
        json!({"function": "memory_insert", "args": "{}", "result": "ok", "status": "success"});
    let expected = [
        (1, &json!("internal_monologue"), &json!("h")),
        (2, &json!("internal_monologue"), &json!("m")),
        (3, &json!("assistant_message"), &json!("He")),
        (4, &json!("assistant_message"), &json!("y")),
        (7, &json!("function_message"), &call),
        (8, &Value::Null, &Value::Null),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        frames[2].2,
        format!(
            r#"{{"type":"agent_response","message_type":"assistant_message","message":"He","id":"{}","run_id":"{}","seq_id":3}}"#,
            message_id(2),
            run_id()
        )
    );
    let end = &frames[5].1;
    assert_eq!(
        (&end["type"], &end["stop_reason"], &end["usage"]["message_type"]),
        (&json!("agent_response_end"), &json!("end_turn"), &json!("usage_statistics"))
    );
}

#[test]
fn a_call_begun_before_the_cursor_is_whole_after_it() {
    let all = of_tokens(0);
    for after in 0..12 {
        let expected: Vec<_> = all
            .iter()
            .filter(|(cursor, frame, _)| *cursor > after || frame["type"] == "agent_response_end")
            .cloned()
            .collect();
        assert_eq!(of_tokens(after), expected, "after {after}");
    }
}

#[test]
fn what_a_client_of_the_routes_chose_to_see_hides_nothing_here() {
    let row = run_row(
        json!({"input": "hi", "include_return_message_types": ["assistant_message"]}),
        Call::Streaming,
    );
    assert_eq!(simple(&row, AgentType::LettaV1, &token_stream(), 0).len(), 6);
}

#[test]
fn a_failed_run_is_an_error_and_an_end_and_can_be_taken_up_before_both() {
    let error = RunError {
        error_type: "llm_timeout".into(),
        message: "too slow".into(),
        detail: Some("60 s".into()),
        retry_after_s: None,
    };
    let items = [end(1, EndStatus::Failed, StopReason::LlmApiError, Some(error))];
    let frames = simple(&background(), AgentType::LettaV1, &items, 0);
    let [(before, error, _), (last, end, _)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((before, last), (&0, &1));
    assert_eq!(
        (&error["type"], &error["code"], &error["message"], &error["detail"]),
        (&json!("agent_response_error"), &json!("llm_timeout"), &json!("too slow"), &json!("60 s"))
    );
    assert_eq!((&end["type"], &end["usage"]), (&json!("agent_response_end"), &Value::Null));
}

#[test]
fn the_returns_of_one_message_are_one_step_of_the_cursor() {
    let mut returns = tool_return();
    returns
        .tool_returns
        .push(ToolReturn { call_id: "d".into(), ..returns.tool_returns[0].clone() });
    let items = [whole(1, returns), end(2, EndStatus::Completed, StopReason::EndTurn, None)];
    let cursors: Vec<u64> = simple(&background(), AgentType::LettaV1, &items, 0)
        .iter()
        .map(|(cursor, ..)| *cursor)
        .collect();
    assert_eq!(cursors, [0, 1, 2]);
}
