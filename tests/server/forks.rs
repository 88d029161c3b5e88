//! Forks of agents, and the history of blocks, as clients see them.

use std::time::Duration;

use retold_models::testing::Say;
use serde_json::{Value, json};

use crate::support::{World, kinds, list, text};

/// What was said, without system messages.
fn said(messages: &Value) -> Vec<(&str, &str)> {
    let spoken =
        list(messages).iter().filter(|message| message["message_type"] != "system_message");
    spoken.map(|message| (text(&message["message_type"]), text(&message["content"]))).collect()
}

impl World {
    /// A position at which the agent is as it is now: that of its newest event, or of one after it.
    async fn server_position(&self, agent: &str) -> u64 {
        let events =
            self.get(&format!("/v1/agents/{agent}/events?before=latest&limit=1")).await.ok();
        events[0]["position"].as_u64().unwrap_or_else(|| panic!("no position in {events}"))
    }
}

async fn messages(world: &World, agent: &str) -> Value {
    world.get(&format!("/v1/agents/{agent}/messages?limit=100")).await.ok()
}

async fn block(world: &World, agent: &str) -> Value {
    world.get(&format!("/v1/agents/{agent}/core-memory/blocks/human")).await.ok()
}

async fn with_a_human(world: &World) -> String {
    let blocks = json!([{ "label": "human", "value": "Ada" }]);
    world.agent_with(json!({ "model": "test/echo", "name": "Sam", "memory_blocks": blocks })).await
}

fn ids(values: &Value, key: &str) -> Vec<Value> {
    list(values).iter().map(|value| value[key].clone()).collect()
}

#[tokio::test]
async fn a_fork_goes_on_from_where_its_parent_is_and_neither_hears_of_the_other() {
    let world = World::new().await;
    let parent = with_a_human(&world).await;
    world.say(&parent, "one").await.ok();
    let fork = world.post(&format!("/v1/agents/{parent}/fork"), json!({})).await.ok();
    let child = text(&fork["id"]).to_owned();
    let original = world.get(&format!("/v1/agents/{parent}")).await.ok();
    assert_eq!(fork["name"], "Sam - fork");
    for same in ["system", "tools", "llm_config", "model", "agent_type", "timezone"] {
        assert_eq!(fork[same], original[same], "{same}");
    }
    assert_eq!(fork, world.get(&format!("/v1/agents/{child}")).await.ok());
    world.say(&parent, "for the parent").await.ok();
    world.say(&child, "for the child").await.ok();
    let shared = [("user_message", "one"), ("assistant_message", "echo: one")];
    for (agent, own) in [(&parent, "for the parent"), (&child, "for the child")] {
        let all = messages(&world, agent).await;
        let echo = format!("echo: {own}");
        let wanted: Vec<_> = shared
            .into_iter()
            .chain([("user_message", own), ("assistant_message", echo.as_str())])
            .collect();
        assert_eq!(said(&all), wanted);
    }
    let listed = world.get("/v1/agents/?limit=10").await.ok();
    assert_eq!(ids(&listed, "id"), [json!(child), json!(parent)]);
}

#[tokio::test]
async fn a_list_of_messages_goes_over_the_seam_in_both_directions() {
    let world = World::new().await;
    let parent = with_a_human(&world).await;
    for number in 0..3 {
        world.say(&parent, &format!("parent {number}")).await.ok();
    }
    let fork =
        world.post(&format!("/v1/agents/{parent}/fork"), json!({ "name": "Kim" })).await.ok();
    let child = text(&fork["id"]);
    assert_eq!(fork["name"], "Kim");
    world.say(&parent, "not for the child").await.ok();
    world.say(child, "child 0").await.ok();
    let whole = messages(&world, child).await;
    let all = ids(&whole, "id");
    assert_eq!(all.len(), 9, "{whole}");
    for (order, cursor) in [("asc", "after"), ("desc", "before")] {
        let mut found: Vec<Value> = Vec::new();
        let mut page = format!("/v1/agents/{child}/messages?limit=2&order={order}");
        loop {
            let part = ids(&world.get(&page).await.ok(), "id");
            let Some(next) = (if order == "asc" { part.last() } else { part.first() }) else {
                break;
            };
            page = format!(
                "/v1/agents/{child}/messages?limit=2&order={order}&{cursor}={}",
                text(next)
            );
            if order == "asc" {
                found.extend(part)
            } else {
                found.splice(0..0, part).for_each(drop)
            }
        }
        assert_eq!(found, all, "{order}");
    }
    let own = ids(&messages(&world, &parent).await, "id");
    let foreign = own.iter().find(|id| !all.contains(id)).expect("the parent went on");
    let refused = world.get(&format!("/v1/agents/{child}/messages?after={}", text(foreign))).await;
    assert_eq!(refused.status, 404, "{}", refused.text);
}

#[tokio::test]
async fn a_moment_is_named_by_position_or_by_time() {
    let world = World::new().await;
    let parent = with_a_human(&world).await;
    world.say(&parent, "one").await.ok();
    let id = text(&block(&world, &parent).await["id"]).to_owned();
    let history = world.get(&format!("/v1/blocks/{id}/history")).await.ok();
    let position = world.server_position(&parent).await;
    assert!(position > history[0]["position"].as_u64().expect("a number"));
    world.say(&parent, "two").await.ok();
    world.patch(&format!("/v1/blocks/{id}"), json!({ "value": "Grace" })).await.ok();
    world.delete(&format!("/v1/agents/{parent}")).await;
    let path = format!("/v1/agents/{parent}/fork");
    let gone = world.post(&path, json!({})).await;
    assert_eq!(gone.status, 404, "{}", gone.text);
    for as_of in [json!(position), json!(position.to_string())] {
        let fork = world.post(&path, json!({ "as_of": as_of })).await.ok();
        let child = text(&fork["id"]);
        assert_eq!(said(&messages(&world, child).await).len(), 2);
        assert_eq!(block(&world, child).await["value"], "Ada");
    }
    for (bad, status) in [
        (json!(0), 400),
        (json!(1_000_000), 400),
        (json!("yesterday"), 422),
        (json!(-1), 422),
        (json!("1990-01-01"), 400),
        (json!("2990-01-01"), 400),
    ] {
        let refused = world.post(&path, json!({ "as_of": bad })).await;
        assert_eq!(refused.status, status, "{bad}: {}", refused.text);
    }
    let refused = world.post(&path, json!({ "as_of": position, "name": "a/b" })).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let nobody = "/v1/agents/agent-123e4567-e89b-42d3-8456-426614174000/fork";
    assert_eq!(world.post(nobody, json!({})).await.status, 404);
    assert_eq!(world.post("/v1/agents/x/fork", json!({})).await.status, 422);
}

#[tokio::test]
async fn a_fork_is_there_after_a_restart_of_the_server() {
    let dir = tempfile::tempdir().expect("there is room");
    let world = World::on_disk(dir.path()).await;
    let parent = with_a_human(&world).await;
    world.say(&parent, "one").await.ok();
    // A body may be left out.
    let fork = crate::support::reply(
        world.ask(reqwest::Method::POST, &format!("/v1/agents/{parent}/fork")),
    )
    .await
    .ok();
    let child = text(&fork["id"]);
    world.delete(&format!("/v1/agents/{parent}")).await;
    let world = world.restart(Duration::from_secs(1)).await;
    world.say(child, "two").await.ok();
    assert_eq!(
        kinds(&messages(&world, child).await),
        [
            "system_message",
            "user_message",
            "assistant_message",
            "user_message",
            "assistant_message"
        ]
    );
    assert_eq!(world.get(&format!("/v1/agents/{parent}")).await.status, 404);
}

#[tokio::test]
async fn the_history_of_a_block_tells_user_and_tool_and_gives_back_what_was() {
    let world = World::new().await;
    let call = Say::call("c", "memory_insert", r#"{"label":"human","new_string":"Likes tea"}"#);
    world.model("memory", [call, Say::answer("Noted.")]);
    let blocks = json!([{ "label": "human", "value": "Ada" }]);
    let agent = world.agent_with(json!({ "model": "test/memory", "memory_blocks": blocks })).await;
    world.say(&agent, "I like tea").await.ok();
    let id = text(&block(&world, &agent).await["id"]).to_owned();
    world.patch(&format!("/v1/blocks/{id}"), json!({ "value": "Grace", "limit": 77 })).await.ok();
    let path = format!("/v1/blocks/{id}/history");
    let history = world.get(&path).await.ok();
    assert_eq!(ids(&history, "version"), [json!(3), json!(2), json!(1)]);
    assert_eq!(ids(&history, "kind"), [json!("edited"), json!("edited"), json!("created")]);
    assert_eq!((&history[0]["value"], &history[0]["limit"]), (&json!("Grace"), &json!(77)));
    assert!(text(&history[1]["value"]).contains("Likes tea"));
    let run = list(&world.get(&format!("/v1/runs/?agent_ids={agent}")).await.ok())[0].clone();
    assert_eq!(
        history[1]["author"],
        json!({ "type": "tool", "agent_id": agent, "run_id": run["id"], "tool_name": "memory_insert" })
    );
    assert_eq!(history[0]["author"]["type"], "user");
    for alias in ["core-memory/blocks", "blocks"] {
        let path = format!("/v1/agents/{agent}/{alias}/human/history");
        assert_eq!(world.get(&path).await.ok(), history);
        assert_eq!(
            world.get(&format!("/v1/agents/{agent}/{alias}/none/history")).await.status,
            404
        );
    }
    let page = world.get(&format!("{path}?limit=1&after=3")).await;
    assert_eq!(page.header("next-cursor"), Some("2"));
    assert_eq!(ids(&page.ok(), "version"), [json!(2)]);
    assert_eq!(ids(&world.get(&format!("{path}?order=asc&limit=2")).await.ok(), "version"), [1, 2]);
    for cursor in ["4", "0", "x"] {
        assert_eq!(world.get(&format!("{path}?after={cursor}")).await.status, 404, "{cursor}");
    }
    let back = world.post(&format!("/v1/blocks/{id}/restore"), json!({ "version": 1 })).await.ok();
    assert_eq!((&back["value"], &back["limit"]), (&json!("Ada"), &json!(100_000)));
    let again = world
        .post(
            &format!("/v1/agents/{agent}/core-memory/blocks/human/restore"),
            json!({ "version": 2 }),
        )
        .await
        .ok();
    assert!(text(&again["value"]).contains("Likes tea"));
    let grown = world.get(&path).await.ok();
    assert_eq!(list(&grown)[2..], list(&history)[..], "nothing of it is rewritten");
    assert_eq!((&grown[0]["kind"], &grown[0]["restored_version"]), (&json!("restored"), &json!(2)));
    for (version, status) in
        [(json!(99), 404), (json!(0), 404), (json!("x"), 422), (json!(-1), 422)]
    {
        let refused =
            world.post(&format!("/v1/blocks/{id}/restore"), json!({ "version": version })).await;
        assert_eq!(refused.status, status, "{version}: {}", refused.text);
    }
    world.delete(&format!("/v1/blocks/{id}")).await.ok();
    let last = world.get(&format!("{path}?limit=1")).await.ok();
    assert_eq!((&last[0]["kind"], &last[0]["version"]), (&json!("deleted"), &json!(6)));
    let refused = world.post(&format!("/v1/blocks/{id}/restore"), json!({ "version": 1 })).await;
    assert_eq!(refused.status, 404, "{}", refused.text);
    let nobody = "/v1/blocks/block-123e4567-e89b-42d3-8456-426614174000/history";
    assert_eq!(world.get(nobody).await.status, 404);
}

#[tokio::test]
async fn the_history_of_a_forks_block_goes_on_into_the_original() {
    let world = World::new().await;
    let parent = with_a_human(&world).await;
    let original = text(&block(&world, &parent).await["id"]).to_owned();
    world.patch(&format!("/v1/blocks/{original}"), json!({ "value": "Ada L." })).await.ok();
    let fork = world.post(&format!("/v1/agents/{parent}/fork"), json!({})).await.ok();
    let copy = text(&block(&world, text(&fork["id"])).await["id"]).to_owned();
    assert_ne!(copy, original);
    world.patch(&format!("/v1/blocks/{original}"), json!({ "value": "later" })).await.ok();
    let history = world.get(&format!("/v1/blocks/{copy}/history?order=asc")).await.ok();
    assert_eq!(ids(&history, "kind"), ["created", "edited", "forked"]);
    assert_eq!(ids(&history, "block_id"), [&*original, &*original, &*copy]);
    assert_eq!(history[2]["forked_from_id"], original);
    assert_eq!(history[2]["value"], "Ada L.");
    let back =
        world.post(&format!("/v1/blocks/{copy}/restore"), json!({ "version": 1 })).await.ok();
    assert_eq!(back["value"], "Ada");
    assert_eq!(block(&world, &parent).await["value"], "later");
}
