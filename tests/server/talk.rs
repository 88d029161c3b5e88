//! Agents that send to agents, as clients see them.

use retold_models::testing::Say;
use serde_json::{Value, json};

use crate::support::{World, list, text};

const TOOLS: [&str; 3] = [
    "send_message_to_agent_and_wait_for_reply",
    "send_message_to_agents_matching_tags",
    "send_message_to_agent_async",
];

#[tokio::test]
async fn an_agent_gets_the_tools_it_asks_for_and_no_others() {
    let world = World::new().await;
    let names = |agent: &Value| -> Vec<String> {
        list(&agent["tools"]).iter().map(|tool| text(&tool["name"]).to_owned()).collect()
    };
    for (include, expected) in [(true, 3), (false, 0)] {
        world.model("quiet", [Say::answer("Yes.")]);
        let request = json!({ "model": "test/quiet", "include_multi_agent_tools": include });
        let agent = world.agent_with(request).await;
        let shown = world.get(&format!("/v1/agents/{agent}")).await.ok();
        let names = names(&shown);
        assert_eq!(names.iter().filter(|it| TOOLS.contains(&it.as_str())).count(), expected);
    }
    let listed = world.get("/v1/tools/?tool_types=letta_multi_agent_core").await.ok();
    assert_eq!(list(&listed).len(), 3);
}

#[tokio::test]
async fn a_run_that_another_agent_asked_for_says_who_did() {
    let world = World::new().await;
    world.model("asked", [Say::answer("It is four.")]);
    let asked = world.agent_with(json!({ "model": "test/asked" })).await;
    let arguments = json!({ "message": "What is two and two?", "other_agent_id": asked });
    let ask = Say::call("c1", TOOLS[0], &arguments.to_string());
    world.model("asks", [ask, Say::answer("Four, I am told.")]);
    let request = json!({ "model": "test/asks", "include_multi_agent_tools": true });
    let asks = world.agent_with(request).await;

    let answer = world.say(&asks, "Ask your friend.").await.ok();
    let messages = list(&answer["messages"]);
    let returned = messages.iter().find(|it| it["message_type"] == "tool_return_message").unwrap();
    let returned: Value = serde_json::from_str(text(&returned["tool_return"])).unwrap();
    assert_eq!(returned, json!({ "agent_id": asked, "response": ["It is four."] }));

    let runs = world.get(&format!("/v1/runs/?agent_id={asked}")).await.ok();
    let metadata = &list(&runs)[0]["metadata"];
    assert_eq!(metadata["asked_by_agent_id"], asks);
    let by = text(&metadata["asked_by_run_id"]).to_owned();
    let run = world.get(&format!("/v1/runs/{by}")).await.ok();
    assert_eq!((&run["agent_id"], &run["status"]), (&json!(asks), &json!("completed")));
    assert_eq!(run["metadata"]["asked_by_run_id"], Value::Null);

    let history = world.get(&format!("/v1/agents/{asked}/messages?order=asc")).await.ok();
    let said = list(&history).iter().find(|it| it["sender_id"] == json!(asks)).unwrap();
    let prefix = format!("[Incoming message from agent with ID '{asks}' - your response");
    assert!(text(&said["content"]).starts_with(&prefix), "{said}");

    let events = world.get(&format!("/v1/events?agent_id={asked}&limit=100")).await;
    let accepted = format!(r#""asked_by":{{"agent_id":"{asks}","run_id":"{by}","waits":true"#);
    assert!(events.text.replace(' ', "").contains(&accepted), "{}", events.text);
}
