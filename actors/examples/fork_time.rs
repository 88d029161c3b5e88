//! How long a fork takes after a short history and after a long one, of the present and of a moment in the middle.
//!
//! `cargo run --release -p retold-actors --example fork_time [events ...]`; without numbers 1000 and 1000000. The history
//! is written as the server would have written it, on the disk in a temporary folder: turns of five events, saved states
//! every 500, a compaction every 100 turns.

use std::{error::Error, path::Path, sync::Arc, time::Instant};

use retold_actors::{AsOf, Host, Options, agent::NewAgent};
use retold_events::{
    AgentId, JsonText, Message, MessageId, NewEvent, Part, Position, Role, RunId, Seq, StepId,
    StreamId, Timestamp,
    agent::{AgentType, Compaction, CompactionMode, Config, ContextCompacted, Event, ModelConfig},
    block::Block,
    codec::Event as _,
    next_uuid, run,
    store::{Append, Commit, EventStore, SledOptions, SledStore},
};
use retold_models::{Catalog, Timeouts};
use retold_snapshots::{agent::State, agent::apply_and_project, load};
use ulid::Ulid;
use uuid::Uuid;

/// Turns between two compactions: what a context window of ordinary size holds.
const WINDOW: u64 = 100;
/// Forks that are measured of each kind.
const FORKS: usize = 20;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let asked: Vec<u64> =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let sizes = if asked.is_empty() { vec![1_000, 1_000_000] } else { asked };
    for events in sizes {
        let folder = tempfile::tempdir()?;
        measure(folder.path(), events).await?;
    }
    Ok(())
}

async fn measure(folder: &Path, events: u64) -> Outcome {
    let host = host(folder).await?;
    let agent = host.create_agent(new_agent()).await?.state.id;
    host.close().await;
    drop(host);
    let begun = Instant::now();
    write(folder, agent, events)?;
    println!("{events} events, written in {:.1} s", begun.elapsed().as_secs_f64());
    let host = host_again(folder).await?;
    let head = host.log().head().position.0;
    // The first fork of a process reads the tokenizer's vocabulary.
    host.fork(agent, None, None).await?;
    time(&host, agent, "now", |_| None).await?;
    // A moment each, so that none finds what the one before read.
    let step = head / (FORKS as u64 + 2);
    let past = |index: usize| Some(AsOf::Position(Position(step * (index as u64 + 1) + 3)));
    time(&host, agent, "of the past", past).await?;
    host.close().await;
    Ok(())
}

async fn time(
    host: &Host,
    agent: AgentId,
    what: &str,
    moment: impl Fn(usize) -> Option<AsOf>,
) -> Outcome {
    let mut millis = Vec::with_capacity(FORKS);
    for index in 0..FORKS {
        let begun = Instant::now();
        host.fork(agent, moment(index), None).await?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    millis.sort_by(f64::total_cmp);
    let (median, most) = (millis[FORKS / 2], millis[FORKS - 1]);
    println!("  a fork {what}: median {median:.2} ms, longest {most:.2} ms");
    Ok(())
}

async fn host(folder: &Path) -> Outcome<Host> {
    let store: Arc<dyn EventStore> = Arc::new(SledStore::open(folder, SledOptions::default())?);
    let catalog = Arc::new(Catalog::new(Vec::new(), Timeouts::default()));
    Ok(Host::open(store, catalog, Options::default()).await?)
}

/// The store of the host before may still be closing.
async fn host_again(folder: &Path) -> Outcome<Host> {
    tokio::task::yield_now().await;
    host(folder).await
}

/// Goes on with the agent's history until it has so many events.
fn write(folder: &Path, agent: AgentId, events: u64) -> Outcome {
    let store = SledStore::open(folder, SledOptions::default())?;
    let loaded = load::agent(&store, agent, None)?.ok_or("the agent is there")?;
    let mut writer = Writer {
        stream: StreamId::Agent(agent),
        state: loaded.state,
        seq: loaded.seq,
        unsaved: 0,
        group: Vec::new(),
    };
    let mut turn = 0;
    while writer.seq.0 < events {
        turn += 1;
        writer.turn(turn);
        if writer.group.len() >= 500 {
            writer.flush(&store)?;
        }
    }
    writer.flush(&store)?;
    store.close()?;
    Ok(())
}

struct Writer {
    stream: StreamId,
    state: State,
    seq: Seq,
    unsaved: u64,
    group: Vec<Commit>,
}

impl Writer {
    fn flush(&mut self, store: &SledStore) -> Outcome {
        for answer in store.append(&std::mem::take(&mut self.group))? {
            answer?;
        }
        Ok(())
    }

    fn commit(&mut self, at: Timestamp, events: &[Event]) {
        let mut commit = Commit::default();
        for event in events {
            commit.rows.extend(apply_and_project(&mut self.state, at, event));
        }
        let nil = Ulid::nil();
        let new = |event: &Event| NewEvent {
            id: nil,
            causation: nil,
            run: None,
            at,
            encoded: event.encode(),
        };
        let events: Vec<NewEvent> = events.iter().map(new).collect();
        let count = events.len() as u64;
        commit.appends.push(Append { stream: self.stream, expected: self.seq, events });
        self.seq.0 += count;
        self.unsaved += count;
        if self.unsaved >= 500 {
            commit.snapshots.push(load::save(&self.state, self.seq));
            self.unsaved = 0;
        }
        self.group.push(commit);
    }

    /// One message, one model call, one answer: the usual turn.
    fn turn(&mut self, turn: u64) {
        let at = self.state.last_at;
        let mut last = self.state.last_message.uuid();
        let mut next = || {
            last = next_uuid(last, at, turn);
            last
        };
        let [run, step, asked, answered, summary] = [(); 5].map(|()| next());
        let (run, step) = (RunId::from_uuid(run), StepId::from_uuid(step));
        let [asked, answered, summary] = [asked, answered, summary].map(MessageId::from_uuid);
        let answer = said(answered, Role::Assistant, "Forty-two, as ever, and here is why.", at);
        let accepted = run::Accepted {
            run,
            input: vec![input()],
            request: request(),
            decisions: Vec::new(),
            client_tools: Vec::new(),
            asked_by: None,
        };
        self.commit(
            at,
            &[
                Event::RunAccepted(accepted),
                Event::RunStarted(run::Started { run, attempt: 1, input_ids: vec![asked] }),
                Event::StepStarted(step_started(run, step, answered)),
            ],
        );
        let ended = step_ended(run, step, Message { run: Some(run), step: Some(step), ..answer });
        let mut events = vec![Event::StepEnded(ended), Event::RunEnded(run_ended(run))];
        if turn.is_multiple_of(WINDOW) {
            events.push(Event::ContextCompacted(compacted(said(
                summary,
                Role::Summary,
                "They spoke of many things.",
                at,
            ))));
        }
        self.commit(at, &events);
    }
}

fn step_started(run: RunId, step: StepId, message: MessageId) -> run::StepStarted {
    run::StepStarted {
        run,
        step,
        message,
        model: "example/one".to_owned(),
        provider: None,
        endpoint_type: "openai".to_owned(),
        context_window: 32_000,
    }
}

fn step_ended(run: RunId, step: StepId, answer: Message) -> run::StepEnded {
    run::StepEnded {
        run,
        step,
        outcome: run::StepOutcome::Success,
        input_enters: true,
        messages: vec![answer],
        tools_called: Vec::new(),
        usage: run::Usage { prompt_tokens: 900, completion_tokens: 30, ..run::Usage::default() },
        prompt_hash: Some([7; 16]),
        stop_reason: Some(run::StopReason::EndTurn),
        timing: run::StepTiming::default(),
    }
}

fn run_ended(run: RunId) -> run::Ended {
    run::Ended {
        run,
        status: run::EndStatus::Completed,
        stop_reason: run::StopReason::EndTurn,
        error: None,
        interrupted: false,
        input: Vec::new(),
        ttft_ns: Some(1_000),
        total_ns: 2_000,
    }
}

fn compacted(summary: Message) -> ContextCompacted {
    ContextCompacted {
        conversation: None,
        summary,
        kept_from: None,
        trigger: "post_step_context_check".to_owned(),
        tokens_before: 20_000,
        tokens_after: 200,
        messages_before: 200,
        messages_after: 3,
    }
}

fn said(id: MessageId, role: Role, text: &str, at: Timestamp) -> Message {
    let content = vec![Part::Text { text: text.to_owned() }];
    Message { content, tokens: 12, ..Message::new(id, role, at) }
}

fn input() -> run::Input {
    run::Input {
        role: Role::User,
        content: vec![Part::Text { text: "What is the answer, and why that one?".to_owned() }],
        name: None,
        otid: Uuid::nil().to_string(),
        sender: None,
        tokens: 10,
    }
}

fn request() -> run::Request {
    run::Request {
        run_type: "send_message".to_owned(),
        conversation: None,
        background: false,
        stream_tokens: false,
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

fn new_agent() -> NewAgent {
    NewAgent {
        config: config(),
        new_blocks: vec![block("human"), block("persona")],
        blocks: Vec::new(),
        tools: Vec::new(),
        initial_messages: Some(Vec::new()),
        secrets: None,
    }
}

fn block(label: &str) -> Block {
    Block {
        value: "What there is to know. ".repeat(50),
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

fn config() -> Config {
    Config {
        name: "Ada".to_owned(),
        agent_type: AgentType::LettaV1,
        system: String::new(),
        description: None,
        metadata: None,
        tags: Vec::new(),
        model: ModelConfig {
            handle: "example/one".to_owned(),
            model: "one".to_owned(),
            display_name: None,
            endpoint_type: "openai".to_owned(),
            endpoint: None,
            provider_name: None,
            context_window: 32_000,
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
