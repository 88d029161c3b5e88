//! How many events a second fold, with and without their rows, and read back from stored bytes.
//!
//! `cargo run --release -p retold-snapshots --example fold_rate [turns]`

use std::time::Instant;

use retold_events::{
    AgentId, JsonText, Message, MessageId, Part, Role, RunId, StepId, Timestamp,
    agent::Event,
    agent::{
        AgentType, Compaction, CompactionMode, Config, ContextCompacted, Created, ModelConfig,
    },
    codec::{DecodeError, Event as _},
    run,
};
use retold_snapshots::agent::{State, apply, apply_and_project};
use uuid::Uuid;

/// Turns between two compactions: what a context window of ordinary size holds.
const WINDOW: u128 = 100;

fn main() -> Result<(), DecodeError> {
    let turns = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let at = Timestamp::from_micros(1);
    let created = created(at);
    let id = AgentId::from_uuid(Uuid::from_u128(1));
    let begun = State::created(id, at, &created);
    let events: Vec<Event> = (1..=turns).flat_map(|turn| turn_events(turn, at)).collect();

    let mut state = begun.clone();
    rate("apply", events.len(), || {
        events.iter().for_each(|event| apply(&mut state, at, event));
    });

    let mut state = begun.clone();
    let mut row_bytes = 0;
    rate("apply and project", events.len(), || {
        for event in &events {
            let rows = apply_and_project(&mut state, at, event);
            row_bytes +=
                rows.iter().filter_map(|row| row.value.as_ref()).map(|it| it.len()).sum::<usize>();
        }
    });

    let encoded: Vec<_> = events.iter().map(Event::encode).collect();
    let mut again = begun;
    let mut failed = None;
    rate("decode and apply", events.len(), || {
        for encoded in &encoded {
            match Event::decode(encoded) {
                Ok(event) => apply(&mut again, at, &event),
                Err(error) => failed = Some(error),
            }
        }
    });
    println!("{row_bytes} bytes of rows; same state: {}", state == again);
    failed.map_or(Ok(()), Err)
}

fn rate(what: &str, events: usize, work: impl FnOnce()) {
    let begin = Instant::now();
    work();
    let seconds = begin.elapsed().as_secs_f64();
    println!("{what}: {:.0} events/s ({events} in {seconds:.3} s)", events as f64 / seconds);
}

/// One message, one model call, one answer: the usual turn.
fn turn_events(turn: u128, at: Timestamp) -> Vec<Event> {
    let run = RunId::from_uuid(Uuid::from_u128(turn));
    let step = StepId::from_uuid(Uuid::from_u128(turn));
    let [asked, answered, summary] =
        [2, 3, 4].map(|part| MessageId::from_uuid(Uuid::from_u128(turn * 4 + part)));
    let answer = message(answered, Role::Assistant, "Forty-two, as ever, and here is why.", at);
    let usage = run::Usage { prompt_tokens: 900, completion_tokens: 30, ..run::Usage::default() };
    let mut events = vec![
        Event::RunAccepted(run::Accepted {
            run,
            input: vec![input()],
            request: request(),
            decisions: vec![],
            client_tools: vec![],
            asked_by: None,
        }),
        Event::RunStarted(run::Started { run, attempt: 1, input_ids: vec![asked] }),
        Event::StepStarted(run::StepStarted {
            run,
            step,
            message: answered,
            model: "rehearsal/small".to_owned(),
            provider: None,
            endpoint_type: "openai".to_owned(),
            context_window: 32_000,
        }),
        Event::StepEnded(run::StepEnded {
            run,
            step,
            outcome: run::StepOutcome::Success,
            input_enters: true,
            messages: vec![Message { run: Some(run), step: Some(step), ..answer }],
            tools_called: Vec::new(),
            usage,
            prompt_hash: Some([7; 16]),
            stop_reason: Some(run::StopReason::EndTurn),
            timing: run::StepTiming::default(),
        }),
        Event::RunEnded(run::Ended {
            run,
            status: run::EndStatus::Completed,
            stop_reason: run::StopReason::EndTurn,
            error: None,
            interrupted: false,
            input: Vec::new(),
            ttft_ns: Some(1_000),
            total_ns: 2_000,
        }),
    ];
    if turn.is_multiple_of(WINDOW) {
        events.push(Event::ContextCompacted(ContextCompacted {
            conversation: None,
            summary: message(summary, Role::Summary, "They spoke of many things.", at),
            kept_from: Some(answered),
            trigger: "post_step_context_check".to_owned(),
            tokens_before: 20_000,
            tokens_after: 200,
            messages_before: 200,
            messages_after: 3,
        }));
    }
    events
}

fn created(at: Timestamp) -> Created {
    let system = MessageId::from_uuid(Uuid::from_u128(1));
    Created {
        config: config(),
        blocks: Vec::new(),
        tools: Vec::new(),
        messages: vec![message(system, Role::System, &"You are an agent. ".repeat(200), at)],
        compiled_from: Vec::new(),
    }
}

fn message(id: MessageId, role: Role, text: &str, at: Timestamp) -> Message {
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
        tokens: 12,
        is_err: false,
        interrupted: false,
    }
}

fn input() -> run::Input {
    run::Input {
        role: Role::User,
        content: vec![Part::Text { text: "What is the answer, and why that one?".to_owned() }],
        name: None,
        otid: "5a4b3c2d-1111-4222-8333-944455556666".to_owned(),
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

fn config() -> Config {
    Config {
        name: "Ada".to_owned(),
        agent_type: AgentType::LettaV1,
        system: "You are an agent.".to_owned(),
        description: None,
        metadata: None,
        tags: Vec::new(),
        model: ModelConfig {
            handle: "rehearsal/small".to_owned(),
            model: "small".to_owned(),
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
