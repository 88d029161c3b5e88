//! The WebSocket: what is said on it.

mod ends;
mod handshake;
mod runs;

use std::time::Duration;

use futures_util::SinkExt as _;
use retold_models::{Chunk, ModelErrorKind, testing::Say};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    socket::{Socket, types},
    support::{World, config, text},
};

/// Thinks, calls a tool, speaks.
fn busy() -> Vec<Vec<Say>> {
    let mut call = vec![Say::Chunk(Chunk::Reasoning("let me look".to_owned()))];
    call.extend(Say::call("c1", "conversation_search", r#"{"query": "tea"}"#));
    vec![call, Say::answer("Nothing was found.")]
}

#[tokio::test]
async fn a_message_is_answered_in_the_frames_of_the_retired_server() {
    let world = World::new().await;
    world.model("busy", busy());
    let agent = world.agent("busy").await;
    let mut socket = Socket::open(&world).await;
    socket
        .send(
            json!({"type": "user_message", "agent_id": agent, "message": "hi", "request_id": "a"}),
        )
        .await;
    let frames = socket.until("agent_response_end").await;
    let [start, thought, function, spoken, end] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(
        (&start["type"], &start["agent_id"], &start["request_id"], &start["seq_id"]),
        (&json!("agent_response_start"), &json!(agent), &json!("a"), &json!(0))
    );
    for frame in [thought, function, spoken] {
        assert_eq!(frame["type"], "agent_response");
    }
    assert_eq!(
        (&thought["message_type"], &thought["message"]),
        (&json!("internal_monologue"), &json!("let me look"))
    );
    assert_eq!(function["message_type"], "function_message");
    assert_eq!(function["message"]["function"], "conversation_search");
    let args: Value = serde_json::from_str(text(&function["message"]["args"])).unwrap();
    assert_eq!(args, json!({"query": "tea"}));
    assert_eq!(function["message"]["status"], "success");
    assert!(function["message"]["result"].is_string());
    assert_eq!(
        (&spoken["message_type"], &spoken["message"]),
        (&json!("assistant_message"), &json!("Nothing was found."))
    );
    assert_eq!(end["stop_reason"], "end_turn");
    assert_eq!(end["usage"]["step_count"], 2);
    let numbers: Vec<u64> =
        frames.iter().map(|frame| frame["seq_id"].as_u64().expect("all are numbered")).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(frames.iter().all(|frame| frame["run_id"] == start["run_id"]));
    let run = world.ended(text(&start["run_id"])).await;
    assert_eq!(run["status"], "completed");
}

#[tokio::test]
async fn a_call_that_came_in_pieces_is_one_frame_after_its_return() {
    let world = World::new().await;
    world.model("busy", busy());
    let agent = world.agent("busy").await;
    let mut socket = Socket::open(&world).await;
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    socket.send(say).await;
    let frames = socket.until("agent_response_end").await;
    let functions: Vec<&Value> =
        frames.iter().filter(|frame| frame["message_type"] == "function_message").collect();
    assert_eq!(functions.len(), 1);
    assert_eq!(functions[0]["message"]["args"], r#"{"query": "tea"}"#);
    let spoken: String = frames
        .iter()
        .filter(|frame| frame["message_type"] == "assistant_message")
        .map(|frame| text(&frame["message"]))
        .collect();
    assert_eq!(spoken, "Nothing was found.");
    let pieces = frames.iter().filter(|frame| frame["message_type"] == "assistant_message").count();
    assert!(pieces >= 1);
}

#[tokio::test]
async fn calls_made_at_once_return_in_frames_of_their_own() {
    let world = World::new().await;
    let search = r#"{"query": "tea"}"#;
    let calls = [("c1", "conversation_search", search), ("c2", "conversation_search", search)];
    world.model("two", [Say::calls(&calls), Say::answer("Done.")]);
    let agent = world.agent_with(json!({"model": "test/two", "parallel_tool_calls": true})).await;
    let mut socket = Socket::open(&world).await;
    socket.send(json!({"type": "user_message", "agent_id": agent, "message": "hi"})).await;
    let frames = socket.until("agent_response_end").await;
    let run = text(&frames[0]["run_id"]).to_owned();
    let functions: Vec<&Value> =
        frames.iter().filter(|frame| frame["message_type"] == "function_message").collect();
    assert_eq!(functions.len(), 2, "{frames:?}");
    // A client that was cut between them gets both again, rather than losing one.
    let between = functions[0]["seq_id"].clone();
    assert_eq!(functions[1]["seq_id"].as_u64(), between.as_u64().map(|seq| seq + 1));
    socket.send(json!({"type": "resume", "run_id": run, "after_seq": between})).await;
    let again = socket.until("agent_response_end").await;
    assert!(again.iter().filter(|frame| frame["message_type"] == "function_message").count() == 2);
}

#[tokio::test]
async fn what_an_older_agent_says_through_a_tool_is_speech() {
    let world = World::new().await;
    for tokens in [false, true] {
        let name = format!("older-{tokens}");
        let say = Say::call("c1", "send_message", r#"{"message": "Hello there"}"#);
        world.model(&name, [say]);
        let agent = world
            .agent_with(json!({"model": format!("test/{name}"), "agent_type": "memgpt_v2_agent"}))
            .await;
        let mut socket = Socket::open(&world).await;
        let mut say = json!({"type": "user_message", "agent_id": agent, "message": "hi"});
        say["stream_tokens"] = tokens.into();
        socket.send(say).await;
        let frames = socket.until("agent_response_end").await;
        let spoken: Vec<&Value> =
            frames.iter().filter(|frame| frame["message_type"] == "assistant_message").collect();
        assert_eq!(spoken.len(), 1, "{frames:?}");
        assert_eq!(spoken[0]["message"], "Hello there");
        assert!(
            frames.iter().all(|frame| frame["message_type"] != "function_message"),
            "{frames:?}"
        );
    }
}

#[tokio::test]
async fn messages_that_cannot_be_sent_are_told_why() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let mut socket = Socket::open(&world).await;
    for lacking in [
        json!({"type": "user_message", "message": "hi"}),
        json!({"type": "user_message", "agent_id": null, "message": "hi"}),
        json!({"type": "user_message", "agent_id": "bob", "message": "hi"}),
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "format": "xml"}),
    ] {
        socket.send(lacking.clone()).await;
        let frame = socket.frame().await;
        assert_eq!(frame["type"], "agent_response_error", "{lacking} is answered with {frame}");
        assert!(!text(&frame["message"]).is_empty() && frame["code"].is_string());
    }
    let unknown = "agent-123e4567-e89b-42d3-8456-426614174000";
    socket.send(json!({"type": "user_message", "agent_id": unknown, "message": "hi"})).await;
    let frames = socket.until("agent_response_end").await;
    assert_eq!(
        types(&frames),
        ["agent_response_start", "agent_response_error", "agent_response_end"]
    );
    assert_eq!(
        (&frames[1]["code"], &frames[1]["message"]),
        (&json!("agent_not_found"), &json!("Agent not found"))
    );
    for bad in [
        json!({"type": "user_message", "agent_id": agent, "format": "v1"}),
        json!({"type": "user_message", "agent_id": agent, "message": "a", "input": "b", "format": "v1"}),
        json!({"type": "user_message", "agent_id": agent, "message": "a", "max_steps": 0, "format": "v1"}),
    ] {
        socket.send(bad.clone()).await;
        let frame = socket.frame().await;
        assert_eq!(frame["type"], "agent_response_error", "{bad} is answered with {frame}");
    }
    socket.send(json!({"type": "user_message", "agent_id": agent, "message": "still here"})).await;
    assert_eq!(socket.until("agent_response_end").await.len(), 3);
}

#[tokio::test]
async fn a_message_said_in_no_way_or_in_two_is_told_the_ways_there_are() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let mut socket = Socket::open(&world).await;
    let messages = json!([{"role": "user", "content": "hi"}]);
    for ways in [
        json!({}),
        json!({"message": null}),
        json!({"message": "a", "input": "b"}),
        json!({"input": "a", "messages": messages}),
        json!({"message": "a", "input": "b", "messages": messages}),
    ] {
        let mut say = json!({"type": "user_message", "agent_id": agent, "format": "v1"});
        say.as_object_mut().unwrap().extend(ways.as_object().unwrap().clone());
        socket.send(say).await;
        let refused = socket.frame().await;
        assert_eq!(refused["type"], "agent_response_error", "{ways}: {refused}");
        let says = "exactly one of `message`, `input` and `messages` must be given";
        assert_eq!(refused["message"], says, "{ways}");
    }
    for way in [json!({"message": "a"}), json!({"input": "a"}), json!({"messages": messages})] {
        let mut say = json!({"type": "user_message", "agent_id": agent});
        say.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        socket.send(say).await;
        let said = socket.until("agent_response_end").await;
        assert_eq!(said[0]["type"], "agent_response_start", "{way}: {said:?}");
    }
}

#[tokio::test]
async fn a_failed_run_says_so_and_ends() {
    let world = World::new().await;
    world.model("poor", [Say::failure(ModelErrorKind::RateLimit, "slow down")]);
    let agent = world.agent("poor").await;
    let mut socket = Socket::open(&world).await;
    socket.send(json!({"type": "user_message", "agent_id": agent, "message": "hi"})).await;
    let frames = socket.until("agent_response_end").await;
    assert_eq!(
        types(&frames),
        ["agent_response_start", "agent_response_error", "agent_response_end"]
    );
    assert_eq!(frames[1]["code"], "llm_rate_limit");
    assert_eq!(frames[2]["stop_reason"], "llm_api_error");
    assert_eq!(frames[2]["usage"], Value::Null);
}

#[tokio::test]
async fn a_cancel_ends_the_run_and_is_answered_with_how_it_ended() {
    let world = World::new().await;
    world.model("silent", [vec![Say::text("half a "), Say::Hang]]);
    let agent = world.agent("silent").await;
    let mut socket = Socket::open(&world).await;
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    socket.send(say).await;
    let frames = socket.until("agent_response").await;
    let run = text(&frames[0]["run_id"]).to_owned();
    let cancel = json!({"type": "cancel", "run_id": run, "request_id": "stop"});
    socket.send(cancel.clone()).await;
    // The answer and the end come from one commit; which of them is said first is open.
    let mut frames = Vec::new();
    while types(&frames)
        .iter()
        .filter(|kind| kind.starts_with("cancel") || kind.ends_with("end"))
        .count()
        < 2
    {
        frames.push(socket.frame().await);
    }
    let find = |kind: &str| frames.iter().find(|frame| frame["type"] == kind).unwrap();
    assert_eq!(
        (&find("cancel_response")["status"], &find("cancel_response")["request_id"]),
        (&json!("cancelled"), &json!("stop"))
    );
    assert_eq!(find("agent_response_end")["stop_reason"], "cancelled");
    socket.send(cancel).await;
    assert_eq!(socket.frame().await["status"], "cancelled", "it stays so");
    let quick = world.agent("echo").await;
    socket.send(json!({"type": "user_message", "agent_id": quick, "message": "hi"})).await;
    let ended = socket.until("agent_response_end").await;
    socket.send(json!({"type": "cancel", "run_id": ended[0]["run_id"]})).await;
    assert_eq!(socket.frame().await["status"], "completed", "it had ended");
    for (bad, code) in [
        (
            json!({"type": "cancel", "run_id": "run-123e4567-e89b-42d3-8456-426614174000"}),
            "run_not_found",
        ),
        (json!({"type": "cancel", "run_id": "run-1"}), "validation_failed"),
        (json!({"type": "cancel"}), "validation_failed"),
    ] {
        socket.send(bad).await;
        let frame = socket.frame().await;
        assert_eq!((&frame["type"], &frame["code"]), (&json!("server_error"), &json!(code)));
    }
}

#[tokio::test]
async fn frames_that_are_none_are_refused_and_the_socket_goes_on() {
    let world = World::new().await;
    let mut socket = Socket::open(&world).await;
    for garbage in [
        "",
        "{",
        "hello",
        "[]",
        "7",
        "null",
        "\"x\"",
        "{}",
        r#"{"type": null}"#,
        r#"{"type": 7}"#,
        r#"{"type": "sing"}"#,
        r#"{"type": "resume"}"#,
        r#"{"type": "unsubscribe"}"#,
        r#"{"type": "command"}"#,
        r#"{"type": "command", "command": "dance"}"#,
        r#"{"type": "resume", "run_id": "run-123e4567-e89b-42d3-8456-426614174000"}"#,
        r#"{"type": "subscribe", "agent_id": "x"}"#,
        r#"{"type": "subscribe", "agent_id": "agent-123e4567-e89b-42d3-8456-426614174000"}"#,
        "{\"type\": \"ping\", \"request_id\": 7}",
    ] {
        socket.send_text(garbage.to_owned()).await;
        let frame = socket.frame().await;
        assert_eq!(frame["type"], "server_error", "{garbage:?} is answered with {frame}");
        assert!(!text(&frame["message"]).is_empty() && frame["code"].is_string(), "{frame}");
    }
    let deep = format!(r#"{{"type": "ping", "x": {}{}}}"#, "[".repeat(500), "]".repeat(500));
    socket.send_text(deep).await;
    assert_eq!(socket.frame().await["type"], "server_error");
    socket.inner.send(Message::binary(br#"{"type": "ping"}"#.to_vec())).await.unwrap();
    assert_eq!(socket.frame().await["code"], "binary_frame");
    socket.send(json!({"type": "ping", "request_id": "p"})).await;
    assert_eq!(socket.frame().await, json!({"type": "pong", "request_id": "p"}));
    socket.inner.send(Message::Ping(b"here".to_vec().into())).await.unwrap();
    assert_eq!(socket.message().await, Some(Message::Pong(b"here".to_vec().into())));
}

#[tokio::test]
async fn agents_are_made_by_command() {
    let world = World::new().await;
    let mut socket = Socket::open(&world).await;
    let config = json!({"model": "test/echo", "name": "made"});
    socket
        .send(json!({"type": "command", "command": "create_agent", "config": config, "request_id": "c"}))
        .await;
    let made = socket.frame().await;
    assert_eq!((&made["type"], &made["request_id"]), (&json!("command_response"), &json!("c")));
    assert!(text(&made["status"]).starts_with("OK"), "{made}");
    let agent = world.get(&format!("/v1/agents/{}", text(&made["agent_id"]))).await.ok();
    assert_eq!(agent["name"], "made");
    for bad in [json!({"model": "test/nobody"}), json!({"model": 7}), json!("x")] {
        socket.send(json!({"type": "command", "command": "create_agent", "config": bad})).await;
        let refused = socket.frame().await;
        assert_eq!(refused["type"], "command_response");
        assert!(text(&refused["status"]).starts_with("Error"), "{refused}");
        assert_eq!(refused["agent_id"], Value::Null);
    }
}

#[tokio::test]
async fn silence_is_broken_by_pings() {
    let mut config = config();
    config.keepalive_interval.value = Duration::from_millis(30);
    let world = World::with(config).await;
    let mut socket = Socket::open(&world).await;
    for _ in 0..3 {
        assert!(matches!(socket.message().await, Some(Message::Ping(_))));
    }
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.frame().await["type"], "pong");
}
