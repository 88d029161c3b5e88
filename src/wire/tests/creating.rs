//! Making agents: defaults per type, overlays, refusals.

use retold_events::agent::ToolRuleKind;

use super::*;

fn refusal(body: Value) -> String {
    let mut members = plain("letta_v1_agent");
    members.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    match new_agent(members) {
        Err(Problem::Invalid(message)) => message,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn each_type_gets_its_tools_its_rules_and_all_members() {
    for agent_type in ["letta_v1_agent", "memgpt_v2_agent", "memgpt_agent"] {
        let new = new_agent(plain(agent_type)).unwrap();
        let mut shown = serde_json::to_value(AgentState::new(&view(&new), Relations::ALL)).unwrap();
        // Their words are the core's and may change; here it matters which ones there are.
        for tool in shown["tools"].as_array_mut().unwrap() {
            *tool = tool["name"].clone();
        }
        golden(&format!("create_{agent_type}"), &shown);
    }
}

#[test]
fn an_agent_of_anthropic_reads_back_its_settings() {
    let new = new_agent(json!({
        "model": "anthropic/claude-sonnet-4-5",
        "model_settings": {
            "provider_type": "anthropic", "max_output_tokens": 2000, "temperature": 0.5,
            "thinking": {"type": "enabled", "budget_tokens": 1500}, "verbosity": "low",
            "parallel_tool_calls": true,
        },
        "context_window_limit": 9000,
        "response_format": {"type": "json_object"},
    }));
    let view = view(&new.unwrap());
    golden(
        "settings_of_anthropic",
        &json!({
            "llm_config": LlmConfig::new(&view.state.config.model, view.state.config.agent_type),
            "model_settings": ModelSettings::from(&view.state.config.model),
        }),
    );
}

#[test]
fn settings_of_a_kind_nobody_knows_are_kept_and_given_back() {
    let settings =
        json!({"provider_type": "moonshot_coding", "effort": "max", "strict": true, "novel": [1]});
    let new =
        new_agent(json!({"model": "openai/gpt-4o-mini", "model_settings": settings})).unwrap();
    let shown = serde_json::to_value(ModelSettings::from(&new.config.model)).unwrap();
    for name in ["provider_type", "effort", "strict", "novel"] {
        assert_eq!(shown[name], settings[name], "{name}");
    }
}

#[test]
fn the_window_is_the_models_up_to_a_cap_unless_a_limit_is_given() {
    let window = |body: Value| new_agent(body).unwrap().config.model.context_window;
    assert_eq!(window(json!({"model": "openai/gpt-4o-mini"})), 128_000);
    assert_eq!(window(json!({"model": "anthropic/claude-sonnet-4-5"})), 64_000);
    let limit = json!({"model": "openai/gpt-4o-mini", "context_window_limit": 190_000});
    assert_eq!(window(limit), 190_000);
    let older = json!({"llm_config": {"model": "gpt-4o-mini", "model_endpoint_type": "openai",
        "context_window": 8192}});
    assert_eq!(window(older), 8192);
}

#[test]
fn the_older_form_names_its_model_by_handle_or_by_provider_and_name() {
    let handle = |body: Value| {
        let request: CreateAgentRequest = serde_json::from_value(body).unwrap();
        request.model_handle(&Defaults { model: Some("openai/default".into()), embedding: None })
    };
    let config = json!({"model": "m", "model_endpoint_type": "openai", "provider_name": "my"});
    assert_eq!(handle(json!({"llm_config": config})).unwrap(), "my/m");
    assert_eq!(handle(json!({"llm_config": config, "model": "a/b"})).unwrap(), "a/b");
    assert_eq!(handle(json!({"llm_config": {"handle": "x/y"}, "model": "a/b"})).unwrap(), "x/y");
    assert_eq!(handle(json!({})).unwrap(), "openai/default");
    let none: CreateAgentRequest = serde_json::from_value(json!({})).unwrap();
    let Err(Problem::Invalid(message)) = none.model_handle(&Defaults::default()) else { panic!() };
    assert!(message.contains("`model`"));
}

#[test]
fn thinking_must_fit_within_the_answer() {
    let message = refusal(json!({"max_tokens": 1000, "max_reasoning_tokens": 1000}));
    assert_eq!(message, "max_reasoning_tokens (1000) must be less than max_tokens (1000)");
}

#[test]
fn tools_are_found_by_name_and_by_id_each_once() {
    let id = retold_actors::tool::by_name("send_message").unwrap().id;
    let new = new_agent(json!({
        "model": "openai/gpt-4o-mini", "include_base_tools": false,
        "tools": ["memory_insert", id.to_string(), "memory_insert"], "tool_ids": [id.to_string()],
    }));
    let names: Vec<&str> = new
        .unwrap()
        .tools
        .into_iter()
        .map(|id| retold_actors::tool::by_id(id).unwrap().name)
        .collect();
    assert_eq!(names, ["memory_insert", "send_message"]);
}

#[test]
fn unknown_tools_are_refused_by_name() {
    let message = refusal(json!({"tools": ["run_code", "memory_insert"]}));
    assert!(
        message
            .starts_with("Tools not found by name: {'run_code'}; this server has send_message, ")
    );
    let message = refusal(json!({"tool_ids": ["tool-123e4567-e89b-42d3-8456-426614174000"]}));
    assert!(message.starts_with("Tools not found by id: {'tool-123e4567-"));
}

#[test]
fn rules_are_kept_once_and_the_base_rules_follow() {
    let rules = json!([
        {"type": "exit_loop", "tool_name": "send_message"},
        {"type": "exit_loop", "tool_name": "send_message", "prompt_template": null},
        {"type": "conditional", "tool_name": "a", "child_output_mapping": {"x": "b"}},
        {"type": "constrain_child_tools", "tool_name": "a", "children": ["b"],
         "child_arg_nodes": [{"name": "b", "args": {"k": 1}}]},
        {"type": "run_first", "tool_name": "a", "args": {"k": 2}},
        {"type": "max_count_per_step", "tool_name": "a", "max_count_limit": 3},
        {"type": "parent_last_tool", "tool_name": "a", "children": ["b"]},
        {"type": "required_before_exit", "tool_name": "a"},
    ]);
    let mut body = plain("memgpt_v2_agent");
    body["tool_rules"] = rules;
    let stored = new_agent(body).unwrap().config.tool_rules;
    let exits = stored.iter().filter(|rule| rule.kind == ToolRuleKind::ExitLoop).count();
    assert_eq!((stored.len(), exits), (7 + 3, 1), "three base rules besides the one given");
    golden("tool_rules", &stored.iter().map(ToolRule::from).collect::<Vec<_>>());
}

#[test]
fn base_rules_can_be_asked_for_and_declined() {
    let rules = |agent_type: &str, include: bool| {
        let mut body = plain(agent_type);
        body["include_base_tool_rules"] = include.into();
        new_agent(body).unwrap().config.tool_rules.len()
    };
    assert_eq!(rules("letta_v1_agent", true), 3);
    assert_eq!(rules("memgpt_v2_agent", false), 0);
}

#[test]
fn what_this_server_does_not_do_is_refused_by_name() {
    let refused = [
        json!({"source_ids": ["source-1"]}),
        json!({"folder_ids": ["source-1"]}),
        json!({"identity_ids": ["identity-1"]}),
        json!({"enable_sleeptime": true}),
        json!({"include_default_source": true}),
        json!({"agent_type": "sleeptime_agent"}),
        json!({"agent_type": "no_such_agent"}),
        json!({"name": "a.b"}),
        json!({"timezone": "Mars/Olympus"}),
        json!({"context_window_limit": 0}),
    ];
    let messages: Vec<String> = refused.into_iter().map(refusal).collect();
    golden_text("refusals", &messages.join("\n"));
}

#[test]
fn empty_and_null_are_no_reason_to_refuse() {
    let mut body = plain("letta_v1_agent");
    let members = json!({
        "secrets": {}, "tool_exec_environment_variables": null, "source_ids": [], "folder_ids": null,
        "identity_ids": [], "enable_sleeptime": false, "include_multi_agent_tools": null,
        "from_template": "t", "memory_variables": {"a": "b"}, "template": true, "project": "p", "novel": 1,
    });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    assert!(new_agent(body).is_ok());
}

#[test]
fn names_may_be_of_any_language() {
    for name in ["Ada Lovelace", "愛", "o'Neil_2-b", "Zoë", ""] {
        let mut body = plain("letta_v1_agent");
        body["name"] = name.into();
        assert_eq!(new_agent(body).unwrap().config.name, name);
    }
}

#[test]
fn a_subagent_is_hidden_and_first_messages_are_taken() {
    let new = new_agent(json!({
        "model": "openai/gpt-4o-mini", "tags": ["role:subagent"], "hidden": false,
        "initial_message_sequence": [{"role": "assistant", "content": "Hello."}],
        "timezone": "Europe/Berlin", "embedding": "openai/text-embedding-3-small",
    }))
    .unwrap();
    assert_eq!(new.config.hidden, Some(true));
    assert_eq!(new.config.timezone, "Europe/Berlin");
    assert_eq!(new.initial_messages.unwrap()[0].role, Role::Assistant);
    assert_eq!(
        new.config.embedding.unwrap().handle.as_deref(),
        Some("openai/text-embedding-3-small")
    );
    assert!(new_agent(plain("letta_v1_agent")).unwrap().initial_messages.is_none());
}

#[test]
fn relations_that_were_not_asked_for_are_empty() {
    let view = view(&new_agent(plain("letta_v1_agent")).unwrap());
    let shown = serde_json::to_value(AgentState::new(&view, Relations::NONE)).unwrap();
    for name in ["blocks", "tools", "tags", "sources", "secrets", "identities"] {
        assert_eq!(shown[name], json!([]), "{name}");
    }
    assert_eq!(shown["memory"]["blocks"], json!([]));
}
