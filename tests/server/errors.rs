//! Requests that cannot be answered, and the form of the refusals.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{PATIENCE, World, config, reply, text};

const AGENT: &str = "agent-123e4567-e89b-42d3-8456-426614174000";

#[tokio::test]
async fn a_malformed_id_is_422_with_the_pattern_and_an_unknown_one_404() {
    let world = World::new().await;
    let malformed = world.get("/v1/agents/agent-123").await;
    assert_eq!(malformed.status, 422);
    let detail = text(&malformed.body["detail"]);
    assert!(
        detail.contains("String should match pattern 'agent-{uuid4}'")
            && detail.contains("string_pattern_mismatch")
    );
    assert_eq!(malformed.body["examples"], json!([AGENT]));
    assert!(!text(&malformed.body["trace_id"]).is_empty());
    let unknown = world.get(&format!("/v1/agents/{AGENT}")).await;
    assert_eq!((unknown.status, &unknown.body["detail"]), (404, &json!("Agent not found")));
    for path in ["/v1/blocks/block-1", "/v1/tools/tool-1", "/v1/steps/step-1"] {
        assert_eq!(world.get(path).await.status, 422, "{path}");
    }
    for path in ["/v1/blocks/block-", "/v1/tools/tool-", "/v1/runs/run-"] {
        let path = format!("{path}123e4567-e89b-42d3-8456-426614174000");
        let unknown = world.get(&path).await;
        assert_eq!(unknown.status, 404, "{path}");
        assert!(unknown.body["detail"].is_string() && unknown.body["code"].is_string());
    }
}

#[tokio::test]
async fn bodies_that_do_not_fit_are_422_with_one_text() {
    let world = World::new().await;
    let post = |path: &str, body: &'static str| reply(world.ask(Method::POST, path).body(body));
    for body in
        ["", "{", "[]", "7", "{\"value\": 1, \"label\": \"x\"}", "{\"value\": \"x\"}", "\u{0}"]
    {
        let refused = post("/v1/blocks/", body).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.text);
        assert!(refused.body["detail"].is_string() && refused.body["examples"].is_array());
    }
    let missing = post("/v1/blocks/", "{\"value\": \"x\"}").await;
    assert_eq!(
        missing.body["detail"],
        "[{'type': 'missing', 'loc': ('body', 'label'), 'msg': 'Field required'}]"
    );
    let deep = format!(
        "{{\"value\": \"x\", \"label\": \"x\", \"metadata\": {}1{}}}",
        "{\"a\":".repeat(200),
        "}".repeat(200)
    );
    let refused = reply(world.ask(Method::POST, "/v1/blocks/").body(deep)).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let lenient = reply(
        world
            .ask(Method::POST, "/v1/blocks/")
            .header("content-type", "text/plain")
            .body("{\"value\": \"x\", \"label\": \"x\", \"unknown\": 1}"),
    );
    assert_eq!(lenient.await.status, 200);
    let packed =
        reply(world.ask(Method::POST, "/v1/blocks/").header("content-encoding", "gzip").body("x"))
            .await;
    assert_eq!(packed.status, 415);
    for query in ["limit=0", "limit=x", "order=up", "match_all_tags=maybe"] {
        assert_eq!(world.get(&format!("/v1/agents/?{query}")).await.status, 422, "{query}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_json_too() {
    let world = World::new().await;
    for path in ["/", "/v1", "/v1/nothing", "/v1/agents/x/y/z", "/nothing"] {
        let unknown = world.get(path).await;
        assert_eq!((unknown.status, &unknown.body["detail"]), (404, &json!("Not Found")), "{path}");
    }
    let refused = reply(world.ask(Method::PUT, "/v1/agents/")).await;
    assert_eq!((refused.status, &refused.body["detail"]), (405, &json!("Method Not Allowed")));
    let allowed = refused.header("allow").unwrap_or_default();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    let options = reply(world.ask(Method::OPTIONS, "/v1/agents/")).await;
    assert_eq!((options.status, options.header("allow").is_some()), (204, true));
    let head = reply(world.ask(Method::HEAD, "/v1/agents/")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn the_id_of_a_request_is_echoed_and_named_in_errors() {
    let world = World::new().await;
    let refused =
        reply(world.ask(Method::GET, "/v1/nothing").header("x-request-id", "my-request.1")).await;
    assert_eq!(
        (refused.header("x-request-id"), &refused.body["trace_id"]),
        (Some("my-request.1"), &json!("my-request.1"))
    );
    let made_up = world.get("/v1/health").await;
    assert!(made_up.header("x-request-id").is_some_and(|id| id.len() == 32));
}

#[tokio::test]
async fn unknown_cursors_are_404_everywhere() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let id = |prefix: &str| format!("{prefix}-123e4567-e89b-42d3-8456-426614174000");
    let mut paths = vec![
        format!("/v1/agents/?after={}", id("agent")),
        format!("/v1/agents/?after={}", id("block")),
        format!("/v1/blocks/?before={}", id("block")),
        format!("/v1/runs/?after={}", id("run")),
        format!("/v1/steps/?after={}", id("step")),
        format!("/v1/tools/?after={}", id("tool")),
    ];
    for list in ["messages?after=message", "tools?after=tool", "core-memory/blocks?after=block"] {
        paths.push(id(&format!("/v1/agents/{agent}/{list}")));
    }
    for path in paths {
        let refused = world.get(&path).await;
        assert_eq!(refused.status, 404, "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let mut config = config();
    config.max_body_bytes.value = 1000;
    let world = World::with(config).await;
    let body = json!({ "label": "x", "value": "y".repeat(2000) });
    let refused = world.post("/v1/blocks/", body).await;
    assert_eq!((refused.status, &refused.body["code"]), (413, &json!("body_too_large")));
    let unsized_body = reqwest::Body::wrap_stream(futures_util::stream::iter(
        (0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100])),
    ));
    let refused = reply(world.ask(Method::POST, "/v1/blocks/").body(unsized_body)).await;
    assert_eq!((refused.status, refused.body["detail"].is_string()), (413, true));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_cut() {
    let mut config = config();
    config.body_timeout.value = Duration::from_millis(100);
    let world = World::with(config).await;
    let mut socket = TcpStream::connect(world.server.address()).await.unwrap();
    socket
        .write_all(
            b"POST /v1/blocks/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"la",
        )
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer))
        .await
        .expect("it is cut")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["code"], "body_too_slow");
}

#[tokio::test]
async fn headers_that_do_not_come_are_cut() {
    let mut config = config();
    config.header_timeout.value = Duration::from_millis(100);
    let world = World::with(config).await;
    let mut socket = TcpStream::connect(world.server.address()).await.unwrap();
    socket.write_all(b"GET /v1/health HTTP/1.1\r\nx-slow: ").await.unwrap();
    let mut answer = Vec::new();
    let read =
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it is cut");
    assert!(read.is_err() || answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"));
}

#[tokio::test]
async fn a_draining_server_takes_no_new_work_and_says_so() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    assert_eq!(world.get("/v1/ready").await.ok()["status"], "ok");
    world.server.drain(Duration::ZERO).await;
    let refused = world.say(&agent, "hi").await;
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("shutting_down")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.get("/v1/ready").await.status, 503);
    let health = world.get("/v1/health").await.ok();
    assert_eq!(health, json!({ "version": env!("CARGO_PKG_VERSION"), "status": "ok" }));
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.status, 200, "reading works");
}
