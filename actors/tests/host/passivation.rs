//! Sleep: agents leave memory and come back as they were, under whatever load.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use retold_actors::Options;
use retold_events::{
    AgentId, Role, Seq, StreamId,
    store::{EventStore, MemoryStore},
};
use retold_models::testing::{Say, ScriptedModel};

use crate::{
    audit::audit,
    watched::{Barrier, Read, Watched},
    world::{World, in_time, settle},
};

fn echo() -> ScriptedModel {
    ScriptedModel::from_fn(|prompt| Say::answer(&format!("re: {}", prompt.last_text())))
}

fn tiny() -> Options {
    Options { awake_bytes: 0, ..Options::default() }
}

/// How often each place of each agent's stream was read from.
type Loads = Arc<Mutex<BTreeMap<(AgentId, Seq), u32>>>;

/// Counts them, and lets each wait at the barrier.
fn count_loads(store: &Watched, barrier: Barrier) -> Loads {
    let loads = Loads::default();
    let counted = Arc::clone(&loads);
    store.on_read(move |read| {
        if let Read::Stream(StreamId::Agent(agent), from) = read {
            *counted.lock().expect("no reader panics").entry((agent, from)).or_default() += 1;
            barrier.pass();
        }
        Ok(())
    });
    loads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_agents_sleep_and_wake_and_no_answer_is_lost_or_doubled() {
    const AGENTS: usize = 24;
    const MESSAGES: usize = 6;
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
    let world = Arc::new(World::over(Arc::clone(&store), echo(), tiny()).await);
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        agents.push(world.agent().await);
    }
    let sweeper = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            loop {
                world.host.make_room();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut talks = Vec::new();
    for &agent in &agents {
        let world = Arc::clone(&world);
        talks.push(tokio::spawn(async move {
            for number in 0..MESSAGES {
                let run = world.send(agent, &number.to_string()).await;
                if number % 2 == 0 {
                    world.host.run_end(run).await.unwrap();
                } else {
                    world.host.agent(agent).await.unwrap();
                }
            }
        }));
    }
    for talk in talks {
        in_time(talk).await.unwrap();
    }
    in_time(async {
        while world.host.count_awake() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    sweeper.abort();
    let expected: Vec<(Role, String)> = (0..MESSAGES)
        .flat_map(|number| {
            [(Role::User, number.to_string()), (Role::Assistant, format!("re: {number}"))]
        })
        .collect();
    for agent in agents {
        assert_eq!(world.said(agent).await, expected);
    }
    audit(&*store);
}

#[tokio::test]
async fn however_many_ask_for_a_sleeping_agent_its_history_is_folded_once() {
    let store = Watched::new(Arc::new(MemoryStore::new()));
    let world = Arc::new(World::over(Arc::clone(&store) as _, echo(), tiny()).await);
    let agent = world.agent().await;
    world.host.run_end(world.send(agent, "first").await).await.unwrap();
    world.sleep(0).await;
    let (barrier, opener) = Barrier::closed();
    let loads = count_loads(&store, barrier.clone());
    let asking: Vec<_> = (0..20)
        .map(|number| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.send(agent, &number.to_string()).await })
        })
        .collect();
    in_time(barrier.reached()).await;
    settle().await;
    drop(opener);
    for asked in asking {
        let run = in_time(asked).await.unwrap();
        in_time(world.host.run_end(run)).await.unwrap();
    }
    for (&(_, from), &count) in &*loads.lock().unwrap() {
        assert_eq!(count, 1, "read from {from:?} on {count} times");
    }
    assert!(!loads.lock().unwrap().is_empty(), "it was asleep");
    assert_eq!(world.said(agent).await.len(), 2 * 21);
}

#[tokio::test]
async fn an_agent_with_something_under_way_stays_awake() {
    let model = ScriptedModel::new([vec![Say::text("half"), Say::Hang]]);
    let world = World::over(Arc::new(MemoryStore::new()), model, tiny()).await;
    let agent = world.agent().await;
    world.stream(agent, "go").await;
    world.model.called(1).await;
    settle().await;
    assert_eq!((world.host.make_room(), world.host.count_awake()), (0, 1));
    world.host.cancel(agent, None).await.unwrap();
    world.sleep(0).await;
}

#[tokio::test]
async fn subscribers_keep_what_is_theirs_while_the_agent_sleeps() {
    let world = World::over(Arc::new(MemoryStore::new()), echo(), tiny()).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "one two three").await;
    let mut early = world.host.follow(run, 0);
    let seen = in_time(world.items(run, 0)).await;
    world.sleep(0).await;
    let mut items = Vec::new();
    while let Some(more) = in_time(early.next()).await.unwrap() {
        items.extend(more.iter().cloned());
    }
    assert_eq!(items, seen);
    assert_eq!(in_time(world.items(run, 0)).await, seen, "and who comes while it sleeps");
    assert_eq!(world.host.count_awake(), 0, "reading wakes nobody");
}

#[tokio::test]
async fn a_request_whose_caller_left_still_keeps_the_agent_awake() {
    // The agent is busy with loading its blocks when its only caller gives up.
    let memory = Arc::new(MemoryStore::new());
    let first = World::over(Arc::clone(&memory) as _, echo(), tiny()).await;
    let agent = first.agent().await;
    first.sleep(0).await;
    let store = Watched::new(memory);
    let world = Arc::new(World::over(Arc::clone(&store) as _, echo(), tiny()).await);
    let (barrier, opener) = Barrier::closed();
    let held = barrier.clone();
    store.on_read(move |read| {
        if matches!(read, Read::Stream(StreamId::Block(_), _)) {
            held.pass();
        }
        Ok(())
    });
    let caller = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.send(agent, "are you there?").await }
    });
    in_time(barrier.reached()).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(world.host.make_room(), 0, "it has a request to answer");
    drop(opener);
    in_time(async {
        while world.said(agent).await.len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let next = world.send(agent, "and now?").await;
    in_time(world.host.run_end(next)).await.unwrap();
    let texts: Vec<String> = world.said(agent).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["are you there?", "re: are you there?", "and now?", "re: and now?"]);
}
