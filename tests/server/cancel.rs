//! Cancelling: at every moment of a run, with the answer that tells what became of it.

use std::time::Duration;

use retold_models::testing::Say;
use serde_json::{Value, json};

use crate::support::{PATIENCE, World, kinds, list, message, shown, spoken, text};

async fn cancel(world: &World, agent: &str, body: Value) -> crate::support::Reply {
    tokio::time::timeout(PATIENCE, world.post(&format!("/v1/agents/{agent}/messages/cancel"), body))
        .await
        .expect("a cancel waits for nobody")
}

#[tokio::test]
async fn before_the_first_token_the_input_is_kept_and_the_provider_let_go() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::Hang], Say::answer("fine")]);
    let agent = world.agent("silent").await;
    let mut stream = world.stream_tokens(&agent, "hi").await;
    model.called(1).await;
    let told = cancel(&world, &agent, json!(null)).await.ok();
    model.cancelled(1).await;
    let events = stream.rest().await;
    assert_eq!(shown(&events), ["stop_reason", "usage_statistics", "[DONE]"]);
    let run = text(&events[0].json["run_id"]);
    assert_eq!(told, json!({ run: "cancelled" }));
    let stop = events.iter().find(|event| event.kind() == "stop_reason").unwrap();
    assert_eq!(stop.json["stop_reason"], "cancelled");
    let ended = world.get(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!(
        (&ended["status"], &ended["stop_reason"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    assert!(kinds(&history).starts_with(&["system_message", "user_message"]), "{history}");
    assert_eq!(world.say(&agent, "again").await.ok()["messages"][0]["content"], "fine");
}

#[tokio::test]
async fn in_mid_token_with_a_silent_provider_the_partial_text_is_kept_and_marked() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::text("half a "), Say::Hang], Say::answer("fine")]);
    let agent = world.agent("silent").await;
    let mut stream = world.stream_tokens(&agent, "hi").await;
    stream.until("assistant_message").await;
    let begun = std::time::Instant::now();
    cancel(&world, &agent, json!({})).await.ok();
    model.cancelled(1).await;
    let events = stream.rest().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "no token had to come");
    assert_eq!(shown(&events), ["stop_reason", "usage_statistics", "[DONE]"]);
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    assert_eq!(list(&history).last().map(|message| text(&message["content"])), Some("half a "));
    let marked: Vec<bool> =
        list(&history).iter().map(|message| message["interrupted"] == true).collect();
    assert_eq!(marked.last(), Some(&true), "what was cut short is marked: {history}");
    assert!(!marked[0], "and nothing else is: {history}");
    assert_eq!(world.say(&agent, "again").await.ok()["messages"][0]["content"], "fine");
}

#[tokio::test]
async fn a_waiting_run_is_cancelled_without_the_one_before_it() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::Hang]]);
    let agent = world.agent("silent").await;
    let path = format!("/v1/agents/{agent}/messages/async");
    let first = world.post(&path, message("1")).await.ok();
    let second = world.post(&path, message("2")).await.ok();
    model.called(1).await;
    let (first, second) = (text(&first["id"]), text(&second["id"]));
    let told = cancel(&world, &agent, json!({ "run_ids": [second] })).await.ok();
    assert_eq!(told, json!({ second: "cancelled" }));
    assert_eq!(world.get(&format!("/v1/runs/{second}")).await.ok()["status"], "cancelled");
    assert_eq!(world.get(&format!("/v1/runs/{first}")).await.ok()["status"], "running");
    cancel(&world, &agent, json!(null)).await.ok();
    assert_eq!(world.get(&format!("/v1/runs/{first}")).await.ok()["status"], "cancelled");
}

#[tokio::test]
async fn after_the_end_it_changes_nothing_and_may_be_repeated() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let answer = world.say(&agent, "hi").await.ok();
    let run = text(&answer["messages"][0]["run_id"]);
    for _ in 0..2 {
        assert_eq!(
            cancel(&world, &agent, json!({ "run_ids": [run] })).await.ok(),
            json!({ run: "cancelled" })
        );
    }
    assert_eq!(world.get(&format!("/v1/runs/{run}")).await.ok()["status"], "completed");
    let unknown = "run-123e4567-e89b-42d3-8456-426614174000";
    let told = cancel(&world, &agent, json!({ "run_ids": [unknown, "nonsense"] })).await.ok();
    assert_eq!(told, json!({ unknown: "failed", "nonsense": "failed" }));
}

#[tokio::test]
async fn with_nothing_under_way_it_is_a_conflict_not_to_be_repeated() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let refused = cancel(&world, &agent, json!(null)).await;
    assert_eq!((refused.status, refused.header("x-should-retry")), (409, Some("false")));
    assert_eq!(refused.body["detail"], format!("No active runs to cancel for agent {agent}"));
}

#[tokio::test]
async fn a_blocking_answer_of_a_cancelled_run_is_what_was_said_until_then() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::text("half"), Say::Hang]]);
    let agent = world.agent("silent").await;
    let (answer, _) = tokio::join!(world.say(&agent, "hi"), async {
        model.called(1).await;
        // The model's first piece is on its way; the cancel comes after it or not, and either is right.
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel(&world, &agent, json!(null)).await.ok()
    });
    let answer = answer.ok();
    assert_eq!(answer["stop_reason"]["stop_reason"], "cancelled");
    assert_eq!(kinds(&answer["messages"]), ["assistant_message"]);
    assert_eq!(answer["messages"][0]["content"], "half");
}

#[tokio::test]
async fn many_cancels_at_once_have_one_outcome() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::text("x"), Say::Hang]]);
    let agent = world.agent("silent").await;
    let mut stream = world.stream_tokens(&agent, "hi").await;
    let piece = stream.until("assistant_message").await;
    let run = text(&piece.json["run_id"]);
    let body = json!({ "run_ids": [run] });
    let told =
        futures_util::future::join_all((0..10).map(|_| cancel(&world, &agent, body.clone()))).await;
    for answer in told {
        assert_eq!(answer.ok(), json!({ run: "cancelled" }));
    }
    let events = stream.rest().await;
    assert_eq!(shown(&events), ["stop_reason", "usage_statistics", "[DONE]"]);
    assert_eq!(spoken(&events), "", "nothing comes after the cancel");
    assert_eq!(model.dropped(), 1);
}
