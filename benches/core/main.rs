//! What the parts cost by themselves: `cargo bench --bench core`, or `-- NAME` for some.
//!
//! The load driver (`server/`) measures the whole; this says where its time goes, and what this machine's disk can do at
//! all: a group commit stands beside a bare file with the same sync, in the same run. Nothing is asserted.

mod history;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use retold::wire::{Frame, Frames};
use retold_events::{
    AgentId, Encoded, EventType, MessageId, NewEvent, Seq, StepId, StreamId, Timestamp,
    agent::AgentType,
    log::Log,
    output::{Delta, Item, Output},
    store::{Append, Commit, EventStore, RowChange, SledOptions, SledStore, Table},
};
use retold_models::{
    Catalog, Message, Part, Prompt, ProviderConfig, ProviderKind, Secret, Timeouts, ToolChoice,
};
use retold_snapshots::load;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// One event and the row that follows from it, as most commits of a run are.
fn commit(number: u128, expected: u64) -> Commit {
    let agent = AgentId::from_uuid(Uuid::from_u128(number));
    let event = NewEvent {
        id: ulid::Ulid::from_parts(expected, number),
        causation: ulid::Ulid::nil(),
        run: None,
        at: Timestamp::from_micros(0),
        encoded: Encoded {
            event_type: EventType(1),
            version: 1,
            payload: Bytes::from(vec![7; 300]),
        },
    };
    let row = RowChange {
        table: Table::Agents,
        key: agent.as_bytes().to_vec(),
        value: Some(Bytes::from(expected.to_be_bytes().to_vec())),
    };
    let stream = StreamId::Agent(agent);
    let appends = vec![Append { stream, expected: Seq(expected), events: vec![event] }];
    Commit { appends, rows: vec![row], ..Commit::default() }
}

/// A commit by itself and 64 at a time, beside a bare append of 4 KiB with its `fdatasync`.
fn commits(criterion: &mut Criterion) {
    let dir =
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory beside the code");
    let mut group = criterion.benchmark_group("commit");
    let bare = File::create(dir.path().join("bare")).expect("a file");
    bare.write_all_at(&vec![0; 64 << 20], 0).and_then(|()| bare.sync_all()).expect("room");
    let mut at = 0;
    group.bench_function("bare file, 4 KiB and fdatasync", |bencher| {
        bencher.iter(|| {
            bare.write_all_at(&[1; 4096], at % (64 << 20)).expect("a write");
            bare.sync_data().expect("a sync");
            at += 4096;
        });
    });
    let runtime = Runtime::new().expect("a runtime");
    let store =
        SledStore::open(&dir.path().join("store"), SledOptions::default()).expect("a store");
    let log = Log::open(Arc::new(store));
    let mut lone = 0;
    group.bench_function("one", |bencher| {
        bencher.iter(|| {
            runtime.block_on(log.append(commit(1, lone))).expect("it is written");
            lone += 1;
        });
    });
    let mut many = 0;
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 at once", |bencher| {
        bencher.iter(|| {
            let commits = (0..64).map(|writer| log.append(commit(1000 + writer, many)));
            let answers = runtime.block_on(join_all(commits));
            assert!(answers.iter().all(Result::is_ok));
            many += 1;
        });
    });
    group.finish();
    runtime.block_on(log.close());
}

/// Folding 10,000 events, and waking an agent that has them: from a store opened for the purpose, so that nothing of it
/// is in memory but what the system caches.
fn folding(criterion: &mut Criterion) {
    const EVENTS: u64 = 10_000;
    let dir = tempfile::tempdir().expect("a directory");
    let agent = history::written(dir.path(), EVENTS);
    let open = || SledStore::open(dir.path(), SledOptions::default()).expect("a store");
    let bare = history::without_saved_states(&open(), agent);
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("10,000 events", |bencher| {
        bencher.iter(|| load::agent(&bare, agent, None).expect("it folds"));
    });
    group.finish();
    criterion.bench_function("activation, cold, 10,000 events", |bencher| {
        bencher.iter_custom(|times| {
            let mut taken = Duration::ZERO;
            for _ in 0..times {
                let store = open();
                let begun = Instant::now();
                let loaded = load::agent(&store, agent, None).expect("it is whole");
                taken += begun.elapsed();
                assert!(loaded.is_some());
                store.close().expect("it closes");
            }
            taken
        });
    });
}

/// A request of OpenAI's form from a history of some length.
fn prompts(criterion: &mut Criterion) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = Some(Secret::new("not a key"));
    let provider = ProviderConfig::new(ProviderKind::OpenAi, "http://127.0.0.1:9/v1", key);
    let catalog = Catalog::new(vec![provider], Timeouts::default());
    let (model, _) = catalog.resolve("openai/gpt-4o-mini").expect("a known model");
    let mut group = criterion.benchmark_group("prompt");
    for messages in [10, 1000] {
        let said = "What is the answer, and why that one of all there are?";
        let message = |index: usize| match index % 2 {
            0 => Message::User(vec![Part::Text(said)]),
            _ => Message::Assistant { parts: vec![Part::Text(said)], calls: Vec::new() },
        };
        let prompt = Prompt {
            system: said,
            messages: (0..messages).map(message).collect(),
            tools: &[],
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: true,
            max_output_tokens: None,
            temperature: None,
            reasoning: None,
            response_format: None,
        };
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(format!("{messages} messages"), |bencher| {
            bencher.iter(|| model.request(&prompt).expect("it has a request"));
        });
    }
    group.finish();
}

/// Tokens of a run as server-sent events.
fn frames(criterion: &mut Criterion) {
    const TOKENS: u64 = 1000;
    let run = history::run();
    let item = |seq| Item {
        seq,
        at: Timestamp::from_micros(1_700_000_000_000_000),
        output: Output::Delta {
            step: StepId::from_uuid(Uuid::from_u128(2)),
            message: MessageId::from_uuid(Uuid::from_u128(3)),
            part: 0,
            delta: Delta::Text(" token".to_owned()),
        },
    };
    let items: Vec<Item> = (1..=TOKENS).map(item).collect();
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(TOKENS));
    group.bench_function("1,000 tokens to server-sent events", |bencher| {
        bencher.iter_batched(
            || Frames::new(&run, AgentType::LettaV1, 0),
            |mut frames| {
                let mut made: Vec<Frame> = Vec::with_capacity(items.len());
                items.iter().for_each(|item| frames.encode(item, &mut made));
                made.iter().map(Frame::sse).map(|bytes| bytes.len()).sum::<usize>()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(core, commits, folding, prompts, frames);
criterion_main!(core);
