//! Changing agents: what stays, what is replaced, what is refused.

use retold_actors::agent::Patch;

use super::*;

fn patch(state: &State, body: Value, found: &Found) -> Result<Patch, Problem> {
    serde_json::from_value::<UpdateAgent>(body).unwrap().into_patch(state, found)
}

fn nothing() -> Found {
    Found::default()
}

fn agent() -> State {
    let mut body = plain("memgpt_v2_agent");
    body["response_format"] = json!({"type": "json_object"});
    body["model_settings"] = json!({"temperature": 0.2});
    state_of(body)
}

#[test]
fn null_and_absent_change_nothing() {
    let request = serde_json::to_value(CreateMembers).unwrap();
    let patch = patch(&agent(), request, &nothing()).unwrap();
    assert!(patch.config.is_none() && patch.blocks.is_none());
    assert!(patch.tools.is_none() && patch.context.is_none());
}

/// Every member of the request, `null`.
struct CreateMembers;

impl Serialize for CreateMembers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = "name tool_ids source_ids folder_ids block_ids tags system tool_rules message_ids description \
            metadata tool_exec_environment_variables secrets project_id template_id base_template_id identity_ids \
            message_buffer_autoclear model embedding model_settings compaction_settings context_window_limit reasoning \
            llm_config embedding_config parallel_tool_calls response_format max_tokens enable_sleeptime \
            last_run_completion last_run_duration_ms last_stop_reason timezone max_files_open \
            per_file_view_window_char_limit hidden";
        serializer.collect_map(names.split_whitespace().map(|name| (name, ())))
    }
}

#[test]
fn empty_lists_and_objects_replace() {
    let body =
        json!({"tags": [], "tool_rules": [], "metadata": {}, "block_ids": [], "tool_ids": []});
    let patch = patch(&agent(), body, &nothing()).unwrap();
    let config = patch.config.unwrap();
    assert!(config.tags.is_empty() && config.tool_rules.is_empty());
    assert_eq!(config.metadata.unwrap().as_str(), "{}");
    assert_eq!((patch.blocks, patch.tools), (Some(vec![]), Some(vec![])));
}

#[test]
fn a_new_model_is_computed_anew_and_keeps_the_form_of_answers() {
    let body = json!({"model": "anthropic/claude-sonnet-4-5", "model_settings": {"max_output_tokens": 77}});
    let model = patch(&agent(), body, &found(anthropic())).unwrap().config.unwrap().model;
    assert_eq!(model.handle, "anthropic/claude-sonnet-4-5");
    assert_eq!((model.temperature, model.context_window), (None, 64_000));
    assert_eq!(model.max_output_tokens, Some(77));
    assert!(model.response_format.is_some());
}

#[test]
fn settings_are_laid_over_the_model_that_stays() {
    let body =
        json!({"model_settings": {"reasoning": {"reasoning_effort": "low"}}, "max_tokens": 9});
    let model = patch(&agent(), body, &nothing()).unwrap().config.unwrap().model;
    assert_eq!(model.handle, "openai/gpt-4o-mini");
    assert_eq!(model.temperature, Some(0.2));
    assert_eq!(model.reasoning_effort.as_deref(), Some("low"));
    assert_eq!(model.max_output_tokens, Some(9));
}

#[test]
fn a_context_must_begin_with_the_system_message() {
    let state = agent();
    let (system, other) = (message_id(0).to_string(), message_id(1).to_string());
    let context = |ids: &[&String]| patch(&state, json!({ "message_ids": ids }), &nothing());
    assert_eq!(
        context(&[&system, &other]).unwrap().context,
        Some(vec![message_id(0), message_id(1)])
    );
    for bad in [&[][..], &[&other], &[&other, &system]] {
        assert!(matches!(context(bad), Err(Problem::Invalid(_))));
    }
}

#[test]
fn a_new_mode_of_compaction_takes_its_own_prompt() {
    let mut body = plain("letta_v1_agent");
    body["compaction_settings"] = json!({"prompt": "be short", "clip_chars": null});
    let state = state_of(body);
    assert_eq!(state.config.compaction.clip_chars, None);
    let compaction = |body: Value| {
        let body = json!({ "compaction_settings": body });
        patch(&state, body, &nothing()).unwrap().config.unwrap().compaction
    };
    assert_eq!(compaction(json!({"mode": "all"})).prompt, None);
    let kept = compaction(json!({"sliding_window_percentage": 0.5}));
    assert_eq!(kept.prompt.as_deref(), Some("be short"));
    let body = json!({"compaction_settings": {"sliding_window_percentage": 1.5}});
    assert!(matches!(patch(&state, body, &nothing()), Err(Problem::Unprocessable(_))));
}

#[test]
fn the_same_things_are_refused_as_when_creating() {
    for body in [
        json!({"source_ids": ["source-1"]}),
        json!({"identity_ids": ["identity-1"]}),
        json!({"enable_sleeptime": true}),
        json!({"name": ""}),
        json!({"name": "a/b"}),
        json!({"tool_ids": ["tool-123e4567-e89b-42d3-8456-426614174000"]}),
    ] {
        assert!(matches!(patch(&agent(), body, &nothing()), Err(Problem::Invalid(_))));
    }
}
