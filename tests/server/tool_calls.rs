//! Tool calls that somebody else decides, and tools that are run for a client: as a client sees them.

use retold_models::testing::Say;
use serde_json::{Value, json};

use crate::support::{World, kinds, text};

const SOURCE: &str = "def roll(sides: int) -> int:\n    \"\"\"Roll a die.\n\n    Args:\n        sides: How many sides it has.\n    \"\"\"\n    return 4\n";

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

/// An agent that must ask before it rolls, and has asked: its id and the messages of its answer.
async fn asked(world: &World, stream: bool) -> (String, Value) {
    world.model("dice", [Say::call("c1", "roll", r#"{"sides": 6}"#), Say::answer("Four!")]);
    let tool = json!({ "source_code": SOURCE, "default_requires_approval": true });
    let tool = world.post("/v1/tools/", tool).await.ok();
    let request = json!({ "model": "test/dice", "tool_ids": [tool["id"]] });
    let agent = world.agent_with(request).await;
    if stream {
        let mut events = world.stream_tokens(&agent, "Roll!").await;
        let shown: Vec<Value> =
            events.rest().await.iter().map(|event| event.json.clone()).collect();
        return (agent, Value::Array(shown));
    }
    let answer = world.say(&agent, "Roll!").await.ok();
    assert_eq!(answer["stop_reason"]["stop_reason"], "requires_approval");
    (agent, answer["messages"].clone())
}

async fn decide(world: &World, agent: &str, messages: Value) -> crate::support::Reply {
    world.post(&format!("/v1/agents/{agent}/messages"), json!({ "messages": messages })).await
}

#[tokio::test]
async fn a_call_that_needs_approval_is_asked_for_shown_and_decided() {
    let world = World::new().await;
    let (agent, messages) = asked(&world, false).await;
    assert_eq!(kinds(&messages), ["approval_request_message"]);
    let asks = &messages[0];
    assert_eq!(asks["tool_call"]["name"], "roll");
    assert_eq!(asks["tool_calls"][0]["tool_call_id"], "c1");
    assert_eq!(asks["otid"], asks["id"]);
    let path = format!("/v1/agents/{agent}?include=agent.pending_approval");
    assert_eq!(world.get(&path).await.ok()["pending_approval"]["id"], asks["id"]);
    let unasked = world.get(&format!("/v1/agents/{agent}")).await.ok();
    assert_eq!(unasked["pending_approval"], Value::Null);

    let refused = world.say(&agent, "Well?").await;
    assert_eq!(refused.status, 409);
    let detail = &refused.body["detail"];
    assert_eq!(detail["code"], "PENDING_APPROVAL");
    assert_eq!(detail["pending_request_id"], asks["id"]);
    assert_eq!(refused.header("x-should-retry"), Some("false"));

    let wrong = json!([{"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "c9", "approve": true}]}]);
    let wrong = decide(&world, &agent, wrong).await;
    assert_eq!(wrong.status, 400);
    assert!(
        text(&wrong.body["detail"]).starts_with("Invalid tool call IDs. Expected"),
        "{}",
        wrong.text
    );

    let deny = json!([
        {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "c1", "approve": false, "reason": "too loud"}]},
        user("Say a number instead."),
    ]);
    let answer = decide(&world, &agent, deny).await.ok();
    assert_eq!(kinds(&answer["messages"]), ["tool_return_message", "assistant_message"]);
    let returned = &answer["messages"][0];
    assert_eq!(
        (&returned["status"], text(&returned["tool_return"])),
        (&json!("error"), "Error: request to call tool denied. User reason: too loud")
    );
    assert_eq!(returned["step_id"], asks["step_id"]);
    assert_eq!(world.get(&path).await.ok()["pending_approval"], Value::Null);
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    assert_eq!(
        kinds(&history)[1..],
        [
            "user_message",
            "approval_request_message",
            "tool_return_message",
            "user_message",
            "assistant_message"
        ]
    );
}

#[tokio::test]
async fn in_a_stream_of_tokens_a_request_for_approval_is_whole_and_shown_once() {
    let world = World::new().await;
    let (_, shown) = asked(&world, true).await;
    let asks: Vec<&Value> = shown
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["message_type"] == "approval_request_message")
        .collect();
    assert_eq!(asks.len(), 1, "{shown}");
    assert_eq!(asks[0]["tool_call"]["arguments"], r#"{"sides":6}"#);
    assert_eq!(asks[0]["tool_calls"], asks[0]["tool_call"], "a piece is about one call");
    let calls = shown.as_array().unwrap().iter();
    let calls = calls.filter(|it| it["message_type"] == "tool_call_message").count();
    assert_eq!(calls, 0, "what is asked for is not shown as called: {shown}");
}

#[tokio::test]
async fn in_a_stream_of_tokens_each_call_that_is_asked_for_has_a_piece_and_a_number() {
    let world = World::new().await;
    let both = [("c1", "roll", r#"{"sides": 6}"#), ("c2", "roll", r#"{"sides": 8}"#)];
    world.model("dice", [Say::calls(&both)]);
    let tool = json!({ "source_code": SOURCE, "default_requires_approval": true });
    let tool = world.post("/v1/tools/", tool).await.ok();
    let request = json!({ "model": "test/dice", "tool_ids": [tool["id"]],
        "include_base_tools": false, "parallel_tool_calls": true });
    let agent = world.agent_with(request).await;
    let body = json!({ "messages": [user("Roll!")], "stream_tokens": true, "background": true });
    let path = format!("/v1/agents/{agent}/messages/stream");
    let shown = world.stream(&path, body).await.rest().await;
    let is_piece =
        |event: &&crate::support::Event| event.json["message_type"] == "approval_request_message";
    let pieces: Vec<&Value> = shown.iter().filter(is_piece).map(|event| &event.json).collect();
    let told: Vec<(&str, &str)> = pieces
        .iter()
        .map(|it| (text(&it["tool_call"]["tool_call_id"]), text(&it["tool_call"]["arguments"])))
        .collect();
    assert_eq!(told, [("c1", r#"{"sides":6}"#), ("c2", r#"{"sides":8}"#)]);
    assert!(pieces.iter().all(|it| it["tool_calls"] == it["tool_call"]));
    assert!(pieces[0]["id"] == pieces[1]["id"] && pieces[0]["otid"] == pieces[1]["otid"]);
    let numbers: Vec<u64> = pieces.iter().filter_map(|it| it["seq_id"].as_u64()).collect();
    assert_eq!(numbers[1], numbers[0] + 1);

    let rest = json!({ "starting_after": numbers[0], "include_pings": false });
    let path = format!("/v1/runs/{}/stream", text(&pieces[0]["run_id"]));
    let rest = world.stream(&path, rest).await.rest().await;
    assert_eq!(rest[0].json, *pieces[1], "a cursor may stand between them");
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    let asks = &history[history.as_array().map_or(0, Vec::len) - 1];
    assert_eq!(asks["tool_calls"].as_array().map(Vec::len), Some(2), "in the history they are one");
}

#[tokio::test]
async fn an_older_client_approves_by_the_id_of_the_request() {
    let world = World::new().await;
    let (agent, messages) = asked(&world, false).await;
    let approve = json!([{"approve": true, "approval_request_id": messages[0]["id"]}]);
    let answer = decide(&world, &agent, approve).await.ok();
    // This server has no cage, so the call fails; what counts is that it was made.
    assert_eq!(kinds(&answer["messages"]), ["tool_return_message", "assistant_message"]);
    assert!(text(&answer["messages"][0]["tool_return"]).contains("runs no tools of users"));
}

#[tokio::test]
async fn a_tool_of_the_client_comes_back_to_it_and_its_return_goes_on() {
    let world = World::new().await;
    world.model("look", [Say::call("c1", "look", r#"{"at": "sky"}"#), Say::answer("Blue, then.")]);
    let agent = world.agent("look").await;
    let tools = json!([{"name": "look", "description": "Look.", "parameters":
        {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}}]);
    let path = format!("/v1/agents/{agent}/messages");
    let body = json!({ "messages": [user("What do you see?")], "client_tools": tools });
    let answer = world.post(&path, body).await.ok();
    assert_eq!(kinds(&answer["messages"]), ["approval_request_message"]);
    for wrong in
        [json!([{"name": "not a name"}]), json!([{"name": "a", "parameters": {"type": "array"}}])]
    {
        let body = json!({ "messages": [user("x")], "client_tools": wrong });
        assert_eq!(world.post(&path, body).await.status, 422);
    }
    let returned = json!({"type": "tool_return", "tool_returns": [
        {"type": "tool", "tool_call_id": "c1", "tool_return": "blue", "status": "success"}]});
    let body = json!({ "messages": [returned], "client_tools": tools });
    let answer = world.post(&path, body).await.ok();
    assert_eq!(kinds(&answer["messages"]), ["tool_return_message", "assistant_message"]);
    assert_eq!(answer["messages"][0]["tool_return"], "blue");
}

#[tokio::test]
async fn a_decision_that_nobody_waits_for_is_refused_in_v1s_words() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let approve = json!([{"approve": true, "approval_request_id": "call_1"}]);
    let refused = decide(&world, &agent, approve).await;
    assert_eq!(refused.status, 400);
    let detail = text(&refused.body["detail"]);
    assert!(detail.starts_with(
        "Cannot process approval response: No tool call is currently awaiting approval"
    ));
    let late = json!([user("hi"), {"approve": true, "approval_request_id": "call_1"}]);
    assert_eq!(decide(&world, &agent, late).await.status, 400);
}

#[tokio::test]
async fn without_a_cage_running_a_tool_is_refused_and_says_why() {
    let world = World::new().await;
    let body = json!({ "source_code": SOURCE, "args": {"sides": 6} });
    let refused = world.post("/v1/tools/run", body).await;
    assert_eq!(refused.status, 400);
    assert!(text(&refused.body["detail"]).contains("runs no tools of users"));
    let unreadable = json!({ "source_code": "def f(:", "args": {} });
    assert!(text(&world.post("/v1/tools/run", unreadable).await.body["detail"]).contains("line 1"));
    let agent = world.agent("echo").await;
    let missing = world.post(&format!("/v1/agents/{agent}/tools/roll/run"), json!({})).await;
    assert_eq!(missing.status, 404);
}
