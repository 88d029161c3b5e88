//! Blocks as resources of their own.

use serde_json::{Value, json};

use crate::support::{World, list, text};

#[tokio::test]
async fn a_block_is_created_read_changed_and_deleted() {
    let world = World::new().await;
    let created = world
        .post("/v1/blocks/", json!({ "label": "notes", "value": "a\u{0}b", "tags": ["t"] }))
        .await
        .ok();
    assert_eq!(
        (&created["value"], &created["limit"], &created["read_only"]),
        (&json!("ab"), &json!(100_000), &json!(false))
    );
    let path = format!("/v1/blocks/{}", text(&created["id"]));
    assert_eq!(world.get(&path).await.ok(), created);
    let changed =
        world.patch(&path, json!({ "value": "new", "label": null, "read_only": true })).await.ok();
    assert_eq!(
        (&changed["value"], &changed["label"], &changed["read_only"]),
        (&json!("new"), &json!("notes"), &json!(true))
    );
    let deleted = world.delete(&path).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (200, "null"));
    assert_eq!(world.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_value_longer_than_its_limit_is_refused_and_never_cut() {
    let world = World::new().await;
    let refused =
        world.post("/v1/blocks/", json!({ "label": "x", "value": "12345", "limit": 4 })).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.body["detail"].is_string() && refused.body["examples"].is_array());
    let block =
        world.post("/v1/blocks/", json!({ "label": "x", "value": "1234", "limit": 4 })).await.ok();
    let path = format!("/v1/blocks/{}", text(&block["id"]));
    assert_eq!(world.patch(&path, json!({ "value": "12345" })).await.status, 422);
    assert_eq!(world.get(&path).await.ok()["value"], "1234");
}

#[tokio::test]
async fn blocks_are_filtered_and_counted() {
    let world = World::new().await;
    let mut last = Value::Null;
    for (label, value, tags) in [
        ("one", "red apple", json!(["x"])),
        ("two", "green", json!(["x", "y"])),
        ("two", "Blue", json!([])),
    ] {
        last = world
            .post(
                "/v1/blocks/",
                json!({ "label": label, "value": value, "tags": tags, "description": value }),
            )
            .await
            .ok();
    }
    world.agent_with(json!({ "model": "test/echo", "block_ids": [last["id"]] })).await;
    for (query, count) in [
        ("", 3),
        ("?label=two", 2),
        ("?tags=x", 2),
        ("?tags=x&tags=y&match_all_tags=true", 1),
        ("?value_search=apple", 1),
        ("?description_search=green", 1),
        ("?label_search=w", 2),
        ("?connected_to_agents_count_eq=1", 1),
        ("?connected_to_agents_count_gt=0", 1),
        ("?connected_to_agents_count_lt=1", 2),
        ("?templates_only=true", 0),
    ] {
        assert_eq!(
            list(&world.get(&format!("/v1/blocks/{query}")).await.ok()).len(),
            count,
            "{query}"
        );
    }
    assert_eq!(world.get("/v1/blocks/count?label=two").await.ok(), 2);
    assert_eq!(world.get("/v1/blocks/?label=a%20b").await.status, 422);
}

#[tokio::test]
async fn an_edit_reaches_every_agent_that_shares_the_block() {
    let world = World::new().await;
    let block =
        world.post("/v1/blocks/", json!({ "label": "shared", "value": "before" })).await.ok();
    let block = text(&block["id"]);
    let mut agents = Vec::new();
    for _ in 0..2 {
        agents.push(world.agent_with(json!({ "model": "test/echo", "block_ids": [block] })).await);
    }
    world.patch(&format!("/v1/blocks/{block}"), json!({ "value": "after" })).await.ok();
    for agent in &agents {
        let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
        assert!(text(&history[0]["content"]).contains("after"), "{history}");
    }
    let sharing = world.get(&format!("/v1/blocks/{block}/agents?order=asc")).await.ok();
    let ids: Vec<&str> = list(&sharing).iter().map(|agent| text(&agent["id"])).collect();
    assert_eq!(ids, agents);
    world.delete(&format!("/v1/blocks/{block}")).await.ok();
    assert_eq!(
        world.get(&format!("/v1/agents/{}/core-memory/blocks", agents[0])).await.ok(),
        json!([])
    );
}
