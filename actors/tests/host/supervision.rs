//! Failures stay where they are: of one agent, of one read, of one moment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use retold_actors::{Options, Refusal};
use retold_events::{
    AgentId, Encoded, EventType, NewEvent, Role, RunId, Seq, StreamId, Timestamp,
    codec::Event as _,
    run::EndStatus,
    store::{Append, Commit, EventStore, MemoryStore},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;
use tokio::sync::Notify;

use crate::{
    audit::audit,
    watched::{Barrier, Read, Watched, failed},
    world::{Disk, World, crash, in_time, settle},
};

const INSERT: &str = r#"{"label":"human","new_string":"Name: Ada"}"#;

fn fine() -> ScriptedModel {
    ScriptedModel::from_fn(|_| Say::answer("fine"))
}

/// Writes an event of a type that nobody knows into an agent's stream, and gives its place.
fn poison(store: &dyn EventStore, agent: AgentId) -> u64 {
    let encoded = Encoded {
        event_type: EventType(60_000),
        version: 1,
        payload: bytes::Bytes::from_static(b"from another time"),
    };
    write(store, agent, encoded)
}

/// Writes an event behind everybody's back, and gives its place.
fn write(store: &dyn EventStore, agent: AgentId, encoded: Encoded) -> u64 {
    let stream = StreamId::Agent(agent);
    let expected = store.stream_head(stream).expect("the store is readable");
    let event = NewEvent {
        id: ulid::Ulid::nil(),
        causation: ulid::Ulid::nil(),
        run: None,
        at: Timestamp::from_micros(1),
        encoded,
    };
    let append = Append { stream, expected, events: vec![event] };
    let commit = Commit { appends: vec![append], ..Commit::default() };
    store.append(&[commit]).expect("the store is writable")[0].as_ref().expect("no conflict");
    expected.0 + 1
}

/// A world whose agent had one run that ended and one that hung when the server went down.
async fn left_hanging(disk: &Disk) -> (AgentId, RunId, RunId) {
    let (store, faults) = disk.open();
    let model = ScriptedModel::new([Say::answer("Hello."), vec![Say::Hang]]);
    let world = World::over(store, model, Options::default()).await;
    let agent = world.agent().await;
    let ended = world.send(agent, "Hi").await;
    world.host.run_end(ended).await.expect("the log is readable");
    let open = world.stream(agent, "I am Ada").await;
    world.model.called(2).await;
    crash(world.host, &faults).await;
    (agent, ended, open)
}

#[tokio::test]
async fn an_event_that_cannot_be_read_quarantines_its_agent_and_no_other() {
    let disk = Disk::default();
    let (poisoned, ended, open) = left_hanging(&disk).await;
    let place = poison(disk.contents(), poisoned);
    let (store, _faults) = disk.open();
    let world = in_time(World::over(store, fine(), Options::default())).await;
    let good = world.agent().await;
    for _ in 0..5 {
        let refusal = world.try_send(poisoned, "hello?", false).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Quarantined { .. }), "{refusal:?}");
        let named = format!("Seq({place})");
        assert!(refusal.to_string().contains(&named), "{refusal} names {named}");
    }
    assert_eq!(world.host.now().quarantined, 1, "it is counted once");
    let run = in_time(world.host.run_end(world.send(good, "Hi").await)).await.unwrap();
    assert_eq!(run.status, RunStatus::Ended(EndStatus::Completed));
    // What is in rows can be read all the same.
    let said = world.said(poisoned).await;
    assert_eq!(said, [(Role::User, "Hi".to_owned()), (Role::Assistant, "Hello.".to_owned())]);
    assert_eq!(world.host.run(ended).await.unwrap().steps, 1);
    assert_eq!(world.host.run(open).await.unwrap().status, RunStatus::Running);
    // And a list that names both still gives the one that can be given.
    let listed = world.host.agents(&[poisoned, good]).await.unwrap();
    assert_eq!(listed.iter().map(|view| view.state.id).collect::<Vec<_>>(), [good]);
}

#[tokio::test]
async fn a_history_that_cannot_be_read_now_can_be_read_later() {
    let disk = Disk::default();
    let (store, faults) = disk.open();
    let options = Options { awake_bytes: 0, ..Options::default() };
    let world = World::over(store, fine(), options).await;
    let (asleep, awake) = (world.agent().await, world.agent().await);
    let run = world.send(awake, "Hi").await;
    faults.fail_reads(true);
    for _ in 0..5 {
        let refusal = world.try_send(asleep, "hello?", false).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Storage(_)), "{refusal:?}");
    }
    faults.fail_reads(false);
    in_time(world.host.run_end(run)).await.unwrap();
    let run = in_time(world.host.run_end(world.send(asleep, "hello?").await)).await.unwrap();
    assert_eq!(run.status, RunStatus::Ended(EndStatus::Completed), "it was never quarantined");
}

#[tokio::test]
async fn an_agent_that_fails_three_times_at_one_place_is_quarantined_and_still_read() {
    let disk = Disk::default();
    let (agent, _, open) = left_hanging(&disk).await;
    let (store, _faults) = disk.open();
    let store = Watched::new(store);
    store.on_read(move |read| if read == Read::Outputs(open) { failed() } else { Ok(()) });
    let world = World::over(Arc::clone(&store) as _, fine(), Options::default()).await;
    let other = world.agent().await;
    let place = disk.contents().stream_head(StreamId::Agent(agent)).unwrap().0;
    let mut refusals = Vec::new();
    for _ in 0..3 {
        refusals.push(world.try_send(agent, "hello?", false).await.unwrap_err().to_string());
        // Others go on, and what they write moves the log but not the place of the failure.
        in_time(world.host.run_end(world.send(other, "Hi").await)).await.unwrap();
    }
    let named = format!("3 times after event {place}");
    assert!(refusals.iter().any(|refusal| refusal.contains(&named)), "{refusals:#?}");
    store.on_read(|_| Ok(()));
    let refusal = world.try_send(agent, "hello?", false).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Quarantined { .. }), "{refusal:?}");
    assert_eq!(world.host.now().quarantined, 1);
    assert_eq!(world.host.agent(agent).await.unwrap().state.id, agent, "it is read");
    assert_eq!(world.said(agent).await.len(), 2);
}

/// A second life in which the model answers the interrupted run with a memory edit once the gate lets it, and the
/// first reads of blocks fail: the agent's actor dies in mid-run.
async fn dying(disk: &Disk, failures: u32) -> (World, Arc<Watched>, Arc<Notify>) {
    let (store, _faults) = disk.open();
    let store = Watched::new(store);
    let left = AtomicU32::new(failures);
    store.on_read(move |read| {
        let fails = matches!(read, Read::Stream(StreamId::Block(_), _))
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if fails { failed() } else { Ok(()) }
    });
    let gate = Arc::new(Notify::new());
    let mut call = vec![Say::Until(Arc::clone(&gate))];
    call.extend(Say::call("c", "memory_insert", INSERT));
    let model = ScriptedModel::new([call, Say::answer("one"), Say::answer("two")]);
    let world = World::over(Arc::clone(&store) as _, model, Options::default()).await;
    (world, store, gate)
}

#[tokio::test]
async fn open_runs_of_an_agent_that_failed_are_ended_and_it_goes_on() {
    let disk = Disk::default();
    let (agent, _, open) = left_hanging(&disk).await;
    let (world, _store, gate) = dying(&disk, 1).await;
    world.model.called(1).await;
    let follow = in_time(async {
        let items = tokio::spawn({
            let mut follow = world.host.follow(open, 0);
            async move {
                let mut items = Vec::new();
                while let Some(more) = follow.next().await.unwrap() {
                    items.extend(more.iter().cloned());
                }
                items
            }
        });
        gate.notify_one();
        items.await.unwrap()
    })
    .await;
    assert!(!follow.is_empty(), "who followed it learns of its end");
    let row = world.host.run(open).await.unwrap();
    assert_eq!((row.status, row.interrupted), (RunStatus::Ended(EndStatus::Failed), true));
    let next = in_time(world.host.run_end(world.send(agent, "again").await)).await.unwrap();
    assert_eq!(next.status, RunStatus::Ended(EndStatus::Completed));
    audit(disk.contents());
}

#[tokio::test]
async fn an_agent_whose_recovery_fails_too_is_recovered_once_it_can_be() {
    let disk = Disk::default();
    let (_, _, open) = left_hanging(&disk).await;
    let (world, store, gate) = dying(&disk, 1).await;
    world.model.called(1).await;
    // From here on the whole disk is unreadable for a while.
    store.on_read(|_| failed());
    gate.notify_one();
    in_time(async {
        while world.host.count_awake() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    settle().await;
    store.on_read(|_| Ok(()));
    let row = in_time(async {
        loop {
            let row = world.host.run(open).await.unwrap();
            if matches!(row.status, RunStatus::Ended(_)) {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(row.interrupted, "nobody asked for the agent, and its run is closed all the same");
}

#[tokio::test]
async fn what_an_agent_queued_before_it_failed_is_known_to_its_successor() {
    let disk = Disk::default();
    let (agent, _, open) = left_hanging(&disk).await;
    let (store, _faults) = disk.open();
    let store = Watched::new(store);
    let loads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&loads);
    store.on_read(move |read| match read {
        Read::Stream(StreamId::Block(_), _) => failed(),
        Read::Stream(StreamId::Agent(_), Seq(1)) => {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        Read::Stream(StreamId::Agent(_) | StreamId::Tool(_) | StreamId::McpServer(_), _)
        | Read::Outputs(_) => Ok(()),
    });
    let gate = Arc::new(Notify::new());
    let mut call = vec![Say::Until(Arc::clone(&gate))];
    call.extend(Say::call("c", "memory_insert", INSERT));
    let model = ScriptedModel::new([call, Say::answer("one"), Say::answer("two")]);
    let world = Arc::new(World::over(Arc::clone(&store) as _, model, Options::default()).await);
    world.model.called(1).await;
    let ((being_written, write), (next, write_next)) = (Barrier::closed(), Barrier::closed());
    store.hold_appends([being_written.clone(), next]);
    let send = |text: &'static str| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.try_send(agent, text, false).await })
    };
    let first = send("first");
    in_time(being_written.reached()).await;
    // This waits behind what is being written, and goes on waiting while the agent fails.
    let second = send("second");
    settle().await;
    gate.notify_one();
    settle().await;
    drop(write);
    settle().await;
    drop(write_next);
    let mut sent = Vec::new();
    for sending in [first, second] {
        sent.push(in_time(sending).await.unwrap().expect("it was queued").run.id);
    }
    let row = in_time(world.host.run_end(open)).await.unwrap();
    assert_eq!(row.status, RunStatus::Ended(EndStatus::Failed));
    for run in sent {
        let row = in_time(world.host.run_end(run)).await.unwrap();
        assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2, "the successor did not have to start anew");
    audit(disk.contents());
}

#[tokio::test]
async fn a_commit_that_the_log_refuses_is_not_acknowledged_and_the_agent_starts_anew() {
    let disk = Disk::default();
    let (store, _faults) = disk.open();
    let world = World::over(store, fine(), Options::default()).await;
    let agent = world.agent().await;
    in_time(world.host.run_end(world.send(agent, "one").await)).await.unwrap();
    // Somebody else writes to its stream, which nobody may.
    let nobody = RunId::from_uuid(uuid::Uuid::from_u128(1));
    let event = retold_events::agent::Event::CallbackSent(retold_events::run::CallbackSent {
        run: nobody,
        status_code: None,
        error: None,
    });
    write(disk.contents(), agent, event.encode());
    let refused = in_time(world.try_send(agent, "two", false)).await;
    assert!(matches!(refused, Err(Refusal::Storage(_))), "{refused:?}");
    let row = in_time(async {
        loop {
            // The actor that was out of step may still be on its way out.
            if let Ok(sent) = world.try_send(agent, "three", false).await {
                return world.host.run_end(sent.run.id).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed));
    let texts: Vec<String> = world.said(agent).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one", "fine", "three", "fine"], "what was refused is not there");
    audit(disk.contents());
}

#[tokio::test]
async fn who_waits_beside_a_failed_activation_gets_the_one_agent_there_is() {
    let memory = Arc::new(MemoryStore::new());
    let first = World::over(Arc::clone(&memory) as _, fine(), Options::default()).await;
    let agent = first.agent().await;
    drop(first);
    let store = Watched::new(memory);
    let world = Arc::new(World::over(Arc::clone(&store) as _, fine(), Options::default()).await);
    let (barrier, opener) = Barrier::closed();
    let held = barrier.clone();
    let loads = AtomicU32::new(0);
    store.on_read(move |read| match read {
        Read::Stream(StreamId::Agent(_), _) if loads.fetch_add(1, Ordering::SeqCst) == 0 => {
            held.pass();
            failed()
        }
        Read::Stream(..) | Read::Outputs(_) => Ok(()),
    });
    let ask = || {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.try_send(agent, "Hi", false).await })
    };
    let unlucky = ask();
    in_time(barrier.reached()).await;
    let waiting = ask();
    settle().await;
    drop(opener);
    in_time(unlucky).await.unwrap().unwrap_err();
    let lucky = in_time(waiting).await.unwrap().unwrap();
    assert_eq!(world.host.count_awake(), 1, "the agent that answered can be found");
    in_time(world.host.run_end(lucky.run.id)).await.unwrap();
    in_time(world.host.run_end(world.send(agent, "again").await)).await.unwrap();
    assert_eq!(world.said(agent).await.len(), 4, "and there is no other one");
    audit(&*store);
}

#[tokio::test]
async fn asking_for_agents_that_do_not_exist_leaves_nothing_behind() {
    let world = Arc::new(World::new(fine()).await);
    let nobody = AgentId::from_uuid(uuid::Uuid::from_u128(7));
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.try_send(nobody, "Hi", false).await })
        })
        .collect();
    for asked in asking {
        let refusal = asked.await.unwrap().unwrap_err();
        assert!(matches!(refusal, Refusal::NotFound { .. }), "{refusal:?}");
    }
    assert_eq!(world.host.count_awake(), 0);
}
