//! The description is of this server: all of it and nothing else.

use reqwest::Method;
use serde_json::Value;

use crate::support::{World, list, reply, text};

/// Path and method of every documented operation.
fn operations(description: &Value) -> Vec<(String, Method, Value)> {
    let paths = description["paths"].as_object().expect("there are paths");
    let of_path = |(path, item): (&String, &Value)| -> Vec<(String, Method, Value)> {
        let operations = item.as_object().expect("a path has operations");
        operations
            .iter()
            .map(|(method, operation)| {
                let method = method.to_uppercase().parse().expect("a method");
                (path.clone(), method, operation.clone())
            })
            .collect()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_documented_operation_is_served() {
    let world = World::new().await;
    let description = world.get("/openapi.json").await.ok();
    assert!(text(&description["openapi"]).starts_with("3.1"));
    let operations = operations(&description);
    assert!(operations.len() > 50, "{} operations", operations.len());
    for (path, method, operation) in operations {
        // No path has a parameter of one letter, so `x` reaches the handler and no further.
        let filled = path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let answer = reply(world.ask(method.clone(), &filled)).await;
        let code = answer.body["code"].as_str().unwrap_or_default();
        assert!(
            !["no_such_route", "method_not_allowed"].contains(&code),
            "{method} {path}: {}",
            answer.text
        );
        let documented = operation["responses"].get(answer.status.to_string());
        assert!(
            documented.is_some(),
            "{method} {path} answers {}, which is not documented",
            answer.status
        );
    }
}

#[tokio::test]
async fn every_served_method_is_documented() {
    let world = World::new().await;
    let description = world.get("/openapi.json").await.ok();
    let operations = operations(&description);
    for (path, ..) in &operations {
        let filled = path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let options = reply(world.ask(Method::OPTIONS, &filled)).await;
        let allowed = options.header("allow").unwrap_or_default().to_owned();
        for method in allowed
            .split(',')
            .map(str::trim)
            .filter(|method| !["HEAD", "OPTIONS", ""].contains(method))
        {
            let is_documented =
                operations.iter().any(|(known, by, _)| known == path && by.as_str() == method);
            // A literal may lie over a parameter: `/v1/runs/active` and `/v1/runs/{run_id}`.
            assert!(is_documented, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn lists_document_their_paging_and_filters() {
    let world = World::new().await;
    let description = world.get("/openapi.json").await.ok();
    for path in ["agents", "blocks", "runs", "steps", "tools", "tags", "agents/{agent_id}/messages"]
    {
        let parameters = &description["paths"][format!("/v1/{path}")]["get"]["parameters"];
        let names: Vec<&str> =
            list(parameters).iter().map(|parameter| text(&parameter["name"])).collect();
        for name in ["before", "after", "limit", "order"] {
            assert!(names.contains(&name), "{path}: {names:?}");
        }
    }
    assert_eq!(description["paths"]["/v1/runs/active"]["get"]["deprecated"], true);
}

#[tokio::test]
async fn lists_of_messages_say_that_their_cursors_speak_of_time() {
    let world = World::new().await;
    let description = world.get("/openapi.json").await.ok();
    let messages = "/v1/agents/{agent_id}/messages";
    for path in [messages, "/v1/runs/{run_id}/messages", "/v1/steps/{step_id}/messages"] {
        let parameters = list(&description["paths"][path]["get"]["parameters"]);
        let says = |name: &str| {
            let found = parameters.iter().find(|parameter| parameter["name"] == name);
            text(&found.unwrap_or_else(|| panic!("{path} has no {name}"))["description"]).to_owned()
        };
        assert!(says("before").contains("older than this one, whatever `order` says"), "{path}");
        assert!(says("after").contains("newer than this one, whatever `order` says"), "{path}");
        assert!(says("limit").contains("Stored messages at most, 100 unless given"), "{path}");
        let default = if path == messages { "`desc`, the default" } else { "`asc`, the default" };
        assert!(says("order").contains(default), "{path}: {}", says("order"));
        assert_eq!(says("order").contains("oldest\nfirst either way"), path == messages, "{path}");
    }
}

#[tokio::test]
async fn operations_have_distinct_names_and_every_reference_leads_somewhere() {
    let world = World::new().await;
    let reply = world.get("/openapi.json").await;
    let text_of = reply.text.clone();
    let description = reply.ok();
    let mut names: Vec<String> = operations(&description)
        .iter()
        .map(|(.., operation)| text(&operation["operationId"]).to_owned())
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    for reference in text_of.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap_or_default();
        assert!(description["components"]["schemas"].get(name).is_some(), "there is no {name}");
    }
}
