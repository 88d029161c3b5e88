//! Plain values that events are made of.

use retold_events::{
    ConversationId, JsonText, Message, MessageId, Part, Role, RunId, Sealed, Secret, StepId,
    Timestamp, ToolCall,
    agent::{AgentType, Compaction, CompactionMode, Config, ModelConfig, SecretsSet},
    block::Block,
    run::{Input, Request, StopReason},
};
use uuid::Uuid;

/// A source of choices: the same seed gives the same choices.
#[derive(Debug, Clone)]
pub(crate) struct Choice(u64);

impl Choice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        (self.number() % bound) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len())).cloned()
    }

    /// Nothing, as often as anything else.
    pub(crate) fn maybe<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        if self.once_in(2) { None } else { self.of(items) }
    }

    pub(crate) fn some_of<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        items.iter().filter(|_| self.once_in(3)).cloned().collect()
    }
}

pub(crate) const TAGS: [&str; 4] = ["blue", "Red", "red one", "x"];
pub(crate) const NAMES: [&str; 4] = ["Ada", "ada two", "Bob", "Zoe"];
pub(crate) const PROJECTS: [&str; 2] = ["p1", "p2"];
pub(crate) const LABELS: [&str; 3] = ["human", "persona", "Notes"];
pub(crate) const MODELS: [&str; 2] = ["one/small", "two/large"];
pub(crate) const STOPS: [StopReason; 3] =
    [StopReason::EndTurn, StopReason::Error, StopReason::Cancelled];

pub(crate) fn strings(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

pub(crate) fn secrets(choice: &mut Choice) -> SecretsSet {
    let names = choice.some_of(&["API_KEY", "TOKEN", "REGION"]);
    let sealed =
        |choice: &mut Choice| Sealed { owner: [7; 16], bytes: vec![1, choice.below(3) as u8] };
    let secrets = names
        .into_iter()
        .map(|name| Secret { name: name.to_owned(), value: sealed(choice) })
        .collect();
    SecretsSet { secrets }
}

/// Threads runs may be in: the agent's own and two conversations.
pub(crate) fn conversations() -> [Option<ConversationId>; 3] {
    let conversation = |number| Some(ConversationId::from_uuid(Uuid::from_u128(number)));
    [None, conversation(1), conversation(2)]
}

pub(crate) fn config(choice: &mut Choice) -> Config {
    Config {
        name: choice.of(&NAMES).unwrap_or_default().to_owned(),
        agent_type: AgentType::LettaV1,
        system: "You are {CORE_MEMORY}".to_owned(),
        description: None,
        metadata: None,
        tags: strings(choice.some_of(&TAGS)),
        model: ModelConfig {
            handle: MODELS[0].to_owned(),
            model: "small".to_owned(),
            display_name: None,
            endpoint_type: "openai".to_owned(),
            endpoint: None,
            provider_name: Some("one".to_owned()),
            context_window: 32_000,
            max_output_tokens: None,
            temperature: Some(0.5),
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
        timezone: "UTC".to_owned(),
        message_buffer_autoclear: false,
        hidden: choice.maybe(&[false, true]),
        max_files_open: None,
        per_file_view_window_char_limit: None,
        project_id: choice.maybe(&PROJECTS).map(str::to_owned),
        template_id: choice.maybe(&PROJECTS).map(str::to_owned),
        base_template_id: choice.maybe(&PROJECTS).map(str::to_owned),
    }
}

pub(crate) fn block(choice: &mut Choice) -> Block {
    Block {
        value: format!("Value {}", choice.below(4)),
        limit: 1000,
        label: choice.of(&LABELS).map(str::to_owned),
        description: choice.maybe(&["About people", "about THINGS"]).map(str::to_owned),
        read_only: false,
        hidden: choice.maybe(&[false, true]),
        metadata: JsonText::empty_object(),
        tags: strings(choice.some_of(&TAGS)),
        template_name: choice.maybe(&NAMES).map(str::to_owned),
        is_template: choice.once_in(2),
        project_id: choice.maybe(&PROJECTS).map(str::to_owned),
        template_id: None,
        base_template_id: None,
        deployment_id: None,
        entity_id: None,
        preserve_on_migration: None,
    }
}

pub(crate) fn message(id: MessageId, role: Role, text: &str, at: Timestamp) -> Message {
    Message {
        id,
        role,
        content: vec![Part::Text { text: text.to_owned() }],
        name: None,
        otid: None,
        sender: None,
        model: None,
        tool_calls: Vec::new(),
        tool_returns: Vec::new(),
        step: None,
        run: None,
        conversation: None,
        created_at: at,
        tokens: 3,
        is_err: false,
        interrupted: false,
    }
}

/// What a run's step says.
pub(crate) fn said(
    message: Message,
    run: RunId,
    step: StepId,
    conversation: Option<ConversationId>,
) -> Message {
    Message { run: Some(run), step: Some(step), conversation, ..message }
}

pub(crate) fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: "call".to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

pub(crate) fn input(choice: &mut Choice) -> Input {
    Input {
        role: choice.of(&[Role::User, Role::System]).unwrap_or(Role::User),
        content: vec![Part::Text { text: format!("Tell me about {}", choice.below(5)) }],
        name: None,
        otid: format!("otid-{}", choice.below(1000)),
        sender: None,
        tokens: 4,
    }
}

pub(crate) fn request(choice: &mut Choice) -> Request {
    Request {
        run_type: "send_message".to_owned(),
        conversation: choice.of(&conversations()).flatten(),
        background: choice.once_in(2),
        stream_tokens: false,
        max_steps: 50,
        use_assistant_message: true,
        assistant_message_tool_name: "send_message".to_owned(),
        assistant_message_tool_kwarg: "message".to_owned(),
        include_return_message_types: None,
        include_compaction_messages: false,
        override_model: None,
        override_system: None,
        callback_url: choice.maybe(&["http://localhost/done"]).map(str::to_owned),
        fingerprint: None,
        metadata: None,
    }
}
