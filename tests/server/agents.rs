//! Agents: their life, their lists, their memory, their tools.

use serde_json::{Value, json};

use crate::support::{World, kinds, list, text};

#[tokio::test]
async fn an_agent_is_created_read_changed_and_deleted() {
    let world = World::new().await;
    let created = world
        .post(
            "/v1/agents/",
            json!({
                "name": "Ada", "model": "test/echo", "tags": ["a", "b"], "metadata": {"k": [1, {"x": null}]},
                "memory_blocks": [{"label": "human", "value": "Bob"}, {"label": "persona", "value": "Kind"}],
            }),
        )
        .await
        .ok();
    let id = text(&created["id"]);
    assert_eq!(created["model"], "test/echo");
    assert_eq!(created["agent_type"], "letta_v1_agent");
    assert_eq!(list(&created["memory"]["blocks"]).len(), 2);
    assert_eq!(list(&created["tools"]).len(), 3);
    let read = world.get(&format!("/v1/agents/{id}")).await.ok();
    assert_eq!(read, created);
    let changed = world
        .patch(
            &format!("/v1/agents/{id}"),
            json!({ "name": "Eve", "tags": ["c"], "description": null }),
        )
        .await
        .ok();
    assert_eq!((&changed["name"], &changed["tags"]), (&json!("Eve"), &json!(["c"])));
    assert_eq!(changed["metadata"], created["metadata"]);
    let deleted = world.delete(&format!("/v1/agents/{id}")).await.ok();
    assert_eq!(deleted["message"], format!("Agent id={id} successfully deleted"));
    let gone = world.get(&format!("/v1/agents/{id}")).await;
    assert_eq!((gone.status, &gone.body["detail"]), (404, &json!("Agent not found")));
    assert_eq!(list(&world.get("/v1/blocks/").await.ok()).len(), 2, "blocks survive");
}

#[tokio::test]
async fn every_spelling_of_a_path_is_served_and_nothing_redirects() {
    let world = World::new().await;
    let id = world.agent("echo").await;
    for prefix in ["/v1", "/api", "/api/v1", "/latest", "//v1", "/v1/"] {
        for path in ["/agents", "/agents/"] {
            assert_eq!(
                list(&world.get(&format!("{prefix}{path}")).await.ok()).len(),
                1,
                "{prefix}{path}"
            );
        }
        let sent = world
            .post(&format!("{prefix}/agents/{id}/messages/"), json!({ "input": "hi" }))
            .await
            .ok();
        assert_eq!(sent["messages"][0]["content"], "echo: hi");
    }
    let deleted = world.delete(&format!("/api/agents/{id}")).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
}

#[tokio::test]
async fn lists_filter_sort_and_count() {
    let world = World::new().await;
    for (name, tags) in [("One", json!(["x"])), ("Two", json!(["x", "y"])), ("Three", json!([]))] {
        world.agent_with(json!({ "name": name, "model": "test/echo", "tags": tags })).await;
    }
    world.agent_with(json!({ "name": "Secret", "model": "test/echo", "hidden": true })).await;
    for (query, names) in [
        ("", vec!["Three", "Two", "One"]),
        ("?order=asc", vec!["One", "Two", "Three"]),
        ("?tags=x&order=asc", vec!["One", "Two"]),
        ("?tags=x&tags=y&match_all_tags=true", vec!["Two"]),
        ("?name=Two", vec!["Two"]),
        ("?query_text=t&order=asc", vec!["Two", "Three"]),
        ("?show_hidden_agents=true&limit=1", vec!["Secret"]),
        ("?identity_id=identity-00000000-0000-4000-8000-000000000000", vec![]),
    ] {
        let agents = world.get(&format!("/v1/agents/{query}")).await.ok();
        let found: Vec<&str> = list(&agents).iter().map(|agent| text(&agent["name"])).collect();
        assert_eq!(found, names, "{query}");
    }
    assert_eq!(world.get("/v1/agents/count").await.ok(), 3);
    assert_eq!(world.get("/v1/agents/count?tags=y").await.ok(), 1);
    assert_eq!(world.get("/v1/tags/").await.ok(), json!(["x", "y"]));
}

#[tokio::test]
async fn the_last_run_sorts_and_filters_agents() {
    let world = World::new().await;
    let (silent, spoken) = (world.agent("echo").await, world.agent("echo").await);
    world.say(&spoken, "hi").await.ok();
    let agents = world.get("/v1/agents/?order_by=last_run_completion").await.ok();
    let ids: Vec<&str> = list(&agents).iter().map(|agent| text(&agent["id"])).collect();
    assert_eq!(ids, [spoken.as_str(), silent.as_str()], "those that never ran come last");
    let agents = world.get("/v1/agents/?last_stop_reason=end_turn").await.ok();
    assert_eq!(list(&agents).len(), 1);
    assert_eq!(agents[0]["last_stop_reason"], "end_turn");
}

#[tokio::test]
async fn lists_leave_relations_out_for_the_newer_sdks_only() {
    let world = World::new().await;
    let id = world
        .agent_with(
            json!({ "model": "test/echo", "memory_blocks": [{"label": "human", "value": "x"}] }),
        )
        .await;
    let tools = |agents: &Value| list(&agents[0]["tools"]).len();
    let legacy = world.ask(reqwest::Method::GET, "/v1/agents/").header("user-agent", "curl/8");
    assert_eq!(tools(&crate::support::reply(legacy).await.ok()), 3);
    let current = |path: &str| {
        world.ask(reqwest::Method::GET, path).header("x-stainless-package-version", "1.12.1")
    };
    assert_eq!(tools(&crate::support::reply(current("/v1/agents/")).await.ok()), 0);
    assert_eq!(
        tools(&crate::support::reply(current("/v1/agents/?include=agent.tools")).await.ok()),
        3
    );
    let one = crate::support::reply(current(&format!("/v1/agents/{id}"))).await.ok();
    assert_eq!((list(&one["tools"]).len(), list(&one["memory"]["blocks"]).len()), (3, 1));
}

#[tokio::test]
async fn memory_is_read_and_edited_by_label() {
    let world = World::new().await;
    let id = world
        .agent_with(
            json!({ "model": "test/echo", "memory_blocks": [{"label": "a/b", "value": "one"}] }),
        )
        .await;
    let path = format!("/v1/agents/{id}/core-memory/blocks/a%2Fb");
    assert_eq!(world.get(&path).await.ok()["value"], "one");
    assert_eq!(world.patch(&path, json!({ "value": "two" })).await.ok()["value"], "two");
    let memory = world.get(&format!("/v1/agents/{id}/core-memory")).await.ok();
    assert_eq!(memory["blocks"][0]["value"], "two");
    let prompt = world.post(&format!("/v1/agents/{id}/recompile"), json!({})).await.ok();
    assert!(text(&prompt).contains("two"), "{prompt}");
    let older = world
        .post(&format!("/v1/agents/{id}/system-prompt/recompile?dry_run=true"), json!(null))
        .await
        .ok();
    assert!(text(&older).contains("two"));
    assert_eq!(world.get(&format!("/v1/agents/{id}/core-memory/blocks/none")).await.status, 404);
    assert_eq!(
        world.get(&format!("/v1/agents/{id}/core-memory/variables")).await.ok(),
        json!({ "variables": {} })
    );
}

#[tokio::test]
async fn blocks_are_attached_once_per_label_and_detached() {
    let world = World::new().await;
    let id = world.agent("echo").await;
    let mut blocks = Vec::new();
    for value in ["one", "two"] {
        let block =
            world.post("/v1/blocks/", json!({ "label": "notes", "value": value })).await.ok();
        blocks.push(text(&block["id"]).to_owned());
    }
    let attach = |block: &str| format!("/v1/agents/{id}/core-memory/blocks/attach/{block}");
    let agent = world.patch(&attach(&blocks[0]), json!(null)).await.ok();
    assert_eq!(agent["memory"]["blocks"][0]["value"], "one");
    assert_eq!(world.patch(&attach(&blocks[1]), json!(null)).await.status, 409);
    let detach = format!("/v1/agents/{id}/core-memory/blocks/detach/{}", blocks[0]);
    assert_eq!(world.patch(&detach, json!(null)).await.ok()["memory"]["blocks"], json!([]));
    assert_eq!(
        world.patch(&attach(&blocks[1]), json!(null)).await.ok()["memory"]["blocks"][0]["value"],
        "two"
    );
}

#[tokio::test]
async fn tools_are_listed_attached_and_detached() {
    let world = World::new().await;
    let id = world.agent("echo").await;
    let tools = world.get("/v1/tools/").await.ok();
    assert_eq!(world.get("/v1/tools/count").await.ok(), list(&tools).len());
    let rethink = list(&tools)
        .iter()
        .find(|tool| tool["name"] == "memory_rethink")
        .map(|tool| text(&tool["id"]));
    let rethink = rethink.unwrap_or_else(|| panic!("no such tool in {tools}"));
    assert_eq!(world.get(&format!("/v1/tools/{rethink}")).await.ok()["name"], "memory_rethink");
    let agent =
        world.patch(&format!("/v1/agents/{id}/tools/attach/{rethink}"), json!({})).await.ok();
    assert_eq!(list(&agent["tools"]).len(), 4);
    assert_eq!(list(&world.get(&format!("/v1/agents/{id}/tools")).await.ok()).len(), 4);
    let agent =
        world.patch(&format!("/v1/agents/{id}/tools/detach/{rethink}"), json!({})).await.ok();
    assert_eq!(list(&agent["tools"]).len(), 3);
    assert_eq!(world.get("/v1/tools/?tool_types=nonsense").await.status, 400);
    assert_eq!(list(&world.get("/v1/tools/?name=memory_insert").await.ok()).len(), 1);
}

#[tokio::test]
async fn resetting_empties_the_context_and_keeps_the_history() {
    let world = World::new().await;
    let id = world.agent("echo").await;
    world.say(&id, "hi").await.ok();
    let before = world.get(&format!("/v1/agents/{id}")).await.ok();
    assert_eq!(list(&before["message_ids"]).len(), 3);
    let path = format!("/v1/agents/{id}/reset-messages");
    let reply = crate::support::reply(world.ask(reqwest::Method::PATCH, &path)).await.ok();
    assert_eq!(list(&reply["message_ids"]).len(), 1);
    let history = world.get(&format!("/v1/agents/{id}/messages")).await.ok();
    assert_eq!(kinds(&history), ["system_message", "user_message", "assistant_message"]);
}

#[tokio::test]
async fn models_of_new_agents_are_checked() {
    let world = World::new().await;
    for (model, status) in [("echo", 200), ("test/none", 404), ("nobody/x", 404), ("neither", 400)]
    {
        let reply = world.post("/v1/agents/", json!({ "model": model })).await;
        assert_eq!(reply.status, status, "{model}: {}", reply.text);
    }
    assert_eq!(
        world.post("/v1/agents/", json!({})).await.ok()["model"],
        "retold/rehearsal",
        "the default"
    );
    let models = world.get("/v1/models/").await.ok();
    assert!(list(&models).iter().any(|model| model["handle"] == "test/echo"), "{models}");
    assert_eq!(world.get("/v1/models/?provider_category=byok").await.ok(), json!([]));
    assert_eq!(world.get("/v1/models/embedding").await.ok(), json!([]));
    assert_eq!(world.get("/v1/models/embeddings").await.ok(), json!([]));
}
