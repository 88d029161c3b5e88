//! Secrets of agents: given, shown to who asks for them by name, used by tools, and nowhere else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use retold_models::testing::Say;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Reply, World, list, text};

/// The value of every secret here, which stands in no answer but those that are asked for it.
const VALUE: &str = "open-sesame-0123456789";

fn keys(agent: &Value) -> Vec<&str> {
    list(&agent["secrets"]).iter().map(|secret| text(&secret["key"])).collect()
}

fn values(agent: &Value) -> Vec<&str> {
    list(&agent["secrets"]).iter().map(|secret| text(&secret["value"])).collect()
}

async fn shown(world: &World, agent: &str) -> Value {
    world.get(&format!("/v1/agents/{agent}?include=agent.secrets")).await.ok()
}

async fn with_secrets(world: &World, secrets: Value) -> String {
    world.agent_with(json!({ "model": "test/echo", "secrets": secrets })).await
}

fn quiet(reply: Reply) -> Value {
    assert!(!reply.text.contains("sesame"), "{}", reply.text);
    reply.ok()
}

#[tokio::test]
async fn secrets_are_shown_to_who_asks_for_them_by_name_only() {
    let world = World::new().await;
    let request = json!({
        "model": "test/echo", "secrets": { "TOKEN": VALUE, "REGION": "open-sesame" },
        "memory_blocks": [{ "label": "human", "value": "Ada" }],
    });
    let made = quiet(world.post("/v1/agents/", request).await);
    assert_eq!(
        (&made["secrets"], &made["tool_exec_environment_variables"]),
        (&json!([]), &json!([]))
    );
    let agent = text(&made["id"]);
    let path = format!("/v1/agents/{agent}");
    for silent in [
        path.clone(),
        format!("{path}?include="),
        format!("{path}?include=agent.tools"),
        "/v1/agents/?include=agent.tags".to_owned(),
        "/v1/events?limit=1000".to_owned(),
        format!("{path}/events?limit=1000"),
    ] {
        quiet(world.get(&silent).await);
    }
    let shown = shown(&world, agent).await;
    assert_eq!(
        (keys(&shown), values(&shown)),
        (vec!["REGION", "TOKEN"], vec!["open-sesame", VALUE])
    );
    assert_eq!(shown["tool_exec_environment_variables"], shown["secrets"]);
    assert_eq!(shown["tools"], json!([]), "only what was asked for");
    let secret = &shown["secrets"][1];
    assert_eq!(secret["agent_id"], agent);
    assert!(text(&secret["id"]).starts_with("agent-env-") && text(&secret["id"]).len() == 46);
    assert_eq!(secret["created_at"], secret["updated_at"]);
    assert_eq!((&secret["value_enc"], &secret["description"]), (&Value::Null, &Value::Null));

    let block = text(&made["blocks"][0]["id"]);
    for list in [
        "/v1/agents/?include=agent.secrets".to_owned(),
        "/v1/agents/?include_relationships=tool_exec_environment_variables".to_owned(),
        format!("/v1/blocks/{block}/agents?include=agent.secrets"),
    ] {
        let agents = world.get(&list).await.ok();
        assert_eq!(agents[0]["secrets"], shown["secrets"], "{list}");
    }
}

#[tokio::test]
async fn secrets_are_replaced_as_a_whole_and_win_over_their_other_name() {
    let world = World::new().await;
    let request = json!({
        "model": "test/echo", "tool_exec_environment_variables": { "OLD": VALUE, "KEPT": VALUE },
    });
    let agent = world.agent_with(request).await;
    let path = format!("/v1/agents/{agent}");
    let first = shown(&world, &agent).await;
    assert_eq!(keys(&first), ["KEPT", "OLD"]);
    let before = world.get("/v1/events?limit=1000").await.ok();

    let changes = json!({
        "secrets": { "KEPT": VALUE, "NEW": "1" }, "tool_exec_environment_variables": { "LOST": "2" },
    });
    quiet(world.patch(&path, changes.clone()).await);
    let second = shown(&world, &agent).await;
    assert_eq!((keys(&second), values(&second)), (vec!["KEPT", "NEW"], vec![VALUE, "1"]));
    assert_eq!(second["secrets"][0], first["secrets"][0], "one that stays is untouched");
    let events = world.get("/v1/events?limit=1000").await.ok();
    let last = list(&events).iter().rfind(|it| it["type"] == "agent.secrets_set");
    assert_eq!(last.unwrap()["payload"], json!({ "names": ["KEPT", "NEW"] }));
    assert_eq!(list(&events).len(), list(&before).len() + 1);

    quiet(world.patch(&path, changes).await);
    quiet(world.patch(&path, json!({ "name": "Sam" })).await);
    assert_eq!(shown(&world, &agent).await["secrets"], second["secrets"]);
    let events_now = world.get("/v1/events?limit=1000").await.ok();
    assert_eq!(list(&events_now).len(), list(&events).len() + 1, "what is set already is no event");
    quiet(world.patch(&path, json!({ "secrets": {} })).await);
    assert_eq!(shown(&world, &agent).await["secrets"], json!([]));
}

#[tokio::test]
async fn the_past_names_its_secrets_and_forks_have_those_that_are_still_held() {
    let world = World::new().await;
    let agent = with_secrets(&world, json!({ "TOKEN": VALUE })).await;
    let events = world.get("/v1/events?before=latest&limit=1").await.ok();
    let then = events[0]["position"].as_u64().unwrap();
    let path = format!("/v1/agents/{agent}");
    world.patch(&path, json!({ "secrets": { "TOKEN": "changed-since" } })).await.ok();
    let past = format!("{path}?include=agent.secrets&as_of={then}");
    let past = world.get(&past).await.ok();
    assert_eq!((&past["secrets"][0]["key"], values(&past)), (&json!("TOKEN"), vec![""]));
    assert_eq!(values(&shown(&world, &agent).await), ["changed-since"]);
    quiet(world.get(&format!("{path}?as_of={then}")).await);

    let fork = quiet(world.post(&format!("{path}/fork?as_of={then}"), json!({})).await);
    let child = text(&fork["id"]);
    assert_eq!(shown(&world, child).await["secrets"], json!([]), "what was taken back stays so");
    let fork = quiet(world.post(&format!("{path}/fork"), json!({})).await);
    let child = text(&fork["id"]);
    let of_child = shown(&world, child).await;
    assert_eq!(
        (values(&of_child), &of_child["secrets"][0]["agent_id"]),
        (vec!["changed-since"], &json!(child))
    );
    world.patch(&format!("/v1/agents/{child}"), json!({ "secrets": { "TOKEN": "x" } })).await.ok();
    assert_eq!(values(&shown(&world, &agent).await), ["changed-since"]);
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_without_being_repeated() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let many: Value = (0..201).map(|it| (format!("S{it}"), json!(VALUE))).collect();
    for (wrong, expected) in [
        (json!(VALUE), "should be an object"),
        (json!([VALUE]), "should be an object"),
        (json!({ "A": [VALUE] }), "should be a string"),
        (json!({ "A": { "B": VALUE } }), "should be a string"),
        (json!({ "A": null, "B": VALUE }), "should be a string"),
        (json!({ "1A": VALUE }), "is no name of a secret"),
        (json!({ "LD_PRELOAD": VALUE }), "give it another name"),
        (json!({ "A": format!("{VALUE}\0") }), "NUL"),
        (json!({ "A": format!("{VALUE}{}", "x".repeat(1 << 16)) }), "65536 are allowed"),
        (many, "200 are allowed"),
    ] {
        for name in ["secrets", "tool_exec_environment_variables"] {
            let mut create = json!({ "model": "test/echo" });
            create[name] = wrong.clone();
            let change = json!({ name: wrong });
            let answers = [
                world.post("/v1/agents/", create).await,
                world.patch(&format!("/v1/agents/{agent}"), change).await,
            ];
            for answer in answers {
                assert_eq!(answer.status, 422, "{}", answer.text);
                assert!(text(&answer.body["detail"]).contains(expected), "{}", answer.text);
                assert!(!answer.text.contains("sesame"), "{}", answer.text);
            }
        }
    }
    let cut = format!(r#"{{"model": "test/echo", "secrets": {{"A": "{VALUE}"#);
    let broken = world.ask(reqwest::Method::POST, "/v1/agents/").body(cut);
    let broken = crate::support::reply(broken).await;
    assert_eq!(broken.status, 422);
    assert!(!broken.text.contains("sesame"), "{}", broken.text);
    let env =
        json!({ "source_code": "x", "args": {}, "env_vars": { "A": 71_077_345, "B": VALUE } });
    let answer = world.post("/v1/tools/run", env).await;
    assert_eq!(answer.status, 422);
    assert!(
        !answer.text.contains("71077345") && !answer.text.contains("sesame"),
        "{}",
        answer.text
    );
    assert_eq!(list(&world.get("/v1/agents/").await.ok()).len(), 1, "nothing was made");
}

/// Says what it finds in its environment, its secret among it in every way a tool might.
const TELL: &str = r#"
def tell(extra: str) -> dict:
    """Tell the environment.

    Args:
        extra: Anything.
    """
    import json, os, sys, urllib.parse
    token = os.environ["TOKEN"]
    print("out", token)
    print("err", json.dumps({"token": token}), file=sys.stderr)
    return {
        "length": len(token), "token": token, "quoted": urllib.parse.quote(token, safe=""),
        "agent": os.environ.get("LETTA_AGENT_ID"), "project": os.environ.get("LETTA_PROJECT_ID"),
        "short": os.environ.get("REGION"), "extra": extra,
    }
"#;

/// Fails with its secret in the text of the error.
const FAIL: &str = r#"
def fail() -> str:
    """Fail."""
    import os
    raise RuntimeError("no access with " + os.environ["TOKEN"])
"#;

const LOOK: &str = r#"
def look(agent_state) -> dict:
    """Look at the agent."""
    try:
        agent_state.name = "changed"
        changed = True
    except AttributeError:
        changed = False
    return {
        "id": agent_state.id, "name": agent_state["name"], "system": agent_state.system,
        "tags": list(agent_state.tags), "team": agent_state.metadata["team"],
        "human": agent_state.get_block("human").value,
        "memory": agent_state.memory.get_block("human")["value"],
        "labels": agent_state.memory.list_block_labels(),
        "tools": [tool.name for tool in agent_state.tools],
        "changed": changed, "members": sorted(agent_state),
    }
"#;

async fn tool(world: &World, source: &str) -> Value {
    world.post("/v1/tools/", json!({ "source_code": source })).await.ok()
}

fn in_json(result: &Value) -> Value {
    serde_json::from_str(text(result)).unwrap_or_else(|_| panic!("{result} is no JSON"))
}

#[tokio::test]
async fn a_tool_finds_the_secrets_of_its_agent_and_nobody_reads_what_it_prints_of_them() {
    let dir = TempDir::new().unwrap();
    let world = World::whole(dir.path()).await;
    let value = r#"open-sesame "quoted"/é"#;
    let scripts = [
        Say::call("c1", "tell", r#"{"extra": "from the model"}"#),
        Say::call("c2", "fail", "{}"),
        Say::answer("told"),
    ];
    let model = world.model("caller", scripts);
    let tools = [tool(&world, TELL).await, tool(&world, FAIL).await];
    let agent = world
        .agent_with(json!({
            "model": "test/caller", "tool_ids": [tools[0]["id"], tools[1]["id"]], "project_id": "project-7",
            "secrets": { "TOKEN": value, "REGION": "eu" },
        }))
        .await;

    let answer = quiet(world.say(&agent, "Tell!").await);
    let returns: Vec<&Value> = list(&answer["messages"])
        .iter()
        .filter(|message| message["message_type"] == "tool_return_message")
        .collect();
    let told = in_json(&returns[0]["tool_return"]);
    let expected = json!({
        "length": value.chars().count(), "token": "[secret TOKEN]", "quoted": "[secret TOKEN]",
        "agent": agent, "project": "project-7", "short": "eu", "extra": "from the model",
    });
    assert_eq!(told, expected);
    assert_eq!(returns[0]["stdout"], json!(["out [secret TOKEN]"]));
    assert_eq!(returns[0]["stderr"], json!([r#"err {"token": "[secret TOKEN]"}"#]));
    assert_eq!(returns[1]["status"], "error");
    let error = text(&returns[1]["tool_return"]);
    assert!(error.ends_with("RuntimeError: no access with [secret TOKEN]"), "{error}");
    let prompts = format!("{:?}", model.prompts());
    assert!(prompts.contains("[secret TOKEN]") && !prompts.contains("sesame"), "{prompts}");

    let run = |name: &str, args: Value| {
        let path = format!("/v1/agents/{agent}/tools/{name}/run");
        let world = &world;
        async move { quiet(world.post(&path, json!({ "args": args })).await) }
    };
    let result = run("tell", json!({ "extra": "by hand" })).await;
    assert_eq!(in_json(&result["func_return"])["token"], "[secret TOKEN]");
    assert_eq!(in_json(&result["func_return"])["extra"], "by hand");
    let result = run("fail", json!({})).await;
    assert!(list(&result["stderr"]).last().is_some_and(|it| text(it).ends_with("[secret TOKEN]")));

    let from_source = json!({
        "source_code": TELL, "args": { "extra": "" },
        "env_vars": { "TOKEN": "of-the-request", "REGION": "us" },
    });
    let result = world.post("/v1/tools/run", from_source).await.ok();
    let told = in_json(&result["tool_return"]);
    assert_eq!((&told["token"], &told["short"]), (&json!("of-the-request"), &json!("us")));
    assert_eq!(told["agent"], Value::Null);
}

#[tokio::test]
async fn a_tool_that_asks_for_it_looks_at_its_agent_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let world = World::whole(dir.path()).await;
    let look = tool(&world, LOOK).await;
    let agent = world
        .agent_with(json!({
            "model": "test/echo", "name": "Sam", "system": "Be brief.", "tags": ["a", "b"],
            "metadata": { "team": "search" }, "tool_ids": [look["id"]], "include_base_tools": false,
            "memory_blocks": [{ "label": "human", "value": "Ada" }], "secrets": { "TOKEN": VALUE },
        }))
        .await;
    let path = format!("/v1/agents/{agent}/tools/look/run");
    let result = quiet(world.post(&path, json!({})).await);
    let seen = in_json(&result["func_return"]);
    let members = [
        "blocks",
        "description",
        "id",
        "memory",
        "metadata",
        "model",
        "name",
        "project_id",
        "system",
        "tags",
        "timezone",
        "tools",
    ];
    let expected = json!({
        "id": agent, "name": "Sam", "system": "Be brief.", "tags": ["a", "b"], "team": "search",
        "human": "Ada", "memory": "Ada", "labels": ["human"], "tools": ["look"], "changed": false,
        "members": members,
    });
    assert_eq!(seen, expected);
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.ok()["name"], "Sam");
}

fn key_file(dir: &Path) -> std::path::PathBuf {
    dir.join("secrets.key")
}

#[tokio::test]
async fn a_server_without_its_key_serves_all_but_secrets_and_says_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let world = World::whole(dir.path()).await;
    assert!(!key_file(dir.path()).exists(), "no key before there is a secret");
    let tell = tool(&world, TELL).await;
    let request = json!({
        "model": "test/echo", "tool_ids": [tell["id"]], "secrets": { "TOKEN": VALUE },
    });
    let agent = world.agent_with(request).await;
    let mode = fs::metadata(key_file(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let run = format!("/v1/agents/{agent}/tools/tell/run");
    let args = json!({ "args": { "extra": "" } });

    let kept = dir.path().join("elsewhere");
    fs::rename(key_file(dir.path()), &kept).unwrap();
    let world = world.restart(Duration::from_secs(5)).await;
    world.say(&agent, "Still there?").await.ok();
    let unopened = shown(&world, &agent).await;
    assert_eq!((keys(&unopened), values(&unopened)), (vec!["TOKEN"], vec![""]));
    let failed = world.post(&run, args.clone()).await.ok();
    assert_eq!(failed["status"], "error");
    let said = text(list(&failed["stderr"]).last().unwrap()).to_owned();
    assert!(said.contains("the key of the secret TOKEN is missing"), "{said}");

    fs::rename(&kept, key_file(dir.path())).unwrap();
    assert_eq!(values(&shown(&world, &agent).await), [VALUE], "without a restart");
    assert_eq!(world.post(&run, args).await.ok()["status"], "success");
}

#[tokio::test]
async fn where_secrets_cannot_be_kept_nothing_is_stored() {
    let dir = TempDir::new().unwrap();
    let world = World::whole(dir.path()).await;
    let agent = world.agent("echo").await;
    fs::write(key_file(dir.path()), "no key at all").unwrap();
    fs::set_permissions(key_file(dir.path()), fs::Permissions::from_mode(0o600)).unwrap();
    let secrets = json!({ "secrets": { "TOKEN": VALUE }, "model": "test/echo" });
    let answers = [
        world.post("/v1/agents/", secrets.clone()).await,
        world.patch(&format!("/v1/agents/{agent}"), secrets).await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(answer.body["code"], "secrets_unavailable");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert!(!answer.text.contains("sesame") && !answer.text.contains("no key at all"));
    }
    assert_eq!(list(&world.get("/v1/agents/").await.ok()).len(), 1);
    assert_eq!(shown(&world, &agent).await["secrets"], json!([]));
}
