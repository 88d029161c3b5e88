//! Who gets a socket, and what the others are told.

use reqwest::Method;
use retold::config::{Secret, Sourced};
use serde_json::json;

use crate::{
    socket::Socket,
    support::{World, config, reply},
};

#[tokio::test]
async fn every_spelling_of_the_address_leads_to_the_socket() {
    let world = World::new().await;
    for path in ["/ws", "/ws/", "/v1/ws", "/v1/ws/", "/api/ws", "/latest/ws"] {
        let mut socket = Socket::open_with(&world, path, &[], None).await.expect(path);
        socket.send(json!({"type": "ping"})).await;
        assert_eq!(socket.frame().await["type"], "pong");
    }
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_it_lacks() {
    let world = World::new().await;
    for path in ["/ws", "/v1/ws"] {
        let plain = world.get(path).await;
        assert_eq!((plain.status, &plain.body["code"]), (426, &json!("upgrade_required")));
        assert_eq!(plain.header("upgrade"), Some("websocket"));
        assert_eq!(plain.header("sec-websocket-version"), Some("13"));
        let posted = world.post(path, json!({})).await;
        assert_eq!((posted.status, &posted.body["code"]), (405, &json!("method_not_allowed")));
    }
    let old = Socket::open_with(&world, "/ws", &[("sec-websocket-version", "8")], None).await;
    let old = old.err().expect("version 8 is not spoken");
    assert_eq!((old.status, &old.body["code"]), (426, &json!("upgrade_required")));
    assert!(old.headers.contains(&("sec-websocket-version".to_owned(), "13".to_owned())));
    let keyless = Socket::open_with(&world, "/ws", &[("sec-websocket-key", "short")], None).await;
    let keyless = keyless.err().expect("a key has 16 bytes");
    assert_eq!((keyless.status, &keyless.body["code"]), (400, &json!("malformed_handshake")));
}

async fn status(world: &World, headers: &[(&str, &str)]) -> u16 {
    match Socket::open_with(world, "/ws", headers, None).await {
        Ok(_) => 101,
        Err(refused) => refused.status,
    }
}

#[tokio::test]
async fn pages_of_other_origins_get_no_socket_unless_configured() {
    let world = World::new().await;
    let own = format!("http://{}", world.server.address());
    assert_eq!(status(&world, &[("origin", &own)]).await, 101);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "file://"] {
        assert_eq!(status(&world, &[("origin", origin)]).await, 403, "{origin}");
    }
    assert_eq!(status(&world, &[("host", "evil.example")]).await, 403);
    let mut config = config();
    config.cors_origins.value = vec!["https://app.example".to_owned()];
    let world = World::with(config).await;
    assert_eq!(status(&world, &[("origin", "https://app.example")]).await, 101);
    assert_eq!(status(&world, &[("origin", "https://app.example.evil")]).await, 403);
}

#[tokio::test]
async fn a_password_opens_the_socket_by_header_or_protocol_and_never_by_the_address() {
    let mut config = config();
    config.password = Some(Sourced::default_of(Secret::new("correct horse")));
    let world = World::with(config).await;
    assert_eq!(status(&world, &[]).await, 401);
    assert_eq!(status(&world, &[("authorization", "Bearer correct horse")]).await, 101);
    assert_eq!(status(&world, &[("x-bare-password", "password correct horse")]).await, 101);
    assert_eq!(status(&world, &[("authorization", "Bearer wrong")]).await, 401);
    let offers = |protocol: &'static str| [("sec-websocket-protocol", protocol)];
    let offered = offers("retold, bearer.Y29ycmVjdCBob3JzZQ");
    let socket =
        Socket::open_with(&world, "/ws", &offered, None).await.expect("it is the password");
    assert_eq!(socket.protocol.as_deref(), Some("retold"), "the password is not sent back");
    assert_eq!(status(&world, &offers("retold, bearer.d3Jvbmc")).await, 401);
    for path in ["/ws?password=correct+horse", "/ws?token=correct%20horse", "/ws?access_token=x"] {
        let refused =
            Socket::open_with(&world, path, &[], None).await.err().expect("not in addresses");
        assert_eq!(refused.status, 401, "{path}");
    }
    // Where nothing is upgraded the protocol means nothing.
    let asked = world.ask(Method::GET, "/v1/agents/");
    let asked = asked.header("sec-websocket-protocol", "bearer.Y29ycmVjdCBob3JzZQ");
    assert_eq!(reply(asked).await.status, 401);
}
