//! Runs told once more by the log, and what models were sent and answered.

use retold_models::{ModelErrorKind, testing::Say};
use serde_json::{Value, json};

use crate::support::{World, list, message, text};

const SEARCH: &str = "conversation_search";

/// The id of the run of an answer.
fn run_of(answer: &Value) -> String {
    text(&answer["messages"][0]["run_id"]).to_owned()
}

/// The steps of a run, oldest first.
async fn steps(world: &World, run: &str) -> Vec<String> {
    let steps = world.get(&format!("/v1/runs/{run}/steps?order=asc")).await.ok();
    list(&steps).iter().map(|step| text(&step["id"]).to_owned()).collect()
}

#[tokio::test]
async fn a_run_is_replayed_step_by_step_without_a_call_to_its_model() {
    let world = World::new().await;
    let model =
        world.model("tools", [Say::call("c1", SEARCH, r#"{"query": "x"}"#), Say::answer("done")]);
    let agent = world.agent("tools").await;
    let run = run_of(&world.say(&agent, "hi").await.ok());
    let replay = world.get(&format!("/v1/runs/{run}/replay")).await.ok();
    assert_eq!(
        (&replay["run_id"], &replay["agent_id"], &replay["status"]),
        (&json!(run), &json!(agent), &json!("identical"))
    );
    assert_eq!(replay["divergence"], json!(null));
    // Accepted, started, two steps begun and ended, ended.
    assert_eq!(replay["events"], 7);
    let replayed = list(&replay["steps"]);
    let ids: Vec<&str> = replayed.iter().map(|step| text(&step["step_id"])).collect();
    assert_eq!(ids, steps(&world, &run).await);
    for step in replayed {
        assert_eq!(step["matches"], true);
        assert_eq!(step["recorded_prompt_hash"], step["replayed_prompt_hash"]);
        assert_eq!(text(&step["replayed_prompt_hash"]).len(), 32);
        assert!(step["tokens"].as_u64() > Some(0) && step["position"].as_u64() > Some(0), "{step}");
    }
    assert_eq!((&replayed[0]["messages"], &replayed[1]["messages"]), (&json!(1), &json!(3)));
    assert_ne!(replayed[0]["replayed_prompt_hash"], replayed[1]["replayed_prompt_hash"]);
    assert_eq!(model.prompts().len(), 2, "nobody was called");
}

#[tokio::test]
async fn an_open_run_replays_what_there_is_and_an_unknown_one_is_not_found() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::Hang]]);
    let agent = world.agent("silent").await;
    let open = world.post(&format!("/v1/agents/{agent}/messages/async"), message("hi")).await.ok();
    model.called(1).await;
    let path = format!("/v1/runs/{}/replay", text(&open["id"]));
    let replay = world.get(&path).await.ok();
    assert_eq!((&replay["status"], &replay["steps"]), (&json!("incomplete"), &json!([])));
    assert!(text(&replay["message"]).contains("has not ended"), "{replay}");
    world.post(&format!("/v1/agents/{agent}/messages/cancel"), json!(null)).await.ok();
    let replay = world.get(&path).await.ok();
    assert_eq!(
        (&replay["status"], &replay["steps"][0]["status"], &replay["steps"][0]["matches"]),
        (&json!("identical"), &json!("cancelled"), &json!(null))
    );
    for unknown in ["run-123e4567-e89b-42d3-8456-426614174000", "nonsense"] {
        assert_eq!(world.get(&format!("/v1/runs/{unknown}/replay")).await.status, 404);
        assert_eq!(world.get(&format!("/v1/runs/{unknown}/trace")).await.status, 404);
    }
}

#[tokio::test]
async fn a_step_tells_what_its_model_was_sent_and_what_it_answered() {
    let world = World::new().await;
    world.model("tools", [Say::call("c1", SEARCH, r#"{"query": "x"}"#), Say::answer("done")]);
    let agent = world
        .agent_with(json!({ "model": "test/tools", "tags": ["mine"], "system": "Be a stone." }))
        .await;
    let run = run_of(&world.say(&agent, "hi").await.ok());
    let steps = steps(&world, &run).await;
    let first = world.get(&format!("/v1/steps/{}/trace", steps[0])).await.ok();
    assert_eq!(
        (&first["step_id"], &first["run_id"], &first["agent_id"], &first["agent_tags"]),
        (&json!(steps[0]), &json!(run), &json!(agent), &json!(["mine"]))
    );
    assert_eq!(text(&first["id"]).strip_prefix("provider_trace-"), steps[0].strip_prefix("step-"));
    assert_eq!(
        (&first["llm_config"]["handle"], &first["note"]),
        (&json!("test/tools"), &json!(null))
    );
    let sent = &first["request_json"];
    assert_eq!(sent["model"], "test/tools");
    assert!(text(&sent["system"]).starts_with("Be a stone."), "{sent}");
    let said = json!([{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }]);
    assert_eq!(sent["messages"], said);
    assert!(list(&sent["tools"]).iter().any(|tool| tool["name"] == SEARCH));
    let answered = &first["response_json"];
    assert_eq!((&answered["status"], &answered["content"]), (&json!("success"), &json!([])));
    let call = json!({ "id": "c1", "name": SEARCH, "arguments": r#"{"query":"x"}"# });
    assert_eq!(answered["tool_calls"], json!([call]));
    assert_eq!(
        (&answered["usage"]["total_tokens"], &answered["stop_reason"]),
        (&json!(15), &json!(null))
    );
    let second = world.get(&format!("/v1/telemetry/{}", steps[1])).await.ok();
    let roles: Vec<&str> = list(&second["request_json"]["messages"])
        .iter()
        .map(|message| text(&message["role"]))
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool"]);
    let answered = &second["response_json"];
    assert_eq!(answered["content"], json!([{ "type": "text", "text": "done" }]));
    assert_eq!(answered["stop_reason"], "end_turn");
    assert_eq!(second, world.get(&format!("/v1/steps/{}/trace", steps[1])).await.ok());
    let unknown = "step-123e4567-e89b-42d3-8456-426614174000";
    for path in [format!("/v1/steps/{unknown}/trace"), format!("/v1/telemetry/{unknown}")] {
        assert_eq!(world.get(&path).await.status, 404);
    }
    assert_eq!(world.get("/v1/steps/step-1/trace").await.status, 422);
    world.delete(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!(world.get(&format!("/v1/steps/{}/trace", steps[0])).await.ok(), json!(null));
}

#[tokio::test]
async fn failed_and_cancelled_calls_are_told_as_far_as_they_came() {
    let world = World::new().await;
    world.model("poor", [Say::failure(ModelErrorKind::RateLimit, "slow down")]);
    let agent = world.agent("poor").await;
    let failed = world.say(&agent, "hi").await;
    let step = steps(&world, text(&failed.body["run_id"])).await.remove(0);
    let trace = world.get(&format!("/v1/steps/{step}/trace")).await.ok();
    let answered = &trace["response_json"];
    assert_eq!((&answered["status"], &answered["content"]), (&json!("failed"), &json!([])));
    assert_eq!(
        answered["error"],
        json!({ "type": "llm_rate_limit", "message": "slow down", "detail": null })
    );
    assert_eq!(trace["request_json"]["messages"][0]["content"][0]["text"], "hi");

    let model = world.model("slow", [vec![Say::text("Once "), Say::Hang]]);
    let agent = world.agent("slow").await;
    let mut stream = world.stream_tokens(&agent, "tell").await;
    let said = stream.until("assistant_message").await;
    model.called(1).await;
    world.post(&format!("/v1/agents/{agent}/messages/cancel"), json!(null)).await.ok();
    let step = steps(&world, text(&said.json["run_id"])).await.remove(0);
    let trace = world.get(&format!("/v1/steps/{step}/trace")).await.ok();
    assert_eq!(trace["response_json"]["status"], "cancelled");
    let kept = json!([{ "type": "text", "text": "Once " }]);
    assert_eq!(trace["response_json"]["content"], kept);
}

#[tokio::test]
async fn the_spans_of_a_run_lie_below_one_another() {
    let world = World::new().await;
    world.model("tools", [Say::call("c1", SEARCH, r#"{"query": "x"}"#), Say::answer("done")]);
    let agent = world.agent("tools").await;
    let run = run_of(&world.say(&agent, "hi").await.ok());
    let path = format!("/v1/runs/{run}/trace");
    let spans = world.get(&path).await.ok();
    let names: Vec<&str> = list(&spans).iter().map(|span| text(&span["SpanName"])).collect();
    assert_eq!(names, ["run", "time_to_first_token", "agent_step", SEARCH, "agent_step"]);
    let ids: Vec<&str> = list(&spans).iter().map(|span| text(&span["SpanId"])).collect();
    let parents: Vec<&str> = list(&spans).iter().map(|span| text(&span["ParentSpanId"])).collect();
    assert_eq!(parents, ["", ids[0], ids[0], ids[2], ids[0]]);
    let trace = run.trim_start_matches("run-").replace('-', "");
    assert!(list(&spans).iter().all(|span| span["TraceId"] == json!(trace)));
    assert!(list(&spans).iter().all(|span| span["StatusCode"] == "Ok"), "{spans}");
    let row = world.get(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!(
        (&spans[0]["Duration"], &spans[1]["Duration"]),
        (&row["total_duration_ns"], &row["ttft_ns"])
    );
    let two = world.get(&format!("{path}?limit=2")).await.ok();
    assert_eq!(list(&two), &list(&spans)[..2]);
    for wrong in ["0", "5001", "many"] {
        assert_eq!(world.get(&format!("{path}?limit={wrong}")).await.status, 422, "{wrong}");
    }
}
