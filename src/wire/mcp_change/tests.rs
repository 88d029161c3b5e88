//! What is kept of what clients give.

use serde_json::json;

use super::*;

/// Seals nothing, and calls loopback only.
struct Plain;

impl Keeping for Plain {
    fn address(&self, url: &str) -> Result<String, Problem> {
        let is_ours = url.starts_with("http://127.0.0.1");
        is_ours.then(|| url.to_owned()).ok_or_else(|| Problem::Invalid("not there".to_owned()))
    }

    fn seal(&self, _: &str, value: &str, old: Option<&Sealed>) -> Result<Sealed, Problem> {
        let new = Sealed { owner: [1; 16], bytes: value.as_bytes().to_vec() };
        Ok(old.filter(|old| old.bytes == new.bytes).cloned().unwrap_or(new))
    }
}

fn create(config: Value) -> Result<Server, Problem> {
    let body = json!({"server_name": "files", "config": config});
    serde_json::from_value::<CreateMcpServerRequest>(body).unwrap().make(&Plain)
}

fn update(old: &Server, body: Value) -> Result<Server, Problem> {
    serde_json::from_value::<UpdateMcpServerRequest>(body).unwrap().over(old, &Plain)
}

fn remote(server: &Server) -> &Remote {
    match &server.transport {
        Transport::Sse(remote) | Transport::StreamableHttp(remote) => remote,
        Transport::Stdio { .. } => panic!("{server:?}"),
    }
}

const URL: &str = "http://127.0.0.1/mcp";

fn full() -> Server {
    create(json!({"mcp_server_type": "streamable_http", "server_url": URL, "auth_token": "t",
        "auth_header": "X-Key", "custom_headers": {"X-Team": "a"}}))
    .unwrap()
}

#[test]
fn the_type_follows_from_what_is_given() {
    let program = create(json!({"command": "npx", "args": ["a"]})).unwrap();
    assert_eq!(McpServerType::of(&program.transport), McpServerType::Stdio);
    let address = create(json!({"server_url": URL})).unwrap();
    assert_eq!(McpServerType::of(&address.transport), McpServerType::StreamableHttp);
    let sse = create(json!({"server_url": "http://127.0.0.1/sse/"})).unwrap();
    assert_eq!(McpServerType::of(&sse.transport), McpServerType::Sse);
    let older = json!({"server_name": "files", "type": "sse", "server_url": URL});
    let older: McpServerConfigInput = serde_json::from_value(older).unwrap();
    let older = CreateMcpServerRequest::try_from(older).unwrap().make(&Plain).unwrap();
    assert_eq!(McpServerType::of(&older.transport), McpServerType::Sse);
}

#[test]
fn what_a_change_does_not_say_stays_and_empty_leaves_nothing() {
    let nulls = json!({"server_name": null, "config": {"mcp_server_type": "streamable_http",
        "server_url": null, "auth_token": null, "auth_header": null, "custom_headers": null}});
    assert_eq!(update(&full(), nulls).unwrap(), full());
    assert_eq!(update(&full(), json!({"server_name": "files"})).unwrap(), full());
    let same = json!({"config": {"auth_token": "t", "custom_headers": {"X-Team": "a"}}});
    assert_eq!(update(&full(), same).unwrap(), full());
    let empty = json!({"config": {"auth_token": "", "auth_header": "", "custom_headers": {}}});
    let empty = update(&full(), empty).unwrap();
    let bare =
        Remote { url: URL.to_owned(), auth_header: None, auth_token: None, custom_headers: vec![] };
    assert_eq!(remote(&empty), &bare);
    // The other way to the same address, with everything it had.
    let sse = update(&full(), json!({"config": {"mcp_server_type": "sse"}})).unwrap();
    assert_eq!(
        (remote(&sse), McpServerType::of(&sse.transport)),
        (remote(&full()), McpServerType::Sse)
    );
}

#[test]
fn what_is_missing_or_does_not_belong_is_named() {
    for (config, part) in [
        (json!({"mcp_server_type": "stdio"}), "command"),
        (json!({}), "server_url"),
        (json!({"mcp_server_type": "stdio", "command": "x", "server_url": URL}), "server_url"),
        (json!({"mcp_server_type": "sse", "server_url": URL, "command": "x"}), "command"),
        (json!({"command": " "}), "empty"),
        (json!({"command": "x", "env": {"A=B": "c"}}), "environment variable"),
        (json!({"server_url": URL, "custom_headers": {"Host": "a"}}), "Host"),
        (json!({"server_url": URL, "custom_headers": {"A B": "a"}}), "no name of a header"),
        (json!({"server_url": URL, "custom_headers": {"A": "secret\r\nB: c"}}), "line breaks"),
        (json!({"server_url": URL, "auth_token": "secret\n"}), "line breaks"),
        (json!({"server_url": URL, "auth_header": "Transfer-Encoding"}), "connection"),
        (
            json!({"server_url": URL, "auth_token": "t", "custom_headers": {"authorization": "a"}}),
            "twice",
        ),
        (json!({"server_url": URL, "custom_headers": {"A": "a", "a": "b"}}), "twice"),
    ] {
        let Err(Problem::Unprocessable(says)) = create(config.clone()) else { panic!("{config}") };
        assert!(says.contains(part) && !says.contains("secret"), "{config}: {says}");
    }
    assert_eq!(
        create(json!({"server_url": "ftp://x"})),
        Err(Problem::Invalid("not there".to_owned()))
    );
    for name in ["", " ", "a\u{1b}b", &"x".repeat(129)] {
        assert!(update(&full(), json!({"server_name": name})).is_err(), "{name:?}");
    }
}

#[test]
fn no_value_is_told_by_an_error_or_a_debug() {
    for bad in [
        json!({"server_name": "a", "config": {"auth_token": {"secret": 1}}}),
        json!({"server_name": "a", "config": {"custom_headers": {"A": ["secret"]}}}),
        json!({"server_name": "a", "config": {"env": "secret"}}),
    ] {
        let says = serde_json::from_value::<CreateMcpServerRequest>(bad).unwrap_err().to_string();
        assert!(!says.contains("secret"), "{says}");
    }
    let good = json!({"server_name": "a", "config": {"auth_token": "secret", "custom_headers": {"A": "secret"},
        "env": {"B": "secret"}}});
    let good: CreateMcpServerRequest = serde_json::from_value(good).unwrap();
    assert!(!format!("{good:?}").contains("secret"));
}
