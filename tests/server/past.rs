//! Reading the past: what was answered at a moment is answered again when it is asked for, byte for byte.

mod retold;
mod routes;

use retold_events::store::{EventStore as _, MemoryStore};
use serde_json::{Value, json};

use crate::support::{Reply, World, list, text};

fn with_as_of(path: &str, moment: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}as_of={moment}")
}

/// A world and the position its log has come to.
struct Logged {
    world: World,
    store: std::sync::Arc<MemoryStore>,
}

impl Logged {
    async fn new() -> Self {
        let store = std::sync::Arc::new(MemoryStore::new());
        Self { world: World::over(std::sync::Arc::clone(&store) as _).await, store }
    }

    fn now(&self) -> u64 {
        self.store.head().position.0
    }

    async fn at(&self, path: &str, moment: impl std::fmt::Display) -> Reply {
        self.world.get(&with_as_of(path, &moment.to_string())).await
    }
}

fn ids(answer: &Value) -> Vec<&str> {
    list(answer).iter().map(|item| text(&item["id"])).collect()
}

#[tokio::test]
async fn agents_that_share_a_block_both_see_it_as_it_was() {
    let logged = Logged::new().await;
    let world = &logged.world;
    let block = world.post("/v1/blocks", json!({ "label": "team", "value": "one" })).await.ok();
    let block = text(&block["id"]);
    let mut agents = Vec::new();
    for _ in 0..2 {
        agents.push(world.agent_with(json!({ "model": "test/echo", "block_ids": [block] })).await);
    }
    let mut moments = vec![(logged.now(), "one")];
    for value in ["two", "three"] {
        let path = format!("/v1/agents/{}/core-memory/blocks/team", agents[0]);
        world.patch(&path, json!({ "value": value })).await.ok();
        moments.push((logged.now(), value));
    }
    for (moment, value) in moments {
        assert_eq!(logged.at(&format!("/v1/blocks/{block}"), moment).await.ok()["value"], value);
        for agent in &agents {
            let path = format!("/v1/agents/{agent}");
            assert_eq!(logged.at(&path, moment).await.ok()["blocks"][0]["value"], value);
            let by_label = logged.at(&format!("{path}/core-memory/blocks/team"), moment).await;
            assert_eq!(by_label.ok()["value"], value);
            let blocks = logged.at(&format!("{path}/core-memory/blocks"), moment).await.ok();
            assert_eq!(blocks[0]["value"], value);
        }
    }
}

#[tokio::test]
async fn a_renamed_agent_has_its_old_name_and_a_deleted_one_is_there() {
    let logged = Logged::new().await;
    let world = &logged.world;
    world.post("/v1/blocks", json!({ "label": "x", "value": "first of all" })).await.ok();
    let nobody = logged.now();
    let agent = world.agent_with(json!({ "model": "test/echo", "name": "first" })).await;
    let path = format!("/v1/agents/{agent}");
    let born = logged.now();
    world.patch(&path, json!({ "name": "second" })).await.ok();
    let renamed = logged.now();
    world.say(&agent, "hi").await.ok();
    let said = logged.now();
    world.delete(&path).await.ok();
    let gone = logged.now();
    let messages = format!("{path}/messages");

    assert_eq!(logged.at(&path, born).await.ok()["name"], "first");
    assert_eq!(logged.at(&path, renamed).await.ok()["name"], "second");
    assert_eq!(ids(&logged.at("/v1/agents?name=first", born).await.ok()), [agent.as_str()]);
    assert_eq!(logged.at("/v1/agents?name=first", renamed).await.ok(), json!([]));
    assert_eq!(logged.at("/v1/agents/count", said).await.ok(), 1);
    assert_eq!(logged.at("/v1/agents/count", gone).await.ok(), 0);
    let before = list(&logged.at(&messages, renamed).await.ok()).len();
    let history = logged.at(&messages, said).await.ok();
    assert_eq!(list(&history).len(), before + 2);
    assert_eq!(list(&history).last().map(|last| text(&last["content"])), Some("echo: hi"));
    let now = world.get(&path).await;
    for missing in [now, logged.at(&path, gone).await, logged.at(&messages, gone).await] {
        assert_eq!(
            (missing.status, &missing.body["code"], &missing.body["detail"]),
            (404, &json!("agent_not_found"), &json!("Agent not found"))
        );
    }
    assert_eq!(logged.at(&path, nobody).await.status, 404, "it did not exist yet");
}

#[tokio::test]
async fn a_run_is_as_far_as_it_had_come_and_a_deleted_one_is_there() {
    let logged = Logged::new().await;
    let world = &logged.world;
    let model = world.model("slow", [vec![retold_models::testing::Say::Hang]]);
    let agent = world.agent("slow").await;
    let silent = logged.now();
    let run = world
        .post(&format!("/v1/agents/{agent}/messages/async"), crate::support::message("hi"))
        .await
        .ok();
    let path = format!("/v1/runs/{}", text(&run["id"]));
    model.called(1).await;
    let running = logged.now();
    world.post(&format!("/v1/agents/{agent}/messages/cancel"), json!(null)).await.ok();
    let ended = logged.now();
    world.delete(&path).await.ok();
    let deleted = logged.now();

    assert_eq!(logged.at(&path, running).await.ok()["status"], "running");
    assert_eq!(logged.at(&format!("{path}/steps"), running).await.ok(), json!([]));
    assert_eq!(list(&logged.at("/v1/runs/active", running).await.ok()).len(), 1);
    assert_eq!(logged.at(&path, ended).await.ok()["status"], "cancelled");
    assert_eq!(list(&logged.at(&format!("{path}/steps"), ended).await.ok()).len(), 1);
    assert_eq!(logged.at("/v1/runs/active", ended).await.ok(), json!([]));
    assert_eq!(world.get(&path).await.status, 404);
    assert_eq!(logged.at(&path, deleted).await.status, 404);
    assert_eq!(logged.at(&path, silent).await.status, 404, "it was not accepted yet");
}

#[tokio::test]
async fn a_page_of_the_past_leads_to_the_next_one_of_the_same_past() {
    let logged = Logged::new().await;
    let world = &logged.world;
    let mut agents = Vec::new();
    for _ in 0..5 {
        agents.push(world.agent("echo").await);
    }
    let then = logged.now();
    world.delete(&format!("/v1/agents/{}", agents[1])).await.ok();
    world.agent("echo").await;
    let mut walked = Vec::new();
    let mut after = String::new();
    loop {
        let page = logged.at(&format!("/v1/agents?order=asc&limit=2{after}"), then).await;
        let Some(next) = page.header("next-cursor").map(str::to_owned) else { break };
        walked.extend(ids(&page.ok()).into_iter().map(str::to_owned));
        after = format!("&after={next}");
    }
    assert_eq!(walked, agents);
}

#[tokio::test]
async fn a_time_is_told_as_the_position_it_stands_for() {
    let logged = Logged::new().await;
    let world = &logged.world;
    let agent = world.agent("echo").await;
    let path = format!("/v1/agents/{agent}");
    let born = logged.now();
    let created_at = text(&world.get(&path).await.ok()["created_at"]).to_owned();
    world.patch(&path, json!({ "name": "later" })).await.ok();
    let by_time = logged.at(&path, &created_at).await;
    assert_eq!(by_time.header("retold-as-of"), Some(born.to_string().as_str()));
    assert_eq!(by_time.text, logged.at(&path, born).await.text);
    assert_eq!(world.get(&path).await.header("retold-as-of"), None, "the present has no position");
    let missing = logged.at("/v1/agents/agent-123e4567-e89b-42d3-8456-426614174000", born).await;
    assert_eq!(missing.status, 404);
    assert_eq!(
        missing.header("retold-as-of"),
        Some(born.to_string().as_str()),
        "errors tell it, too"
    );
}

#[tokio::test]
async fn a_moment_that_has_not_been_is_refused_with_a_reason() {
    let logged = Logged::new().await;
    let world = &logged.world;
    let nothing = logged.at("/v1/agents", 1).await;
    assert_eq!(nothing.status, 400, "{}", nothing.text);
    let agent = world.agent("echo").await;
    let last = logged.now();
    for path in ["/v1/agents", "/v1/runs", "/v1/steps", &format!("/v1/agents/{agent}/messages")] {
        for (moment, status, says) in [
            ("0", 400, "the log begins with position 1"),
            ("9999", 400, &*format!("position 9999 has not happened yet; the last one is {last}")),
            ("1999-12-31T23:59:59Z", 400, "the log begins at "),
            ("2999-01-01", 400, "has not come yet"),
            (
                "yesterday",
                422,
                "a position in the log (a whole number from 1 on) or a time (RFC 3339",
            ),
            ("", 422, "'query', 'as_of'"),
        ] {
            let refused = logged.at(path, moment).await;
            assert_eq!(refused.status, status, "{path} {moment}: {}", refused.text);
            assert!(text(&refused.body["detail"]).contains(says), "{moment}: {}", refused.text);
            assert_eq!(refused.header("retold-as-of"), None);
        }
    }
    let write = world.patch(&with_as_of(&format!("/v1/agents/{agent}"), "9999"), json!({})).await;
    assert_eq!(write.status, 200, "only reading routes look at it");
}

#[tokio::test]
async fn every_reading_route_that_knows_the_past_says_so() {
    let world = World::new().await;
    let description = world.get("/openapi.json").await.ok();
    for path in [
        "/v1/agents",
        "/v1/agents/count",
        "/v1/agents/{agent_id}",
        "/v1/agents/{agent_id}/core-memory",
        "/v1/agents/{agent_id}/core-memory/blocks",
        "/v1/agents/{agent_id}/core-memory/blocks/{block_label}",
        "/v1/agents/{agent_id}/messages",
        "/v1/agents/{agent_id}/tools",
        "/v1/blocks",
        "/v1/blocks/count",
        "/v1/blocks/{block_id}",
        "/v1/blocks/{block_id}/agents",
        "/v1/runs",
        "/v1/runs/active",
        "/v1/runs/{run_id}",
        "/v1/runs/{run_id}/messages",
        "/v1/runs/{run_id}/metrics",
        "/v1/runs/{run_id}/steps",
        "/v1/runs/{run_id}/usage",
        "/v1/steps",
        "/v1/steps/{step_id}",
        "/v1/steps/{step_id}/messages",
        "/v1/steps/{step_id}/metrics",
        "/v1/tags",
    ] {
        let operation = &description["paths"][path]["get"];
        let named = list(&operation["parameters"]).iter().any(|it| it["name"] == "as_of");
        assert!(named, "{path}: {}", operation["parameters"]);
        assert!(operation["responses"]["400"].is_object(), "{path}");
    }
}
