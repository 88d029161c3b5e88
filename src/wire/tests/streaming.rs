//! Streams: the order, the numbers and the bytes of their frames.

mod simple;

use retold_events::{
    ReturnStatus, ToolReturn,
    agent::AgentType,
    output::{Delta, Item, Output},
    run::{EndStatus, RunError, StopReason},
};

use super::*;

fn item(seq: u64, output: Output) -> Item {
    Item { seq, at: NOW, output }
}

fn delta(seq: u64, part: u32, delta: Delta) -> Item {
    item(seq, Output::Delta { step: step_id(), message: message_id(2), part, delta })
}

fn whole(seq: u64, message: Message) -> Item {
    let span = wire_span(&message);
    item(seq, Output::Message { message, span })
}

fn end(seq: u64, status: EndStatus, stop_reason: StopReason, error: Option<RunError>) -> Item {
    let output =
        Output::End { status, stop_reason, error, usage: usage(), steps: 1, context_tokens: 15 };
    item(seq, output)
}

fn tool_return() -> Message {
    let mut message = message(3, Role::Tool, "");
    message.tool_returns = vec![ToolReturn {
        call_id: "c".into(),
        name: "memory_insert".into(),
        status: ReturnStatus::Success,
        content: "ok".into(),
        stdout: vec![],
        stderr: vec![],
    }];
    message
}

/// Thought, text and call in pieces, the call's return whole, the end.
fn token_stream() -> Vec<Item> {
    let call = |name: Option<&str>, arguments: &str| Delta::ToolCall {
        id: "c".into(),
        name: name.map(str::to_owned),
        arguments: arguments.into(),
    };
    vec![
        delta(1, 0, Delta::Reasoning("h".into())),
        delta(2, 0, Delta::Reasoning("m".into())),
        delta(3, 1, Delta::Text("He".into())),
        delta(4, 1, Delta::Text("y".into())),
        delta(5, 2, call(Some("memory_insert"), "")),
        delta(6, 2, call(None, "{}")),
        whole(7, tool_return()),
        end(8, EndStatus::Completed, StopReason::EndTurn, None),
    ]
}

fn frames(frames: &mut Frames, items: &[Item]) -> Vec<Frame> {
    let mut shown = Vec::new();
    for item in items {
        frames.encode(item, &mut shown);
    }
    shown
}

fn text(frames: &[Frame]) -> String {
    frames.iter().map(|frame| String::from_utf8(frame.sse().to_vec()).unwrap()).collect()
}

fn background() -> RunRow {
    run_row(json!({"input": "hi", "background": true, "stream_tokens": true}), Call::Streaming)
}

#[test]
fn a_background_token_stream_numbers_its_events() {
    let mut stream = Frames::new(&background(), AgentType::LettaV1, 0);
    let mut shown = vec![stream.ping(NOW)];
    shown.extend(frames(&mut stream, &token_stream()));
    shown.truncate(20);
    golden_text("stream_of_tokens", &text(&shown));
    assert!(stream.is_done());
}

#[test]
fn a_foreground_stream_of_whole_messages_has_no_numbers() {
    let mut answer = message(2, Role::Assistant, "Hey");
    answer.content.insert(0, Part::Reasoning { text: "hm".into(), signature: None });
    let row = run_row(json!({"input": "hi"}), Call::Streaming);
    let mut stream = Frames::new(&row, AgentType::LettaV1, 0);
    let items = [whole(1, answer), end(3, EndStatus::Cancelled, StopReason::Cancelled, None)];
    golden_text("stream_of_messages", &text(&frames(&mut stream, &items)));
}

#[test]
fn a_failure_is_a_named_event_and_there_is_no_usage() {
    let row = run_row(json!({"input": "hi"}), Call::Streaming);
    let mut stream = Frames::new(&row, AgentType::LettaV1, 0);
    let failed =
        end(1, EndStatus::Failed, StopReason::LlmApiError, Some(super::showing::failure()));
    golden_text("stream_failed", &text(&frames(&mut stream, &[failed])));
}

#[test]
fn a_stream_taken_up_again_shows_exactly_the_rest() {
    let items = token_stream();
    let all = frames(&mut Frames::new(&background(), AgentType::LettaV1, 0), &items);
    for after in 0..=7 {
        let rest = frames(&mut Frames::new(&background(), AgentType::LettaV1, after), &items);
        let expected: Vec<&Frame> = all.iter().filter(|frame| frame.seq > after).collect();
        assert_eq!(rest.iter().collect::<Vec<_>>(), expected, "after {after}");
    }
    let over = frames(&mut Frames::new(&background(), AgentType::LettaV1, 99), &items);
    assert_eq!(over.len(), 3, "the end is always shown");
}

#[test]
fn a_message_may_be_taken_up_in_its_middle() {
    let mut answer = message(2, Role::Assistant, "Hey");
    answer.content.insert(0, Part::Reasoning { text: "hm".into(), signature: None });
    let items = [whole(4, answer)];
    for (after, expected) in [(3, vec![4, 5]), (4, vec![5]), (5, vec![])] {
        let mut stream = Frames::new(&background(), AgentType::LettaV1, after);
        let numbers: Vec<u64> = frames(&mut stream, &items).iter().map(|frame| frame.seq).collect();
        assert_eq!(numbers, expected);
    }
}

#[test]
fn types_that_were_not_asked_for_are_left_out_of_a_stream() {
    let row = run_row(
        json!({"input": "hi", "include_return_message_types": ["assistant_message"], "background": true}),
        Call::Streaming,
    );
    let shown = frames(&mut Frames::new(&row, AgentType::LettaV1, 0), &token_stream());
    let numbers: Vec<u64> = shown.iter().map(|frame| frame.seq).collect();
    assert_eq!(numbers, [3, 4, 8, 8, 8]);
}

#[test]
fn compaction_shows_only_where_asked_for() {
    let compacted = item(
        1,
        Output::Compacted {
            summary: message(
                4,
                Role::Summary,
                r#"{"type":"system_alert","message":"They talked."}"#,
            ),
            trigger: "context_window_exceeded".into(),
            tokens_before: 90,
            tokens_after: 30,
            context_window: 100,
            messages_before: 8,
            messages_after: 2,
        },
    );
    let row = run_row(json!({"input": "hi"}), Call::Streaming);
    assert!(
        frames(&mut Frames::new(&row, AgentType::LettaV1, 0), std::slice::from_ref(&compacted))
            .is_empty()
    );
    let row = run_row(json!({"input": "hi", "include_compaction_messages": true}), Call::Streaming);
    let shown = frames(&mut Frames::new(&row, AgentType::LettaV1, 0), &[compacted]);
    golden_text("stream_compacted", &text(&shown));
}

#[test]
fn pings_have_ids_of_their_own_and_the_number_reached() {
    let mut stream = Frames::new(&background(), AgentType::LettaV1, 0);
    let first = stream.ping(NOW);
    frames(&mut stream, &token_stream()[..3]);
    let second = stream.ping(NOW);
    let read = |frame: &Frame| serde_json::from_slice::<Value>(&frame.data).unwrap();
    assert_ne!(read(&first)["id"], read(&second)["id"]);
    assert_eq!(read(&first)["run_id"], run_id().to_string());
    assert_eq!(
        (read(&first)["seq_id"].clone(), read(&second)["seq_id"].clone()),
        (json!(0), json!(3))
    );
}

#[test]
fn nothing_follows_the_end() {
    let mut stream = Frames::new(&background(), AgentType::LettaV1, 0);
    let shown = frames(&mut stream, &token_stream());
    assert_eq!(shown.last().map(|frame| &frame.data[..]), Some(&b"[DONE]"[..]));
    assert!(frames(&mut stream, &token_stream()).is_empty());
}
