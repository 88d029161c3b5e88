//! An agent with a history, made by the server's own host with a model that answers at once.

use std::{path::Path, sync::Arc};

use retold::wire::{Call, CreateAgentRequest, Defaults, Found, LettaStreamingRequest};
use retold_actors::{Host, Options};
use retold_events::{
    AgentId, NewEvent, RunId, Seq, StreamId, Timestamp,
    run::Usage,
    store::{Append, Commit, EventStore, MemoryStore, SledOptions, SledStore},
};
use retold_models::{
    Catalog, Timeouts,
    testing::{Say, ScriptedModel, model_info},
};
use retold_snapshots::row::{RunRow, RunStatus};
use serde_json::{from_value, json};
use uuid::Uuid;

const MODEL: &str = "bench/one";

/// Writes an agent with at least so many events into `dir`.
pub(crate) fn written(dir: &Path, events: u64) -> AgentId {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = SledStore::open(dir, SledOptions::default()).expect("a store");
        let store: Arc<dyn EventStore> = Arc::new(store);
        let catalog = Arc::new(Catalog::new(Vec::new(), Timeouts::default()));
        let model = ScriptedModel::from_fn(|_| Say::answer("Forty-two, as ever."));
        let info = model_info(MODEL);
        catalog.insert(MODEL, Arc::new(model), info.clone());
        let host =
            Host::open(Arc::clone(&store), catalog, Options::default()).await.expect("a host");
        let asked: CreateAgentRequest =
            from_value(json!({ "model": MODEL, "initial_message_sequence": [] }))
                .expect("a request");
        let found = Found { model: Some(info), ..Found::default() };
        let new = asked.into_new_agent(&Defaults::default(), &found).expect("an agent");
        let agent = host.create_agent(new).await.expect("it is made").state.id;
        while store.stream_head(StreamId::Agent(agent)).expect("it is read") < Seq(events) {
            let asked: LettaStreamingRequest =
                from_value(json!({ "input": "What is the answer?" })).expect("a request");
            let send = asked.into_send(agent, Call::Blocking).expect("a message");
            let run = host.send(agent, send).await.expect("it is accepted").run.id;
            host.run_end(run).await.expect("it ends");
        }
        host.close().await;
        agent
    })
}

/// The events of `agent` alone, without the states saved on the way.
pub(crate) fn without_saved_states(store: &dyn EventStore, agent: AgentId) -> MemoryStore {
    let stream = StreamId::Agent(agent);
    let records = store.read_stream(stream, Seq(1), usize::MAX).expect("it is read");
    let events = records.into_iter().map(|record| NewEvent {
        id: record.id,
        causation: record.causation,
        run: record.run,
        at: record.at,
        encoded: record.encoded,
    });
    let appends = vec![Append { stream, expected: Seq(0), events: events.collect() }];
    let bare = MemoryStore::new();
    let answers = bare.append(&[Commit { appends, ..Commit::default() }]).expect("it is written");
    assert!(answers.iter().all(Result::is_ok));
    bare
}

/// A run under way, streamed token by token.
pub(crate) fn run() -> RunRow {
    let agent = AgentId::from_uuid(Uuid::from_u128(1));
    let asked = json!({ "input": "hello", "streaming": true, "stream_tokens": true });
    let asked: LettaStreamingRequest = from_value(asked).expect("a request");
    let send = asked.into_send(agent, Call::Streaming).expect("a message");
    RunRow {
        id: RunId::from_uuid(Uuid::from_u128(9)),
        agent,
        status: RunStatus::Running,
        request: send.request,
        created_at: Timestamp::from_micros(0),
        completed_at: None,
        stop_reason: None,
        error: None,
        interrupted: false,
        usage: Usage::default(),
        steps: 1,
        context_tokens: 0,
        ttft_ns: None,
        total_ns: None,
        messages: None,
        callback: None,
        tools_called: Vec::new(),
        asked_by: None,
    }
}
