//! The past: which moment is meant, and what stood then.

use std::sync::Arc;

use retold_actors::{
    AsOf, ManualClock, Options, Refusal, Whose,
    agent::{Change, Patch},
};
use retold_events::{
    AgentId, BlockId, NewEvent, Position, Seq, StreamId, Timestamp,
    agent::{Config, Deleted, Event},
    codec::Event as _,
    store::{Append, Commit, EventStore, MemoryStore},
};
use retold_models::testing::ScriptedModel;
use retold_snapshots::{past::Tables, query};

use crate::world::{World, set};

const MINUTE: i64 = 60_000_000;
/// 2026-08-01T00:00:00Z.
const BEGIN: i64 = 1_785_542_400_000_000;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_micros(BEGIN + minutes * MINUTE)
}

/// A log whose events happened at these minutes, and a host over it at another one.
async fn world_of(minutes: &[i64], now: i64) -> World {
    let store = Arc::new(MemoryStore::new());
    let agent = AgentId::from_uuid(uuid::Uuid::from_u128(7));
    for (index, &minute) in minutes.iter().enumerate() {
        let event = NewEvent {
            id: ulid::Ulid::nil(),
            causation: ulid::Ulid::nil(),
            run: None,
            at: at(minute),
            encoded: Event::Deleted(Deleted {}).encode(),
        };
        let expected = Seq(index as u64);
        let append = Append { stream: StreamId::Agent(agent), expected, events: vec![event] };
        let commit = Commit { appends: vec![append], ..Commit::default() };
        store.append(&[commit]).expect("memory does not fail")[0].expect("nobody else writes");
    }
    let options = Options { clock: Arc::new(ManualClock::at(at(now))), ..Options::default() };
    World::over(store, ScriptedModel::new([]), options).await
}

async fn refused(world: &World, as_of: AsOf) -> String {
    match world.host.moment(as_of).await {
        Err(Refusal::Invalid(why)) => why,
        other => panic!("{as_of:?} gives {other:?}"),
    }
}

#[tokio::test]
async fn a_position_is_a_moment_once_it_has_happened() {
    let world = world_of(&[0, 1, 2], 3).await;
    for position in 1..=3 {
        let position = Position(position);
        assert_eq!(world.host.moment(AsOf::Position(position)).await.unwrap(), position);
    }
    assert_eq!(
        refused(&world, AsOf::Position(Position(99))).await,
        "position 99 has not happened yet; the last one is 3"
    );
    assert!(refused(&world, AsOf::Position(Position(0))).await.contains("begins with position 1"));
    let empty = world_of(&[], 3).await;
    assert_eq!(
        refused(&empty, AsOf::Position(Position(1))).await,
        "position 1 has not happened yet; nothing has"
    );
}

#[tokio::test]
async fn a_time_is_the_last_event_not_later_than_it() {
    let minutes: Vec<i64> = (0..100).map(|index| index * 2).collect();
    let world = world_of(&minutes, 300).await;
    for minute in 0..250 {
        let position = world.host.moment(AsOf::Time(at(minute))).await.unwrap();
        assert_eq!(position, Position((minute as u64 / 2 + 1).min(100)), "minute {minute}");
    }
    let early = refused(&world, AsOf::Time(at(-1))).await;
    assert_eq!(
        early,
        "nothing had happened by 2026-07-31T23:59:00Z; the log begins at 2026-08-01T00:00:00Z"
    );
    let late = refused(&world, AsOf::Time(at(301))).await;
    assert_eq!(late, "the time 2026-08-01T05:01:00Z has not come yet; it is 2026-08-01T05:00:00Z");
    let empty = world_of(&[], 3).await;
    assert!(refused(&empty, AsOf::Time(at(0))).await.contains("nothing has yet"));
}

#[tokio::test]
async fn several_events_of_one_time_are_all_in_it() {
    let world = world_of(&[0, 5, 5, 5, 9], 10).await;
    let moment = world.host.moment(AsOf::Time(at(5))).await.unwrap();
    assert_eq!(moment, Position(4));
}

#[tokio::test]
async fn where_the_clock_stepped_back_a_time_keeps_its_moment() {
    // At minute 40 somebody set the clock back to minute 10.
    let mut minutes: Vec<i64> = (0..=40).collect();
    minutes.extend(10..=60);
    let short = world_of(&minutes[..70], 60).await;
    let long = world_of(&minutes, 60).await;
    for minute in 0..=30 {
        let moment = long.host.moment(AsOf::Time(at(minute))).await.unwrap();
        assert_eq!(short.host.moment(AsOf::Time(at(minute))).await.unwrap(), moment);
        let index = usize::try_from(moment.0).unwrap();
        assert!(minutes[index - 1] <= minute, "it had happened by then");
        assert!(minutes.get(index).is_none_or(|&next| next > minute), "and what follows had not");
    }
}

#[tokio::test]
async fn a_clock_behind_the_log_does_not_hide_its_end() {
    let world = world_of(&[0, 50], 10).await;
    assert_eq!(world.host.moment(AsOf::Time(at(50))).await.unwrap(), Position(2));
    refused(&world, AsOf::Time(at(51))).await;
}

fn rename(name: &str) -> Change {
    let name = name.to_owned();
    Change::Configure(Box::new(move |state| {
        let config = Config { name, ..Config::clone(&state.config) };
        Ok(Patch { config: Some(config), ..Patch::default() })
    }))
}

async fn now(world: &World) -> Position {
    world.host.log().head().position
}

async fn value_at(world: &World, block: BlockId, position: Position) -> Option<String> {
    match world.host.block_at(block, position).await {
        Ok(view) => Some(view.state.block.value.clone()),
        Err(Refusal::NotFound { what: "Block", .. }) => None,
        Err(refusal) => panic!("{refusal}"),
    }
}

#[tokio::test]
async fn what_stood_then_stands_whatever_happened_since() {
    let world = World::new(ScriptedModel::new([])).await;
    let view = world.agent_of(retold_events::agent::AgentType::LettaV1).await;
    let (agent, block) = (view.state.id, view.blocks[0].id);
    let born = now(&world).await;
    world.host.change_agent(agent, rename("Second")).await.unwrap();
    world.host.edit_block(block, set("Edited.")).await.unwrap();
    let edited = now(&world).await;
    world.host.delete_block(block).await.unwrap();
    let without = now(&world).await;
    world.host.delete_agent(agent).await.unwrap();
    let gone = now(&world).await;

    let names =
        |view: retold_actors::AgentView| (view.state.config.name.clone(), view.blocks.len());
    let at_birth = world.host.agent_at(agent, born).await.unwrap();
    assert_eq!(at_birth.blocks[0].state.block.value, "Nothing yet.");
    assert_eq!(names(at_birth), ("Test".to_owned(), 2));
    let later = world.host.agent_at(agent, edited).await.unwrap();
    assert_eq!(later.blocks[0].state.block.value, "Edited.");
    assert_eq!(names(later), ("Second".to_owned(), 2));
    let later = world.host.agent_at(agent, without).await.unwrap();
    assert_eq!(names(later), ("Second".to_owned(), 1));
    let missing = world.host.agent_at(agent, gone).await.unwrap_err();
    assert!(matches!(missing, Refusal::NotFound { what: "Agent", .. }), "{missing}");

    assert_eq!(value_at(&world, block, born).await.as_deref(), Some("Nothing yet."));
    assert_eq!(value_at(&world, block, edited).await.as_deref(), Some("Edited."));
    assert_eq!(value_at(&world, block, without).await, None);

    let count = |position, whose| {
        world.host.read_at(whose, position, |store| {
            Ok(query::count_agents(store, &query::AgentFilter::default()))
        })
    };
    for (position, wanted) in [(born, 1), (without, 1), (gone, 0)] {
        let server = count(position, Whose::Server(Tables::AGENTS)).await.unwrap().unwrap();
        let own = count(position, Whose::Agent(agent)).await.unwrap().unwrap();
        assert_eq!((server, own), (wanted, wanted), "{position:?}");
    }
    let views = world.host.agents_at(&[agent], gone).await.unwrap();
    assert!(views.is_empty(), "those that are gone are left out");
    assert_eq!(world.host.agents_at(&[agent], born).await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_does_not_exist_yet_is_not_found() {
    let world = World::new(ScriptedModel::new([])).await;
    world.agent().await;
    let before = now(&world).await;
    let later = world.agent_of(retold_events::agent::AgentType::LettaV1).await;
    let missing = world.host.agent_at(later.state.id, before).await.unwrap_err();
    assert!(matches!(missing, Refusal::NotFound { what: "Agent", .. }), "{missing}");
    assert_eq!(value_at(&world, later.blocks[0].id, before).await, None);
}
