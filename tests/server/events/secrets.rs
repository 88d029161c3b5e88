//! No credential that a client gave appears in the log of events, wherever it was put.

use serde_json::json;

use super::tail::Tail;
use crate::support::{World, config, message, text};

/// Part of every credential below.
const SECRET: &str = "swordfish";

#[tokio::test]
async fn no_credential_appears_wherever_it_was_put() {
    let mut config = config();
    config.egress_allow.value = "127.0.0.1".parse().unwrap();
    let world = World::with(config).await;
    let metadata = json!({
        "api_key": "swordfish-1", "nested": [{ "Authorization": "Bearer swordfish-2", "kept": "plain" }],
        "database": "postgres://ada:swordfish-3@host/db", "password": { "value": "swordfish-4" },
        "hook": "https://host/x?page=2&token=swordfish-5", "max_tokens": 7,
    });
    let settings = json!({
        "provider_type": "openai", "max_output_tokens": 100, "extra_headers": { "X-Api-Key": "swordfish-6" },
        "client_secret": "swordfish-7", "compat": { "access_token": "swordfish-8" },
    });
    let block =
        json!({ "label": "human", "value": "Ada", "metadata": { "secret": "swordfish-9" } });
    let rule = json!({ "type": "run_first", "tool_name": "conversation_search", "args": { "token": "swordfish-10" } });
    let agent = world
        .agent_with(json!({
            "model": "test/echo", "name": "Ada", "metadata": metadata, "memory_blocks": [block],
            "model_settings": settings, "tool_rules": [rule],
            "llm_config": {
                "model": "echo", "handle": "test/echo", "model_endpoint_type": "openai", "context_window": 8000,
                "model_endpoint": "https://ada:swordfish-11@host/v1?key=swordfish-12", "api_key": "swordfish-13",
            },
            "embedding_config": {
                "handle": "test/embedding", "embedding_model": "e", "embedding_endpoint_type": "openai", "embedding_dim": 3,
                "embedding_endpoint": "https://ada:swordfish-14@host", "api_key": "swordfish-15",
            },
            "compaction_settings": { "model": "test/echo", "model_settings": settings },
        }))
        .await;
    let path = format!("/v1/agents/{agent}");
    world.patch(&path, json!({ "metadata": metadata, "model_settings": settings })).await.ok();
    let blocks = world.get(&format!("{path}/core-memory/blocks")).await.ok();
    let block = text(&blocks[0]["id"]).to_owned();
    let edit = json!({ "value": "Ada L.", "metadata": { "credentials": ["swordfish-16"] } });
    world.patch(&format!("/v1/blocks/{block}"), edit).await.ok();
    let mut asked = message("hi");
    // A port that nobody listens on: what came of the call is an event too.
    let address = "http://127.0.0.1:1/done?key=swordfish-18#swordfish-19";
    asked["callback_url"] = address.into();
    asked["metadata"] = json!({ "auth_token": "swordfish-20" });
    let run = world.post(&format!("{path}/messages/async"), asked).await.ok();
    world.ended(text(&run["id"])).await;
    let stream = world.ask(reqwest::Method::GET, "/v1/events");
    let mut tail = Tail::open(stream).await;
    let streamed = tail.until("run.callback_sent").await;

    let whole = world.get("/v1/events?limit=1000").await;
    assert!(!whole.text.contains(SECRET), "{}", whole.text);
    assert!(!format!("{streamed:?}").contains(SECRET));
    for path in [format!("{path}/events"), format!("/v1/runs/{}/events", text(&run["id"]))] {
        assert!(!world.get(&path).await.text.contains(SECRET), "{path}");
    }
    // Hidden, and not left out: what is no credential is as it was given.
    let created = world.get("/v1/events?type=agent.created").await.ok();
    let shown = &created[0]["payload"]["config"];
    assert_eq!(shown["metadata"]["api_key"], "[redacted]");
    assert_eq!(shown["metadata"]["nested"][0]["kept"], "plain");
    assert_eq!(shown["metadata"]["hook"], "https://host/x?page=2&token=[redacted]");
    assert_eq!(shown["metadata"]["max_tokens"], 7);
    assert_eq!(shown["model"]["other_settings"]["client_secret"], "[redacted]");
    let accepted = world.get("/v1/events?type=run.accepted").await.ok();
    assert_eq!(
        accepted[0]["payload"]["request"]["callback_url"],
        "http://127.0.0.1:1/done?[redacted]"
    );
}
