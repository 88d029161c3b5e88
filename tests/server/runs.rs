//! Runs and steps: what remains of every request.

use std::{sync::Arc, time::Duration};

use retold_models::testing::Say;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{World, kinds, list, message, text};

#[tokio::test]
async fn a_run_tells_what_was_asked_and_what_came_of_it() {
    let world = World::new().await;
    world.model(
        "tools",
        [Say::call("c1", "conversation_search", r#"{"query": "x"}"#), Say::answer("done")],
    );
    let agent = world.agent("tools").await;
    let answer = world.say(&agent, "hi").await.ok();
    let run = text(&answer["messages"][0]["run_id"]).to_owned();
    let path = format!("/v1/runs/{run}");
    let row = world.get(&path).await.ok();
    assert_eq!(
        (&row["agent_id"], &row["status"], &row["background"]),
        (&json!(agent), &json!("completed"), &json!(false))
    );
    assert!(
        row["total_duration_ns"].as_u64() > Some(0) && row["ttft_ns"].as_u64() > Some(0),
        "{row}"
    );
    let messages = world.get(&format!("{path}/messages")).await.ok();
    let expected =
        ["user_message", "tool_call_message", "tool_return_message", "assistant_message"];
    assert_eq!(kinds(&messages), expected);
    let newest = world.get(&format!("{path}/messages?order=desc&limit=1")).await.ok();
    assert_eq!(kinds(&newest), ["assistant_message"]);
    let usage = world.get(&format!("{path}/usage")).await.ok();
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(20), &json!(10)));
    let metrics = world.get(&format!("{path}/metrics")).await.ok();
    assert_eq!(
        (&metrics["num_steps"], &metrics["tools_used"]),
        (&json!(2), &json!(["conversation_search"]))
    );
    let steps = world.get(&format!("{path}/steps?order=asc")).await.ok();
    assert_eq!(list(&steps).len(), 2);
    assert_eq!(steps[1]["stop_reason"], "end_turn");
}

#[tokio::test]
async fn a_step_that_the_end_of_the_server_cut_short_failed_as_its_run_did() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    world.model("slow", [vec![Say::text("half"), Say::Until(gate)]]);
    let agent = world.agent("slow").await;
    let mut talking = world.stream_tokens(&agent, "hi").await;
    let piece = talking.until("assistant_message").await;
    let run = text(&piece.json["run_id"]).to_owned();
    let world = world.restart(Duration::ZERO).await;
    let row = world.ended(&run).await;
    assert_eq!((&row["status"], &row["stop_reason"]), (&json!("failed"), &json!("error")));
    let steps = world.get(&format!("/v1/runs/{run}/steps")).await.ok();
    let step = &list(&steps)[0];
    assert_eq!((&step["status"], &step["stop_reason"]), (&json!("failed"), &json!("error")));
    assert_eq!(step["error_type"], "interrupted");
    assert!(text(&step["error_data"]["message"]).contains("the server stopped"), "{step}");
    let one = world.get(&format!("/v1/steps/{}", text(&step["id"]))).await.ok();
    assert_eq!(&one, step);
    let trace = world.get(&format!("/v1/steps/{}/trace", text(&step["id"]))).await.ok();
    let answered = &trace["response_json"];
    assert_eq!(
        (&answered["status"], &answered["error"]["type"]),
        (&json!("failed"), &json!("interrupted"))
    );
    let replay = world.get(&format!("/v1/runs/{run}/replay")).await.ok();
    assert_eq!(
        (&replay["status"], &replay["steps"][0]["status"]),
        (&json!("identical"), &json!("failed"))
    );
    let kept = world.get(&format!("/v1/runs/{run}/messages")).await.ok();
    assert_eq!(kinds(&kept), ["user_message", "assistant_message"], "what was seen stays");
}

#[tokio::test]
async fn runs_are_filtered_and_deleted() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::Hang]]);
    let (talker, hanger) = (world.agent("echo").await, world.agent("silent").await);
    world.say(&talker, "hi").await.ok();
    let open = world.post(&format!("/v1/agents/{hanger}/messages/async"), message("hi")).await.ok();
    model.called(1).await;
    for (query, count) in [
        ("", 2),
        (format!("?agent_id={talker}").as_str(), 1),
        (format!("?agent_ids={talker}&agent_ids={hanger}").as_str(), 2),
        ("?agent_id=nonsense", 0),
        ("?active=true", 1),
        ("?statuses=completed", 1),
        ("?statuses=completed&statuses=running", 2),
        ("?background=true", 1),
        ("?stop_reason=end_turn", 1),
        ("?conversation_id=default", 2),
    ] {
        assert_eq!(
            list(&world.get(&format!("/v1/runs/{query}")).await.ok()).len(),
            count,
            "{query}"
        );
    }
    assert_eq!(world.get("/v1/runs/?statuses=nonsense").await.status, 400);
    let active = world.get("/v1/runs/active").await.ok();
    assert_eq!((list(&active).len(), &active[0]["id"]), (1, &open["id"]));
    world.post(&format!("/v1/agents/{hanger}/messages/cancel"), json!(null)).await.ok();
    let path = format!("/v1/runs/{}", text(&open["id"]));
    let deleted = world.delete(&path).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (200, "null"));
    assert_eq!(world.get(&path).await.status, 404);
    assert_eq!(list(&world.get("/v1/runs/").await.ok()).len(), 1);
}

#[tokio::test]
async fn steps_are_listed_measured_and_judged() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    world.say(&agent, "hi").await.ok();
    let steps = world.get(&format!("/v1/steps/?agent_id={agent}")).await.ok();
    assert_eq!(list(&steps).len(), 1);
    let id = text(&steps[0]["id"]);
    let step = world.get(&format!("/v1/steps/{id}")).await.ok();
    assert_eq!((&step["status"], &step["model_handle"]), (&json!("success"), &json!("test/echo")));
    assert_eq!(step["total_tokens"], 15);
    let metrics = world.get(&format!("/v1/steps/{id}/metrics")).await.ok();
    assert_eq!(metrics["id"], json!(id));
    assert!(metrics["step_ns"].as_u64() > Some(0), "{metrics}");
    let messages = world.get(&format!("/v1/steps/{id}/messages")).await.ok();
    assert_eq!(kinds(&messages), ["user_message", "assistant_message"]);
    let path = format!("/v1/steps/{id}/feedback");
    let judge = |body| world.patch(&path, body);
    let judged = judge(json!({ "feedback": "positive", "tags": ["nice"] })).await.ok();
    assert_eq!((&judged["feedback"], &judged["tags"]), (&json!("positive"), &json!(["nice"])));
    assert_eq!(list(&world.get("/v1/steps/?feedback=positive").await.ok()).len(), 1);
    assert_eq!(list(&world.get("/v1/steps/?has_feedback=false").await.ok()).len(), 0);
    assert_eq!(judge(json!({ "feedback": null })).await.ok()["feedback"], json!(null));
    assert_eq!(list(&world.get("/v1/steps/?trace_ids=x").await.ok()).len(), 0);
    assert_eq!(world.get("/v1/steps/step-123e4567-e89b-42d3-8456-426614174000").await.status, 404);
    assert_eq!(world.get("/v1/steps/step-1").await.status, 422);
}

#[tokio::test]
async fn a_failed_run_names_its_error() {
    let world = World::new().await;
    world.model("poor", [Say::failure(retold_models::ModelErrorKind::Authentication, "no key")]);
    let agent = world.agent("poor").await;
    let refused = world.say(&agent, "hi").await;
    assert_eq!(
        (refused.status, &refused.body["error"]["type"]),
        (401, &json!("llm_authentication"))
    );
    assert!(refused.body.get("detail").is_none() && refused.body["trace_id"].is_string());
    let run = world.get(&format!("/v1/runs/{}", text(&refused.body["run_id"]))).await.ok();
    assert_eq!((&run["status"], &run["stop_reason"]), (&json!("failed"), &json!("llm_api_error")));
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    assert_eq!(
        kinds(&history),
        ["system_message"],
        "a failed step leaves the conversation as it was"
    );
}
