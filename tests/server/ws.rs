//! The WebSocket: what is said on it. How it ends is in `ws_ends`.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use retold::config::{Secret, Sourced};
use retold_models::{Chunk, ModelErrorKind, testing::Say};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    socket::{Socket, types},
    support::{World, config, reply, text},
};

/// Thinks, calls a tool, speaks.
fn busy() -> Vec<Vec<Say>> {
    let mut call = vec![Say::Chunk(Chunk::Reasoning("let me look".to_owned()))];
    call.extend(Say::call("c1", "conversation_search", r#"{"query": "tea"}"#));
    vec![call, Say::answer("Nothing was found.")]
}

/// The data of the events of a run, read with an event stream.
async fn sse(world: &World, run: &str, after: u64) -> Vec<String> {
    let body = json!({ "starting_after": after, "include_pings": false });
    let events = world.stream(&format!("/v1/runs/{run}/stream"), body).await.rest().await;
    events.into_iter().map(|event| event.data).collect()
}

/// The bytes of `data` in `run_event` frames; `[DONE]` for `run_end`.
async fn v1(socket: &mut Socket) -> Vec<(Value, String)> {
    let mut found = Vec::new();
    loop {
        let text = socket.next_text().await.expect("the run ends");
        let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
        if frame["type"] == "run_end" {
            found.push((frame, "[DONE]".to_owned()));
            return found;
        }
        let (_, data) = text.split_once(r#""data":"#).expect("a run_event has data");
        found.push((frame, data.strip_suffix('}').expect("an object").to_owned()));
    }
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
async fn the_other_form_carries_the_bytes_of_the_event_stream_from_any_number_on() {
    let world = World::new().await;
    world.model("busy", busy());
    let agent = world.agent("busy").await;
    let mut socket = Socket::open(&world).await;
    let say = json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true,
                     "format": "v1"});
    socket.send(say).await;
    let start = socket.frame().await;
    assert_eq!((&start["type"], &start["agent_id"]), (&json!("run_start"), &json!(agent)));
    let run = text(&start["run_id"]).to_owned();
    let all = v1(&mut socket).await;
    let data: Vec<String> = all.iter().map(|(_, data)| data.clone()).collect();
    assert_eq!(data, sse(&world, &run, 0).await);
    assert!(all.iter().all(|(frame, _)| frame["run_id"] == *run && frame["seq_id"].is_u64()));
    let last = all.last().and_then(|(frame, _)| frame["seq_id"].as_u64()).unwrap();
    for after in 0..last + 3 {
        let resume = json!({"type": "resume", "run_id": run, "after_seq": after, "format": "v1"});
        socket.send(resume).await;
        let start = socket.frame().await;
        assert_eq!((&start["type"], &start["seq_id"]), (&json!("run_start"), &json!(after)));
        let found: Vec<String> = v1(&mut socket).await.into_iter().map(|(_, data)| data).collect();
        assert_eq!(found, sse(&world, &run, after).await, "after {after}");
    }
}

#[tokio::test]
async fn a_named_error_keeps_its_name() {
    let world = World::new().await;
    world.model("poor", [Say::failure(ModelErrorKind::RateLimit, "slow down")]);
    let agent = world.agent("poor").await;
    let mut socket = Socket::open(&world).await;
    socket
        .send(json!({"type": "user_message", "agent_id": agent, "message": "hi", "format": "v1"}))
        .await;
    let run = text(&socket.frame().await["run_id"]).to_owned();
    let found = v1(&mut socket).await;
    let [(stop, _), (error, _), (end, _)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(stop["data"]["message_type"], "stop_reason");
    assert!(stop.get("event").is_none());
    assert_eq!(
        (&error["event"], &error["data"]["error_type"]),
        (&json!("error"), &json!("llm_rate_limit"))
    );
    assert_eq!(end["type"], "run_end");
    let data: Vec<String> = found.into_iter().map(|(_, data)| data).collect();
    assert_eq!(data, sse(&world, &run, 0).await);
}

#[tokio::test]
async fn the_simple_form_is_taken_up_after_any_frame_without_gap_or_double() {
    let world = World::new().await;
    world.model("busy", busy());
    let agent = world.agent("busy").await;
    let mut socket = Socket::open(&world).await;
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    socket.send(say).await;
    let all = socket.until("agent_response_end").await;
    let run = text(&all[0]["run_id"]).to_owned();
    for (place, frame) in all.iter().enumerate().skip(1) {
        let after = frame["seq_id"].as_u64().unwrap();
        socket.send(json!({"type": "resume", "run_id": run, "after_seq": after})).await;
        let found = socket.until("agent_response_end").await;
        assert_eq!(
            (&found[0]["type"], &found[0]["seq_id"]),
            (&json!("agent_response_start"), &json!(after))
        );
        // Whoever has the end is told it again.
        let expected = all[(place + 1).min(all.len() - 1)..].to_vec();
        assert_eq!(found[1..], expected, "after {after}");
    }
}

#[tokio::test]
async fn two_runs_on_one_socket_are_told_apart() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    let wait = Say::Until(Arc::clone(&gate));
    world.model("slow", [[vec![Say::text("one "), wait], Say::answer("more")].concat()]);
    let (slow, quick) = (world.agent("slow").await, world.agent("echo").await);
    let mut socket = Socket::open(&world).await;
    let say = |agent: &str, id: &str| {
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "request_id": id,
               "stream_tokens": true, "format": "v1"})
    };
    socket.send(say(&slow, "slow")).await;
    socket.send(say(&quick, "quick")).await;
    let mut frames = socket.until("run_end").await;
    let started = |frames: &[Value], id: &str| {
        let start = frames.iter().find(|frame| frame["request_id"] == id);
        text(&start.expect("both have begun")["run_id"]).to_owned()
    };
    let (slow, quick) = (started(&frames, "slow"), started(&frames, "quick"));
    assert_eq!(frames.last().unwrap()["run_id"], *quick, "the quick one is not held up");
    gate.notify_one();
    frames.extend(socket.until("run_end").await);
    for run in [&slow, &quick] {
        let of_run: Vec<&Value> = frames.iter().filter(|frame| frame["run_id"] == **run).collect();
        let data: Vec<Value> = of_run
            .iter()
            .filter(|frame| frame["type"] == "run_event")
            .map(|frame| frame["data"].clone())
            .collect();
        let expected: Vec<Value> = sse(&world, run, 0)
            .await
            .iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .filter(|data: &Value| data.is_object())
            .collect();
        assert_eq!(data, expected);
    }
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
async fn a_run_is_followed_once_and_no_longer_than_wanted() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    let wait = Say::Until(Arc::clone(&gate));
    world.model("slow", [[vec![Say::text("one "), wait], Say::answer("two")].concat()]);
    let agent = world.agent("slow").await;
    let mut socket = Socket::open(&world).await;
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    socket.send(say).await;
    let first = socket.until("agent_response").await;
    let (run, seen) = (first[0]["run_id"].clone(), first[1]["seq_id"].clone());
    socket.send(json!({"type": "unsubscribe", "run_id": run})).await;
    let gone = socket.frame().await;
    assert_eq!(gone, json!({"type": "unsubscribed", "run_id": run, "after_seq": seen}));
    socket.send(json!({"type": "unsubscribe", "run_id": run, "request_id": "x"})).await;
    let gone = socket.frame().await;
    assert_eq!((&gone["code"], &gone["request_id"]), (&json!("not_followed"), &json!("x")));
    for _ in 0..3 {
        socket.send(json!({"type": "resume", "run_id": run, "after_seq": 0})).await;
        let again = socket.until("agent_response").await;
        assert_eq!(again[1], first[1]);
    }
    gate.notify_one();
    let rest = socket.until("agent_response_end").await;
    let spoken: String = rest.iter().filter_map(|frame| frame["message"].as_str()).collect();
    assert_eq!(spoken, "two", "followed once, however often it was asked for");
    assert!(socket.is_quiet().await);
}

#[tokio::test]
async fn a_socket_follows_a_bounded_number_of_runs() {
    let world = World::new().await;
    let agents = 65;
    world.model("silent", vec![vec![Say::Hang]; agents]);
    let mut socket = Socket::open(&world).await;
    let mut last = String::new();
    for number in 0..agents {
        last = world.agent("silent").await;
        socket
            .send(
                json!({"type": "user_message", "agent_id": last, "message": "hi", "format": "v1"}),
            )
            .await;
        let frame = socket.frame().await;
        let wanted = if number < 64 { "run_start" } else { "agent_response_error" };
        assert_eq!(frame["type"], wanted, "{number}: {frame}");
    }
    let runs = world.get(&format!("/v1/runs/?agent_id={last}")).await.ok();
    assert_eq!(runs, json!([]), "what cannot be shown is not begun");
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
    use futures_util::SinkExt as _;
    socket.inner.send(Message::binary(br#"{"type": "ping"}"#.to_vec())).await.unwrap();
    assert_eq!(socket.frame().await["code"], "binary_frame");
    socket.send(json!({"type": "ping", "request_id": "p"})).await;
    assert_eq!(socket.frame().await, json!({"type": "pong", "request_id": "p"}));
    socket.inner.send(Message::Ping(b"here".to_vec().into())).await.unwrap();
    assert_eq!(socket.message().await, Some(Message::Pong(b"here".to_vec().into())));
}

#[tokio::test]
async fn the_events_of_an_agent_are_followed_beside_its_runs() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let mut socket = Socket::open(&world).await;
    socket
        .send(json!({"type": "subscribe", "agent_id": agent, "after": 0, "request_id": "s"}))
        .await;
    let begun = socket.frame().await;
    let wanted = json!({"type": "subscribed", "agent_id": agent, "after": 0, "request_id": "s"});
    assert_eq!(begun, wanted);
    socket.send(json!({"type": "user_message", "agent_id": agent, "message": "hi"})).await;
    let mut frames = Vec::new();
    while !frames.iter().any(|frame: &Value| frame["event"]["type"] == "run.ended") {
        frames.push(socket.frame().await);
    }
    let listed = world.get(&format!("/v1/agents/{agent}/events?limit=100")).await.ok();
    let seen: Vec<Value> = frames
        .iter()
        .filter(|frame| frame["type"] == "agent_event")
        .map(|frame| {
            assert_eq!(frame["agent_id"], agent.as_str());
            assert_eq!(frame["after"], frame["event"]["position"]);
            frame["event"].clone()
        })
        .collect();
    assert_eq!(json!(seen), listed);
    let last = seen.last().unwrap()["position"].clone();
    while frames.last().unwrap()["type"] != "agent_response_end"
        && !types(&frames).contains(&"agent_response_end")
    {
        frames.push(socket.frame().await);
    }

    socket.send(json!({"type": "unsubscribe", "agent_id": agent})).await;
    let gone = socket.frame().await;
    assert_eq!(gone, json!({"type": "unsubscribed", "agent_id": agent, "after": last}));
    world.say(&agent, "unheard").await.ok();
    assert!(socket.is_quiet().await);
    // Taken up where it was, and from now on.
    socket.send(json!({"type": "subscribe", "agent_id": agent, "after": last})).await;
    socket.frame().await;
    assert_eq!(socket.frame().await["event"]["type"], "run.accepted");
    socket.send(json!({"type": "subscribe", "agent_id": agent})).await;
    let again = socket.until("subscribed").await;
    assert!(again.last().unwrap()["after"].as_u64() > last.as_u64());
    assert!(socket.is_quiet().await, "nothing has happened since");
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
async fn every_spelling_of_the_address_leads_to_the_socket() {
    let world = World::new().await;
    for path in ["/ws", "/ws/", "/v1/ws", "/v1/ws/", "/api/ws", "/latest/ws"] {
        let mut socket = Socket::open_with(&world, path, &[], None).await.expect(path);
        socket.send(json!({"type": "ping"})).await;
        assert_eq!(socket.frame().await["type"], "pong");
    }
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_it_lacks() {
    let world = World::new().await;
    for path in ["/ws", "/v1/ws"] {
        let plain = world.get(path).await;
        assert_eq!((plain.status, &plain.body["code"]), (426, &json!("upgrade_required")));
        assert_eq!(plain.header("upgrade"), Some("websocket"));
        assert_eq!(plain.header("sec-websocket-version"), Some("13"));
        let posted = world.post(path, json!({})).await;
        assert_eq!((posted.status, &posted.body["code"]), (405, &json!("method_not_allowed")));
    }
    let old = Socket::open_with(&world, "/ws", &[("sec-websocket-version", "8")], None).await;
    let old = old.err().expect("version 8 is not spoken");
    assert_eq!((old.status, &old.body["code"]), (426, &json!("upgrade_required")));
    assert!(old.headers.contains(&("sec-websocket-version".to_owned(), "13".to_owned())));
    let keyless = Socket::open_with(&world, "/ws", &[("sec-websocket-key", "short")], None).await;
    let keyless = keyless.err().expect("a key has 16 bytes");
    assert_eq!((keyless.status, &keyless.body["code"]), (400, &json!("malformed_handshake")));
}

async fn status(world: &World, headers: &[(&str, &str)]) -> u16 {
    match Socket::open_with(world, "/ws", headers, None).await {
        Ok(_) => 101,
        Err(refused) => refused.status,
    }
}

#[tokio::test]
async fn pages_of_other_origins_get_no_socket_unless_configured() {
    let world = World::new().await;
    let own = format!("http://{}", world.server.address());
    assert_eq!(status(&world, &[("origin", &own)]).await, 101);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "file://"] {
        assert_eq!(status(&world, &[("origin", origin)]).await, 403, "{origin}");
    }
    assert_eq!(status(&world, &[("host", "evil.example")]).await, 403);
    let mut config = config();
    config.cors_origins.value = vec!["https://app.example".to_owned()];
    let world = World::with(config).await;
    assert_eq!(status(&world, &[("origin", "https://app.example")]).await, 101);
    assert_eq!(status(&world, &[("origin", "https://app.example.evil")]).await, 403);
}

#[tokio::test]
async fn a_password_opens_the_socket_by_header_or_protocol_and_never_by_the_address() {
    let mut config = config();
    config.password = Some(Sourced::default_of(Secret::new("correct horse")));
    let world = World::with(config).await;
    assert_eq!(status(&world, &[]).await, 401);
    assert_eq!(status(&world, &[("authorization", "Bearer correct horse")]).await, 101);
    assert_eq!(status(&world, &[("x-bare-password", "password correct horse")]).await, 101);
    assert_eq!(status(&world, &[("authorization", "Bearer wrong")]).await, 401);
    let offers = |protocol: &'static str| [("sec-websocket-protocol", protocol)];
    let offered = offers("retold, bearer.Y29ycmVjdCBob3JzZQ");
    let socket =
        Socket::open_with(&world, "/ws", &offered, None).await.expect("it is the password");
    assert_eq!(socket.protocol.as_deref(), Some("retold"), "the password is not sent back");
    assert_eq!(status(&world, &offers("retold, bearer.d3Jvbmc")).await, 401);
    for path in ["/ws?password=correct+horse", "/ws?token=correct%20horse", "/ws?access_token=x"] {
        let refused =
            Socket::open_with(&world, path, &[], None).await.err().expect("not in addresses");
        assert_eq!(refused.status, 401, "{path}");
    }
    // Where nothing is upgraded the protocol means nothing.
    let asked = world.ask(Method::GET, "/v1/agents/");
    let asked = asked.header("sec-websocket-protocol", "bearer.Y29ycmVjdCBob3JzZQ");
    assert_eq!(reply(asked).await.status, 401);
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

#[tokio::test]
async fn a_run_is_resumed_on_a_socket_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    world.model("busy", busy());
    let agent = world.agent("busy").await;
    let mut socket = Socket::open(&world).await;
    socket
        .send(json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true}))
        .await;
    let before = socket.until("agent_response_end").await;
    drop(socket);
    let world = world.restart(Duration::from_secs(1)).await;
    let mut socket = Socket::open(&world).await;
    socket.send(json!({"type": "resume", "run_id": before[0]["run_id"]})).await;
    assert_eq!(socket.until("agent_response_end").await[1..], before[1..]);
}
