//! Following runs and agents: several on one socket, from any number on, and no longer than wanted.

use std::{sync::Arc, time::Duration};

use retold_models::{ModelErrorKind, testing::Say};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::busy;
use crate::{
    socket::{Socket, types},
    support::{World, text},
};

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
    for after in 0..=last {
        let resume = json!({"type": "resume", "run_id": run, "after_seq": after, "format": "v1"});
        socket.send(resume).await;
        let start = socket.frame().await;
        assert_eq!((&start["type"], &start["seq_id"]), (&json!("run_start"), &json!(after)));
        let found: Vec<String> = v1(&mut socket).await.into_iter().map(|(_, data)| data).collect();
        assert_eq!(found, sse(&world, &run, after).await, "after {after}");
    }
    for (format, after) in [("v1", last + 1), ("simple", last + 1), ("simple", u64::MAX)] {
        let resume = json!({"type": "resume", "run_id": run, "after_seq": after, "format": format,
                            "request_id": "r"});
        socket.send(resume).await;
        let refused = socket.frame().await;
        let says = format!("Cursor not found: {after}; the last number of {run} is {last}");
        assert_eq!(
            (&refused["type"], &refused["message"], &refused["code"], &refused["request_id"]),
            (&json!("server_error"), &json!(says), &json!("cursor_not_found"), &json!("r"))
        );
    }
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.frame().await["type"], "pong", "nothing is followed");
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
