//! Every list ends: walked by its cursors, each gives each item once and then nothing.

use serde_json::{Value, json};

use crate::support::{World, list, text};

/// A world with five of everything, and the lists to walk.
async fn full() -> (World, Vec<(String, usize)>) {
    let world = World::new().await;
    let mut agent = String::new();
    let blocks =
        json!(["a", "b", "c", "d", "e"].map(|label| json!({ "label": label, "value": "x" })));
    for name in ["A", "B", "C", "D", "E"] {
        agent =
            world.agent_with(json!({ "name": name, "model": "test/echo", "tags": [name] })).await;
    }
    world
        .patch(&format!("/v1/agents/{agent}"), json!({ "tool_ids": tools(&world).await }))
        .await
        .ok();
    for block in list(&blocks) {
        let block = world.post("/v1/blocks/", block.clone()).await.ok();
        world
            .patch(
                &format!("/v1/agents/{agent}/core-memory/blocks/attach/{}", text(&block["id"])),
                json!(null),
            )
            .await
            .ok();
    }
    let shared = world.post("/v1/blocks/", json!({ "label": "shared", "value": "x" })).await.ok();
    let shared = text(&shared["id"]);
    for one in list(&world.get("/v1/agents/").await.ok()) {
        world
            .patch(
                &format!("/v1/agents/{}/core-memory/blocks/attach/{shared}", text(&one["id"])),
                json!(null),
            )
            .await
            .ok();
    }
    let mut run = String::new();
    for _ in 0..5 {
        let answer = world.say(&agent, "hi").await.ok();
        run = text(&answer["messages"][0]["run_id"]).to_owned();
    }
    let step = world.get("/v1/steps/?limit=1").await.ok();
    let step = text(&step[0]["id"]).to_owned();
    let lists = vec![
        ("/v1/agents/".to_owned(), 5),
        ("/v1/blocks/".to_owned(), 6),
        (format!("/v1/blocks/{shared}/agents"), 5),
        ("/v1/tools/".to_owned(), 5),
        ("/v1/runs/".to_owned(), 5),
        ("/v1/runs/?agent_id=".to_owned() + &agent, 5),
        ("/v1/steps/".to_owned(), 5),
        (format!("/v1/runs/{run}/steps"), 1),
        (format!("/v1/agents/{agent}/tools"), 5),
        (format!("/v1/agents/{agent}/core-memory/blocks"), 6),
        (format!("/v1/runs/{run}/messages"), 2),
        (format!("/v1/steps/{step}/messages"), 2),
    ];
    (world, lists)
}

/// Ids of five tools.
async fn tools(world: &World) -> Vec<String> {
    let tools = world.get("/v1/tools/?limit=5").await.ok();
    list(&tools).iter().map(|tool| text(&tool["id"]).to_owned()).collect()
}

/// Walks a list by `cursor` (`after` or `before`) in steps of two, as the SDKs do, and gives the ids it saw.
async fn walk(world: &World, path: &str, order: &str, cursor: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut at = String::new();
    let separator = if path.contains('?') { '&' } else { '?' };
    loop {
        let reply = world.get(&format!("{path}{separator}limit=2&order={order}{at}")).await;
        let (next, prev) = (
            reply.header("next-cursor").map(str::to_owned),
            reply.header("prev-cursor").map(str::to_owned),
        );
        let page: Vec<String> =
            list(&reply.ok()).iter().map(|item| text(&item["id"]).to_owned()).collect();
        let (Some(first), Some(last)) = (page.first(), page.last()) else {
            assert_eq!((next, prev), (None, None));
            return seen;
        };
        assert_eq!((next.as_ref(), prev.as_ref()), (Some(last), Some(first)), "{path}");
        at = if cursor == "after" { format!("&after={last}") } else { format!("&before={first}") };
        seen.extend(page);
        assert!(seen.len() < 100, "{path} does not end");
    }
}

#[tokio::test]
async fn walking_forwards_sees_each_item_once_and_ends() {
    let (world, lists) = full().await;
    for (path, count) in &lists {
        let mut orders = Vec::new();
        for order in ["asc", "desc"] {
            // Cursors of messages are chronological: in descending order `after` leads to the newer ones.
            if path.contains("messages") && order == "desc" {
                continue;
            }
            let seen = walk(&world, path, order, "after").await;
            let distinct: std::collections::BTreeSet<&String> = seen.iter().collect();
            if path != "/v1/tools/" {
                assert_eq!(seen.len(), *count, "{path} {order}");
            }
            assert_eq!(distinct.len(), seen.len(), "{path} {order}");
            orders.push(seen);
        }
        if let [up, down] = &orders[..] {
            assert!(up.iter().eq(down.iter().rev()), "{path}");
        }
    }
}

#[tokio::test]
async fn going_on_before_the_first_item_sees_the_rest_and_ends() {
    let (world, lists) = full().await;
    for (path, count) in lists.iter().filter(|(path, _)| !path.contains("messages")) {
        let all = walk(&world, path, "asc", "after").await;
        if path != "/v1/tools/" {
            assert_eq!(all.len(), *count);
        }
        let middle = &all[all.len() / 2];
        let separator = if path.contains('?') { '&' } else { '?' };
        let before = world.get(&format!("{path}{separator}before={middle}&order=asc")).await.ok();
        let ids: Vec<&str> = list(&before).iter().map(|item| text(&item["id"])).collect();
        assert_eq!(ids, all[..all.len() / 2], "{path}");
    }
}

#[tokio::test]
async fn the_history_is_walked_from_either_end() {
    let (world, _) = full().await;
    let agents = world.get("/v1/agents/?order=desc&limit=1").await.ok();
    let path = format!("/v1/agents/{}/messages", text(&agents[0]["id"]));
    let up = walk(&world, &path, "asc", "after").await;
    assert_eq!(up.len(), 11);
    let mut down = Vec::new();
    let mut at = String::new();
    loop {
        let page = world.get(&format!("{path}?limit=2{at}")).await.ok();
        let Some(first) = list(&page).first() else { break };
        at = format!("&before={}", text(&first["id"]));
        let ids: Vec<String> =
            list(&page).iter().map(|message| text(&message["id"]).to_owned()).collect();
        down.splice(0..0, ids);
    }
    assert_eq!(up, down);
}

#[tokio::test]
async fn tags_are_walked_by_themselves() {
    let (world, _) = full().await;
    let mut seen: Vec<Value> = Vec::new();
    let mut at = String::new();
    loop {
        let page = world.get(&format!("/v1/tags/?limit=2{at}")).await.ok();
        let Some(last) = list(&page).last() else { break };
        at = format!("&after={}", text(last));
        seen.extend(list(&page).iter().cloned());
    }
    assert_eq!(seen, [json!("A"), json!("B"), json!("C"), json!("D"), json!("E")]);
}

#[tokio::test]
async fn a_client_that_deletes_what_it_lists_can_go_on() {
    let (world, _) = full().await;
    let mut deleted = 0;
    let mut at = String::new();
    loop {
        let page = world.get(&format!("/v1/agents/?limit=2{at}")).await.ok();
        let Some(last) = list(&page).last() else { break };
        at = format!("&after={}", text(&last["id"]));
        for agent in list(&page) {
            world.delete(&format!("/v1/agents/{}", text(&agent["id"]))).await.ok();
            deleted += 1;
        }
    }
    assert_eq!(deleted, 5);
}
