//! A run told by its log alone is the run that was, whatever kind it was.

use std::sync::Arc;

use retold_actors::{
    AsOf, Host, Options, Refusal,
    agent::{Change, Patch},
    replay::{Replay, Status},
    run::Send,
};
use retold_events::{
    AgentId, RunId, StreamId,
    agent::AgentType,
    store::{EventStore, MemoryStore},
};
use retold_models::{
    Catalog, Model as _, ModelErrorKind, ProviderConfig, ProviderKind, Secret, Timeouts,
    testing::{Reply, Say, ScriptedModel, ScriptedUpstream, SeenPrompt},
};
use retold_snapshots::query::{self, Order, Page};
use tokio::sync::Notify;

use crate::{
    audit::audit,
    world::{World, message, new_agent, request, set},
};

/// The prompts of a run's steps, rebuilt from the log, as a model sees them.
async fn prompts(world: &World, run: RunId) -> Vec<SeenPrompt> {
    let steps = query::steps_of_run(&*world.store, run, &Page::first(100, Order::Asc))
        .expect("the rows are readable");
    let reader = ScriptedModel::new([]);
    for (step, _) in steps {
        let traced = world.host.trace_step(step.id).await;
        let traced = traced.expect("the log is readable").expect("the run is listed");
        traced.step.with_prompt(|prompt| drop(reader.stream(prompt)));
    }
    reader.prompts()
}

async fn replayed(world: &World, run: RunId) -> Replay {
    world.host.replay(run).await.expect("the log is readable")
}

/// Sends, and waits for the end.
pub(crate) async fn run(world: &World, agent: AgentId, text: &str) -> RunId {
    let run = world.send(agent, text).await;
    world.host.run_end(run).await.expect("the run ends");
    run
}

pub(crate) fn edit(id: &str, text: &str) -> Vec<Say> {
    Say::call(
        id,
        "memory_insert",
        &serde_json::json!({ "label": "human", "new_string": text }).to_string(),
    )
}

#[tokio::test]
async fn every_prompt_of_a_run_with_tools_and_edits_is_rebuilt_as_it_was_sent() {
    let scripts = [
        edit("a", "Likes figs."),
        Say::call("b", "conversation_search", r#"{"query":"Hi"}"#),
        edit("c", "two"),
        Say::answer("Done."),
    ];
    let world = World::new(ScriptedModel::new(scripts)).await;
    let agent = world.agent().await;
    let run = run(&world, agent, "Hi").await;
    let replay = replayed(&world, run).await;
    assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    assert_eq!(replay.steps.len(), 4);
    assert!(replay.steps.iter().all(|step| step.matches() == Some(true)));
    assert_eq!(replay.steps.iter().map(|step| step.messages).collect::<Vec<_>>(), [1, 3, 5, 7]);
    assert_eq!(prompts(&world, run).await, world.model.prompts());
    audit(&*world.store);
}

#[tokio::test]
async fn agents_of_the_older_types_are_rebuilt_with_the_tools_their_rules_allowed() {
    for agent_type in [AgentType::MemgptV2, AgentType::Memgpt] {
        let world = World::new(ScriptedModel::new([
            Say::call("a", "conversation_search", r#"{"query":"Hi","request_heartbeat":true}"#),
            Say::call("b", "send_message", r#"{"message":"Hello."}"#),
        ]))
        .await;
        let agent = world.agent_of(agent_type).await.state.id;
        let run = world.stream(agent, "Hi").await;
        world.host.run_end(run).await.unwrap();
        assert_eq!(replayed(&world, run).await.status, Status::Identical);
        assert_eq!(prompts(&world, run).await, world.model.prompts());
        audit(&*world.store);
    }
}

#[tokio::test]
async fn what_a_request_overrides_and_what_a_run_clears_is_rebuilt() {
    let world = World::new(ScriptedModel::from_fn(|prompt| Say::answer(&prompt.system))).await;
    let mut forgetful = new_agent(AgentType::LettaV1);
    forgetful.config.message_buffer_autoclear = true;
    forgetful.config.model.temperature = Some(0.5);
    let agent = world.host.create_agent(forgetful).await.unwrap().state.id;
    run(&world, agent, "first").await;
    let request = retold_events::run::Request {
        override_system: Some("You are a stone.".to_owned()),
        override_model: Some("scripted/one".to_owned()),
        ..request(true)
    };
    let send = Send::new(vec![message("Who are you?"), message("Say!")], request);
    let sent = world.host.send(agent, send).await.unwrap().run.id;
    world.host.run_end(sent).await.unwrap();
    let replay = replayed(&world, sent).await;
    assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    let seen = prompts(&world, sent).await;
    assert_eq!(seen, world.model.prompts()[1..]);
    assert_eq!((seen[0].system.as_str(), seen[0].messages.len()), ("You are a stone.", 2));
    audit(&*world.store);
}

#[tokio::test]
async fn a_block_that_another_agent_edits_meanwhile_changes_no_prompt_of_the_run() {
    let edited = Arc::new(Notify::new());
    let mut first = edit("a", "Likes figs.");
    first.insert(0, Say::Until(Arc::clone(&edited)));
    let world =
        World::new(ScriptedModel::new([first, Say::answer("Done."), Say::answer("Next.")])).await;
    let agent = world.agent().await;
    let block = world.host.agent(agent).await.unwrap().blocks[1].id;
    let under_way = world.send(agent, "Hi").await;
    world.model.called(1).await;
    // The edit rewrites the system message in mid-run, and the run goes on with the one it began with.
    world.host.edit_block(block, set("A pirate.")).await.unwrap();
    world
        .host
        .change_agent(
            agent,
            Change::DetachTool(world.host.agent(agent).await.unwrap().state.tools[0]),
        )
        .await
        .unwrap();
    edited.notify_one();
    world.host.run_end(under_way).await.unwrap();
    let next = run(&world, agent, "And now?").await;
    for run in [under_way, next] {
        let replay = replayed(&world, run).await;
        assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    }
    let seen = world.model.prompts();
    assert!(!seen[1].system.contains("pirate") && seen[2].system.contains("pirate"));
    assert_ne!(seen[0].tools, seen[1].tools, "the tools are those of the step");
    assert_eq!([prompts(&world, under_way).await, prompts(&world, next).await].concat(), seen);
    audit(&*world.store);
}

#[tokio::test]
async fn a_compaction_in_mid_run_is_where_the_prompt_begins_anew() {
    let too_long = || Say::failure(ModelErrorKind::ContextWindowExceeded, "too long");
    let world = World::new(ScriptedModel::new([
        Say::answer("Hello."),
        edit("a", "Likes figs."),
        too_long(),
        Say::answer("They said hello."),
        Say::answer("Done."),
    ]))
    .await;
    let agent = world.agent().await;
    run(&world, agent, "Hi").await;
    let long = run(&world, agent, "Remember one.").await;
    let replay = replayed(&world, long).await;
    assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    let seen = world.model.prompts();
    assert!(
        !seen[2].system.contains("Likes figs") && seen[4].system.contains("Likes figs"),
        "the compaction brings the edited memory: {}",
        seen[4].system
    );
    assert_eq!(prompts(&world, long).await, [seen[1].clone(), seen[4].clone()]);
    audit(&*world.store);
}

#[tokio::test]
async fn a_compaction_that_comes_too_late_is_where_the_turn_looks_again() {
    let reset = Arc::new(Notify::new());
    let mut summary = Say::answer("They said hello.");
    summary.insert(0, Say::Until(Arc::clone(&reset)));
    let world = World::new(ScriptedModel::new([
        Say::answer("Hello."),
        Say::failure(ModelErrorKind::ContextWindowExceeded, "too long"),
        summary,
        Say::answer("Done."),
    ]))
    .await;
    let agent = world.agent().await;
    run(&world, agent, "Hi").await;
    let late = world.send(agent, "Go on.").await;
    world.model.called(3).await;
    world.host.reset_messages(agent, false).await.unwrap();
    reset.notify_one();
    world.host.run_end(late).await.unwrap();
    let replay = replayed(&world, late).await;
    assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    let seen = world.model.prompts();
    assert_eq!(seen[3].messages.len(), 1, "the reset left nothing but the input");
    assert_eq!(prompts(&world, late).await, seen[3..]);
    audit(&*world.store);
}

#[tokio::test]
async fn failed_cancelled_and_waiting_runs_replay_without_a_hash_to_compare() {
    let world = World::new(ScriptedModel::new([
        Say::failure(ModelErrorKind::Server, "down"),
        vec![Say::text("Once "), Say::Hang],
    ]))
    .await;
    let agent = world.agent().await;
    let failed = run(&world, agent, "Hi").await;
    let cancelled = world.stream(agent, "Tell").await;
    let waiting = world.send(agent, "More").await;
    world.model.called(2).await;
    let open = replayed(&world, cancelled).await;
    assert_eq!((open.status, open.steps.len()), (Status::Incomplete, 0));
    assert_eq!(replayed(&world, waiting).await.status, Status::Incomplete);
    world.host.cancel(agent, None).await.unwrap();
    for (run, steps) in [(failed, 1), (cancelled, 1), (waiting, 0)] {
        let replay = replayed(&world, run).await;
        assert_eq!((replay.status, replay.steps.len()), (Status::Identical, steps), "{replay:#?}");
        assert!(replay.steps.iter().all(|step| step.matches().is_none()));
    }
    assert_eq!(
        [prompts(&world, failed).await, prompts(&world, cancelled).await].concat(),
        world.model.prompts()
    );
    audit(&*world.store);
}

#[tokio::test]
async fn a_run_that_a_crash_cut_is_rebuilt_with_both_its_attempts() {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
    let model = ScriptedModel::new([edit("a", "Likes figs."), vec![Say::Hang]]);
    let first = World::over(Arc::clone(&store), model, Options::default()).await;
    let agent = first.agent().await;
    let run = first.send(agent, "Hi").await;
    first.model.called(2).await;
    let seen = first.model.prompts();
    // Its turn hangs for ever, so it writes nothing more.
    std::mem::forget(first);
    let world =
        World::over(store, ScriptedModel::new([Say::answer("Done.")]), Options::default()).await;
    world.host.run_end(run).await.unwrap();
    let replay = replayed(&world, run).await;
    assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    let steps: Vec<_> = replay.steps.iter().map(|step| (step.attempt, step.matches())).collect();
    assert_eq!(steps, [(1, Some(true)), (1, None), (2, Some(true))]);
    let again = world.model.prompts();
    assert!(again[0].system.contains("Likes figs") && !seen[1].system.contains("Likes figs"));
    assert_eq!(prompts(&world, run).await, [seen, again].concat());
    audit(&*world.store);
}

#[tokio::test]
async fn a_saved_state_on_the_way_changes_nothing() {
    let world = World::new(ScriptedModel::from_fn(|prompt| {
        Say::answer(&prompt.messages.len().to_string())
    }))
    .await;
    let agent = world.agent().await;
    let mut runs = Vec::new();
    for round in 0..130 {
        runs.push(run(&world, agent, &round.to_string()).await);
    }
    let head = world.store.stream_head(StreamId::Agent(agent)).unwrap();
    assert!(world.store.snapshot(StreamId::Agent(agent), head).unwrap().is_some());
    for run in [runs[0], runs[64], runs[129]] {
        let replay = replayed(&world, run).await;
        assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    }
}

#[tokio::test]
async fn a_run_that_is_not_or_was_removed_is_not_found() {
    let world = World::new(ScriptedModel::new([Say::answer("Hello.")])).await;
    let agent = world.agent().await;
    let run = run(&world, agent, "Hi").await;
    world.host.delete_run(run).await.unwrap();
    let refused = world.host.replay(run).await.unwrap_err();
    assert!(matches!(refused, Refusal::NotFound { what: "Run", .. }), "{refused:?}");
    audit(&*world.store);
}

#[tokio::test]
async fn the_request_of_a_trace_is_byte_for_byte_what_its_provider_got() {
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"conversation_search","arguments":"{}"}}]}}]}"#;
    let called = Reply::stream(&[
        call,
        r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ]);
    let text = r#"{"choices":[{"delta":{"content":"Done."}}]}"#;
    let said =
        Reply::stream(&[text, r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, "[DONE]"]);
    let upstream = ScriptedUpstream::start([]).await.unwrap();
    upstream.route("/v1/models", Reply::json(200, r#"{"data":[{"id":"m"}]}"#));
    upstream.push(called);
    upstream.push(said);
    let key = "sk-0123456789-secret";
    let provider =
        ProviderConfig::new(ProviderKind::Vllm, upstream.base_url(), Some(Secret::new(key)));
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
    let catalog = Arc::new(Catalog::new(vec![provider], Timeouts::default()));
    let host = Host::open(Arc::clone(&store), catalog, Options::default()).await.unwrap();
    let mut new = new_agent(AgentType::LettaV1);
    new.config.model.handle = "vllm/m".to_owned();
    let agent = host.create_agent(new).await.unwrap().state.id;
    let asked = format!("Hi, my key is {key}");
    let send = Send::new(vec![message(&asked)], request(false));
    let run = host.send(agent, send).await.unwrap().run.id;
    host.run_end(run).await.unwrap();
    let sent: Vec<_> =
        upstream.requests().into_iter().filter(|sent| sent.method == "POST").collect();
    assert_eq!(sent.len(), 2);
    let steps = query::steps_of_run(&*store, run, &Page::first(100, Order::Asc)).unwrap();
    for (sent, (step, _)) in sent.iter().zip(&steps) {
        let traced = host.trace_step(step.id).await.unwrap().unwrap();
        let got = String::from_utf8(sent.body.to_vec()).unwrap().replace(key, "[key]");
        assert_eq!((traced.request.get(), traced.note), (got.as_str(), None));
    }
    assert_eq!(
        upstream.requests().iter().filter(|sent| sent.method == "POST").count(),
        2,
        "a trace calls nobody"
    );

    // Without the provider the request is told all the same.
    let bare = Arc::new(Catalog::new(Vec::new(), Timeouts::default()));
    let host = Host::open(store, bare, Options::default()).await.unwrap();
    let traced = host.trace_step(steps[0].0.id).await.unwrap().unwrap();
    assert!(traced.note.unwrap().contains("no longer configured"));
    let request: serde_json::Value = serde_json::from_str(traced.request.get()).unwrap();
    assert_eq!(
        (&request["model"], &request["messages"][0]["role"]),
        (&"vllm/m".into(), &"user".into())
    );
}

#[tokio::test]
async fn a_fork_in_mid_run_goes_on_and_replays_by_its_own_log() {
    let world = World::new(ScriptedModel::from_fn(|prompt| match prompt.messages.len() {
        1 => edit("a", "Likes figs."),
        _ => Say::answer("Done."),
    }))
    .await;
    let parent = world.agent().await;
    let original = run(&world, parent, "Hi").await;
    let steps = replayed(&world, original).await.steps;
    let middle = AsOf::Position(steps[0].place.position);
    let fork = world.host.fork(parent, Some(middle), None).await.unwrap().state.id;
    let own = run(&world, fork, "And you?").await;
    for run in [original, own] {
        let replay = replayed(&world, run).await;
        assert_eq!(replay.status, Status::Identical, "{replay:#?}");
    }
    assert_eq!(prompts(&world, own).await, world.model.prompts()[2..]);
    audit(&*world.store);
}

#[tokio::test]
async fn a_client_may_change_everything_about_an_agent_and_its_old_runs_replay() {
    let world = World::new(ScriptedModel::from_fn(|_| Say::answer("Yes."))).await;
    let agent = world.agent().await;
    let old = run(&world, agent, "Hi").await;
    let system = |state: &retold_snapshots::agent::State| {
        let config = retold_events::agent::Config {
            system: "Another.".to_owned(),
            ..retold_events::agent::Config::clone(&state.config)
        };
        Ok(Patch { config: Some(config), tools: Some(Vec::new()), ..Patch::default() })
    };
    world.host.change_agent(agent, Change::Configure(Box::new(system))).await.unwrap();
    let new = run(&world, agent, "Again").await;
    world.host.reset_messages(agent, true).await.unwrap();
    world.host.delete_agent(agent).await.unwrap();
    for run in [old, new] {
        assert_eq!(replayed(&world, run).await.status, Status::Identical);
    }
    assert_eq!(replayed(&world, new).await.steps[0].tools, 0);
    audit(&*world.store);
}
