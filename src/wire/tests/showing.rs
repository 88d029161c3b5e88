//! Stored facts as they are shown: messages and their parts, runs, steps, models, tools.

use retold_events::{ReturnStatus, ToolCall, ToolReturn, agent::AgentType, run::*};
use retold_snapshots::row::{Callback, FeedbackRow, StepRow};

use super::*;

fn shown(message: &Message, view: &View<'_>) -> Vec<LettaMessage> {
    let mut shown = Vec::new();
    expand(message, view, &mut shown);
    shown
}

fn types(shown: &[LettaMessage]) -> Vec<&'static str> {
    shown.iter().map(LettaMessage::message_type).collect()
}

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: "call-1".into(), name: name.into(), arguments: arguments.into() }
}

fn returned(name: &str, status: ReturnStatus) -> Message {
    let mut message = message(3, Role::Tool, "");
    message.tool_returns = vec![ToolReturn {
        call_id: "call-1".into(),
        name: name.into(),
        status,
        content: "done".into(),
        stdout: vec!["out".into()],
        stderr: vec![],
    }];
    message
}

/// Two thoughts, one of them hidden, a text and a call.
fn answer() -> Message {
    let mut message = message(2, Role::Assistant, "");
    message.content = vec![
        Part::Reasoning { text: "hm".into(), signature: Some("s".into()) },
        Part::RedactedReasoning { data: "x".into() },
        Part::Text { text: "Let me ".into() },
        Part::Text { text: "look.".into() },
    ];
    message.tool_calls = vec![call("conversation_search", "{\"query\":\"a\"}")];
    message
}

#[test]
fn an_answer_expands_to_thoughts_text_and_calls_in_this_order() {
    let view = View::history(AgentType::LettaV1);
    let mut messages = shown(&answer(), &view);
    messages.extend(shown(&returned("conversation_search", ReturnStatus::Error), &view));
    golden("expanded_answer", &messages);
    assert_eq!(wire_span(&answer()), 4);
}

#[test]
fn otids_count_the_parts_in_the_low_seven_bits() {
    let id = MessageId::from_uuid(Uuid::from_u128(0x0197_7413_3a80_4000_8000_0000_0000_00ff));
    let last = |part| part_otid(id, part).to_string()[34..].to_owned();
    assert_eq!([last(0), last(1), last(16), last(127)], ["80", "81", "90", "ff"]);
}

#[test]
fn a_part_that_is_filtered_out_keeps_its_number() {
    let types = vec!["tool_call_message".to_owned()];
    let view = View { types: Some(types.into()), ..View::history(AgentType::LettaV1) };
    let mut parts = Vec::new();
    expand_parts(&answer(), &view, |part, shown| parts.push((part, shown.message_type())));
    assert_eq!(parts, [(3, "tool_call_message")]);
}

#[test]
fn in_older_agents_text_is_thought_and_send_message_is_speech() {
    let mut message = message(2, Role::Assistant, "Greet them.");
    message.tool_calls = vec![call("send_message", "{\"message\":\"Hello\"}")];
    let ret = returned("send_message", ReturnStatus::Success);
    let older = View::history(AgentType::Memgpt);
    assert_eq!(types(&shown(&message, &older)), ["reasoning_message", "assistant_message"]);
    assert!(shown(&ret, &older).is_empty());
    golden("older_answer", &shown(&message, &older));

    let raw = View { use_assistant_message: false, ..older };
    assert_eq!(types(&shown(&message, &raw)), ["reasoning_message", "tool_call_message"]);
    assert_eq!(types(&shown(&ret, &raw)), ["tool_return_message"]);

    let current = View::history(AgentType::LettaV1);
    assert_eq!(types(&shown(&message, &current)), ["assistant_message", "tool_call_message"]);
}

#[test]
fn a_speech_that_failed_and_a_call_without_text_stay_visible() {
    let older = View::history(AgentType::MemgptV2);
    assert_eq!(
        types(&shown(&returned("send_message", ReturnStatus::Error), &older)),
        ["tool_return_message"]
    );
    let mut message = message(2, Role::Assistant, "");
    for arguments in ["", "{\"message\":", "{\"message\":1}", "[]"] {
        message.tool_calls = vec![call("send_message", arguments)];
        assert_eq!(types(&shown(&message, &older)), ["tool_call_message"], "{arguments}");
    }
}

#[test]
fn what_a_client_put_in_an_older_agents_mouth_is_speech() {
    let mut message = message(2, Role::Assistant, "Hello");
    message.step = None;
    assert_eq!(types(&shown(&message, &View::history(AgentType::Memgpt))), ["assistant_message"]);
}

#[test]
fn packed_words_of_a_user_are_unwrapped_and_other_packed_notes_are_not() {
    let view = View::history(AgentType::LettaV1);
    for (text, expected) in [
        (r#"{"type":"user_message","message":"hi","time":"t"}"#, "hi"),
        (r#"{"type":"heartbeat","message":"go on"}"#, r#"{"type":"heartbeat","message":"go on"}"#),
        (r#"{"type":"user_message","message":1}"#, r#"{"type":"user_message","message":1}"#),
        ("{not json", "{not json"),
    ] {
        let [LettaMessage::User(user)] = &shown(&message(1, Role::User, text), &view)[..] else {
            panic!()
        };
        assert_eq!(user.content, Content::Text(expected.into()));
    }
}

#[test]
fn the_clients_own_otid_is_given_back() {
    let mut message = message(1, Role::User, "hi");
    message.otid = Some("mine".into());
    message.sender = Some("agent-1".into());
    message.name = Some("Ada".into());
    message.content.push(Part::Image(retold_events::Image::Url { url: "https://a/b.png".into() }));
    golden("user_message", &shown(&message, &View::history(AgentType::LettaV1)));
}

#[test]
fn a_summary_is_a_user_message_in_lists_and_a_summary_message_where_asked_for() {
    let packed = json!({
        "type": "system_alert", "message": "They talked.", "time": "t",
        "compaction_stats": {"trigger": "manual", "context_tokens_before": 9, "context_tokens_after": 3,
            "context_window": 100, "messages_count_before": 8, "messages_count_after": 2},
    });
    let summary = message(1, Role::Summary, &packed.to_string());
    let list = View::history(AgentType::LettaV1);
    assert_eq!(types(&shown(&summary, &list)), ["user_message"]);
    golden("summary_message", &shown(&summary, &View { summaries: true, ..list }));
}

#[test]
fn every_message_shows_all_common_members_in_one_order() {
    let view = View::history(AgentType::LettaV1);
    for message in [answer(), message(1, Role::User, "hi"), message(0, Role::System, "s")] {
        for shown in shown(&message, &view) {
            let shown = serde_json::to_value(&shown).unwrap();
            let names: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(
                names[..10],
                [
                    "id",
                    "date",
                    "name",
                    "message_type",
                    "otid",
                    "sender_id",
                    "step_id",
                    "is_err",
                    "seq_id",
                    "run_id"
                ]
            );
        }
    }
}

#[test]
fn a_blocking_answer_leaves_out_what_the_client_said() {
    let mut row = run_row(json!({"input": "hi"}), Call::Blocking);
    row.stop_reason = Some(StopReason::EndTurn);
    let messages = [message(1, Role::User, "hi"), answer(), message(4, Role::Assistant, "Found.")];
    let response = LettaResponse::of_messages(&messages, &row, AgentType::LettaV1);
    golden("letta_response", &response);
}

#[test]
fn runs_and_steps_show_all_members() {
    let mut row = run_row(json!({"input": "hi", "callback_url": "https://a/b"}), Call::Async);
    golden("run_created", &Run::new(&row, None));
    row.status = RunStatus::Ended(EndStatus::Failed);
    row.completed_at = Some(NOW);
    row.stop_reason = Some(StopReason::Error);
    row.error = Some(failure());
    row.interrupted = true;
    row.ttft_ns = Some(1);
    row.total_ns = Some(2);
    row.callback = Some(Callback { at: NOW, status_code: Some(204), error: None });
    row.tools_called = vec!["a".into(), "b".into(), "a".into()];
    assert!(Run::wants_result(&row));
    golden("run_failed", &Run::new(&row, None));
    golden("run_metrics", &RunMetrics::from(&row));
    golden("run_usage", &UsageStatistics::from(&row.usage));
    let step = StepRow {
        id: step_id(),
        run: run_id(),
        agent: agent_id(),
        conversation: None,
        model: "openai/gpt-4o-mini".into(),
        provider: Some("openai".into()),
        endpoint_type: "openai".into(),
        context_window: 128_000,
        outcome: StepOutcome::Failed { error: failure() },
        stop_reason: Some(StopReason::Error),
        usage: usage(),
        timing: StepTiming {
            started_at: NOW,
            model_started_at: NOW,
            model_ns: 1,
            tools_ns: 2,
            total_ns: 3,
        },
        messages: vec![],
        prompt_hash: None,
    };
    let feedback = FeedbackRow { feedback: Some(Feedback::Positive), tags: vec!["t".into()] };
    golden("step", &Step::new(&step, Some(&feedback)));
    golden("step_metrics", &StepMetrics::from(&step));
}

#[test]
fn a_finished_asynchronous_run_carries_its_result() {
    let mut row = run_row(json!({"input": "hi"}), Call::Async);
    row.status = RunStatus::Ended(EndStatus::Completed);
    row.stop_reason = Some(StopReason::EndTurn);
    let response = LettaResponse::of_messages(&[answer()], &row, AgentType::LettaV1);
    let shown = serde_json::to_value(CallbackBody::new(&row, Some(&response))).unwrap();
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["metadata"]["run_type"], "send_message_async");
    assert_eq!(shown["metadata"]["result"]["stop_reason"]["stop_reason"], "end_turn");
}

#[test]
fn models_and_tools_show_all_members() {
    golden("model", &Model::from(&openai()));
    golden(
        "embedding_model",
        &EmbeddingModel::from(&retold_models::EmbeddingInfo {
            handle: "openai/text-embedding-3-small".into(),
            name: "text-embedding-3-small".into(),
            display_name: "text-embedding-3-small".into(),
            provider_name: "openai".into(),
            provider_type: "openai",
            endpoint_type: "openai",
            endpoint: "https://api.openai.com/v1".into(),
            dim: 1536,
            chunk_size: 300,
            batch_size: 32,
        }),
    );
    for tool in retold_actors::tool::builtins() {
        let shown = serde_json::to_value(Tool::from(tool)).unwrap();
        assert_eq!(shown["json_schema"]["name"], tool.name);
        assert!(shown["json_schema"]["parameters"]["properties"].is_object());
        assert_eq!(shown["tags"], json!([tool.tool_type]));
        assert_eq!(shown.as_object().unwrap().len(), 18);
    }
}

pub(super) fn failure() -> RunError {
    RunError {
        error_type: "llm_rate_limit".into(),
        message: "the provider asks to wait".into(),
        detail: Some("429".into()),
        retry_after_s: Some(3),
    }
}
