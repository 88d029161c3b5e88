//! The log as its readers see it: whole, in order, bounded, and live.

use std::{sync::Arc, time::Duration};

use retold_actors::{EventFollow, Fact, LogEvent, ManualClock, Options, Refusal, Scope, tool};
use retold_events::{
    AgentId, Position, RunId, Timestamp,
    agent::{self, AgentType},
    block::{self, Author},
    store::{EventStore, Failure, Faults, FaultyStore, MemoryStore, Moment},
};
use retold_models::testing::{Say, ScriptedModel};

use crate::world::{World, block, in_time, new_agent, set};

/// Every event of a scope, read in pages of `limit`.
async fn all(world: &World, scope: Scope, limit: usize) -> Vec<LogEvent> {
    let mut reader = world.host.follow_events(scope, Position(0)).await.expect("it is there");
    let mut events = Vec::new();
    loop {
        let page = reader.past(limit).await.expect("the log is readable");
        let Some(last) = page.last() else { return events };
        assert_eq!(reader.cursor(), last.position);
        events.extend(page);
    }
}

fn positions(events: &[LogEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

/// Whether an event is one of a run's, told by what it says and not by how it was found.
fn is_of(run: RunId, event: &LogEvent) -> bool {
    match &event.fact {
        Fact::Agent(_) => event.run == Some(run),
        Fact::Block(block::Event::Created(block::Created { author, .. }))
        | Fact::Block(block::Event::Edited(block::Edited { author, .. })) => {
            matches!(author, Author::Agent { run: by, .. } if *by == run)
        }
        Fact::Block(block::Event::Deleted(_) | block::Event::Forked(_))
        | Fact::Tool(_)
        | Fact::McpServer(_)
        | Fact::Unreadable { .. } => false,
    }
}

/// A model that in every other answer edits its memory, and then makes a block of its own.
fn editor() -> ScriptedModel {
    let scripts = (0..40).flat_map(|number| {
        let call = format!(r#"{{"label": "human", "new_string": "note {number}"}}"#);
        let made = format!(r#"{{"label": "topic_{number}", "new_memory": "new"}}"#);
        [
            Say::call("c", "memory_insert", &call),
            Say::call("d", "memory_rethink", &made),
            Say::answer("noted"),
            Say::answer("heard"),
        ]
    });
    ScriptedModel::new(scripts.collect::<Vec<_>>())
}

/// An agent that may make blocks, too.
async fn agent(world: &World) -> AgentId {
    let mut new = new_agent(AgentType::LettaV1);
    new.tools.extend(tool::by_name("memory_rethink").map(|tool| tool.id));
    world.host.create_agent(new).await.expect("the agent is sound").state.id
}

/// Sends to some agents in turn, one message after the other; gives the runs.
async fn talk(world: &World, agents: &[AgentId], messages: usize) -> Vec<RunId> {
    let mut runs = Vec::new();
    for number in 0..messages {
        let run = world.send(agents[number % agents.len()], "hello").await;
        in_time(world.host.run_end(run)).await.expect("it ends");
        runs.push(run);
    }
    runs
}

#[tokio::test]
async fn a_run_has_every_event_that_is_its_own_wherever_the_clock_stands() {
    let start = 1_764_000_000_000_000;
    for step in [0, 1, 1_000_000, -1_000_000] {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(start)));
        let options = Options { clock: Arc::clone(&clock) as _, ..Options::default() };
        let world = World::over(Arc::new(MemoryStore::new()), editor(), options).await;
        let agents = [agent(&world).await, agent(&world).await];
        let mut runs = Vec::new();
        for turn in 0..12 {
            clock.set(Timestamp::from_micros(start + step * turn));
            runs.extend(talk(&world, &agents[usize::from(turn % 2 == 0)..], 1).await);
        }
        let log = all(&world, Scope::All, 7).await;
        let mut edits = 0;
        for run in runs {
            let own: Vec<LogEvent> =
                log.iter().filter(|event| is_of(run, event)).cloned().collect();
            edits += own.iter().filter(|event| matches!(event.fact, Fact::Block(_))).count();
            for limit in [1, 3, 1000] {
                let found = all(&world, Scope::Run(run), limit).await;
                assert_eq!(positions(&found), positions(&own), "clock by {step}, pages of {limit}");
            }
            // From any place on, also from within a commit.
            for after in positions(&own) {
                let mut reader =
                    world.host.follow_events(Scope::Run(run), Position(after)).await.unwrap();
                let rest = reader.past(1000).await.unwrap();
                let expected = own.iter().filter(|event| event.position.0 > after).cloned();
                assert_eq!(positions(&rest), positions(&expected.collect::<Vec<_>>()));
                assert_eq!(reader.next().await.unwrap(), None, "the run has ended");
            }
            let last =
                world.host.events_before(Scope::Run(run), Position(u64::MAX), 2).await.unwrap();
            assert_eq!(positions(&last), positions(&own[own.len() - 2..]));
        }
        assert_eq!(edits, 12, "every other run edits a block and makes one");
    }
}

#[tokio::test]
async fn an_agents_events_are_those_of_the_whole_log_that_are_its_own() {
    let world = World::new(editor()).await;
    let agents = [world.agent().await, world.agent().await];
    talk(&world, &agents, 6).await;
    world.host.delete_agent(agents[1]).await.unwrap();
    let log = all(&world, Scope::All, 3).await;
    assert_eq!(positions(&log), (1..=log.len() as u64).collect::<Vec<_>>(), "no gap");
    for id in agents {
        let stream = retold_events::StreamId::Agent(id);
        let own: Vec<LogEvent> =
            log.iter().filter(|event| event.stream == stream).cloned().collect();
        for limit in [1, 4, 1000] {
            assert_eq!(all(&world, Scope::Agent(id), limit).await, own);
        }
        for before in [0, 1, 2, own.len() as u64, u64::MAX] {
            let back =
                world.host.events_before(Scope::Agent(id), Position(before), 3).await.unwrap();
            let earlier: Vec<u64> =
                positions(&own).into_iter().filter(|position| *position < before).collect();
            assert_eq!(positions(&back), earlier[earlier.len().saturating_sub(3)..]);
        }
    }
}

#[tokio::test]
async fn a_page_is_bounded_by_bytes_and_an_event_larger_than_that_is_a_page_by_itself() {
    let world = World::new(editor()).await;
    let large = world.host.create_block(block("human", "x")).await.unwrap().id;
    for number in 0..24 {
        let value = format!("{number}{}", "x".repeat(300 << 10));
        world.host.edit_block(large, set(&value)).await.unwrap();
    }
    let mut reader = world.host.follow_events(Scope::All, Position(0)).await.unwrap();
    let mut count = 0;
    loop {
        let page = reader.past(1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        // A mebibyte, and what one reading of the log adds to that.
        assert!(page.len() <= 4 + 8, "{}", page.len());
        count += page.len();
    }
    assert_eq!(count, 25);
    let last = world.host.events_before(Scope::All, Position(u64::MAX), 1000).await.unwrap();
    assert!((1..=12).contains(&last.len()), "{}", last.len());
    assert_eq!(last.last().map(|event| event.position), Some(Position(25)));
}

async fn next(follow: &mut EventFollow) -> Vec<LogEvent> {
    in_time(follow.next()).await.expect("the log is readable").expect("there is more to come")
}

#[tokio::test]
async fn a_follower_that_is_dropped_while_it_waits_loses_nothing() {
    let world =
        World::new(ScriptedModel::new((0..20).map(|_| Say::answer("yes")).collect::<Vec<_>>()))
            .await;
    let agent = world.agent().await;
    let mut follow = world.host.follow_events(Scope::Agent(agent), Position(0)).await.unwrap();
    let (mut heard, mut said) = (Vec::new(), false);
    let mut talking = std::pin::pin!(talk(&world, std::slice::from_ref(&agent), 20));
    loop {
        // Given up after no time at all, again and again.
        match tokio::time::timeout(Duration::ZERO, follow.next()).await {
            Ok(events) => heard.extend(events.unwrap().unwrap()),
            Err(_) => {
                said = said || futures_util::poll!(talking.as_mut()).is_ready();
                tokio::task::yield_now().await;
            }
        }
        let ends = heard
            .iter()
            .filter(|event| matches!(event.fact, Fact::Agent(agent::Event::RunEnded(_))));
        if ends.count() == 20 {
            break;
        }
    }
    assert_eq!(heard, all(&world, Scope::Agent(agent), 1000).await);
}

#[tokio::test]
async fn a_run_is_followed_from_its_acceptance_to_its_end() {
    let model = ScriptedModel::new([vec![Say::Hang]]);
    let world = World::new(model).await;
    let agent = world.agent().await;
    let run = world.send(agent, "hello").await;
    let mut follow = world.host.follow_events(Scope::Run(run), Position(0)).await.unwrap();
    let mut heard = next(&mut follow).await;
    in_time(world.model.called(1)).await;
    world.host.cancel(agent, None).await.unwrap();
    while let Some(more) = in_time(follow.next()).await.unwrap() {
        heard.extend(more);
    }
    assert!(matches!(heard[0].fact, Fact::Agent(agent::Event::RunAccepted(_))));
    assert!(matches!(
        heard.last().map(|event| &event.fact),
        Some(Fact::Agent(agent::Event::RunEnded(_)))
    ));
    assert!(heard.iter().all(|event| event.run == Some(run)));
}

#[tokio::test]
async fn who_never_was_is_not_found_and_what_has_not_come_is_no_cursor() {
    let world = World::new(editor()).await;
    let agent = world.agent().await;
    let head = world.host.log().head().position;
    let nobody = AgentId::from_uuid(uuid::Uuid::from_u128(7));
    for (scope, after, what) in [
        (Scope::Agent(nobody), Position(0), "Agent"),
        (Scope::Run(RunId::from_uuid(uuid::Uuid::from_u128(7))), Position(0), "Run"),
        (Scope::All, Position(head.0 + 1), "Position"),
        (Scope::Agent(agent), Position(u64::MAX), "Position"),
    ] {
        let refusal = world.host.follow_events(scope, after).await.err();
        assert!(
            matches!(&refusal, Some(Refusal::NotFound { what: named, .. }) if *named == what),
            "{refusal:?}"
        );
    }
    assert!(world.host.events_before(Scope::Agent(nobody), Position(9), 9).await.is_err());
}

#[tokio::test]
async fn when_the_log_fails_followers_are_told() {
    let faults = Faults::new();
    let store: Arc<dyn EventStore> = Arc::new(FaultyStore::new(MemoryStore::new(), faults.clone()));
    let world = World::over(store, editor(), Options::default()).await;
    let (agent, other) = (world.agent().await, world.agent().await);
    let head = world.host.log().head().position;
    let mut one = world.host.follow_events(Scope::Agent(agent), head).await.unwrap();
    let mut whole = world.host.follow_events(Scope::All, head).await.unwrap();
    faults.fail_append(1, Moment::Before, Failure::Io);
    let (one, whole, refused) = in_time(async {
        tokio::join!(one.next(), whole.next(), world.try_send(other, "hello", false))
    })
    .await;
    refused.unwrap_err();
    assert!(matches!(one, Err(Refusal::Storage(_))), "{one:?}");
    assert!(matches!(whole, Err(Refusal::Storage(_))), "{whole:?}");
}
