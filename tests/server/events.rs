//! The log of events over HTTP: listed and followed, of everything, of an agent, of a run.

mod secrets;
mod tail;

use std::time::Duration;

use reqwest::Method;
use retold_models::testing::Say;
use serde_json::{Value, json};

use self::tail::{Frame, Tail};
use crate::support::{World, config, list, message, text};

/// The events of a turn that calls no tool.
const TURN: [&str; 5] = ["run.accepted", "run.started", "step.started", "step.ended", "run.ended"];

fn types(events: &Value) -> Vec<&str> {
    list(events).iter().map(|event| text(&event["type"])).collect()
}

fn positions(events: &Value) -> Vec<u64> {
    list(events).iter().map(|event| event["position"].as_u64().unwrap_or_default()).collect()
}

fn kinds(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(Frame::kind).collect()
}

impl World {
    async fn events(&self, path: &str) -> Value {
        self.get(path).await.ok()
    }

    async fn tail(&self, path: &str) -> Tail {
        Tail::open(self.ask(Method::GET, path)).await
    }

    /// An agent with a block that has said something, and the run.
    async fn talker(&self) -> (String, String) {
        let block = json!({ "label": "human", "value": "Ada" });
        let agent = self
            .agent_with(json!({ "model": "test/echo", "name": "Ada", "memory_blocks": [block] }))
            .await;
        let answer = self.say(&agent, "hi").await.ok();
        (agent, text(&answer["messages"][0]["run_id"]).to_owned())
    }
}

#[tokio::test]
async fn an_agents_events_tell_what_happened_to_it_oldest_first() {
    let world = World::new().await;
    let (agent, run) = world.talker().await;
    let reply = world.get(&format!("/v1/agents/{agent}/events")).await;
    assert_eq!((reply.header("prev-cursor"), reply.header("next-cursor")), (Some("2"), Some("7")));
    let events = reply.ok();
    assert_eq!(types(&events), [&["agent.created"], &TURN[..]].concat());
    for (event, sequence) in list(&events).iter().zip(1..) {
        assert_eq!(event["sequence"], sequence);
        assert_eq!((&event["agent_id"], &event["stream"]), (&json!(agent), &json!(agent)));
        assert_eq!(event["block_id"], Value::Null);
        assert_eq!(text(&event["id"]).len(), 26, "a ULID: {event}");
        assert!(text(&event["time"]).ends_with('Z'));
    }
    assert_eq!((&events[0]["run_id"], &events[1]["run_id"]), (&Value::Null, &json!(run)));
    // Events of one commit name the one before them as their cause.
    assert_eq!(events[2]["causation_id"], events[1]["id"]);
    assert_eq!(events[0]["payload"]["config"]["name"], "Ada");
    assert_eq!(events[1]["payload"]["input"][0]["content"][0]["text"], "hi");
    let ended = &events[4]["payload"];
    assert_eq!(ended["messages"][0]["content"][0]["text"], "echo: hi");
    assert_eq!(ended["usage"]["total_tokens"], 15);
    assert_eq!(text(&ended["prompt_hash"]).len(), 32);
    assert!(ended["timing"]["model_ns"].as_u64() > Some(0), "{ended}");
    assert_eq!(events[5]["payload"]["stop_reason"], "end_turn");
}

#[tokio::test]
async fn the_whole_log_has_blocks_and_agents_and_no_gap() {
    let world = World::new().await;
    let (agent, _) = world.talker().await;
    let all = world.events("/v1/events").await;
    assert_eq!(positions(&all), (1..=7).collect::<Vec<u64>>());
    assert_eq!(types(&all)[..2], ["block.created", "agent.created"]);
    let (block, made) = (&all[0], &all[1]);
    assert_eq!((&block["agent_id"], &block["stream"]), (&Value::Null, &block["block_id"]));
    assert_eq!(made["payload"]["block_ids"], json!([block["block_id"]]));
    assert_eq!(block["payload"]["author"], json!({ "type": "client" }));
    assert_eq!(block["payload"]["block"]["value"], "Ada");
    assert_eq!(made["stream"], json!(agent));
}

#[tokio::test]
async fn pages_follow_one_another_both_ways() {
    let world = World::new().await;
    let (agent, run) = world.talker().await;
    let other = world.agent("echo").await;
    world.say(&other, "hello").await.ok();
    world.say(&agent, "again").await.ok();
    for path in [
        "/v1/events".to_owned(),
        format!("/v1/agents/{agent}/events"),
        format!("/v1/runs/{run}/events"),
    ] {
        let whole = positions(&world.events(&path).await);
        assert!(whole.is_sorted() && whole.len() >= 5, "{whole:?}");
        for limit in [1, 2, 3, 1000] {
            let (mut forwards, mut after) = (Vec::new(), 0);
            loop {
                let page = world.events(&format!("{path}?after={after}&limit={limit}")).await;
                let page = positions(&page);
                let Some(&last) = page.last() else { break };
                assert!(page.len() <= limit);
                (after, forwards) = (last, [forwards, page].concat());
            }
            assert_eq!(forwards, whole, "{path} by {limit}");
            let (mut backwards, mut before) = (Vec::new(), "latest".to_owned());
            loop {
                let page = world.events(&format!("{path}?before={before}&limit={limit}")).await;
                let page = positions(&page);
                let Some(first) = page.first() else { break };
                (before, backwards) = (first.to_string(), [page, backwards].concat());
            }
            assert_eq!(backwards, whole, "{path} back by {limit}");
        }
        assert_eq!(positions(&world.events(&format!("{path}?after=latest")).await), [0; 0]);
        let between = format!("{path}?after={}&before={}", whole[0], whole[3]);
        assert_eq!(positions(&world.events(&between).await), whole[1..3]);
    }
}

#[tokio::test]
async fn types_are_filtered_and_unknown_ones_are_answered_with_the_known() {
    let world = World::new().await;
    let (agent, _) = world.talker().await;
    world.say(&agent, "again").await.ok();
    let path = format!("/v1/agents/{agent}/events");
    let some = world.events(&format!("{path}?type=run.ended&type=agent.created&limit=2")).await;
    assert_eq!(types(&some), ["agent.created", "run.ended"]);
    let both = world.events(&format!("{path}?type=run.accepted,run.ended")).await;
    assert_eq!(types(&both), ["run.accepted", "run.ended", "run.accepted", "run.ended"]);
    let last = world.events(&format!("{path}?type=run.accepted&before=latest&limit=1")).await;
    assert_eq!(last[0]["payload"]["input"][0]["content"][0]["text"], "again");
    assert_eq!(types(&world.events("/v1/events?type=block.deleted").await), [""; 0]);
    let refused = world.get(&format!("{path}?type=run.exploded")).await;
    assert_eq!(refused.status, 422);
    for known in ["run.exploded", "agent.created", "step.feedback_given", "block.forked"] {
        assert!(text(&refused.body["detail"]).contains(known), "{}", refused.text);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let world = World::new().await;
    let (agent, run) = world.talker().await;
    let nobody = "agent-123e4567-e89b-42d3-8456-426614174000";
    for (path, status, says) in [
        ("/v1/events?after=x".to_owned(), 422, "'latest'"),
        ("/v1/events?after=-1".to_owned(), 422, "after"),
        ("/v1/events?limit=0".to_owned(), 422, "limit"),
        ("/v1/events?after=8".to_owned(), 404, "Position not found: 8"),
        (format!("/v1/agents/{nobody}/events"), 404, "Agent not found"),
        (format!("/v1/agents/{nobody}/events?before=latest"), 404, "Agent not found"),
        ("/v1/agents/nonsense/events".to_owned(), 422, "agent-{uuid4}"),
        ("/v1/runs/nonsense/events".to_owned(), 404, "Run not found"),
        (format!("/v1/runs/{run}/events?after=99"), 404, "Position not found: 99"),
    ] {
        let refused = world.get(&path).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text);
        assert!(text(&refused.body["detail"]).contains(says), "{path}: {}", refused.text);
    }
    let path = format!("/v1/agents/{agent}/events");
    for (query, header, says) in [
        ("?before=latest", "", "a stream has no end"),
        ("", "nonsense", "last-event-id"),
        ("", "99", "Position"),
    ] {
        let request = world.ask(Method::GET, &format!("{path}{query}"));
        let request = request.header("accept", "text/event-stream").header("last-event-id", header);
        let refused = crate::support::reply(request).await;
        assert!([404, 422].contains(&refused.status), "{}", refused.text);
        assert!(text(&refused.body["detail"]).contains(says), "{}", refused.text);
    }
    // As for every list, more than a page is no mistake.
    assert_eq!(list(&world.events("/v1/events?limit=5000&before=1000000").await).len(), 7);
}

#[tokio::test]
async fn a_deleted_agent_stays_readable() {
    let world = World::new().await;
    let (agent, run) = world.talker().await;
    world.delete(&format!("/v1/agents/{agent}")).await.ok();
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.status, 404);
    let events = world.events(&format!("/v1/agents/{agent}/events")).await;
    assert_eq!(types(&events).last(), Some(&"agent.deleted"));
    assert_eq!(list(&events)[6]["payload"], json!({}));
    assert_eq!(types(&world.events(&format!("/v1/runs/{run}/events")).await), TURN);
}

#[tokio::test]
async fn a_run_has_its_own_events_and_the_edits_its_tools_made() {
    let world = World::new().await;
    world.model(
        "memory",
        [
            Say::answer("before"),
            Say::call("c1", "memory_insert", r#"{"label": "human", "new_string": "likes tea"}"#),
            Say::answer("noted"),
            Say::answer("after"),
        ],
    );
    let block = json!({ "label": "human", "value": "Ada" });
    let agent = world.agent_with(json!({ "model": "test/memory", "memory_blocks": [block] })).await;
    let run_of = |answer: Value| text(&answer["messages"][0]["run_id"]).to_owned();
    let before = run_of(world.say(&agent, "one").await.ok());
    let run = run_of(world.say(&agent, "I like tea").await.ok());
    let after = run_of(world.say(&agent, "three").await.ok());
    let path = format!("/v1/runs/{run}/events");
    let events = world.events(&path).await;
    let expected = [
        "run.accepted",
        "run.started",
        "step.started",
        "block.edited",
        "step.ended",
        "step.started",
        "step.ended",
        "run.ended",
    ];
    assert_eq!(types(&events), expected);
    let edited = &events[3]["payload"];
    assert_eq!(edited["block"]["value"], "Ada\nlikes tea");
    assert_eq!(
        edited["author"],
        json!({ "type": "agent", "agent_id": agent, "run_id": run, "tool": "memory_insert" })
    );
    assert_eq!(types(&world.events(&format!("/v1/runs/{before}/events")).await), TURN);
    assert_eq!(types(&world.events(&format!("/v1/runs/{after}/events")).await), TURN);
    // A cursor may stand within the step.
    let edit = events[3]["position"].as_u64().unwrap_or_default();
    for (after, first) in [(edit - 1, "block.edited"), (edit, "step.ended")] {
        let rest = world.events(&format!("{path}?after={after}&limit=1")).await;
        assert_eq!(types(&rest), [first]);
    }
    // A judgement comes later, behind another run, and belongs to this one.
    let step = text(&events[4]["payload"]["step_id"]).to_owned();
    world
        .patch(&format!("/v1/steps/{step}/feedback"), json!({ "feedback": "positive" }))
        .await
        .ok();
    let judged = world.events(&path).await;
    assert_eq!(types(&judged), [&expected[..], &["step.feedback_given"]].concat());
}

#[tokio::test]
async fn a_follower_gets_what_was_then_what_comes() {
    let world = World::new().await;
    let (agent, _) = world.talker().await;
    let path = format!("/v1/agents/{agent}/events");
    let mut tail = world.tail(&path).await;
    let mut all = world.tail("/v1/events?after=latest").await;
    assert_eq!(tail.frame().await.and_then(|frame| frame.comment).as_deref(), Some("open"));
    let past = tail.until("run.ended").await;
    let listed = world.events(&path).await;
    let shown: Vec<Value> = past.iter().map(|frame| frame.data.clone()).collect();
    assert_eq!(json!(shown), listed, "a stream shows what a list shows");
    assert_eq!(past.iter().filter_map(|frame| frame.id).collect::<Vec<_>>(), positions(&listed));
    let other = world.agent("echo").await;
    world.say(&other, "hello").await.ok();
    world.say(&agent, "again").await.ok();
    assert_eq!(kinds(&tail.until("run.ended").await), TURN);
    let live = all.until("run.ended").await;
    assert_eq!(live[0].data["stream"], json!(other));
    assert_eq!(kinds(&live), [&["agent.created"], &TURN[..]].concat());
}

#[tokio::test]
async fn a_stream_is_taken_up_where_it_was_left_and_the_header_of_a_reconnection_wins() {
    let world = World::new().await;
    let (agent, _) = world.talker().await;
    let path = format!("/v1/agents/{agent}/events");
    let whole = positions(&world.events(&path).await);
    let first = |query: String, header: &'static str| {
        let request = world.ask(Method::GET, &format!("{path}{query}"));
        let request = request.header("last-event-id", header);
        async move { Tail::open(request).await.next().await.and_then(|frame| frame.id) }
    };
    assert_eq!(first(String::new(), "4").await, Some(whole[3]));
    assert_eq!(first("?after=2".to_owned(), "4").await, Some(whole[3]));
    assert_eq!(first("?after=2".to_owned(), "").await, Some(whole[1]));
    assert_eq!(first("?after=0".to_owned(), "").await, Some(whole[0]));
    assert_eq!(first("?type=step.ended".to_owned(), "4").await, Some(whole[4]));
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::Hang]]);
    let agent = world.agent("silent").await;
    let run = world.post(&format!("/v1/agents/{agent}/messages/async"), message("hi")).await.ok();
    let path = format!("/v1/runs/{}/events", text(&run["id"]));
    let mut tail = world.tail(&path).await;
    assert_eq!(kinds(&tail.until("step.started").await), TURN[..3]);
    model.called(1).await;
    world.post(&format!("/v1/agents/{agent}/messages/cancel"), json!(null)).await.ok();
    let (live, end) = tail.rest().await;
    assert_eq!(kinds(&live), ["run.cancel_requested", "step.ended", "run.ended"]);
    assert_eq!((&end.data["reason"], end.id), (&json!("run_ended"), live[2].id));
    // Of an ended run there is nothing to wait for.
    let (whole, _) = world.tail(&path).await.rest().await;
    assert_eq!(whole.len(), 6);
    let (nothing, end) = world.tail(&format!("{path}?after=latest")).await.rest().await;
    assert!(nothing.is_empty() && end.data["reason"] == "run_ended");
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives_and_how_far_it_is() {
    let mut config = config();
    config.keepalive_interval.value = Duration::from_millis(20);
    let world = World::with(config).await;
    let (agent, _) = world.talker().await;
    let mut tail = world.tail(&format!("/v1/agents/{agent}/events?type=agent.deleted")).await;
    loop {
        // Nothing of what happened was wanted, and still the cursor has come to its end.
        let frame = tail.frame().await.expect("signs of life");
        assert!(frame.data.is_null(), "{frame:?}");
        if frame.comment.as_deref() == Some("ping") && frame.id == Some(7) {
            break;
        }
    }
    world.delete(&format!("/v1/agents/{agent}")).await.ok();
    assert_eq!(kinds(&tail.until("agent.deleted").await), ["agent.deleted"]);
}

#[tokio::test]
async fn a_server_that_stops_says_where_to_go_on_and_after_a_restart_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    let (agent, _) = world.talker().await;
    let path = format!("/v1/agents/{agent}/events");
    let mut tail = world.tail(&path).await;
    let past = tail.until("step.started").await;
    let (world, (rest, end)) =
        tokio::join!(world.restart(Duration::ZERO), async { tail.rest().await });
    assert_eq!(kinds(&rest), ["step.ended", "run.ended"]);
    assert_eq!((&end.data["reason"], end.id), (&json!("shutting_down"), Some(7)));
    assert_eq!(past[0].id, Some(2));
    world.say(&agent, "again").await.ok();
    let mut tail = world.tail(&format!("{path}?after={}", end.data["after"])).await;
    let later = tail.until("run.ended").await;
    assert_eq!(kinds(&later), TURN);
    assert_eq!((later[0].id, &later[0].data["sequence"]), (Some(8), &json!(7)));
}

#[tokio::test]
async fn what_a_drain_ends_is_told_before_the_stream_ends() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::Hang]]);
    let agent = world.agent("silent").await;
    let mut tail = world.tail(&format!("/v1/agents/{agent}/events?after=latest")).await;
    world.post(&format!("/v1/agents/{agent}/messages/async"), message("hi")).await.ok();
    model.called(1).await;
    let (world, (told, end)) =
        tokio::join!(world.restart(Duration::ZERO), async { tail.rest().await });
    assert_eq!(kinds(&told), TURN);
    assert_eq!(told[4].data["payload"]["error"]["error_type"], "interrupted");
    assert_eq!(end.id, told[4].id);
    drop(world);
}

#[tokio::test]
async fn followers_hear_of_their_own_agent_while_others_are_busy() {
    let world = World::new().await;
    let (mut tails, mut agents) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let agent = world.agent("echo").await;
        tails.push(world.tail(&format!("/v1/agents/{agent}/events?after=latest")).await);
        agents.push(agent);
    }
    for agent in agents.iter().rev() {
        world.say(agent, "hi").await.ok();
    }
    for (tail, agent) in tails.iter_mut().zip(&agents) {
        let heard = tail.until("run.ended").await;
        assert_eq!(kinds(&heard), TURN);
        assert!(heard.iter().all(|frame| frame.data["agent_id"] == json!(agent)));
    }
}
