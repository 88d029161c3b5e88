//! Where an agent is found: once, again after it failed, and not when nothing will come of it any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use retold_actors::{
    Options, Refusal,
    agent::{Change, Patch},
    run::{Send, Sent},
};
use retold_events::{AgentId, RunId, StreamId, run::EndStatus, store::MemoryStore};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;

use crate::{
    audit::audit,
    watched::{Read, Watched, failed},
    world::{Disk, World, crash, in_time, message, request, settle},
};

fn fine() -> ScriptedModel {
    ScriptedModel::from_fn(|_| Say::answer("fine"))
}

/// Lets the agent's actor fail, at the place in its history where it stands.
async fn fail(world: &World, agent: AgentId) -> Refusal {
    let change = Change::Configure(Box::new(|_| panic!("a test said so")));
    in_time(world.host.change_agent(agent, change)).await.expect_err("it fails")
}

/// Asks for a change whose commit the log refuses.
async fn diverge(world: &World, agent: AgentId) -> Refusal {
    let change = Change::Configure(Box::new(|state| {
        let mut config = retold_events::agent::Config::clone(&state.config);
        config.tags = vec!["x".repeat(2000)];
        Ok(Patch { config: Some(config), ..Patch::default() })
    }));
    in_time(world.host.change_agent(agent, change)).await.expect_err("it is refused")
}

async fn works(world: &World, agent: AgentId) {
    let run = in_time(world.host.run_end(world.send(agent, "Hi").await)).await.expect("it ends");
    assert_eq!(run.status, RunStatus::Ended(EndStatus::Completed));
}

/// The same request, every time.
async fn send_again(world: &World, agent: AgentId) -> Result<Sent, Refusal> {
    let mut request = request(false);
    request.fingerprint = Some([7; 16]);
    in_time(world.host.send(agent, Send::new(vec![message("once")], request))).await
}

/// A world whose agent has as many runs, the first of them under way, and what is left of it after a crash.
async fn left_open(disk: &Disk, runs: usize) -> (AgentId, Vec<RunId>) {
    let (store, faults) = disk.open();
    let model = ScriptedModel::new([vec![Say::Hang]]);
    let world = World::over(store, model, Options::default()).await;
    let agent = world.agent().await;
    let mut open = Vec::new();
    for _ in 0..runs {
        open.push(world.send(agent, "Hi").await);
    }
    world.model.called(1).await;
    crash(world.host, &faults).await;
    (agent, open)
}

#[tokio::test]
async fn an_agent_that_just_failed_answers_whoever_asks_next() {
    let world = World::new(fine()).await;
    let agent = world.agent().await;
    for _ in 0..2 {
        let refusal = fail(&world, agent).await;
        assert!(matches!(refusal, Refusal::Storage(_)), "{refusal:?}");
        // Nobody else has run since, so its supervisor has not heard of it either.
        in_time(world.host.recompile(agent, false, true)).await.expect("it is woken anew");
    }
    settle().await;
    assert_eq!(world.host.count_awake(), 1);
    works(&world, agent).await;
    audit(&*world.store);
}

#[tokio::test]
async fn failures_are_forgotten_once_an_agent_was_put_to_sleep_or_went_on() {
    let options = Options { awake_bytes: 0, ..Options::default() };
    let world = World::over(Arc::new(MemoryStore::new()), fine(), options).await;
    let agent = world.agent().await;
    for _ in 0..2 {
        fail(&world, agent).await;
        fail(&world, agent).await;
        in_time(world.host.recompile(agent, false, true)).await.expect("two are not enough");
        in_time(world.sleep(0)).await;
    }
    fail(&world, agent).await;
    fail(&world, agent).await;
    works(&world, agent).await;
    fail(&world, agent).await;
    works(&world, agent).await;
    for _ in 0..3 {
        fail(&world, agent).await;
        settle().await;
    }
    let refusal = world.try_send(agent, "Hi", false).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Quarantined { .. }), "{refusal:?}");
}

#[tokio::test]
async fn an_agent_whose_recovery_failed_once_is_recovered_without_being_asked() {
    let disk = Disk::default();
    let (agent, open) = left_open(&disk, 1).await;
    let (store, _faults) = disk.open();
    let store = Watched::new(store);
    let failures = AtomicU32::new(1);
    store.on_read(move |read| match read {
        Read::Outputs(_) if failures.swap(0, Ordering::SeqCst) == 1 => failed(),
        Read::Outputs(_) | Read::Stream(..) => Ok(()),
    });
    let world = World::over(store, fine(), Options::default()).await;
    assert_eq!(world.host.count_awake(), 0, "it could not be recovered at once");
    in_time(async {
        while world.host.run(open[0]).await.unwrap().status
            != RunStatus::Ended(EndStatus::Completed)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    works(&world, agent).await;
}

#[tokio::test]
async fn whoever_follows_a_run_is_told_when_its_agent_is_quarantined() {
    let disk = Disk::default();
    let (agent, open) = left_open(&disk, 2).await;
    let (store, _faults) = disk.open();
    let store = Watched::new(store);
    let hangs = ScriptedModel::new([vec![Say::Hang]]);
    let world = Arc::new(World::over(Arc::clone(&store) as _, hangs, Options::default()).await);
    world.model.called(1).await;
    let followed: Vec<_> = open
        .iter()
        .map(|&run| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.host.run_end(run).await })
        })
        .collect();
    settle().await;
    assert!(followed.iter().all(|follow| !follow.is_finished()));
    store.on_read(|read| if matches!(read, Read::Outputs(_)) { failed() } else { Ok(()) });
    fail(&world, agent).await;
    for follow in followed {
        let refusal = in_time(follow).await.unwrap().unwrap_err();
        assert!(refusal.to_string().contains("quarantined"), "{refusal}");
    }
    let refusal = world.try_send(agent, "Hi", false).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Quarantined { .. }), "{refusal:?}");
    assert_eq!(world.host.count_awake(), 0);
}

#[tokio::test]
async fn an_agent_whose_commits_are_refused_is_never_quarantined_and_goes_on_as_it_was() {
    let disk = Disk::default();
    let (store, _faults) = disk.open();
    let model = ScriptedModel::new([vec![Say::Hang], Say::answer("after all")]);
    let world = World::over(store, model, Options::default()).await;
    let agent = world.agent().await;
    for _ in 0..5 {
        let refusal = diverge(&world, agent).await;
        assert!(matches!(refusal, Refusal::Storage(_)), "{refusal:?}");
        settle().await;
    }
    let run = world.send(agent, "Hi").await;
    world.model.called(1).await;
    diverge(&world, agent).await;
    let row = in_time(world.host.run_end(run)).await.unwrap();
    assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed), "its open run was recovered");
    let view = world.host.agent(agent).await.unwrap();
    assert!(view.state.config.tags.is_empty(), "nothing of what was refused is there");
    world.model.push(Say::answer("next"));
    works(&world, agent).await;
    audit(disk.contents());
}

#[tokio::test]
async fn an_agent_whose_recovery_is_refused_each_time_is_quarantined() {
    let disk = Disk::default();
    let (agent, open) = left_open(&disk, 1).await;
    let (store, _faults) = disk.open();
    let store = Watched::new(store);
    store.refuse(StreamId::Agent(agent));
    let world = in_time(World::over(store, fine(), Options::default())).await;
    in_time(async {
        // Nobody asks for it: this is looked up and wakes nothing.
        while world.host.count_awake() > 0 {
            settle().await;
        }
    })
    .await;
    let refusal = world.try_send(agent, "Hi", false).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Quarantined { .. }), "{refusal:?}");
    assert_eq!(world.host.run(open[0]).await.unwrap().status, RunStatus::Running);
}

#[tokio::test]
async fn the_same_request_finds_its_run_where_nothing_new_is_accepted() {
    for bounds in [
        Options { queue_bound: 1, ..Options::default() },
        Options { max_open_runs: 1, ..Options::default() },
    ] {
        let hangs = ScriptedModel::new([vec![Say::Hang]]);
        let world = World::over(Arc::new(MemoryStore::new()), hangs, bounds).await;
        let agent = world.agent().await;
        let first = send_again(&world, agent).await.unwrap();
        world.try_send(agent, "another", false).await.unwrap_err();
        let again = send_again(&world, agent).await.unwrap();
        assert!(!first.attached && again.attached);
        assert_eq!(first.run.id, again.run.id);
        let host = world.host.clone();
        let draining = tokio::spawn(async move { host.drain(Duration::from_secs(10)).await });
        settle().await;
        let refusal = world.try_send(agent, "another", false).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Draining), "{refusal:?}");
        let again = send_again(&world, agent).await.unwrap();
        assert_eq!((again.attached, again.run.id), (true, first.run.id));
        in_time(world.host.cancel(agent, None)).await.unwrap();
        in_time(draining).await.unwrap();
    }
}

#[tokio::test]
async fn runs_that_were_open_before_a_restart_count_towards_the_bounds() {
    for (queue_bound, max_open_runs) in [(3, 10), (10, 3), (1, 1)] {
        let disk = Disk::default();
        let (agent, open) = left_open(&disk, 3).await;
        let (store, _faults) = disk.open();
        let hangs = ScriptedModel::from_fn(|_| vec![Say::Hang]);
        let options = Options { queue_bound, max_open_runs, ..Options::default() };
        let world = World::over(store, hangs, options).await;
        let refusal = world.try_send(agent, "one more", false).await.unwrap_err();
        if max_open_runs == 10 {
            assert!(matches!(refusal, Refusal::QueueFull { open: 3, .. }), "{refusal:?}");
        } else {
            assert!(matches!(refusal, Refusal::Overloaded { .. }), "{refusal:?}");
        }
        let ended = in_time(world.host.cancel(agent, None)).await.unwrap();
        assert_eq!(ended.len(), open.len(), "all of them were recovered all the same");
        world.try_send(agent, "one more", false).await.expect("there is room again");
    }
}
