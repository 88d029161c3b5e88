//! Who may ask.

use reqwest::{Method, RequestBuilder};
use retold::config::{Secret, Sourced};
use serde_json::json;

use crate::support::{World, config, reply};

async fn closed() -> World {
    let mut config = config();
    config.password = Some(Sourced::default_of(Secret::new("correct horse")));
    World::with(config).await
}

#[tokio::test]
async fn a_server_with_a_password_wants_it_in_either_form() {
    let world = closed().await;
    let ask = || world.ask(Method::GET, "/v1/agents/");
    let status = |request: RequestBuilder| async { reply(request).await.status };
    assert_eq!(status(ask().bearer_auth("correct horse")).await, 200);
    assert_eq!(status(ask().header("x-bare-password", "password correct horse")).await, 200);
    for wrong in ["", "correct", "correct horse battery", "Correct horse"] {
        let refused = reply(ask().bearer_auth(wrong)).await;
        assert_eq!((refused.status, &refused.body["detail"]), (401, &json!("Unauthorized")));
    }
    assert_eq!(status(ask()).await, 401);
    assert_eq!(status(world.ask(Method::GET, "/api/agents")).await, 401, "no alias is open");
    assert_eq!(status(world.ask(Method::GET, "/openapi.json")).await, 401);
    for open in ["/v1/health/", "/v1/health", "/v1/ready/", "/api/health"] {
        assert_eq!(status(world.ask(Method::GET, open)).await, 200, "{open}");
    }
}

#[tokio::test]
async fn a_page_that_gave_this_machine_a_name_of_its_own_is_refused() {
    let world = World::new().await;
    let asked = world.ask(Method::GET, "/v1/agents/").header("host", "evil.example:8283");
    let refused = reply(asked).await;
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("foreign_host")));
    let world = closed().await;
    let asked = world
        .ask(Method::GET, "/v1/agents/")
        .header("host", "my.proxy")
        .bearer_auth("correct horse");
    assert_eq!(reply(asked).await.status, 200);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_configured() {
    let world = World::new().await;
    let from = |world: &World, method, origin: &str| {
        world
            .ask(method, "/v1/blocks/")
            .header("origin", origin)
            .body(r#"{"label": "x", "value": "y"}"#)
    };
    let refused = reply(from(&world, Method::POST, "https://evil.example")).await;
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("foreign_origin")));
    assert!(refused.header("access-control-allow-origin").is_none());
    let mut config = config();
    config.cors_origins.value = vec!["https://app.example".to_owned()];
    let world = World::with(config).await;
    let allowed = reply(from(&world, Method::POST, "https://app.example")).await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (200, Some("https://app.example"))
    );
    assert_eq!(reply(from(&world, Method::POST, "https://evil.example")).await.status, 403);
    let preflight = world
        .ask(Method::OPTIONS, "/v1/blocks/")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,x-anything");
    let preflight = reply(preflight).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization,x-anything"));
}

#[tokio::test]
async fn a_malformed_user_is_400() {
    let world = World::new().await;
    let ask = |user: &str| reply(world.ask(Method::GET, "/v1/agents/").header("user_id", user));
    assert_eq!(ask("user-00000000-0000-4000-8000-000000000000").await.status, 200);
    assert_eq!(ask("bob").await.status, 400);
}
