//! The targets over seeds, and over what is made from these.

use super::*;

#[path = "../../../fuzz/driver.rs"]
mod driver;

const RUN: &str = "run-123e4567-e89b-42d3-8456-426614174000";
const AGENT: &str = "agent-123e4567-e89b-42d3-8456-426614174000";

#[test]
fn a_frame_is_refused_or_means_the_same_however_it_arrives_and_is_spelled() {
    let texts = [
        json!({"type": "user_message", "agent_id": AGENT, "message": "Hi", "format": "v1"}),
        json!({"type": "user_message", "agent_id": AGENT, "request_id": "r", "stream_tokens": true,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hé😀"}]}]}),
        json!({"type": "command", "command": "create_agent", "config": {"name": "n", "model": "a/b",
            "memory_blocks": [{"label": "human", "value": "v", "limit": 100}], "tags": ["t"]}}),
        json!({"type": "cancel", "run_id": RUN}),
        json!({"type": "resume", "run_id": RUN, "after_seq": 7, "format": "simple"}),
        json!({"type": "subscribe", "agent_id": AGENT, "after": 18_446_744_073_709_551_615_u64}),
        json!({"type": "unsubscribe", "run_id": RUN, "agent_id": null}),
        json!({"type": "ping", "request_id": "r"}),
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|it| it.to_string().into_bytes()).collect();
    let wires: Vec<Vec<u8>> = seeds.iter().map(|text| fragmented(text, 60)).collect();
    seeds.extend(wires);
    let mut control = Vec::new();
    for (head, payload) in [(0x89, &b"ping"[..]), (0x82, &[0, 255]), (0x88, &[3, 232, b'x'])] {
        put_frame(&mut control, head, payload);
    }
    seeds.push(control);
    // Lengths of two and of eight bytes, and one that no message has.
    seeds.push(b"\x81\xfe\xff\xff\x00\x00\x00\x00abc".to_vec());
    seeds.push(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00abc".to_vec());
    driver::run("frames", seeds, frames);
}

#[test]
fn a_cursor_is_refused_or_shown_as_it_was_sent() {
    let seeds = [
        "0",
        "17",
        "18446744073709551615",
        "+7",
        "latest",
        "2026-08-01T12:00:00Z",
        "2026-08-01T12:00:00.123456789+05:30",
        "2026-08-01 12:00:00 02:00",
        "1969-12-31",
        "-009999-01-02T03:04:05Z",
        "9999-12-30T22:00:00.999999999Z",
        AGENT,
        RUN,
        "message-123e4567-e89b-42d3-8456-426614174000",
        "block-123e4567-e89b-42d3-8456-426614174000",
        "conv-123e4567-e89b-42d3-8456-426614174000",
        "after=7&before=latest&limit=1000&type=run_started,run_ended",
        "limit=10&order=desc&ascending=true&order_by=created_at&tags=a&tags=b&name=x",
        "as_of=2026-08-01T12:00:00Z&after=latest&starting_after=3&include_pings=true",
    ];
    let seeds = seeds.iter().map(|text| text.as_bytes().to_vec()).collect();
    driver::run("cursors", seeds, cursors);
}

#[test]
fn the_events_of_an_answer_do_not_depend_on_how_it_arrives() {
    let streams = [
        "data: {\"message_type\":\"assistant_message\",\"content\":\"Hé\"}\n\ndata: [DONE]\n\n",
        "event: error\r\ndata: {\"a\":\"é\"}\r\n\r\ndata: x\r\ndata: y\r\n\r\n",
        ": ping\n\nid: 7\ndata:no space\n\ndata",
    ];
    let seeds = streams.iter().map(|stream| [&[3], stream.as_bytes()].concat()).collect();
    driver::run("answers", seeds, answers);
}
