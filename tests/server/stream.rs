//! Streams: their order, their ends, and taking them up again.

use std::{sync::Arc, time::Duration};

use retold_models::{Chunk, Finish, ModelErrorKind, testing::Say};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use crate::support::{Event, PATIENCE, Stream, World, config, message, reply, shown, spoken, text};

/// Thinks, speaks in two pieces.
fn thoughtful() -> Vec<Say> {
    let think = |text: &str| Say::Chunk(Chunk::Reasoning(text.to_owned()));
    vec![think("hm"), think("m"), Say::text("Hello "), Say::text("there"), Say::end(Finish::Stop)]
}

#[tokio::test]
async fn a_stream_of_whole_messages_has_the_documented_order() {
    let world = World::new().await;
    world.model("thoughtful", [thoughtful()]);
    let agent = world.agent("thoughtful").await;
    let mut stream =
        world.stream(&format!("/v1/agents/{agent}/messages/stream"), message("hi")).await;
    assert_eq!(stream.response.headers()["cache-control"], "no-cache");
    assert_eq!(stream.response.headers()["x-accel-buffering"], "no");
    let events = stream.rest().await;
    let kinds: Vec<&str> = events.iter().map(Event::kind).collect();
    let expected = [
        "ping",
        "reasoning_message",
        "assistant_message",
        "stop_reason",
        "usage_statistics",
        "[DONE]",
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|event| event.name.is_none()), "the SDKs drop named events");
    assert!(text(&events[0].json["run_id"]).starts_with("run-"));
    assert_eq!(events[1].json["reasoning"], "hmm");
    assert_eq!(events[2].json["content"], "Hello there");
    assert_eq!(events[1].json["id"], events[2].json["id"]);
    assert_ne!(events[1].json["otid"], events[2].json["otid"]);
    assert_eq!(events[3].json["stop_reason"], "end_turn");
    assert_eq!(events[4].json["total_tokens"], 15);
}

#[tokio::test]
async fn pieces_of_one_part_share_id_and_otid() {
    let world = World::new().await;
    world.model("thoughtful", [thoughtful()]);
    let agent = world.agent("thoughtful").await;
    let events = world.stream_tokens(&agent, "hi").await.rest().await;
    assert_eq!(events[0].kind(), "ping");
    assert_eq!(spoken(&events), "Hello there");
    let of = |kind: &str| -> Vec<(Value, Value)> {
        let pieces = events.iter().filter(|event| event.kind() == kind);
        pieces.map(|event| (event.json["id"].clone(), event.json["otid"].clone())).collect()
    };
    let (thoughts, words) = (of("reasoning_message"), of("assistant_message"));
    assert!(thoughts.windows(2).chain(words.windows(2)).all(|pair| pair[0] == pair[1]));
    assert_eq!(thoughts[0].0, words[0].0, "one message");
    assert_ne!(thoughts[0].1, words[0].1, "two parts");
    let kinds = shown(&events);
    assert_eq!(kinds[kinds.len() - 3..], ["stop_reason", "usage_statistics", "[DONE]"]);
    assert_eq!(kinds.iter().filter(|kind| **kind == "[DONE]").count(), 1);
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    assert_eq!(history[3]["id"], words[0].0, "the id is the one in the history");
    assert_eq!(history[3]["otid"], words[0].1);
}

#[tokio::test]
async fn tool_calls_stream_in_pieces_and_their_returns_whole() {
    let world = World::new().await;
    world.model(
        "tools",
        [
            Say::call("c1", "conversation_search", r#"{"query": "tea"}"#),
            Say::answer("Nothing found."),
        ],
    );
    let agent = world.agent("tools").await;
    let events = world.stream_tokens(&agent, "search").await.rest().await;
    let calls: Vec<&Value> = events
        .iter()
        .filter(|event| event.kind() == "tool_call_message")
        .map(|event| &event.json["tool_call"])
        .collect();
    assert!(calls.iter().all(|call| call["tool_call_id"] == "c1"));
    assert_eq!(
        calls.iter().filter(|call| call["name"] == "conversation_search").count(),
        1,
        "the name comes once"
    );
    let arguments: String = calls.iter().filter_map(|call| call["arguments"].as_str()).collect();
    assert_eq!(arguments, r#"{"query": "tea"}"#);
    let returns: Vec<&Event> =
        events.iter().filter(|event| event.kind() == "tool_return_message").collect();
    assert_eq!((returns.len(), &returns[0].json["tool_call_id"]), (1, &json!("c1")));
    assert_eq!(spoken(&events), "Nothing found.");
}

#[tokio::test]
async fn a_stream_is_taken_up_after_any_event_by_post_and_get() {
    let world = World::new().await;
    world.model("thoughtful", [thoughtful()]);
    let agent = world.agent("thoughtful").await;
    let all = world.stream_tokens(&agent, "hi").await.rest().await;
    let run = text(&all[0].json["run_id"]).to_owned();
    let pieces: Vec<&Event> = all.iter().filter(|event| event.kind() != "ping").collect();
    let last = pieces
        .iter()
        .filter_map(|event| event.json["seq_id"].as_u64())
        .max()
        .expect("events are numbered");
    // The end has a number, too, but no frame of it shows it.
    for after in 0..=last + 1 {
        let path = format!("/v1/runs/{run}/stream");
        let posted = world
            .stream(&path, json!({ "starting_after": after, "include_pings": false }))
            .await
            .rest()
            .await;
        let got = world.ask(
            reqwest::Method::GET,
            &format!("{path}?starting_after={after}&include_pings=false"),
        );
        let got = Stream::of(got.send().await.unwrap()).rest().await;
        let expected: Vec<&Event> = pieces
            .iter()
            .copied()
            .filter(|event| event.json["seq_id"].as_u64().is_none_or(|seq| seq > after))
            .collect();
        assert_eq!(posted.iter().collect::<Vec<_>>(), expected, "after {after}");
        assert_eq!(got, posted);
    }
}

#[tokio::test]
async fn a_number_that_a_run_has_not_come_to_is_not_found_whether_it_has_ended_or_not() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    let script = vec![
        Say::text("one "),
        Say::Until(Arc::clone(&gate)),
        Say::text("two"),
        Say::end(Finish::Stop),
    ];
    world.model("slow", [script]);
    let agent = world.agent("slow").await;
    let mut talking = world.stream_tokens(&agent, "hi").await;
    let piece = talking.until("assistant_message").await.json;
    let (run, seq) = (text(&piece["run_id"]).to_owned(), piece["seq_id"].as_u64().unwrap());
    let path = format!("/v1/runs/{run}/stream");
    let refused = async |after: u64, last: u64| {
        let got = world.get(&format!("{path}?starting_after={after}")).await;
        let posted = world.post(&path, json!({ "starting_after": after })).await;
        for answer in [got, posted] {
            assert_eq!(answer.status, 404, "{after}: {}", answer.text);
            let says = format!("Cursor not found: {after}; the last number of {run} is {last}");
            assert_eq!(text(&answer.body["detail"]), says);
            assert_eq!(answer.body["code"], "cursor_not_found");
        }
    };
    for after in [seq + 1, seq + 1000, i64::MAX as u64] {
        refused(after, seq).await;
    }
    let mut tail = world.stream(&path, json!({ "starting_after": seq })).await;
    gate.notify_one();
    assert_eq!(spoken(&tail.rest().await), "two");
    let all = world.stream(&path, json!({})).await.rest().await;
    let last = all.iter().filter_map(|event| event.json["seq_id"].as_u64()).max().unwrap();
    // One more than what was shown: the end.
    for after in [last + 2, last + 1000, i64::MAX as u64] {
        refused(after, last + 1).await;
    }
    let end = world.stream(&path, json!({ "starting_after": last + 1 })).await.rest().await;
    assert_eq!(shown(&end), ["stop_reason", "usage_statistics", "[DONE]"]);
}

#[tokio::test]
async fn a_live_run_is_followed_from_the_middle_by_any_number_of_readers() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    world.model(
        "slow",
        [vec![
            Say::text("one "),
            Say::Until(Arc::clone(&gate)),
            Say::text("two"),
            Say::end(Finish::Stop),
        ]],
    );
    let agent = world.agent("slow").await;
    let mut first = world.stream_tokens(&agent, "hi").await;
    let piece = first.until("assistant_message").await;
    let (run, seq) = (text(&piece.json["run_id"]), piece.json["seq_id"].as_u64().unwrap());
    let path = format!("/v1/runs/{run}/stream");
    let mut whole = world.stream(&path, json!({})).await;
    let mut tail = world.stream(&path, json!({ "starting_after": seq })).await;
    whole.until("assistant_message").await;
    gate.notify_one();
    assert_eq!(spoken(&first.rest().await), "two");
    assert_eq!(spoken(&whole.rest().await), "two");
    assert_eq!(spoken(&tail.rest().await), "two");
}

#[tokio::test]
async fn a_stream_outlives_the_server_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    world.model("thoughtful", [thoughtful()]);
    let agent = world.agent("thoughtful").await;
    let before = world.stream_tokens(&agent, "hi").await.rest().await;
    let run = text(&before[0].json["run_id"]).to_owned();
    let world = world.restart(Duration::from_secs(1)).await;
    let after = world
        .stream(&format!("/v1/runs/{run}/stream"), json!({ "starting_after": 0 }))
        .await
        .rest()
        .await;
    assert_eq!(after[1..], before[1..], "bytes at a cursor never change");
    let answer = world.say(&agent, "again").await;
    assert_eq!(answer.status, 500, "the scripts are used up: {}", answer.text);
}

#[tokio::test]
async fn a_run_that_the_end_of_the_server_cuts_short_is_told_so_and_keeps_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    world.model("silent", [vec![Say::text("half a "), Say::Hang]]);
    let agent = world.agent("silent").await;
    let mut stream = world.stream_tokens(&agent, "hi").await;
    let piece = stream.until("assistant_message").await;
    let run = text(&piece.json["run_id"]).to_owned();
    let (world, events) = tokio::join!(world.restart(Duration::from_millis(50)), stream.rest());
    assert_eq!(events.last().map(Event::kind), Some("[DONE]"));
    let ended = world.ended(&run).await;
    assert_eq!(
        (&ended["status"], &ended["metadata"]["interrupted"]),
        (&json!("failed"), &json!(true))
    );
    let replayed = world.stream(&format!("/v1/runs/{run}/stream"), json!({})).await.rest().await;
    assert_eq!(spoken(&replayed), "half a ");
}

#[tokio::test]
async fn a_stream_that_outlasts_the_server_is_told_where_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    let gate = Arc::new(Notify::new());
    let first = [vec![Say::text("one "), Say::Until(Arc::clone(&gate))], Say::answer("two")];
    world.model("slow", [first.concat(), Say::answer("later")]);
    let agent = world.agent("slow").await;
    let mut running = world.stream_tokens(&agent, "now").await;
    running.until("assistant_message").await;
    // This one waits for the other, and then for the next start.
    let mut waiting = world.stream_tokens(&agent, "then").await;
    let run = text(&waiting.until("ping").await.json["run_id"]).to_owned();
    let opening = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gate.notify_one();
    };
    let (world, (), ended, cut) = tokio::join!(
        world.restart(Duration::from_secs(10)),
        opening,
        running.rest(),
        waiting.rest()
    );
    assert_eq!(spoken(&ended), "two");
    assert_eq!(shown(&ended).last(), Some(&"[DONE]"));
    assert_eq!(shown(&cut), ["stop_reason", "error_message", "[DONE]"]);
    let error = &cut[1].json;
    assert_eq!(
        (&error["error_type"], &error["starting_after"], &error["run_id"]),
        (&json!("stream_incomplete"), &json!(0), &json!(run))
    );
    let body = json!({ "starting_after": error["starting_after"] });
    let rest = world.stream(&format!("/v1/runs/{run}/stream"), body).await.rest().await;
    assert_eq!(spoken(&rest), "later");
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_cut_and_goes_on_where_it_was() {
    let mut config = config();
    config.stall_timeout.value = Duration::from_millis(500);
    let world = World::with(config).await;
    let piece = "x".repeat(64 << 10);
    let mut flood: Vec<Say> = (0..160).map(|_| Say::text(&piece)).collect();
    flood.push(Say::end(Finish::Stop));
    world.model("flood", [flood]);
    let agent = world.agent("flood").await;
    let mut first = world.stream_tokens(&agent, "hi").await;
    let run = text(&first.until("ping").await.json["run_id"]).to_owned();
    drop(first);
    world.ended(&run).await;

    let mut stalled = crate::socket::connect(world.server.address(), Some(8192)).await;
    let ask = format!("GET /v1/runs/{run}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stalled.write_all(ask.as_bytes()).await.unwrap();
    world.has_cut(1).await;
    let mut all = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(PATIENCE, stalled.read_to_end(&mut all)).await.expect("it is cut");
    assert!(!all.windows(6).any(|end| end == b"[DONE]"), "not all of it was taken");
}

#[tokio::test]
async fn silence_is_broken_by_pings_with_the_last_number() {
    let mut config = config();
    config.keepalive_interval.value = Duration::from_millis(30);
    let world = World::with(config).await;
    let gate = Arc::new(Notify::new());
    world.model(
        "slow",
        [[vec![Say::text("a"), Say::Until(Arc::clone(&gate))], Say::answer("b")].concat()],
    );
    let agent = world.agent("slow").await;
    let mut stream = world.stream_tokens(&agent, "hi").await;
    let piece = stream.until("assistant_message").await;
    for _ in 0..3 {
        let ping = stream.next().await.unwrap();
        assert_eq!(
            (ping.kind(), &ping.json["seq_id"], &ping.json["run_id"]),
            ("ping", &piece.json["seq_id"], &piece.json["run_id"])
        );
        assert!(text(&ping.json["id"]).starts_with("ping-"));
    }
    gate.notify_one();
    assert_eq!(stream.rest().await.last().map(Event::kind), Some("[DONE]"));
}

#[tokio::test]
async fn a_failed_run_ends_its_stream_with_a_named_error() {
    let world = World::new().await;
    world.model("poor", [Say::failure(ModelErrorKind::RateLimit, "slow down")]);
    let agent = world.agent("poor").await;
    let events = world.stream_tokens(&agent, "hi").await.rest().await;
    assert_eq!(shown(&events), ["stop_reason", "error_message", "[DONE]"]);
    let [.., stop, error, _] = &events[..] else { panic!("{events:?}") };
    assert_eq!(stop.json["stop_reason"], "llm_api_error");
    assert_eq!(
        (error.name.as_deref(), &error.json["error_type"]),
        (Some("error"), &json!("llm_rate_limit"))
    );
    assert!(error.json["run_id"].is_string() && error.json["message"].is_string());
}

#[tokio::test]
async fn a_failure_before_the_first_event_is_a_plain_error_where_nothing_was_promised() {
    let world = World::new().await;
    world.model("poor", [Say::failure(ModelErrorKind::RateLimit, "slow down")]);
    let agent = world.agent("poor").await;
    let mut body = message("hi");
    body["include_pings"] = false.into();
    let refused = world.post(&format!("/v1/agents/{agent}/messages/stream"), body).await;
    assert_eq!((refused.status, &refused.body["error"]["type"]), (429, &json!("llm_rate_limit")));
}

#[tokio::test]
async fn the_streaming_flag_streams_on_the_blocking_route() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let mut body = message("hi");
    body["streaming"] = true.into();
    let events =
        world.stream(&format!("/v1/agents/{agent}/messages"), body.clone()).await.rest().await;
    assert_eq!(shown(&events), ["assistant_message", "stop_reason", "usage_statistics", "[DONE]"]);
    body["streaming"] = false.into();
    body["stream_tokens"] = true.into();
    assert_eq!(world.post(&format!("/v1/agents/{agent}/messages"), body).await.status, 422);
}

#[tokio::test]
async fn whoever_reads_the_end_may_send_at_once() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    for number in 0..20 {
        let mut stream = world.stream_tokens(&agent, &format!("{number}")).await;
        stream.until("[DONE]").await;
        let runs = world.get(&format!("/v1/runs/?agent_id={agent}&active=true")).await.ok();
        assert_eq!(runs, json!([]), "the run has ended when its end is read");
    }
}

#[tokio::test]
async fn the_stream_of_no_run_is_not_found() {
    let world = World::new().await;
    for run in ["run-123e4567-e89b-42d3-8456-426614174000", "run-1", "x"] {
        let got = reply(world.ask(reqwest::Method::GET, &format!("/v1/runs/{run}/stream"))).await;
        assert_eq!((got.status, &got.body["code"]), (404, &json!("run_not_found")), "{run}");
    }
}
