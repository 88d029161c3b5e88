//! What a compiled system message holds, and in which order.

use proptest::prelude::*;
use retold_events::{
    JsonText,
    agent::{Compaction, CompactionMode, ModelConfig, ToolRule, ToolRuleKind},
};
use uuid::Uuid;

use super::*;

/// 2025-03-14T08:30:00Z.
const AT: Timestamp = Timestamp::from_micros(1_741_941_000_000_000);

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 | number)
}

fn config(system: &str) -> Config {
    Config {
        name: "Ada".to_owned(),
        agent_type: AgentType::LettaV1,
        system: system.to_owned(),
        description: None,
        metadata: None,
        tags: Vec::new(),
        model: ModelConfig {
            handle: "openai/gpt".to_owned(),
            model: "gpt".to_owned(),
            display_name: None,
            endpoint_type: "openai".to_owned(),
            endpoint: None,
            provider_name: None,
            context_window: 1000,
            max_output_tokens: None,
            temperature: None,
            parallel_tool_calls: false,
            enable_reasoner: false,
            reasoning_effort: None,
            max_reasoning_tokens: 0,
            response_format: None,
            other_config: JsonText::empty_object(),
            other_settings: JsonText::empty_object(),
        },
        embedding: None,
        compaction: Compaction {
            model: None,
            prompt: None,
            prompt_acknowledgement: false,
            mode: CompactionMode::SlidingWindow,
            sliding_window_percentage: 0.3,
            clip_chars: None,
            model_settings: None,
        },
        tool_rules: Vec::new(),
        timezone: "Europe/Berlin".to_owned(),
        message_buffer_autoclear: false,
        hidden: None,
        max_files_open: None,
        per_file_view_window_char_limit: None,
        project_id: None,
        template_id: None,
        base_template_id: None,
    }
}

fn block(label: &str, value: &str) -> block::Block {
    block::Block {
        value: value.to_owned(),
        limit: 5000,
        label: Some(label.to_owned()),
        description: Some("Who the user is.".to_owned()),
        read_only: false,
        hidden: None,
        metadata: JsonText::empty_object(),
        tags: Vec::new(),
        template_name: None,
        is_template: false,
        project_id: None,
        template_id: None,
        base_template_id: None,
        deployment_id: None,
        entity_id: None,
        preserve_on_migration: None,
    }
}

fn compiled(config: &Config, blocks: &[&block::Block]) -> String {
    let blocks: Vec<_> = blocks.iter().map(|&block| (BlockId::from_uuid(uuid(1)), block)).collect();
    compile(&CompileInput {
        agent: AgentId::from_uuid(uuid(7)),
        conversation: None,
        config,
        blocks: &blocks,
        previous_messages: 3,
        compiled_at: AT,
        with_rules: true,
    })
}

#[test]
fn the_whole_text_stands_as_agreed() {
    let text = compiled(&config("Be kind."), &[&block("human", "Name: Ada\nCity: Oslo")]);
    assert_eq!(
        text,
        "Be kind.

<memory_blocks>
These memory blocks are always in front of you:

<human>
<description>
Who the user is.
</description>
<metadata>
- chars_current=20
- chars_limit=5000
</metadata>
<value>
Name: Ada
City: Oslo
</value>
</human>
</memory_blocks>

<memory_metadata>
- AGENT_ID: agent-00000000-0000-4000-8000-000000000007
- CONVERSATION_ID: default
- System prompt last recompiled: 2025-03-14 09:30:00 AM CET+0100
- 3 previous messages between you and the user are stored in recall memory
</memory_metadata>"
    );
}

#[test]
fn memory_stands_where_the_prompt_wants_it() {
    let text = compiled(&config("Before {CORE_MEMORY} after"), &[&block("human", "x")]);
    assert!(text.starts_with("Before <memory_blocks>\n"), "{text}");
    assert!(text.ends_with("</memory_metadata> after"), "{text}");
}

#[test]
fn a_prompt_without_text_is_memory_alone() {
    assert!(compiled(&config(""), &[]).starts_with("<memory_blocks>\n"));
}

#[test]
fn a_placeholder_in_a_block_is_only_text() {
    let text = compiled(&config("{CORE_MEMORY}"), &[&block("human", "{CORE_MEMORY}")]);
    assert_eq!(text.matches("{CORE_MEMORY}").count(), 1);
}

#[test]
fn blocks_keep_their_order() {
    let text = compiled(&config(""), &[&block("persona", "p"), &block("human", "h")]);
    assert!(text.find("<persona>") < text.find("<human>"), "{text}");
}

#[test]
fn a_read_only_block_says_so_first() {
    let block = block::Block { read_only: true, description: None, ..block("human", "x") };
    let text = compiled(&config(""), &[&block]);
    assert!(text.contains("<human>\n<metadata>\n- read_only=true\n- chars_current=1\n"), "{text}");
}

#[test]
fn anthropic_models_see_numbered_lines_with_a_warning() {
    let mut config = config("");
    config.model.endpoint_type = "anthropic".to_owned();
    let block = block("human", "a\n\nb");
    for (agent_type, numbered) in
        [(AgentType::LettaV1, true), (AgentType::MemgptV2, true), (AgentType::Memgpt, false)]
    {
        config.agent_type = agent_type;
        let text = compiled(&config, &[&block]);
        let expected = if numbered {
            format!(
                "<warning>\n{LINE_NUMBER_BANNER}\n</warning>\n<value>\n1→ a\n2→ \n3→ b\n</value>"
            )
        } else {
            "</metadata>\n<value>\na\n\nb\n</value>".to_owned()
        };
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn rules_stand_between_memory_and_metadata_unless_they_are_left_out() {
    let mut config = config("");
    config.tool_rules = vec![ToolRule {
        tool: "send_message".to_owned(),
        kind: ToolRuleKind::ExitLoop,
        prompt_template: None,
    }];
    let text = compiled(&config, &[]);
    let places = ["</memory_blocks>", "<tool_usage_rules>", "<memory_metadata>"]
        .map(|section| text.find(section).unwrap());
    assert!(places.is_sorted(), "{text}");
    let input = CompileInput {
        agent: AgentId::from_uuid(uuid(7)),
        conversation: Some(ConversationId::from_uuid(uuid(9))),
        config: &config,
        blocks: &[],
        previous_messages: 0,
        compiled_at: AT,
        with_rules: false,
    };
    let text = compile(&input);
    assert!(!text.contains("<tool_usage_rules>"), "{text}");
    assert!(text.contains("- CONVERSATION_ID: conv-00000000-0000-4000-8000-000000000009\n"));
}

#[test]
fn an_unknown_zone_is_utc() {
    let config = Config { timezone: "Nowhere".to_owned(), ..config("") };
    assert!(compiled(&config, &[]).contains("last recompiled: 2025-03-14 08:30:00 AM UTC+0000\n"));
}

proptest! {
    #[test]
    fn values_are_inserted_verbatim(value in any::<String>()) {
        let text = compiled(&config("{CORE_MEMORY}"), &[&block("human", &value)]);
        let expected = format!("<value>\n{value}\n</value>\n</human>");
        prop_assert!(text.contains(&expected));
    }
}
