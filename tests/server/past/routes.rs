//! Which routes know the past: as many as say so, and no other takes the question and answers with the present.

use reqwest::Method;
use serde_json::{Value, json};

use super::Logged;
use crate::support::{list, message, reply, text};

/// A server with one of everything, and how the parameters of its paths are filled.
struct Filled {
    logged: Logged,
    parameters: Vec<(&'static str, String)>,
}

impl Filled {
    async fn new() -> Self {
        let logged = Logged::new().await;
        let world = &logged.world;
        let blocks = json!([{ "label": "notes", "value": "x" }]);
        let asked = json!({ "model": "test/echo", "memory_blocks": blocks, "tags": ["a"] });
        let agent = world.post("/v1/agents", asked).await.ok();
        let id = text(&agent["id"]).to_owned();
        let said = world.post(&format!("/v1/agents/{id}/messages"), message("hi")).await.ok();
        let step = world.get("/v1/steps").await.ok();
        let tool = world.get("/v1/tools").await.ok();
        // Nobody is there, so it has no tools.
        let server =
            json!({ "server_name": "away", "config": { "server_url": "https://mcp.invalid/" } });
        let server = world.post("/v1/mcp-servers", server).await.ok();
        let parameters = vec![
            ("agent_id", id),
            ("block_id", text(&agent["blocks"][0]["id"]).to_owned()),
            ("block_label", "notes".to_owned()),
            ("run_id", text(&said["messages"][0]["run_id"]).to_owned()),
            ("step_id", text(&step[0]["id"]).to_owned()),
            ("message_id", text(&said["messages"][0]["id"]).to_owned()),
            ("tool_id", text(&tool[0]["id"]).to_owned()),
            ("mcp_server_id", text(&server["id"]).to_owned()),
            ("mcp_server_name", "away".to_owned()),
        ];
        Self { logged, parameters }
    }

    fn path(&self, template: &str) -> String {
        let mut path = template.to_owned();
        for (name, value) in &self.parameters {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        assert!(!path.contains('{'), "nothing is known to fill {path} with");
        path
    }
}

fn takes_as_of(operation: &Value) -> bool {
    operation["parameters"]
        .as_array()
        .is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "as_of"))
}

#[tokio::test]
async fn every_route_that_is_read_honours_as_of_or_refuses_it() {
    let filled = Filled::new().await;
    let (logged, now) = (&filled.logged, filled.logged.now());
    let description = logged.world.get("/openapi.json").await.ok();
    let (mut honoured, mut refused) = (0, 0);
    for (template, item) in description["paths"].as_object().expect("there are paths") {
        let operation = &item["get"];
        if operation.is_null() {
            continue;
        }
        let path = filled.path(template);
        let answer = logged.at(&path, now).await;
        if takes_as_of(operation) {
            honoured += 1;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            assert_eq!(answer.header("retold-as-of"), Some(&*now.to_string()), "{path}");
            let first = logged.at(&path, 1).await;
            assert_eq!(first.header("retold-as-of"), Some("1"), "{path}");
            continue;
        }
        refused += 1;
        assert_eq!(answer.status, 422, "{path}: {}", answer.text);
        let detail = text(&answer.body["detail"]);
        for part in ["'query', 'as_of'", "reads no past moment"] {
            assert!(detail.contains(part), "{path}: {detail}");
        }
        assert_eq!(answer.body["code"], "validation_failed", "{path}");
        assert!(operation["responses"]["422"].is_object(), "{path}");
    }
    assert!(honoured > 20 && refused > 15, "{honoured} honour it, {refused} refuse it");
}

#[tokio::test]
async fn a_moment_is_refused_however_it_is_written_and_on_every_spelling_of_a_path() {
    let filled = Filled::new().await;
    let world = &filled.logged.world;
    let events = filled.path("/v1/runs/{run_id}/events");
    for query in ["as_of=1", "as_of=", "as_of=yesterday", "limit=1&as%5Fof=1", "as_of[]=1"] {
        let refused = world.get(&format!("{events}?{query}")).await;
        assert_eq!(refused.status, 422, "{query}: {}", refused.text);
    }
    let slash = filled.path("/api/v1/runs/{run_id}/trace/");
    assert_eq!(world.get(&format!("{slash}?as_of=1")).await.status, 422);
    let stream = world.ask(Method::GET, &format!("{events}?as_of=1"));
    let refused = reply(stream.header("accept", "text/event-stream")).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let head = reply(world.ask(Method::HEAD, &format!("{events}?as_of=1"))).await;
    assert_eq!(head.status, 422);
    assert_eq!(list(&world.get(&format!("{events}?as_off=1")).await.ok()).len(), 5);
}
