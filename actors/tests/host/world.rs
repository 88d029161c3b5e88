//! A host over a memory store, with one scripted model.

use std::sync::Arc;

use retold_actors::{
    AgentView, Host, Options,
    agent::NewAgent,
    block::Patch,
    replay::{Replay, What, replay},
    run::{NewMessage, Send, Sent},
    tool,
};
use retold_events::{
    AgentId, JsonText, Message, Part, Role, RunId,
    agent::{AgentType, Compaction, CompactionMode, Config, ModelConfig},
    block::Block,
    output::{Delta, Item, Output},
    run::Request,
    store::{Commit, EventStore, Failure, Faults, FaultyStore, MemoryStore, Moment},
};
use retold_models::{
    Catalog, Model, Timeouts,
    testing::{ScriptedModel, model_info},
};
use retold_snapshots::query::{self, MessageFilter, Order, Page, RunFilter};

pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) model: ScriptedModel,
    pub(crate) store: Arc<dyn EventStore>,
    _at_the_end: Replayed,
}

/// At the end of every scenario, whatever it was about: each run that has ended replays as it was.
struct Replayed(Arc<dyn EventStore>);

impl Drop for Replayed {
    fn drop(&mut self) {
        // A store that fails tells nothing, and a test that fails says why itself.
        let runs = query::runs(&*self.0, &RunFilter::default(), &Page::first(500, Order::Asc));
        for run in runs.into_iter().flatten().filter(|_| !std::thread::panicking()) {
            let Ok(Some(Replay { divergence: Some(divergence), run, .. })) =
                replay(&*self.0, run.id)
            else {
                continue;
            };
            // Some scenarios are about an event that nobody can read.
            let unreadable = divergence.what == What::Event && divergence.place.is_some();
            assert!(unreadable, "{run}: {divergence:#?}");
        }
    }
}

impl World {
    pub(crate) async fn new(model: ScriptedModel) -> Self {
        Self::over(Arc::new(MemoryStore::new()), model, Options::default()).await
    }

    pub(crate) async fn over(
        store: Arc<dyn EventStore>,
        model: ScriptedModel,
        options: Options,
    ) -> Self {
        let host = open(Arc::clone(&store), Arc::new(model.clone()), options).await;
        let at_the_end = Replayed(Arc::clone(&store));
        Self { host, model, store, _at_the_end: at_the_end }
    }

    pub(crate) async fn agent(&self) -> AgentId {
        self.agent_of(AgentType::LettaV1).await.state.id
    }

    pub(crate) async fn agent_of(&self, agent_type: AgentType) -> AgentView {
        self.host.create_agent(new_agent(agent_type)).await.expect("the agent is sound")
    }

    pub(crate) async fn send(&self, agent: AgentId, text: &str) -> RunId {
        self.try_send(agent, text, false).await.expect("the message is accepted").run.id
    }

    pub(crate) async fn stream(&self, agent: AgentId, text: &str) -> RunId {
        self.try_send(agent, text, true).await.expect("the message is accepted").run.id
    }

    pub(crate) async fn try_send(
        &self,
        agent: AgentId,
        text: &str,
        stream_tokens: bool,
    ) -> Result<Sent, retold_actors::Refusal> {
        self.host.send(agent, Send::new(vec![message(text)], request(stream_tokens))).await
    }

    pub(crate) async fn items(&self, run: RunId, after: u64) -> Vec<Item> {
        let mut follow = self.host.follow(run, after);
        let mut items = Vec::new();
        while let Some(batch) = follow.next().await.expect("the log is readable") {
            items.extend(batch.iter().filter(|item| item.seq > after).cloned());
        }
        items
    }

    pub(crate) async fn history(&self, agent: AgentId) -> Vec<Message> {
        let page = Page::first(1000, Order::Asc);
        self.host
            .read(move |store| Ok(query::messages(store, agent, &MessageFilter::default(), &page)))
            .await
            .expect("the store is readable")
            .expect("the rows are readable")
    }

    /// Role and text of every message but the system's.
    pub(crate) async fn said(&self, agent: AgentId) -> Vec<(Role, String)> {
        let history = self.history(agent).await;
        history.iter().skip(1).map(|message| (message.role, message.text())).collect()
    }
}

/// A host whose agents speak with `model`.
pub(crate) async fn open(
    store: Arc<dyn EventStore>,
    model: Arc<dyn Model>,
    options: Options,
) -> Host {
    let catalog = Arc::new(Catalog::new(Vec::new(), Timeouts::default()));
    catalog.insert("scripted/one", model, model_info("scripted/one"));
    Host::open(store, catalog, options).await.expect("the store is empty or sound")
}

/// Ends a host as a crash does: from now on it writes nothing more.
pub(crate) async fn crash(host: Host, faults: &Faults) {
    faults.fail_append(1, Moment::Before, Failure::Io);
    host.log().append(Commit::default()).await.expect_err("the disk fails now");
}

/// A disk that outlives the hosts over it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    memory: Arc<MemoryStore>,
}

impl Disk {
    /// The store as the next start finds it, with faults of its own.
    pub(crate) fn open(&self) -> (Arc<FaultyStore<Arc<MemoryStore>>>, Faults) {
        self.memory.reopen();
        let faults = Faults::new();
        (Arc::new(FaultyStore::new(Arc::clone(&self.memory), faults.clone())), faults)
    }

    /// Another disk with the same on it.
    pub(crate) fn copy(&self) -> Self {
        Self { memory: Arc::new(self.memory.copy()) }
    }

    /// What is on it, whoever has it open.
    pub(crate) fn contents(&self) -> &MemoryStore {
        &self.memory
    }
}

impl World {
    /// Waits until every agent that can sleep does.
    pub(crate) async fn sleep(&self, awake: usize) {
        while self.host.count_awake() > awake {
            self.host.make_room();
            tokio::task::yield_now().await;
        }
    }
}

/// Lets everything that can go on do so, other threads included.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(std::thread::yield_now).await.expect("it does not panic");
    }
}

/// A test that hangs has failed.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let bound = std::time::Duration::from_secs(20);
    tokio::time::timeout(bound, future).await.expect("nobody hangs")
}

pub(crate) fn new_agent(agent_type: AgentType) -> NewAgent {
    NewAgent {
        config: config(agent_type),
        new_blocks: vec![block("human", "Nothing yet."), block("persona", "Helpful.")],
        blocks: Vec::new(),
        tools: tool::base_tools(agent_type),
        initial_messages: None,
        secrets: None,
    }
}

/// A new value for a block.
pub(crate) fn set(value: &str) -> Patch {
    let value = value.to_owned();
    Patch {
        label: None,
        restored: None,
        edit: Box::new(move |block| {
            block.value = value;
            Ok(())
        }),
    }
}

pub(crate) fn text_of(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        if let Output::Delta { delta: Delta::Text(more), .. } = &item.output {
            text.push_str(more);
        }
    }
    text
}

pub(crate) fn message(text: &str) -> NewMessage {
    NewMessage {
        role: Role::User,
        content: vec![Part::Text { text: text.to_owned() }],
        name: None,
        otid: None,
        sender: None,
    }
}

pub(crate) fn request(stream_tokens: bool) -> Request {
    Request {
        run_type: "send_message".to_owned(),
        conversation: None,
        background: false,
        stream_tokens,
        max_steps: 50,
        use_assistant_message: true,
        assistant_message_tool_name: "send_message".to_owned(),
        assistant_message_tool_kwarg: "message".to_owned(),
        include_return_message_types: None,
        include_compaction_messages: false,
        override_model: None,
        override_system: None,
        callback_url: None,
        fingerprint: None,
        metadata: None,
    }
}

pub(crate) fn config(agent_type: AgentType) -> Config {
    Config {
        name: "Test".to_owned(),
        agent_type,
        system: String::new(),
        description: None,
        metadata: None,
        tags: Vec::new(),
        model: ModelConfig {
            handle: "scripted/one".to_owned(),
            model: "one".to_owned(),
            display_name: None,
            endpoint_type: "openai".to_owned(),
            endpoint: None,
            provider_name: Some("scripted".to_owned()),
            context_window: 32_000,
            max_output_tokens: None,
            temperature: None,
            parallel_tool_calls: true,
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
            clip_chars: Some(50_000),
            model_settings: None,
        },
        tool_rules: tool::base_rules(agent_type, &tool::base_tools(agent_type)),
        timezone: "UTC".to_owned(),
        message_buffer_autoclear: false,
        hidden: None,
        max_files_open: None,
        per_file_view_window_char_limit: None,
        project_id: None,
        template_id: None,
        base_template_id: None,
    }
}

pub(crate) fn block(label: &str, value: &str) -> Block {
    Block {
        value: value.to_owned(),
        limit: 5000,
        label: Some(label.to_owned()),
        description: None,
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
