//! Tools that users make: from source to agent, lists over all tools, and what is refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Reply, World, list, text};

/// A function with one argument.
fn source(name: &str) -> String {
    format!(
        "def {name}(sides: int) -> int:\n    \"\"\"Roll the die {name}.\n\n    Args:\n        sides: How many sides it has.\n    \"\"\"\n    return 4\n"
    )
}

async fn make(world: &World, name: &str) -> Value {
    world.post("/v1/tools/", json!({ "source_code": source(name) })).await.ok()
}

fn names(tools: &Value) -> Vec<&str> {
    list(tools).iter().map(|tool| text(&tool["name"])).collect()
}

/// The answer of a request that is refused with this status.
fn refused(reply: Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{}", reply.text);
    assert!(reply.body["trace_id"].is_string() && reply.body["code"].is_string(), "{}", reply.text);
    text(&reply.body["detail"]).to_owned()
}

#[tokio::test]
async fn a_tool_is_made_from_its_source_given_to_an_agent_and_seen_there() {
    let world = World::new().await;
    let tool = world
        .post(
            "/v1/tools/",
            json!({
                "source_code": source("roll"), "tags": ["games"], "return_char_limit": 100,
                "pip_requirements": [{"name": "requests", "version": "2.32.3"}, {"name": "numpy"}],
                "enable_parallel_execution": true,
            }),
        )
        .await
        .ok();
    assert_eq!((&tool["name"], &tool["tool_type"]), (&json!("roll"), &json!("custom")));
    assert_eq!(
        (&tool["source_type"], &tool["source_code"]),
        (&json!("python"), &json!(source("roll")))
    );
    assert_eq!(tool["description"], "Roll the die roll.");
    let parameters = &tool["json_schema"]["parameters"];
    assert_eq!(tool["json_schema"]["name"], "roll");
    assert_eq!(parameters["properties"]["sides"]["type"], "integer");
    assert_eq!(parameters["required"], json!(["sides"]));
    assert_eq!((&tool["tags"], &tool["return_char_limit"]), (&json!(["games"]), &json!(100)));
    assert_eq!(tool["pip_requirements"][1], json!({"name": "numpy", "version": null}));
    assert_eq!(tool["enable_parallel_execution"], true);
    assert_eq!(tool["npm_requirements"], Value::Null);

    let id = text(&tool["id"]);
    assert_eq!(world.get(&format!("/v1/tools/{id}")).await.ok(), tool);
    let agent = world.agent("echo").await;
    let path = format!("/v1/agents/{agent}");
    let attached = world.patch(&format!("{path}/tools/attach/{id}"), json!(null)).await.ok();
    assert_eq!(list(&attached["tools"]).last(), Some(&tool));
    assert_eq!(world.get(&path).await.ok(), attached);
    assert_eq!(world.get(&format!("{path}/tools")).await.ok()[0], tool);
    let detached = world.patch(&format!("{path}/tools/detach/{id}"), json!(null)).await.ok();
    assert_eq!(list(&detached["tools"]).len(), 3);

    let by_name = world
        .post(
            "/v1/agents/",
            json!({ "model": "test/echo", "tools": ["roll"], "include_base_tools": false }),
        )
        .await
        .ok();
    assert_eq!(by_name["tools"], json!([tool]));
    let by_id = world
        .post("/v1/agents/", json!({ "model": "test/echo", "tools": [id], "tool_ids": [id] }))
        .await
        .ok();
    assert_eq!(list(&by_id["tools"]).len(), 4, "each once");
    let replaced = world.patch(&path, json!({ "tool_ids": [id] })).await.ok();
    assert_eq!(replaced["tools"], json!([tool]));
}

#[tokio::test]
async fn creating_and_putting_a_name_again_change_the_tool_and_keep_its_id() {
    let world = World::new().await;
    let first = world
        .post("/v1/tools/", json!({ "source_code": source("roll"), "tags": ["games"] }))
        .await
        .ok();
    let other = source("roll").replace("return 4", "return 5");
    for reply in [
        world.post("/v1/tools", json!({ "source_code": other, "source_type": "python" })).await,
        world.put("/v1/tools/", json!({ "source_code": other })).await,
    ] {
        let again = reply.ok();
        assert_eq!((&again["id"], &again["source_code"]), (&first["id"], &json!(other)));
        assert_eq!(again["tags"], json!(["games"]), "what is not said stays");
    }
    let schema = json!({"name": "roll", "description": "Given.", "parameters":
        {"type": "object", "properties": {"sides": {"type": "integer"}}, "required": []}});
    let given =
        world.put("/v1/tools", json!({ "source_code": other, "json_schema": schema })).await.ok();
    assert_eq!((&given["id"], &given["json_schema"]), (&first["id"], &schema));
    assert_eq!(world.get("/v1/tools/count?tool_types=custom").await.ok(), 1);
}

#[tokio::test]
async fn typescript_is_kept_with_the_schema_it_must_have() {
    let world = World::new().await;
    let code = "export function add(a: number) { return a + 1 }";
    let refusal =
        world.post("/v1/tools", json!({ "source_code": code, "source_type": "typescript" })).await;
    assert!(refused(refusal, 400).contains("json_schema"));
    let schema = json!({"name": "add", "description": "Adds one.", "parameters":
        {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}});
    let tool = world
        .post(
            "/v1/tools",
            json!({ "source_code": code, "source_type": "typescript", "json_schema": schema,
                "npm_requirements": [{"name": "@types/node", "version": "24.0.0"}] }),
        )
        .await
        .ok();
    assert_eq!((&tool["source_type"], &tool["json_schema"]), (&json!("typescript"), &schema));
    assert_eq!(tool["npm_requirements"][0]["name"], "@types/node");
}

#[tokio::test]
async fn a_list_runs_over_the_servers_tools_and_those_of_users_and_ends() {
    let world = World::new().await;
    for name in ["one", "two", "three"] {
        make(&world, name).await;
    }
    let builtin = list(&world.post("/v1/tools/add-base-tools", json!(null)).await.ok()).len();
    let whole = world.get("/v1/tools?order=asc").await.ok();
    let whole = names(&whole);
    assert_eq!(whole.len(), builtin + 3);
    assert_eq!(whole[builtin..], ["one", "two", "three"]);
    assert_eq!(
        names(&world.get("/v1/tools").await.ok())[..4],
        ["three", "two", "one", whole[builtin - 1]]
    );
    for (order, limit) in [("asc", 1), ("asc", 4), ("desc", 2), ("desc", 5)] {
        let mut wanted = whole.clone();
        if order == "desc" {
            wanted.reverse();
        }
        let path = format!("/v1/tools?order={order}&limit={limit}");
        assert_eq!(walk_after(&world, &path).await, wanted, "{path}");
        let last = world.get(&format!("/v1/tools?name={}", wanted[wanted.len() - 1])).await.ok();
        let before = walk_before(&world, &path, text(&last[0]["id"])).await;
        assert_eq!(before, wanted[..wanted.len() - 1], "{path}");
    }
}

/// The names of a list, page after page from its beginning.
async fn walk_after(world: &World, path: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("{path}{cursor}")).await.ok();
        let Some(last) = list(&page).last() else { return seen };
        cursor = format!("&after={}", text(&last["id"]));
        seen.extend(names(&page).into_iter().map(str::to_owned));
    }
}

/// The names of all that precedes a tool, page before page.
async fn walk_before(world: &World, path: &str, tool: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), tool.to_owned());
    loop {
        let page = world.get(&format!("{path}&before={cursor}")).await.ok();
        let Some(first) = list(&page).first() else { return seen };
        cursor = text(&first["id"]).to_owned();
        seen.splice(0..0, names(&page).into_iter().map(str::to_owned));
    }
}

#[tokio::test]
async fn every_filter_narrows_the_list_and_the_count_alike() {
    let world = World::new().await;
    let ids: Vec<String> = [make(&world, "roll_dice").await, make(&world, "weather").await]
        .iter()
        .map(|tool| text(&tool["id"]).to_owned())
        .collect();
    let base = names(&world.post("/v1/tools/add-base-tools", json!(null)).await.ok()).len();
    let (first, second) = (&ids[0], &ids[1]);
    for (query, found) in [
        ("name=weather".to_owned(), 1),
        ("names=weather&names=roll_dice&names=nothing".to_owned(), 2),
        (format!("tool_ids={first}"), 1),
        (format!("tool_ids={first},{second},tool-x"), 2),
        ("tool_ids=nonsense".to_owned(), 0),
        ("search=DICE".to_owned(), 1),
        ("search=e".to_owned(), base + 2),
        ("tool_types=custom".to_owned(), 2),
        ("tool_types=custom,letta_core".to_owned(), 4),
        ("exclude_tool_types=custom".to_owned(), base),
        ("tool_types=external_mcp".to_owned(), 0),
        ("return_only_letta_tools=true".to_owned(), base),
        ("return_only_letta_tools=true&name=weather".to_owned(), 0),
        (String::new(), base + 2),
    ] {
        let tools = world.get(&format!("/v1/tools/?limit=100&{query}")).await.ok();
        let count = world.get(&format!("/v1/tools/count?{query}")).await.ok();
        if query == "search=e" {
            // All names but those without that letter.
            assert_eq!(json!(list(&tools).len()), count, "{query}");
            assert!(names(&tools).iter().all(|name| name.contains('e')), "{query}");
            continue;
        }
        assert_eq!(
            (list(&tools).len(), &count),
            (found, &json!(found)),
            "{query}: {:?}",
            names(&tools)
        );
    }
    assert_eq!(world.get("/v1/tools/count?exclude_letta_tools=true").await.ok(), 2);
    assert!(refused(world.get("/v1/tools?tool_types=odd").await, 400).contains("external_mcp"));
    let nobody = "tool-123e4567-e89b-42d3-8456-426614174000";
    for path in [format!("/v1/tools?after={nobody}"), "/v1/tools?after=x".to_owned()] {
        assert!(refused(world.get(&path).await, 404).starts_with("Cursor not found"));
    }
}

#[tokio::test]
async fn a_change_follows_the_source_and_keeps_what_it_does_not_say() {
    let world = World::new().await;
    let tool = make(&world, "roll").await;
    make(&world, "taken").await;
    let path = format!("/v1/tools/{}", text(&tool["id"]));
    let nulls =
        json!({ "description": null, "tags": null, "source_code": null, "metadata_": null });
    assert_eq!(world.patch(&path, nulls).await.ok(), tool);
    let changed = world
        .patch(
            &path,
            json!({ "tags": ["a"], "metadata_": {"k": 1}, "default_requires_approval": true }),
        )
        .await
        .ok();
    assert_eq!((&changed["tags"], &changed["metadata_"]["k"]), (&json!(["a"]), &json!(1)));
    assert_eq!(changed["default_requires_approval"], true);
    assert_eq!(changed["json_schema"], tool["json_schema"]);
    let described = world.patch(&path, json!({ "description": "Throws dice." })).await.ok();
    assert_eq!(described["json_schema"]["description"], "Throws dice.");
    let renamed = world.patch(&path, json!({ "source_code": source("throw") })).await.ok();
    assert_eq!((&renamed["id"], &renamed["name"]), (&tool["id"], &json!("throw")));
    assert_eq!((&renamed["tags"], &renamed["metadata_"]["k"]), (&json!(["a"]), &json!(1)));
    let taken = world.patch(&path, json!({ "source_code": source("taken") })).await;
    assert!(
        refused(taken, 400)
            .starts_with("Tool with name 'taken' already exists in your organization")
    );
    assert_eq!(world.get(&path).await.ok(), renamed, "nothing is lost");
    assert_eq!(list(&world.get("/v1/tools?name=roll").await.ok()).len(), 0);
}

#[tokio::test]
async fn what_is_no_tool_is_refused_in_words() {
    let world = World::new().await;
    let roll = |more: Value| {
        let mut body = json!({ "source_code": source("roll") });
        let members = body.as_object_mut().expect("braces make an object");
        members.extend(more.as_object().cloned().unwrap_or_default());
        body
    };
    for (body, status, says) in [
        (json!({}), 422, "source_code"),
        (json!({ "source_code": "" }), 400, ""),
        (json!({ "source_code": "def f(:\n" }), 400, "line 1"),
        (
            json!({ "source_code": "def f(x):\n    \"\"\"F.\n\n    Args:\n        x: X.\n    \"\"\"\n" }),
            400,
            "x",
        ),
        (json!({ "source_code": source(&"x".repeat(49)) }), 400, "48"),
        (json!({ "source_code": source("send_message") }), 400, "already exists"),
        (roll(json!({ "source_type": "cobol" })), 400, "cobol"),
        (roll(json!({ "return_char_limit": 0 })), 422, "return_char_limit"),
        (roll(json!({ "return_char_limit": 1_000_001 })), 422, "return_char_limit"),
        (roll(json!({ "pip_requirements": [{ "name": "--pre" }] })), 422, "--pre"),
        (roll(json!({ "tags": [""] })), 422, "tag"),
        (roll(json!({ "json_schema": { "description": "no name" } })), 400, ""),
    ] {
        let reply = world.post("/v1/tools", body.clone()).await;
        let detail = refused(reply, status);
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let large = source("roll").replace("return 4", &format!("return '{}'", "x".repeat(1 << 20)));
    let detail = refused(world.post("/v1/tools", json!({ "source_code": large })).await, 400);
    assert!(detail.contains("1048576") || detail.contains("bytes"), "{detail}");
    assert_eq!(world.get("/v1/tools/count?tool_types=custom").await.ok(), 0);

    let missing = "/v1/tools/tool-123e4567-e89b-42d3-8456-426614174000";
    refused(world.get(missing).await, 404);
    refused(world.patch(missing, json!({ "tags": [] })).await, 404);
    refused(world.delete(missing).await, 404);
    refused(world.get("/v1/tools/tool-1").await, 422);
    let builtin = world.get("/v1/tools?name=memory_insert").await.ok();
    let builtin = format!("/v1/tools/{}", text(&builtin[0]["id"]));
    assert!(
        refused(world.patch(&builtin, json!({ "tags": [] })).await, 400).contains("memory_insert")
    );
    assert!(refused(world.delete(&builtin).await, 400).contains("memory_insert"));
    let unknown = json!({ "model": "test/echo", "tools": ["nothing"] });
    let detail = refused(world.post("/v1/agents/", unknown).await, 400);
    assert!(detail.starts_with("Tools not found by name: {'nothing'}"), "{detail}");
}

#[tokio::test]
async fn a_deleted_tool_is_gone_everywhere() {
    let world = World::new().await;
    let tool = make(&world, "roll").await;
    let id = text(&tool["id"]);
    let agent = world
        .agent_with(json!({ "model": "test/echo", "tool_ids": [id], "include_base_tools": false }))
        .await;
    let deleted = world.delete(&format!("/v1/tools/{id}")).await;
    assert_eq!((deleted.status, &deleted.text[..]), (200, "null"));
    refused(world.get(&format!("/v1/tools/{id}")).await, 404);
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.ok()["tools"], json!([]));
    assert_eq!(world.get(&format!("/v1/agents/{agent}/tools")).await.ok(), json!([]));
    assert_eq!(world.say(&agent, "hi").await.ok()["messages"][0]["content"], "echo: hi");
    // A client that walks a list goes on after what it deletes.
    assert_eq!(world.get(&format!("/v1/tools?order=asc&after={id}")).await.ok(), json!([]));
    let again = make(&world, "roll").await;
    assert_ne!(again["id"], tool["id"]);
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.ok()["tools"], json!([]));
    let other = make(&world, "other").await;
    let deleted = world.delete(&format!("/api/tools/{}", text(&other["id"]))).await;
    assert_eq!((deleted.status, &deleted.text[..]), (204, ""));
}

#[tokio::test]
async fn a_search_finds_tools_by_their_words() {
    let world = World::new().await;
    make(&world, "roll_dice").await;
    make(&world, "weather_report").await;
    let found = world.post("/v1/tools/search", json!({ "query": "weather" })).await.ok();
    let first = &found[0];
    assert_eq!((&first["tool"]["name"], &first["fts_rank"]), (&json!("weather_report"), &json!(1)));
    assert!(first["combined_score"].as_f64().is_some_and(|score| score > 0.0));
    assert_eq!(first["vector_rank"], Value::Null);
    assert_eq!(first["tool"]["source_code"], source("weather_report"));
    let custom =
        json!({ "query": "die", "tool_types": ["custom"], "limit": 1, "search_mode": "hybrid" });
    assert_eq!(list(&world.post("/v1/tools/search", custom).await.ok()).len(), 1);
    let memory = world.post("/v1/tools/search", json!({ "query": "memory" })).await.ok();
    assert!(list(&memory).len() >= 3, "{memory}");
    let newest = world.post("/v1/tools/search", json!({})).await.ok();
    assert_eq!(newest[0]["tool"]["name"], "weather_report");
    let none = world.post("/v1/tools/search", json!({ "query": "x", "tags": ["none"] })).await.ok();
    assert_eq!(none, json!([]));
    for (body, status) in [
        (json!({ "search_mode": "odd" }), 422),
        (json!({ "limit": 0 }), 422),
        (json!({ "limit": 101 }), 422),
        (json!({ "tool_types": ["odd"] }), 400),
    ] {
        refused(world.post("/v1/tools/search", body).await, status);
    }
}

#[tokio::test]
async fn the_servers_tools_are_always_there() {
    let world = World::new().await;
    let first = world.post("/v1/tools/add-base-tools", json!(null)).await.ok();
    assert_eq!(world.post("/v1/tools/add-base-tools/", json!({})).await.ok(), first);
    assert!(names(&first).contains(&"memory_insert"));
    assert_eq!(world.get("/v1/tools?order=asc").await.ok(), first);
}

#[tokio::test]
async fn calls_of_a_tool_can_be_made_to_wait_for_a_person() {
    let world = World::new().await;
    make(&world, "buy").await;
    let agent = world.agent_with(json!({ "model": "test/echo", "tools": ["buy"] })).await;
    let path = |name: &str| format!("/v1/agents/{agent}/tools/approval/{name}");
    let asking = |state: &Value| -> Vec<String> {
        list(&state["tool_rules"])
            .iter()
            .filter(|rule| rule["type"] == "requires_approval")
            .map(|rule| text(&rule["tool_name"]).to_owned())
            .collect()
    };
    for _ in 0..2 {
        let state = world.patch(&path("buy"), json!({ "requires_approval": true })).await.ok();
        assert_eq!(asking(&state), ["buy"], "once, however often it is said");
    }
    let query = format!("{}?requires_approval=false", path("buy"));
    assert!(asking(&world.patch(&query, json!(null)).await.ok()).is_empty());
    let both = world.patch(&query, json!({ "requires_approval": true })).await.ok();
    assert_eq!(asking(&both), ["buy"], "the body wins");
    refused(world.patch(&path("buy"), json!(null)).await, 422);
    refused(world.patch(&path("buy"), json!({ "requires_approval": true, "odd": 1 })).await, 422);
    refused(world.patch(&path("byu"), json!({ "requires_approval": true })).await, 404);
    make(&world, "lend").await;
    let state = world.patch(&path("lend"), json!({ "requires_approval": true })).await.ok();
    assert_eq!(asking(&state), ["buy", "lend"], "also before the agent has it");
    let query = format!("{}?requires_approval=false", path("lend"));
    world.patch(&query, json!(null)).await.ok();

    let asks = json!({ "source_code": source("sell"), "default_requires_approval": true });
    let tool = world.post("/v1/tools", asks).await.ok();
    let attach = format!("/v1/agents/{agent}/tools/attach/{}", text(&tool["id"]));
    assert_eq!(asking(&world.patch(&attach, json!(null)).await.ok()), ["buy", "sell"]);
    let born = json!({ "model": "test/echo", "tools": ["sell"], "include_base_tools": false });
    assert_eq!(asking(&world.post("/v1/agents/", born).await.ok()), ["sell"]);
}

#[tokio::test]
async fn a_restart_keeps_every_tool_as_it_was() {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let world = World::on_disk(dir.path()).await;
    let first = make(&world, "roll").await;
    make(&world, "gone").await;
    let path = format!("/v1/tools/{}", text(&first["id"]));
    let changed =
        world.patch(&path, json!({ "tags": ["a"], "source_code": source("throw") })).await.ok();
    let gone = world.get("/v1/tools?name=gone").await.ok();
    world.delete(&format!("/v1/tools/{}", text(&gone[0]["id"]))).await.ok();
    let agent = world.agent_with(json!({ "model": "test/echo", "tools": ["throw"] })).await;
    let state = world.get(&format!("/v1/agents/{agent}")).await.ok();
    let listed = world.get("/v1/tools").await.ok();
    let world = world.restart(Duration::from_secs(5)).await;
    assert_eq!(world.get(&path).await.ok(), changed);
    assert_eq!(world.get("/v1/tools").await.ok(), listed);
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.ok(), state);
    let again = make(&world, "throw").await;
    assert_eq!(again["id"], first["id"], "its name is known");
    assert_ne!(make(&world, "roll").await["id"], first["id"], "and its old one is free");
    world.server.stop().await;
}

#[tokio::test]
async fn the_past_has_the_tools_of_then() {
    let world = World::new().await;
    let tool = make(&world, "roll").await;
    let path = format!("/v1/tools/{}", text(&tool["id"]));
    let agent = world.agent_with(json!({ "model": "test/echo", "tools": ["roll"] })).await;
    let state = world.get(&format!("/v1/agents/{agent}")).await.ok();
    let paths = [
        path.clone(),
        "/v1/tools".to_owned(),
        "/v1/tools?limit=2&order=asc&search=o".to_owned(),
        "/v1/tools/count?tool_types=custom".to_owned(),
        format!("/v1/agents/{agent}/tools"),
        format!("/v1/agents/{agent}"),
    ];
    let mut moments: Vec<(u64, Vec<Value>)> = Vec::new();
    for act in 0..4 {
        match act {
            0 => {}
            1 => drop(world.patch(&path, json!({ "source_code": source("throw") })).await.ok()),
            2 => drop(make(&world, "later").await),
            _ => drop(world.delete(&path).await.ok()),
        }
        let mut answers = Vec::new();
        for path in &paths {
            answers.push(world.get(path).await.body);
        }
        let last = world.get("/v1/events?limit=1&before=latest").await.ok();
        let position = list(&last)[0]["position"].as_u64();
        moments.push((position.expect("there are events"), answers));
    }
    assert_eq!(state, moments[0].1[5]);
    for (position, answers) in moments {
        for (path, then) in paths.iter().zip(answers) {
            let separator = if path.contains('?') { '&' } else { '?' };
            let mut now = world.get(&format!("{path}{separator}as_of={position}")).await.body;
            let mut then = then;
            for answer in [&mut now, &mut then] {
                // An error names its own request.
                answer.as_object_mut().map(|members| members.remove("trace_id"));
            }
            assert_eq!(now, then, "{path} as of {position}");
        }
    }
}

#[tokio::test]
async fn what_happens_to_a_tool_is_told_as_events() {
    let world = World::new().await;
    let tool = make(&world, "roll").await;
    let id = text(&tool["id"]);
    world.patch(&format!("/v1/tools/{id}"), json!({ "tags": ["a"] })).await.ok();
    world.delete(&format!("/v1/tools/{id}")).await.ok();
    let events = world.get("/v1/events").await.ok();
    let events = list(&events);
    let told: Vec<&str> = events.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(told, ["tool.created", "tool.updated", "tool.deleted"]);
    assert!(events.iter().all(|event| event["tool_id"] == id && event["stream"] == id));
    assert_eq!(events[1]["payload"]["tool"]["tags"], json!(["a"]));
    assert_eq!(events[0]["payload"]["tool"]["source_code"], source("roll"));
}
