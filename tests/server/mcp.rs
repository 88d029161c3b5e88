//! MCP servers over the wire: kept with what their clients gave, their tools called by agents and by clients.

mod script;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use reqwest::Method;
use retold::config::Config;
use retold_models::testing::Say;
use serde_json::{Value, json};

use self::script::{Script, tool};
use crate::support::{PATIENCE, World, config, kinds, list, reply, text};

/// Part of every credential below.
const SECRET: &str = "swordfish";

fn open_to_loopback() -> Config {
    let mut config = config();
    config.egress_allow.value = "127.0.0.1".parse().expect("an address");
    config
}

async fn world() -> World {
    World::with(open_to_loopback()).await
}

async fn create(world: &World, name: &str, script: &Script) -> Value {
    let config = json!({"mcp_server_type": "streamable_http", "server_url": script.url()});
    world.post("/v1/mcp-servers/", json!({"server_name": name, "config": config})).await.ok()
}

fn path(server: &Value) -> String {
    format!("/v1/mcp-servers/{}", text(&server["id"]))
}

/// Names of a server's tools, sorted.
async fn names(world: &World, server: &Value) -> Vec<String> {
    let tools = world.get(&format!("{}/tools", path(server))).await.ok();
    let mut names: Vec<String> =
        list(&tools).iter().map(|tool| text(&tool["name"]).to_owned()).collect();
    names.sort();
    names
}

async fn tool_named(world: &World, name: &str) -> Value {
    let tools = world.get(&format!("/v1/tools?name={name}")).await.ok();
    list(&tools).first().cloned().unwrap_or_else(|| panic!("there is no tool {name}"))
}

#[tokio::test]
async fn a_server_is_made_listed_changed_and_deleted_and_its_tools_with_it() {
    let world = world().await;
    let script = Script::with(vec![tool("read"), tool("write")]).await;
    let server = create(&world, "my files", &script).await;
    assert!(text(&server["id"]).starts_with("mcp_server-"), "{server}");
    let expected = json!({"id": server["id"], "server_name": "my files", "mcp_server_type": "streamable_http",
        "server_url": script.url(), "auth_header": null, "auth_token": null, "custom_headers": null});
    assert_eq!(server, expected);
    assert_eq!(world.get(&path(&server)).await.ok(), expected);
    assert_eq!(world.get("/v1/mcp-servers/").await.ok(), json!([expected]));

    let read = tool_named(&world, "read").await;
    assert_eq!(
        (&read["tool_type"], &read["tags"]),
        (&json!("external_mcp"), &json!(["mcp:my files"]))
    );
    let parameters = json!({"type": "object", "properties": {}, "required": []});
    assert_eq!(read["json_schema"]["parameters"], parameters);
    let of_mcp = world.get("/v1/tools?tool_types=external_mcp").await.ok();
    assert_eq!(list(&of_mcp).len(), 2);
    let one = world.get(&format!("{}/tools/{}", path(&server), text(&read["id"]))).await.ok();
    assert_eq!(one, read);

    let renamed = json!({"server_name": "files", "config": {"mcp_server_type": "streamable_http",
        "custom_headers": {"X-Team": "a"}}});
    let renamed = world.patch(&path(&server), renamed).await.ok();
    assert_eq!(
        (&renamed["server_name"], &renamed["server_url"]),
        (&json!("files"), &expected["server_url"])
    );
    assert_eq!(renamed["custom_headers"], json!({"X-Team": "a"}));
    let after = tool_named(&world, "read").await;
    assert_eq!((&after["id"], &after["tags"]), (&read["id"], &json!(["mcp:files"])));
    assert_eq!(script.asked("tools/list").last().unwrap().headers["x-team"], "a");

    let deleted = world.delete(&path(&server)).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    assert_eq!(world.get(&path(&server)).await.status, 404);
    assert_eq!(world.get("/v1/tools?tool_types=external_mcp").await.ok(), json!([]));
    assert_eq!(world.delete(&path(&server)).await.status, 404);
}

#[tokio::test]
async fn an_agent_calls_a_tool_of_a_server_and_goes_on_after_its_failure() {
    let world = world().await;
    let script = Script::with(vec![tool("read"), tool("fail")]).await;
    create(&world, "files", &script).await;
    let calls = [
        Say::call("c1", "read", r#"{"path": "a"}"#),
        Say::call("c2", "fail", "{}"),
        Say::answer("done"),
    ];
    world.model("reader", calls);
    let ids = [
        tool_named(&world, "read").await["id"].clone(),
        tool_named(&world, "fail").await["id"].clone(),
    ];
    let agent = world.agent_with(json!({"model": "test/reader", "tool_ids": ids})).await;
    let answer = world.say(&agent, "go").await.ok();
    let expected = [
        "tool_call_message",
        "tool_return_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ];
    assert_eq!(kinds(&answer["messages"]), expected);
    let returned = |index: usize| {
        let message = &answer["messages"][index];
        (text(&message["status"]).to_owned(), text(&message["tool_return"]).to_owned())
    };
    assert_eq!(returned(1), ("success".to_owned(), r#"read {"path":"a"}"#.to_owned()));
    assert_eq!(returned(3), ("error".to_owned(), "the disk is gone".to_owned()));
    let made = script.asked("tools/call");
    let key = |index: usize| made[index].body["params"]["_meta"]["retold/idempotencyKey"].clone();
    assert!(key(0).as_str().is_some_and(|key| key.len() == 32) && key(0) != key(1), "{made:?}");
}

#[tokio::test]
async fn a_refresh_tells_what_changed_and_agents_keep_what_stays() {
    let world = world().await;
    let script = Script::with(vec![tool("read"), tool("old")]).await;
    let server = create(&world, "files", &script).await;
    let read = tool_named(&world, "read").await;
    let agent = world.agent_with(json!({"model": "test/echo", "tool_ids": [read["id"]]})).await;
    let mut better = tool("read");
    better["description"] = "Reads.".into();
    script.set(vec![better, tool("new"), tool("memory_insert")]);
    let told = world.ask(Method::PATCH, &format!("{}/refresh?agent_id={agent}", path(&server)));
    let told = reply(told).await.ok();
    let expected =
        json!({"deleted": ["old"], "updated": ["read"], "added": ["new", "files_memory_insert"]});
    assert_eq!(told, expected);
    assert_eq!(names(&world, &server).await, ["files_memory_insert", "new", "read"]);
    let tools = world.get(&format!("/v1/agents/{agent}/tools")).await.ok();
    let kept = list(&tools).iter().find(|tool| tool["id"] == read["id"]).expect("it has it still");
    assert_eq!(kept["description"], "Reads.");
    let nothing = json!({"deleted": [], "updated": [], "added": []});
    let again = world.post("/v1/tools/mcp/servers/files/resync", json!({})).await.ok();
    assert_eq!(again, nothing);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_kept_and_a_refresh_says_so_in_the_contract_s_words() {
    let world = world().await;
    let free = Script::with(vec![]).await.url();
    let config = json!({"mcp_server_type": "sse", "server_url": free});
    let server = json!({"server_name": "away", "config": config});
    let server = world.post("/v1/mcp-servers", server).await.ok();
    assert!(names(&world, &server).await.is_empty());
    let refused = world.patch(&format!("{}/refresh", path(&server)), json!({})).await;
    assert_eq!(refused.status, 502, "{}", refused.text);
    let error = &refused.body["error"];
    assert_eq!(
        (&error["type"], &refused.body["detail"]),
        (&json!("mcp_connection_error"), &Value::Null)
    );
    assert!(text(&error["message"]).contains("MCP server 'away'"), "{}", refused.text);
    let listed = world.get("/v1/tools/mcp/servers/away/tools").await;
    assert_eq!(listed.status, 502, "{}", listed.text);
}

#[tokio::test]
async fn what_a_server_may_not_be_is_refused_and_keeps_nothing() {
    let world = world().await;
    let script = Script::with(vec![]).await;
    create(&world, "files", &script).await;
    let url = script.url();
    for (status, config, part) in [
        (400, json!({"mcp_server_type": "stdio", "command": "true", "args": []}), "mcp_stdio"),
        (
            400,
            json!({"mcp_server_type": "sse", "server_url": "http://169.254.169.254/latest"}),
            "egress_allow",
        ),
        (400, json!({"server_url": format!("http://ada:{SECRET}@127.0.0.1/")}), "server_url"),
        (400, json!({"server_url": "file:///etc/passwd"}), "server_url"),
        (422, json!({"mcp_server_type": "smtp", "server_url": url}), "mcp_server_type"),
        (422, json!({"mcp_server_type": "sse"}), "server_url"),
        (422, json!({"server_url": url, "custom_headers": {"Host": "elsewhere"}}), "Host"),
        (
            422,
            json!({"server_url": url, "custom_headers": {"A": format!("{SECRET}\r\nB: c")}}),
            "line breaks",
        ),
        (422, json!({"server_url": url, "auth_token": [SECRET]}), "auth_token"),
        (409, json!({"server_url": url}), "another name"),
    ] {
        let name = if status == 409 { "files" } else { "other" };
        let body = json!({"server_name": name, "config": config});
        let refused = world.post("/v1/mcp-servers", body).await;
        assert_eq!(refused.status, status, "{config}: {}", refused.text);
        assert!(refused.text.contains(part) && !refused.text.contains(SECRET), "{}", refused.text);
    }
    assert_eq!(list(&world.get("/v1/mcp-servers").await.ok()).len(), 1);
    for path in
        ["/v1/mcp-servers/x", "/v1/mcp-servers/mcp_server-123e4567-e89b-42d3-8456-426614174000"]
    {
        let missing = world.get(path).await;
        assert_eq!((missing.status, &missing.body["code"]), (404, &json!("mcp_server_not_found")));
    }
}

#[tokio::test]
async fn secrets_are_sent_to_the_server_and_its_clients_and_nowhere_else() {
    let mut config = open_to_loopback();
    config.encryption_key = Some(retold::config::Sourced {
        value: retold::config::Secret::new("a text for the key".to_owned()),
        origin: retold::config::Origin::Default,
    });
    let world = World::with(config).await;
    let script = Script::with(vec![tool("headers")]).await;
    let asked = json!({"server_name": "files", "config": {"server_url": script.url(),
        "auth_token": "swordfish-token-1", "custom_headers": {"X-Key": "swordfish-key-2"}}});
    let server = world.post("/v1/mcp-servers", asked).await.ok();
    assert_eq!(server["auth_token"], "swordfish-token-1");
    let came = &script.asked("tools/list")[0].headers;
    assert_eq!(
        (&*came["authorization"], &*came["x-key"]),
        ("Bearer swordfish-token-1", "swordfish-key-2")
    );
    // The server repeats what it was given, and the model does not see it.
    let id = tool_named(&world, "headers").await["id"].clone();
    let run = format!("{}/tools/{}/run", path(&server), text(&id));
    let ran = world.post(&run, json!({"args": {}})).await.ok();
    assert_eq!(ran["status"], "success");
    let told = text(&ran["func_return"]);
    assert!(told.contains("[secret auth_token]") && !told.contains(SECRET), "{told}");
    // Another form, then the same once more, which is no change.
    let other = json!({"config": {"auth_header": "X-Auth", "auth_token": "swordfish-token-3"}});
    world.patch(&path(&server), other.clone()).await.ok();
    assert_eq!(script.asked("tools/list").last().unwrap().headers["x-auth"], "swordfish-token-3");
    let count = |events: &Value| list(events).len();
    let events = world.get("/v1/events?limit=1000").await.ok();
    let same = world.patch(&path(&server), other).await.ok();
    assert_eq!(same["auth_token"], "swordfish-token-3");
    let whole = world.get("/v1/events?limit=1000").await;
    assert!(!whole.text.contains(SECRET), "{}", whole.text);
    let whole = whole.ok();
    assert_eq!(count(&events), count(&whole), "what changes nothing writes nothing");
    let created = list(&whole).iter().find(|event| event["type"] == "mcp_server.created").unwrap();
    assert_eq!(created["mcp_server_id"], server["id"]);
    let told = &created["payload"]["server"];
    assert_eq!(
        (&told["has_auth_token"], &told["custom_header_names"]),
        (&json!(true), &json!(["X-Key"]))
    );

    let world = world.restart(std::time::Duration::ZERO).await;
    let later = world.get(&path(&server)).await.ok();
    assert_eq!(
        (&later["auth_token"], &later["auth_header"]),
        (&json!("swordfish-token-3"), &json!("X-Auth"))
    );
    let then = created["position"].as_u64().unwrap();
    let then = world.get(&format!("{}?as_of={then}", path(&server))).await.ok();
    assert_eq!(
        (&then["auth_token"], &then["auth_header"]),
        (&Value::Null, &Value::Null),
        "a value that was taken back is not to be had by looking back"
    );
    assert_eq!(names(&world, &server).await, ["headers"]);
    let none = json!({"config": {"auth_token": "", "custom_headers": {}}});
    let none = world.patch(&path(&server), none).await.ok();
    assert_eq!((&none["auth_token"], &none["custom_headers"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn what_a_server_repeats_of_its_secrets_is_neither_in_its_tools_nor_in_what_they_return() {
    let world = world().await;
    let mut words = tool("words");
    words["description"] = json!("Acts for Bearer swordfish-token-1.");
    words["inputSchema"]["properties"] =
        json!({"account": {"type": "string", "default": "swordfish-key-2"}});
    let script = Script::with(vec![words]).await;
    let config = json!({"server_url": format!("{}?key=swordfish-query-3", script.url()),
        "auth_token": "swordfish-token-1", "custom_headers": {"X-Key": "Key swordfish-key-2"}});
    let asked = json!({"server_name": "files", "config": config});
    let server = world.post("/v1/mcp-servers", asked).await.ok();

    let words = tool_named(&world, "words").await;
    assert_eq!(words["description"], "Acts for Bearer [secret auth_token].");
    let account = &words["json_schema"]["parameters"]["properties"]["account"];
    assert_eq!(*account, json!({"type": "string"}));
    let run = format!("{}/tools/{}/run", path(&server), text(&words["id"]));
    let ran = world.post(&run, json!({"args": {}})).await.ok();
    let told = text(&ran["func_return"]);
    for name in ["auth_token", "X-Key", "key"] {
        assert!(told.contains(&format!("[secret {name}]")), "{told}");
    }
    for path in ["/v1/events?limit=1000", "/v1/tools/", "/v1/tools/mcp/servers/files/tools"] {
        let shown = world.get(path).await.text;
        assert!(!shown.contains(SECRET), "{path}: {shown}");
    }
    assert!(!told.contains(SECRET), "{told}");
}

#[tokio::test]
async fn older_clients_find_the_same_servers_by_name() {
    let world = world().await;
    let script = Script::with(vec![
        tool("read"),
        json!({"name": "bad", "inputSchema": {"type": "object", "properties": {"a b": {}}}}),
    ])
    .await;
    let config = json!({"server_name": "files", "type": "streamable_http", "server_url": script.url(),
        "auth_token": "t"});
    let tried = world.post("/v1/tools/mcp/servers/test", config.clone()).await.ok();
    assert_eq!((&tried["status"], list(&tried["tools"]).len()), (&json!("success"), 2));
    assert_eq!(script.asked("tools/list")[0].headers["authorization"], "Bearer t");
    assert_eq!(world.get("/v1/tools/mcp/servers").await.ok(), json!({}), "a trial keeps nothing");

    let all = world.put("/v1/tools/mcp/servers", config).await.ok();
    let shown = json!({"server_name": "files", "type": "streamable_http", "server_url": script.url(),
        "auth_header": null, "auth_token": "t", "custom_headers": null});
    assert_eq!(all, json!([shown]));
    assert_eq!(world.get("/v1/tools/mcp/servers").await.ok(), json!({"files": shown}));
    let offered = world.get("/v1/tools/mcp/servers/files/tools").await.ok();
    let health: Vec<&str> = list(&offered).iter().map(|it| text(&it["health"]["status"])).collect();
    assert_eq!(health, ["NON_STRICT_ONLY", "INVALID"]);
    assert!(text(&offered[1]["health"]["reasons"][0]).contains("a b"), "{offered}");
    assert_eq!(offered[0]["inputSchema"], json!({"type": "object"}));

    script.set(vec![tool("read"), tool("late")]);
    let late = world.post("/v1/tools/mcp/servers/files/late", json!({})).await.ok();
    assert_eq!((&late["name"], &late["tool_type"]), (&json!("late"), &json!("external_mcp")));
    let execute = "/v1/tools/mcp/servers/files/tools/late/execute";
    let ran = world.post(execute, json!({"args": {"a": 1}})).await.ok();
    assert_eq!(
        (&ran["status"], &ran["func_return"]),
        (&json!("success"), &json!(r#"late {"a":1}"#))
    );
    assert_eq!(world.post("/v1/tools/mcp/servers/files/none", json!({})).await.status, 404);

    let changed = json!({"server_name": "disk", "auth_token": "u"});
    let changed = world.patch("/v1/tools/mcp/servers/files", changed).await.ok();
    assert_eq!((&changed["server_name"], &changed["auth_token"]), (&json!("disk"), &json!("u")));
    assert_eq!(world.delete("/v1/tools/mcp/servers/files").await.status, 404);
    assert_eq!(world.delete("/v1/tools/mcp/servers/disk").await.ok(), json!([]));
}

#[tokio::test]
async fn a_tool_of_a_server_cannot_be_made_another_by_its_source() {
    let world = world().await;
    let script = Script::with(vec![tool("read")]).await;
    let server = create(&world, "files", &script).await;
    let source = "def read(path: str) -> str:\n    \"\"\"Read.\n\n    Args:\n        path: What.\n    \"\"\"\n    return path\n";
    let refused = world.post("/v1/tools", json!({"source_code": source})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("MCP server 'files'"), "{}", refused.text);
    // What is the user's own may be set, and a refresh leaves it.
    let id = tool_named(&world, "read").await["id"].clone();
    let set = json!({"tags": ["mine", "mcp:files"], "default_requires_approval": true});
    world.patch(&format!("/v1/tools/{}", text(&id)), set).await.ok();
    world.patch(&format!("{}/refresh", path(&server)), json!({})).await.ok();
    let read = tool_named(&world, "read").await;
    assert_eq!(
        (&read["tags"], &read["default_requires_approval"]),
        (&json!(["mine", "mcp:files"]), &json!(true))
    );
}

/// A server of the official SDK. It ends with the test.
struct Real {
    child: Child,
    url: String,
}

impl Real {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/tests/mcp/python");
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mcp");
        let made = Command::new(folder.join("setup.sh"))
            .arg(place)
            .arg("2.3.0")
            .stderr(Stdio::inherit())
            .output()
            .expect("the script is there");
        assert!(made.status.success(), "the SDK could not be installed, see above");
        let python = String::from_utf8(made.stdout).expect("a path");
        let mut child = Command::new(python.trim())
            .arg(folder.join("server.py"))
            .arg("streamable-http")
            .env("LEDGER", "/dev/null")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut port = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        out.read_line(&mut port).expect("it says its port");
        let real = Self { child, url: format!("http://127.0.0.1:{}/mcp", port.trim()) };
        let address = format!("127.0.0.1:{}", port.trim());
        let begun = std::time::Instant::now();
        // The port is told before anybody listens on it.
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "nobody listens on {address}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        real
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_server_of_the_official_sdk_is_called_as_it_wants_to_be() {
    let real = tokio::task::spawn_blocking(Real::start).await.unwrap();
    let world = world().await;
    let config = json!({"mcp_server_type": "streamable_http", "server_url": real.url});
    let server = json!({"server_name": "real", "config": config});
    let server = world.post("/v1/mcp-servers", server).await.ok();
    let names = names(&world, &server).await;
    assert!(names.contains(&"add".to_owned()) && names.contains(&"fail".to_owned()), "{names:?}");
    let add = tool_named(&world, "add").await;
    assert_eq!(add["json_schema"]["parameters"]["properties"]["a"]["type"], "integer");
    world.model("adder", [Say::call("c", "add", r#"{"a": 40}"#), Say::answer("42")]);
    let agent = world.agent_with(json!({"model": "test/adder", "tool_ids": [add["id"]]})).await;
    let answer = world.say(&agent, "add").await.ok();
    assert_eq!(text(&answer["messages"][1]["tool_return"]), "42", "{answer}");
    let run = format!("{}/tools/{}/run", path(&server), text(&add["id"]));
    let wrong = world.post(&run, json!({"args": {"a": "x"}})).await.ok();
    assert_eq!((&wrong["status"], &wrong["func_return"]), (&json!("error"), &Value::Null));
}
